// Collects the values of one read into a batch, has them scanned and masked in place, and counts what was found per
// place until the command that they belong to ends. Lifetime: one per machine. Holds spans of the read buffer only
// between add() and flush(), within one step. Limit: kBatchMax.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/session/copy_columns.h"
#include "daemon/session/gate.h"
#include "daemon/session/postgres_types.h"
#include "policies/cards/card_scanner.h"
#include "policies/cards/secrets.h"

namespace sluice::session {

// Where in the protocol a value stood.
enum class Place : uint8_t {
  column,
  error,
  notice,
  copy,
  notification,
  function_result,
  parameter_status,
  column_name
};

class PostgresMasker {
 public:
  PostgresMasker(Gate& gate, policies::CardScanner& scanner) : gate_(gate), cards_(scanner), scanner_(&scanner) {}

  // Takes up what policy says now. Before anything is added, so that a whole batch is masked alike.
  void refresh();

  // A whole value of a row. Skipped where it is too short to hold a card number in any form.
  void add_field(std::span<uint8_t> bytes, ColumnShape shape, uint16_t column) {
    if (bytes.size() < (shape.format == policies::ValueFormat::text && shape.type != policies::ValueType::floating
                            ? text_bytes_min_
                            : other_bytes_min_) &&
        shape.name == policies::NameKind::none && !policies::cards::may_hold_key(bytes)) {
      return;
    }
    add(Place::column, column, bytes, shape, policies::ValuePart::whole, nullptr);
  }

  // Any other whole value; `detail` is a field code or zero.
  void add_text(Place place, uint16_t detail, std::span<uint8_t> bytes) {
    if (bytes.size() >= text_bytes_min_ || policies::cards::may_hold_key(bytes))
      add(place, detail, bytes, {policies::ValueType::text}, policies::ValuePart::whole, nullptr);
  }

  // A whole row of COPY in text format.
  void add_copy_row(std::span<uint8_t> bytes) {
    if (bytes.size() >= text_bytes_min_ || policies::cards::may_hold_key(bytes))
      add(Place::copy, 0, bytes, {policies::ValueType::copy_row}, policies::ValuePart::whole, nullptr);
    for (const CopyColumns::Field& field : copy_columns_.secrets_of(bytes)) {
      // What the row as a whole shows is masked first.
      (void)flush();
      add(Place::copy, 0, field.bytes, {policies::ValueType::text, policies::ValueFormat::text, field.name},
          policies::ValuePart::whole, nullptr);
    }
  }
  // A COPY towards the client begins.
  void begin_copy() { copy_columns_.begin(); }
  void name_copy(CopyNames names) { copy_columns_.name(std::move(names)); }
  // What the name of a column says of its fields, in binary.
  [[nodiscard]] policies::NameKind copy_name(size_t column) const { return copy_columns_.kind_of(column); }

  // A whole field of COPY in binary format.
  void add_copy_field(std::span<uint8_t> bytes, policies::NameKind name) {
    ColumnShape shape = kCopyFieldShape;
    shape.name = name;
    if (bytes.size() >= other_bytes_min_ || name != policies::NameKind::none)
      add(Place::copy, 0, bytes, shape, policies::ValuePart::whole, nullptr);
  }

  void add(Place place, uint16_t detail, std::span<uint8_t> bytes, ColumnShape shape, policies::ValuePart part,
           policies::StreamState* stream);

  // A value of a column that is masked whole, by whoever has it.
  void count_whole(Place place, uint16_t detail, command::ColumnVerdict verdict);

  // Policy names columns (as of refresh()).
  [[nodiscard]] bool columns() const { return columns_; }

  // Scans and masks what was added. Returns how many bytes of the last value are settled (its size where it was whole).
  size_t flush();

  // The findings since the last call, for Gate::complete(). Valid until the next call.
  [[nodiscard]] std::span<const FindingCount> take_findings();
  [[nodiscard]] bool has_findings() const { return !counts_.empty(); }
  // Gives back the memory of a large result; an idle session keeps what a small one needs.
  void release();

 private:
  static constexpr size_t kBatchMax = 4096;
  static constexpr size_t kKeptMax = 64;       // entries of a batch whose memory an idle session keeps
  static constexpr size_t kTextBytesMin = 12;  // digits of the shortest card number
  static constexpr size_t kOtherBytesMin = 6;  // the same as packed decimal; "4.1e15"

  [[nodiscard]] uint8_t pattern_number(std::string_view name);

  Gate& gate_;
  policies::CardScanner& cards_;
  policies::CardScanner* scanner_;  // cards_, or one that looks for more
  policies::MaskStyle style_ = policies::MaskStyle::bin6_last4;
  bool columns_ = false;
  size_t text_bytes_min_ = kTextBytesMin;
  size_t other_bytes_min_ = kOtherBytesMin;
  CopyColumns copy_columns_;
  Place place_ = Place::column;  // of the whole batch
  std::vector<policies::ValueView> batch_;
  std::vector<policies::Finding> findings_;
  std::vector<size_t> settled_;
  bool in_parts_ = false;                          // the last value of the batch is part of a larger one
  std::unordered_map<uint64_t, uint64_t> counts_;  // place, detail, kind and brand → how many
  std::vector<std::string> pattern_names_;         // that findings had so far
  std::vector<std::string> names_;
  std::vector<FindingCount> report_;
};

}  // namespace sluice::session
