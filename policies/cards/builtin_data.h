// The kinds of data that are built in besides card numbers. Each has a trigger, a fixed-width expression for Hyperscan,
// and a check that says what stands there. Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "policies/cards/data_patterns.h"

namespace sluice::policies::cards {

struct DataMatch {
  size_t start = 0, end = 0;
};

// Ends at the byte from which builtin_match() works.
[[nodiscard]] const char* builtin_trigger(BuiltinData kind);
[[nodiscard]] size_t builtin_bytes_max(BuiltinData kind);

// What stands around a trigger that ended at `trigger_end`; it may begin before the trigger, not before `from`.
//   iban: country and length of ISO 13616's registry, check digits of ISO 7064 (mod 97-10); in one run or in groups of
//         four with one blank between them; upper case.
//   email: local part of letters, digits and . _ % + -, a domain with a dot whose last label is letters (RFC 5321, the
//          common part of it).
//   ssn: AAA-GG-SSSS with dashes or blanks; area not 000, 666 or 900 to 999, group not 00, serial not 0000 (Social
//        Security Administration, since 2011).
[[nodiscard]] std::optional<DataMatch> builtin_match(BuiltinData kind, std::span<const uint8_t> bytes, size_t from,
                                                     size_t trigger_end);

}  // namespace sluice::policies::cards
