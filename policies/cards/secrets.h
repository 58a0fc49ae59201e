// Data that is masked whole because it must not be kept at all (PCI DSS 3.3): card verification codes and PINs. They
// have no shape of their own and are known by the name that they stand under. Pure; any thread. (Track data:
// track_data.h.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "policies/cards/card_names.h"
#include "policies/cards/text_view.h"
#include "policies/cards/value.h"

namespace sluice::policies::cards {

// Masks the bytes in one of the covered forms. Every byte of text by itself, so that a part of a value is masked as it
// is within the whole.
void cover(std::span<uint8_t> bytes, FindingForm form);
// Would that change anything? What is covered already is no finding.
[[nodiscard]] bool is_uncovered(std::span<const uint8_t> bytes, FindingForm form);

// How a value under such a name is covered; nothing where its type cannot hold one, or (`code` and `pin`, which mean
// other things too) its value has not the form of one. Containers in binary form are for the caller.
[[nodiscard]] std::optional<FindingForm> cover_for(NameKind name, ValueType type, ValueFormat format,
                                                   std::span<const uint8_t> bytes);

[[nodiscard]] constexpr FindingKind secret_kind(NameKind name) {
  return name == NameKind::pin ? FindingKind::pin : FindingKind::cvv;
}

// A value under a key in text, whose first digit stands at `start`: where it ends, or nothing where it is none. A card
// number that ended `since_card` bytes before makes codes of values under keys that mean other things too.
struct KeyedSecret {
  size_t end = 0;
  NameKind name = NameKind::none;  // cvv, pin; pan: a card number of twelve digits
};
inline constexpr size_t kCardReachBytes = 256;
[[nodiscard]] std::optional<KeyedSecret> keyed_secret_at(const TextView& text, size_t start, size_t since_card);

// The quick no for a short text: could a value stand in it under its key? Shorter ones hold none ("cvv=123").
inline constexpr size_t kKeyedBytesMin = 7;
[[nodiscard]] inline bool may_hold_key(std::span<const uint8_t> bytes) {
  if (bytes.size() < kKeyedBytesMin) return false;
  const uint8_t last = bytes.back() | 0x20;  // a value ends in a digit, and may be closed by what is no letter
  if (last >= 'a' && last <= 'z') return false;
  constexpr uint64_t kOnes = 0x0101010101010101, kTops = 0x80 * kOnes;
  const auto assigns = [](uint64_t word) {
    const uint64_t low = word & ~kTops;
    return (low + (0x80 - ':') * kOnes) & ~(low + (0x7f - '>') * kOnes) & ~word & kTops;
  };
  uint64_t any = 0, word = 0;
  if (bytes.size() < sizeof word) {  // two halves that overlap
    std::memcpy(&word, bytes.data(), 4);
    uint32_t rest = 0;
    std::memcpy(&rest, bytes.data() + bytes.size() - 4, 4);
    return assigns(word | uint64_t{rest} << 32) != 0;
  }
  for (size_t at = 0; at + sizeof word <= bytes.size(); at += sizeof word) {
    std::memcpy(&word, bytes.data() + at, sizeof word);
    any |= assigns(word);
  }
  std::memcpy(&word, bytes.data() + bytes.size() - sizeof word, sizeof word);
  any |= assigns(word);
  return any != 0;
}

}  // namespace sluice::policies::cards
