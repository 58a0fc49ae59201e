// Messages by name, for tests of the PostgreSQL machine: `fe` says what a client says, `be` what a server says.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "parsers/base/byte_writer.h"

namespace sluice::session::testing {

inline std::string as_text(const std::vector<uint8_t>& bytes) {
  return {bytes.begin(), bytes.end()};
}

inline std::string message(char tag, const parsers::ByteWriter& body) {
  parsers::ByteWriter writer;
  writer.u8(static_cast<uint8_t>(tag)).u32(static_cast<uint32_t>(body.size() + 4)).raw(body.bytes());
  return as_text(writer.bytes());
}
using W = parsers::ByteWriter;
using Values = std::vector<std::optional<std::string>>;

inline std::string int8(uint64_t value) {
  return as_text(W().u32(static_cast<uint32_t>(value >> 32)).u32(static_cast<uint32_t>(value)).bytes());
}

namespace fe {
inline std::string startup(std::initializer_list<std::pair<std::string_view, std::string_view>> parameters,
                           uint16_t minor = 0) {
  W body;
  body.u16(3).u16(minor);
  for (const auto& [name, value] : parameters) body.cstring(name).cstring(value);
  body.u8(0);
  return as_text(W().u32(static_cast<uint32_t>(body.size() + 4)).raw(body.bytes()).bytes());
}
inline std::string request(uint32_t code, std::string_view rest = {}) {
  return as_text(W().u32(static_cast<uint32_t>(8 + rest.size())).u32(code).text(rest).bytes());
}
inline std::string query(std::string_view text) {
  return message('Q', W().cstring(text));
}
inline std::string parse(std::string_view name, std::string_view text, const std::vector<uint32_t>& types = {}) {
  W body;
  body.cstring(name).cstring(text).u16(static_cast<uint16_t>(types.size()));
  for (const uint32_t type : types) body.u32(type);
  return message('P', body);
}
enum class Format : uint16_t { text, binary };
inline std::string bind(std::string_view portal, std::string_view statement, const Values& values = {},
                        Format results = Format::text, Format parameters = Format::text) {
  W body;
  body.cstring(portal)
      .cstring(statement)
      .u16(1)
      .u16(static_cast<uint16_t>(parameters))
      .u16(static_cast<uint16_t>(values.size()));
  for (const auto& value : values) {
    body.i32(value ? static_cast<int32_t>(value->size()) : -1);
    if (value) body.text(*value);
  }
  body.u16(1).u16(static_cast<uint16_t>(results));
  return message('B', body);
}
inline std::string describe(char kind, std::string_view name) {
  return message('D', W().u8(static_cast<uint8_t>(kind)).cstring(name));
}
inline std::string close(char kind, std::string_view name) {
  return message('C', W().u8(static_cast<uint8_t>(kind)).cstring(name));
}
inline std::string execute(std::string_view portal, uint32_t rows = 0) {
  return message('E', W().cstring(portal).u32(rows));
}
inline std::string function_call(uint32_t oid, const Values& values, Format format) {
  W body;
  body.u32(oid).u16(1).u16(static_cast<uint16_t>(format)).u16(static_cast<uint16_t>(values.size()));
  for (const auto& value : values) body.i32(static_cast<int32_t>(value->size())).text(*value);
  body.u16(static_cast<uint16_t>(format));
  return message('F', body);
}
inline std::string sync() {
  return message('S', W());
}
inline std::string flush() {
  return message('H', W());
}
inline std::string terminate() {
  return message('X', W());
}
inline std::string copy_data(std::string_view data) {
  return message('d', W().text(data));
}
inline std::string copy_done() {
  return message('c', W());
}
inline std::string copy_fail(std::string_view why) {
  return message('f', W().cstring(why));
}
inline std::string password(std::string_view bytes) {
  return message('p', W().text(bytes));
}
}  // namespace fe

namespace be {
struct Column {
  std::string_view name;
  uint32_t type = 25;
  uint16_t format = 0;
};
inline std::string authentication(uint32_t code, std::string_view rest = {}) {
  return message('R', W().u32(code).text(rest));
}
inline std::string parameter(std::string_view name, std::string_view value) {
  return message('S', W().cstring(name).cstring(value));
}
inline std::string key_data() {
  return message('K', W().u32(1).u32(2));
}
inline std::string ready(char status = 'I') {
  return message('Z', W().u8(static_cast<uint8_t>(status)));
}
inline std::string row_description(const std::vector<Column>& columns) {
  W body;
  body.u16(static_cast<uint16_t>(columns.size()));
  for (const Column& column : columns)
    body.cstring(column.name).u32(0).u16(0).u32(column.type).u16(0xffff).u32(0xffffffff).u16(column.format);
  return message('T', body);
}
inline std::string parameter_description(const std::vector<uint32_t>& types) {
  W body;
  body.u16(static_cast<uint16_t>(types.size()));
  for (const uint32_t type : types) body.u32(type);
  return message('t', body);
}
inline std::string row(const Values& values) {
  W body;
  body.u16(static_cast<uint16_t>(values.size()));
  for (const auto& value : values) {
    body.i32(value ? static_cast<int32_t>(value->size()) : -1);
    if (value) body.text(*value);
  }
  return message('D', body);
}
inline std::string complete(std::string_view tag) {
  return message('C', W().cstring(tag));
}
inline std::string parse_complete() {
  return message('1', W());
}
inline std::string bind_complete() {
  return message('2', W());
}
inline std::string close_complete() {
  return message('3', W());
}
inline std::string no_data() {
  return message('n', W());
}
inline std::string suspended() {
  return message('s', W());
}
inline std::string empty_query() {
  return message('I', W());
}
inline std::string report(char tag, const std::vector<std::pair<char, std::string>>& fields) {
  W body;
  for (const auto& [code, text] : fields) body.u8(static_cast<uint8_t>(code)).cstring(text);
  body.u8(0);
  return message(tag, body);
}
inline std::string error(const std::string& sqlstate, const std::string& text) {
  return report('E', {{'S', "ERROR"}, {'V', "ERROR"}, {'C', sqlstate}, {'M', text}});
}
inline std::string fatal(const std::string& sqlstate, const std::string& text) {
  return report('E', {{'S', "FATAL"}, {'V', "FATAL"}, {'C', sqlstate}, {'M', text}});
}
inline std::string notification(std::string_view channel, std::string_view payload) {
  return message('A', W().u32(7).cstring(channel).cstring(payload));
}
inline std::string copy_response(char tag) {
  return message(tag, W().u8(0).u16(1).u16(0));
}
inline std::string binary_copy_response(char tag, uint16_t columns) {
  W body;
  body.u8(1).u16(columns);
  for (uint16_t i = 0; i < columns; ++i) body.u16(1);
  return message(tag, body);
}
inline std::string copy_data(std::string_view data) {
  return message('d', W().text(data));
}
inline std::string copy_done() {
  return message('c', W());
}
inline std::string function_result(std::string_view value) {
  return message('V', W().i32(static_cast<int32_t>(value.size())).text(value));
}
}  // namespace be

// The stream of COPY in binary format, without the messages that it is cut into.
namespace binary_copy {
inline std::string header(std::string_view extension = {}) {
  return std::string("PGCOPY\n\377\r\n\0", 11) +
         as_text(W().u32(0).u32(static_cast<uint32_t>(extension.size())).text(extension).bytes());
}
inline std::string row(const Values& values) {
  W body;
  body.u16(static_cast<uint16_t>(values.size()));
  for (const auto& value : values) {
    body.i32(value ? static_cast<int32_t>(value->size()) : -1);
    if (value) body.text(*value);
  }
  return as_text(body.bytes());
}
inline std::string trailer() {
  return "\377\377";
}
}  // namespace binary_copy

}  // namespace sluice::session::testing
