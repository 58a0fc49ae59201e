// Masks one finding in the bytes that it spans, in the form that it has. Pure; any thread.
#pragma once

#include <cstdint>
#include <span>

#include "policies/cards/card_scanner.h"

namespace sluice::policies::cards {

// REQUIRES: exactly the bytes of the finding.
void mask_finding(std::span<uint8_t> bytes, const Finding& finding, MaskStyle style);

}  // namespace sluice::policies::cards
