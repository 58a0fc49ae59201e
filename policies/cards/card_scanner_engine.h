// A CardScanner with its engine chosen, for tests and benchmarks that hold the engines against each other. Everyone
// else calls CardScanner::create.
#pragma once

#include <memory>
#include <string>

#include "policies/cards/card_scanner.h"
#include "policies/cards/text_scanner.h"

namespace sluice::policies {

[[nodiscard]] std::unique_ptr<CardScanner> create_card_scanner(cards::Engine engine, std::string& why,
                                                               DetectorOptions options = {});

}  // namespace sluice::policies
