// Results of which policy masks columns whole: what becomes of each column is planned once per description, by the
// gate, and carried out here.
#include <algorithm>
#include <cstring>

#include "daemon/session/postgres_machine.h"

namespace sluice::session {
namespace {

using command::ColumnVerdict;
using postgres::kHeaderBytes;

uint32_t read_u32(const uint8_t* at) {
  uint32_t value;
  std::memcpy(&value, at, sizeof value);
  return __builtin_bswap32(value);
}
void write_u32(uint8_t* at, uint32_t value) {
  value = __builtin_bswap32(value);
  std::memcpy(at, &value, sizeof value);
}

// Client encodings whose characters may hold bytes of ASCII behind the first (PostgreSQL documentation, "Supported
// Character Sets": those that are for clients alone).
bool mixes_ascii(std::string_view encoding) {
  constexpr std::string_view kMixed[] = {"BIG5", "GB18030", "GBK", "JOHAB", "SJIS", "SHIFT_JIS_2004", "UHC"};
  return std::find(std::begin(kMixed), std::end(kMixed), encoding) != std::end(kMixed);
}

}  // namespace

// The columns of the description that was just read.
void PostgresMachine::describe_columns(DescribedColumns& described) {
  described.epoch = gate_.columns_epoch();
  if (scratch_shape_.empty()) return;  // NoData
  described.columns.reserve(columns_.size());
  for (const postgres::ColumnDescription& column : columns_) {
    described.columns.push_back({column.table_oid, column.attribute, std::string(column.name)});
  }
}

ColumnPlanRef PostgresMachine::plan_of(DescribedColumns& described, const StatementRef& statement, size_t index) {
  const uint64_t epoch = gate_.columns_epoch();
  if (!described.planned || described.epoch != epoch) {
    described.plan = gate_.plan_columns({statement, index, described.columns});
    described.planned = true;
    described.epoch = epoch;
  }
  return described.plan;
}

void PostgresMachine::plan_query_rows(const Pending& head) {
  DescribedColumns described;
  describe_columns(described);
  row_plan_ = plan_of(described, head.statement, head.statements_ended);
}

void PostgresMachine::plan_portal_rows(Portal& portal) {
  DescribedRef described = portal.described ? portal.described : portal.prepared ? portal.prepared->described : nullptr;
  if (!described || described->columns.size() != row_shape_->size()) {
    // Described before policy named columns: of its columns nothing is known but what the text says.
    described = std::make_shared<DescribedColumns>();
    described->columns.resize(row_shape_->size());
  }
  row_plan_ = plan_of(*described, portal.prepared ? portal.prepared->statement : nullptr, 0);
}

// In encodings whose later bytes may look like ASCII a row cannot be divided; then its header has to do.
bool PostgresMachine::bytes_may_mix() const {
  return !settings_.certain || mixes_ascii(settings_.client_encoding);
}

void PostgresMachine::name_copy(const Pending& head, const postgres::CopyResponse& response) {
  if (!response.binary && bytes_may_mix()) return;
  auto names = gate_.copy_names(statement_of(head), head.statements_ended, response.columns);
  if (names) masker_.name_copy(std::move(*names));
}

void PostgresMachine::plan_copy(const Pending& head, const postgres::CopyResponse& response) {
  const std::vector<command::ResultColumn> columns(response.columns);
  ColumnPlanRef plan = gate_.plan_columns({statement_of(head), head.statements_ended, columns});
  if (plan == nullptr) return;
  copy_plan_ = std::make_unique<CopyMasks>(std::move(plan),
                                           bytes_may_mix() ? CopyMasks::Bytes::mixed : CopyMasks::Bytes::ascii_safe);
}

StatementRef PostgresMachine::statement_of(const Pending& pending) const {
  if (pending.kind == PendingKind::query) return pending.statement;
  const PreparedRef& prepared = pending.portal ? pending.portal->prepared : pending.prepared;
  return prepared ? prepared->statement : nullptr;
}

bool PostgresMachine::withheld(std::string_view sqlstate) const {
  if (pending_.empty() || stage_ != Stage::ready) return false;  // of no command: the server's own affairs
  return gate_.withholds(statement_of(pending_.front()), {sqlstate, postgres::report_field(fields_, 'W')});
}

// A row with columns that are masked whole. What becomes NULL, or shorter, moves the rest of the row up.
void PostgresMachine::on_planned_row(Bytes message, Stretch& stretch) {
  const Shape& shape = *row_shape_;
  const uint8_t* const end = message.data() + message.size();
  uint8_t* from = message.data() + kHeaderBytes;
  bool fits = end - from >= 2 && static_cast<size_t>(from[0] << 8 | from[1]) == shape.size();
  from += 2;
  uint8_t* to = from;
  for (size_t column = 0; fits && column < shape.size(); ++column) {
    fits = end - from >= 4;
    if (!fits) break;
    const auto length = static_cast<int32_t>(read_u32(from));
    from += 4;
    fits = length == -1 || (length >= 0 && length <= end - from);
    if (!fits) break;
    write_u32(to, static_cast<uint32_t>(length));
    uint8_t* const length_at = to;
    to += 4;
    if (length == -1) continue;
    const auto size = static_cast<size_t>(length);
    if (to != from) std::memmove(to, from, size);
    from += size;
    const Bytes value(to, size);
    const ColumnVerdict verdict = row_plan_->columns[column];
    if (verdict == ColumnVerdict::clear) {
      masker_.add_field(value, shape[column], static_cast<uint16_t>(column));
      to += size;
      continue;
    }
    masker_.count_whole(Place::column, static_cast<uint16_t>(column), verdict);
    const auto kept = policies::mask_whole(value, shape[column].type, shape[column].format, row_plan_->numbers);
    write_u32(length_at, kept ? static_cast<uint32_t>(*kept) : UINT32_MAX);
    to += kept.value_or(0);
  }
  if (!fits || from != end) {
    violation("a row that does not fit its description");
    return;
  }
  ++pending_.front().rows;
  pending_.front().bytes += message.size() - kHeaderBytes;
  const auto size = static_cast<size_t>(to - message.data());
  write_u32(message.data() + 1, static_cast<uint32_t>(size - 1));
  stretch.forward(size);
  if (size < message.size()) stretch.drop(message.size() - size);
}

// A piece of a protected value in a row larger than the window, whose length the client has been told already.
void PostgresMachine::mask_streamed(Bytes part, ColumnShape shape) {
  const uint64_t before = row_.value_bytes - row_.value_left;
  const uint64_t behind = row_.value_left - part.size();
  const bool whole = before == 0 && behind == 0;
  const auto kept = whole ? policies::mask_whole(part, shape.type, shape.format, policies::WholeNumbers::zero)
                          : std::optional<size_t>();
  if (!kept || *kept != part.size()) policies::mask_whole_part(part, shape.type, shape.format, before, behind);
  if (behind == 0) masker_.count_whole(Place::column, row_.column, row_plan_->columns[row_.column]);
}

}  // namespace sluice::session
