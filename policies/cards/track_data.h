// What stands behind the number on a card's magnetic stripe: name, expiry date, service code and the issuer's
// discretionary data (ISO/IEC 7813). PCI DSS calls it sensitive authentication data, which nobody keeps after the
// authorization; so a mask hides all of it. Pure; any thread. Looks at most kTrackTailBytesMax behind the number.
//
//   track 1  %B4111111111111111^DOE/JOHN^2512101…?    also with %5E for the caret
//   track 2  ;4111111111111111=2512101…?              also with %3D or, as chip cards send it, D for the equals sign
#pragma once

#include <cstddef>
#include <span>

#include "policies/cards/text_view.h"

namespace sluice::policies::cards {

// Track 1 has 79 characters with its sentinels, four of them twice as an escape.
inline constexpr size_t kTrackTailBytesMax = 80;
static_assert(kCandidateBytesMax + kTrackTailBytesMax < kReachBytes);

// May a track go on with this character behind its number? (`D` too, but that is rare enough to be asked about.)
[[nodiscard]] constexpr bool begins_track_tail(int c) {
  return c == '=' || c == '^' || c == '%';
}

struct TrackTail {
  size_t bytes = 0;          // 0 where no track goes on here
  bool hexadecimal = false;  // what stands there could be a part of a hash
};
// What goes on at `end`, just behind a card number's last digit. Sentinel and padding are not part of it.
[[nodiscard]] TrackTail track_tail(const TextView& text, size_t end);

// Hides all of it but the field separators.
void mask_track_tail(std::span<uint8_t> tail);

}  // namespace sluice::policies::cards
