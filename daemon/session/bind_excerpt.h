// What the record keeps of bind values: their beginning, card data masked, and how long each was. Works on copies, for
// the values themselves go to the server as they are. Lifetime: one per worker; its buffers are used again for every
// command.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "daemon/events/event_builder.h"
#include "daemon/session/gate.h"
#include "policies/cards/card_scanner.h"

namespace sluice::session {

class BindExcerpt {
 public:
  // Bytes of one value that the record keeps; bytes_total says what there was.
  static constexpr size_t kKeptBytes = 256;
  // Bytes of one value that are looked at: a card number that begins within what is kept ends within this.
  static constexpr size_t kScannedBytes = kKeptBytes + policies::kHoldBackBytesMax;

  // Adds one entry per value, in order; past events::kBindValuesMax the builder counts what it leaves out.
  // `secrets`: what the statement says of them (policies/cards/statement_secrets.h).
  void add(std::span<const BindValue> values, policies::NameKind secrets, policies::CardScanner& scanner,
           events::EventBuilder& event);

 private:
  void collect(std::span<const BindValue> values);

  std::vector<uint8_t> copies_;
  std::vector<policies::ValueView> views_;
  std::vector<policies::StreamState> streams_;
  std::vector<policies::Finding> findings_;
  std::vector<size_t> settled_;
  std::string text_;
};

}  // namespace sluice::session
