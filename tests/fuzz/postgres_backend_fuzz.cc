// Bytes of a server: no decoder reads past its message, and what it hands out lies within it.
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>

#include "parsers/postgres/backend.h"
#include "parsers/postgres/framing.h"

using namespace sluice::postgres;

namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

void within(std::span<const uint8_t> body, std::string_view piece) {
  if (piece.empty()) return;
  const auto* const begin = reinterpret_cast<const uint8_t*>(piece.data());
  check(begin >= body.data() && begin + piece.size() <= body.data() + body.size());
}

void decode(std::span<const uint8_t> body) {
  std::vector<ColumnDescription> columns;
  if (decode_row_description(body, columns)) {
    for (const ColumnDescription& column : columns) within(body, column.name);
  }
  std::vector<ReportField> fields;
  if (decode_report(body, fields)) {
    for (const ReportField& field : fields) within(body, field.text);
    within(body, report_field(fields, 'C'));
  }
  std::vector<uint32_t> oids;
  if (decode_parameter_description(body, oids)) check(oids.size() * 4 + 2 == body.size());
  if (const auto setting = decode_parameter_status(body)) {
    within(body, setting->name);
    within(body, setting->value);
  }
  if (const auto notification = decode_notification(body)) {
    within(body, notification->channel);
    within(body, notification->payload);
  }
  if (const auto result = decode_function_result(body))
    check(result->bytes.size() + 4 == body.size() || result->is_null);
  (void)decode_authentication(body);
  (void)decode_copy_response(body);
  (void)decode_ready_for_query(body);
  (void)decode_negotiate_version(body);
  (void)decode_command_complete(body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::span<const uint8_t> rest(data, size);
  while (!rest.empty()) {
    const Frame frame = peek_frame(rest, kBackendBounds);
    if (frame.state != FrameState::ok) break;
    const size_t here = std::min(frame.total_bytes(), rest.size());
    decode(rest.subspan(kHeaderBytes, here - kHeaderBytes));
    rest = rest.subspan(here);
  }
  return 0;
}
