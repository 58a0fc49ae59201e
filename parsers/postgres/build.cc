#include "parsers/postgres/build.h"

#include "parsers/base/byte_writer.h"
#include "parsers/postgres/protocol.h"

namespace sluice::postgres {
namespace {

// Writes tag and length, then has the length corrected when the body is there.
class MessageWriter {
 public:
  explicit MessageWriter(uint8_t tag) { body.u8(tag).u32(0); }
  [[nodiscard]] std::vector<uint8_t> finish() {
    body.put_u32(1, static_cast<uint32_t>(body.size() - 1));
    return body.take();
  }
  parsers::ByteWriter body;
};

}  // namespace

std::vector<uint8_t> build_error(Severity severity, std::string_view sqlstate, std::string_view message) {
  const std::string_view word = severity == Severity::fatal ? "FATAL" : "ERROR";
  MessageWriter writer(backend::kErrorResponse);
  writer.body.u8('S').cstring(word).u8('V').cstring(word).u8('C').cstring(sqlstate);
  writer.body.u8('M').cstring(message.substr(0, message.find('\0'))).u8(0);
  return writer.finish();
}

std::vector<uint8_t> build_query(std::string_view text) {
  MessageWriter writer(frontend::kQuery);
  writer.body.cstring(text);
  return writer.finish();
}

std::vector<uint8_t> build_parse(std::string_view name, std::string_view text) {
  MessageWriter writer(frontend::kParse);
  writer.body.cstring(name).cstring(text).u16(0);
  return writer.finish();
}

std::vector<uint8_t> build_bind(std::string_view portal, std::string_view statement) {
  MessageWriter writer(frontend::kBind);
  writer.body.cstring(portal).cstring(statement).u16(0).u16(0).u16(0);
  return writer.finish();
}

std::vector<uint8_t> build_describe(NameKind kind, std::string_view name) {
  MessageWriter writer(frontend::kDescribe);
  writer.body.u8(kind == NameKind::statement ? 'S' : 'P').cstring(name);
  return writer.finish();
}

std::vector<uint8_t> build_execute(std::string_view portal) {
  MessageWriter writer(frontend::kExecute);
  writer.body.cstring(portal).u32(0);
  return writer.finish();
}

std::vector<uint8_t> build_function_call(uint32_t function_oid) {
  MessageWriter writer(frontend::kFunctionCall);
  writer.body.u32(function_oid).u16(0).u16(0).u16(0);
  return writer.finish();
}

std::vector<uint8_t> build_copy_fail(std::string_view message) {
  MessageWriter writer(frontend::kCopyFail);
  writer.body.cstring(message);
  return writer.finish();
}

std::vector<uint8_t> build_cancel_request(std::span<const uint8_t> key) {
  parsers::ByteWriter writer;
  writer.u32(static_cast<uint32_t>(8 + key.size())).u32(kCancelRequestCode).raw(key);
  return writer.take();
}

std::vector<uint8_t> build_startup(uint16_t minor,
                                   std::span<const std::pair<std::string_view, std::string_view>> parameters) {
  parsers::ByteWriter writer;
  writer.u32(0).u16(kProtocolMajor).u16(minor);
  for (const auto& [name, value] : parameters) writer.cstring(name).cstring(value);
  writer.u8(0);
  writer.put_u32(0, static_cast<uint32_t>(writer.size()));
  return writer.take();
}

std::vector<uint8_t> build_negotiate_version(uint16_t minor, std::span<const std::string> options) {
  MessageWriter writer(backend::kNegotiateProtocolVersion);
  // Servers send the whole version number here, and clients expect it so.
  writer.body.u16(kProtocolMajor).u16(minor).u32(static_cast<uint32_t>(options.size()));
  for (const std::string& option : options) writer.body.cstring(option);
  return writer.finish();
}

std::vector<uint8_t> build_copy_data_header(size_t bytes) {
  return parsers::ByteWriter().u8(frontend::kCopyData).u32(static_cast<uint32_t>(bytes + 4)).take();
}

std::vector<uint8_t> build_flush() {
  return MessageWriter(frontend::kFlush).finish();
}

}  // namespace sluice::postgres
