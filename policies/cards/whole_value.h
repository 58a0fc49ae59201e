// Masks a value whole, whatever it holds, so that it stays a value of its type: characters become stars, a number
// becomes zero, JSON a string of stars. What has no such form becomes NULL. The number of bytes never grows. For
// columns that policy names (policies/rules/columns.h). Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "policies/cards/value.h"

namespace sluice::policies {

enum class WholeNumbers : uint8_t { zero, null };

// The bytes that the masked value has (at the front of `bytes`); nullopt: NULL.
[[nodiscard]] std::optional<size_t> mask_whole(std::span<uint8_t> bytes, ValueType type, ValueFormat format,
                                               WholeNumbers numbers);

// A part of a value that is too large to be looked at at once, and whose length was told already: characters and bytea
// keep their form, anything else is overwritten. `before`: bytes of the value before this part; `behind`: bytes after
// it.
void mask_whole_part(std::span<uint8_t> bytes, ValueType type, ValueFormat format, uint64_t before, uint64_t behind);

}  // namespace sluice::policies
