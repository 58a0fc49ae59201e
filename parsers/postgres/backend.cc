#include "parsers/postgres/backend.h"

#include <algorithm>
#include <charconv>

#include "parsers/base/byte_reader.h"

namespace sluice::postgres {
namespace {
using parsers::ByteReader;
constexpr uint16_t kFormatBinary = 1;
}  // namespace

bool decode_row_description(std::span<const uint8_t> body, std::vector<ColumnDescription>& columns) {
  ByteReader reader(body);
  const uint16_t count = reader.u16();
  columns.clear();
  for (size_t i = 0; i < count && reader.ok(); ++i) {
    ColumnDescription column;
    column.name = reader.cstring();
    column.table_oid = reader.u32();
    column.attribute = reader.u16();
    column.type_oid = reader.u32();
    (void)reader.bytes(2 + 4);  // type size and modifier
    const uint16_t format = reader.u16();
    if (format > kFormatBinary) return false;
    column.binary = format == kFormatBinary;
    columns.push_back(column);
  }
  return reader.done();
}

bool decode_report(std::span<const uint8_t> body, std::vector<ReportField>& fields) {
  ByteReader reader(body);
  fields.clear();
  for (;;) {
    const uint8_t code = reader.u8();
    if (code == 0) return reader.done();
    const std::string_view text = reader.cstring();
    if (!reader.ok()) return false;
    fields.push_back({static_cast<char>(code), text});
  }
}

bool decode_parameter_description(std::span<const uint8_t> body, std::vector<uint32_t>& type_oids) {
  ByteReader reader(body);
  const uint16_t count = reader.u16();
  if (reader.remaining() != size_t{count} * 4) return false;
  type_oids.resize(count);
  for (uint32_t& oid : type_oids) oid = reader.u32();
  return reader.done();
}

std::optional<Auth> decode_authentication(std::span<const uint8_t> body) {
  ByteReader reader(body);
  const uint32_t code = reader.u32();
  if (!reader.ok()) return std::nullopt;
  switch (static_cast<Auth>(code)) {
    case Auth::ok:
    case Auth::kerberos_v5:
    case Auth::cleartext:
    case Auth::gss:
    case Auth::sspi:
      if (reader.remaining() != 0) return std::nullopt;
      break;
    case Auth::md5:
      if (reader.remaining() != 4) return std::nullopt;  // the salt
      break;
    case Auth::gss_continue:
    case Auth::sasl:
    case Auth::sasl_continue:
    case Auth::sasl_final:
      break;
    default:
      return std::nullopt;
  }
  return static_cast<Auth>(code);
}

std::optional<CopyResponse> decode_copy_response(std::span<const uint8_t> body) {
  ByteReader reader(body);
  const uint8_t overall = reader.u8();
  const uint16_t count = reader.u16();
  for (size_t i = 0; i < count && reader.ok(); ++i) {
    if (reader.u16() != overall) return std::nullopt;
  }
  if (!reader.done() || overall > kFormatBinary) return std::nullopt;
  return CopyResponse{overall == kFormatBinary, count};
}

std::optional<ParameterSetting> decode_parameter_status(std::span<const uint8_t> body) {
  ByteReader reader(body);
  ParameterSetting setting;
  setting.name = reader.cstring();
  setting.value = reader.cstring();
  if (!reader.done()) return std::nullopt;
  return setting;
}

std::optional<Notification> decode_notification(std::span<const uint8_t> body) {
  ByteReader reader(body);
  (void)reader.u32();  // process id
  Notification notification;
  notification.channel = reader.cstring();
  notification.payload = reader.cstring();
  if (!reader.done()) return std::nullopt;
  return notification;
}

std::optional<FunctionResult> decode_function_result(std::span<const uint8_t> body) {
  ByteReader reader(body);
  const int32_t length = reader.i32();
  FunctionResult result;
  if (length == -1) {
    result.is_null = true;
  } else if (length < 0) {
    return std::nullopt;
  } else {
    result.bytes = reader.bytes(static_cast<size_t>(length));
  }
  if (!reader.done()) return std::nullopt;
  return result;
}

std::optional<TransactionStatus> decode_ready_for_query(std::span<const uint8_t> body) {
  if (body.size() != 1 || (body[0] != 'I' && body[0] != 'T' && body[0] != 'E')) return std::nullopt;
  return static_cast<TransactionStatus>(body[0]);
}

std::optional<NegotiatedVersion> decode_negotiate_version(std::span<const uint8_t> body) {
  ByteReader reader(body);
  // Servers before 18 send the whole version number, later ones too; both have the minor in the lower half.
  const uint32_t minor = reader.u32() & 0xffff;
  const uint32_t options = reader.u32();
  for (uint32_t i = 0; i < options && reader.ok(); ++i) (void)reader.cstring();
  if (!reader.done()) return std::nullopt;
  return NegotiatedVersion{minor, options};
}

std::optional<uint64_t> decode_command_complete(std::span<const uint8_t> body) {
  ByteReader reader(body);
  const std::string_view tag = reader.cstring();
  if (!reader.done()) return std::nullopt;
  const size_t space = tag.rfind(' ');
  uint64_t rows = 0;
  if (space == std::string_view::npos) return rows;
  const std::string_view number = tag.substr(space + 1);
  const auto result = std::from_chars(number.data(), number.data() + number.size(), rows);
  return result.ec == std::errc() && result.ptr == number.data() + number.size() ? rows : 0;
}

std::string_view report_field(const std::vector<ReportField>& fields, char code) {
  const auto found =
      std::find_if(fields.begin(), fields.end(), [code](const ReportField& field) { return field.code == code; });
  return found == fields.end() ? std::string_view{} : found->text;
}

}  // namespace sluice::postgres
