#include "parsers/postgres/frontend.h"

#include <algorithm>

#include "parsers/base/byte_reader.h"

namespace sluice::postgres {
namespace {

using parsers::ByteReader;

constexpr uint16_t kFormatBinary = 1;

struct Formats {
  std::span<const uint8_t> codes;  // two bytes each
  uint16_t count = 0;

  [[nodiscard]] uint16_t code(size_t index) const {
    return static_cast<uint16_t>(codes[2 * index] << 8 | codes[2 * index + 1]);
  }
  // None: all text. One: holds for all. Otherwise one per value.
  [[nodiscard]] bool binary(size_t index) const { return count != 0 && code(count == 1 ? 0 : index) == kFormatBinary; }
};

bool read_formats(ByteReader& reader, Formats& formats) {
  formats.count = reader.u16();
  formats.codes = reader.bytes(size_t{formats.count} * 2);
  if (!reader.ok()) return false;
  for (size_t i = 0; i < formats.count; ++i) {
    if (formats.code(i) > kFormatBinary) return false;
  }
  return true;
}

// Values with their lengths. With `whole` false the values may end anywhere; what is missing is marked.
bool read_parameters(ByteReader& reader, bool whole, uint64_t body_bytes, const Formats& formats,
                     std::vector<Parameter>& parameters) {
  const uint16_t count = reader.u16();
  if (!reader.ok() || (formats.count > 1 && formats.count != count)) return false;
  parameters.clear();
  parameters.resize(count);
  for (size_t i = 0; i < count; ++i) {
    Parameter& parameter = parameters[i];
    parameter.binary = formats.binary(i);
    if (!whole && reader.remaining() < 4) {
      for (size_t rest = i; rest < count; ++rest) {
        parameters[rest].arrived = false;
        parameters[rest].binary = formats.binary(rest);
      }
      return true;
    }
    const int32_t length = reader.i32();
    if (!reader.ok() || length < -1) return false;
    if (length == -1) {
      parameter.is_null = true;
      continue;
    }
    parameter.bytes_total = static_cast<uint64_t>(length);
    if (parameter.bytes_total > body_bytes) return false;
    const size_t at_hand =
        whole ? parameter.bytes_total : std::min<uint64_t>(parameter.bytes_total, reader.remaining());
    parameter.bytes = reader.bytes(at_hand);
    if (!reader.ok()) return false;
  }
  return true;
}

void set_result_formats(const Formats& formats, ResultFormats& results) {
  results.binary.clear();
  const bool first = formats.count != 0 && formats.binary(0);
  bool same = true;
  for (size_t i = 1; i < formats.count; ++i) same = same && formats.binary(i) == first;
  if (same) {
    results.rule = first ? ResultFormats::Rule::all_binary : ResultFormats::Rule::all_text;
    return;
  }
  results.rule = ResultFormats::Rule::per_column;
  results.binary.resize(formats.count);
  for (size_t i = 0; i < formats.count; ++i) results.binary[i] = formats.binary(i);
}

}  // namespace

std::vector<uint32_t> Parse::type_oids() const {
  std::vector<uint32_t> oids(parameter_types.size() / 4);
  ByteReader reader(parameter_types);
  for (uint32_t& oid : oids) oid = reader.u32();
  return oids;
}

std::optional<Query> decode_query(std::span<const uint8_t> body) {
  ByteReader reader(body);
  Query query{reader.cstring()};
  if (!reader.done()) return std::nullopt;
  return query;
}

std::optional<Parse> decode_parse(std::span<const uint8_t> body) {
  ByteReader reader(body);
  Parse parse;
  parse.name = reader.cstring();
  parse.text = reader.cstring();
  parse.parameter_types = reader.bytes(size_t{reader.u16()} * 4);
  if (!reader.done()) return std::nullopt;
  return parse;
}

std::optional<NamedTarget> decode_named_target(std::span<const uint8_t> body) {
  ByteReader reader(body);
  const uint8_t kind = reader.u8();
  NamedTarget target{kind == 'S' ? NameKind::statement : NameKind::portal, reader.cstring()};
  if (!reader.done() || (kind != 'S' && kind != 'P')) return std::nullopt;
  return target;
}

std::optional<Execute> decode_execute(std::span<const uint8_t> body) {
  ByteReader reader(body);
  Execute execute;
  execute.portal = reader.cstring();
  execute.row_limit = reader.u32();
  if (!reader.done()) return std::nullopt;
  return execute;
}

bool decode_bind(std::span<const uint8_t> head, uint64_t body_bytes, Bind& bind) {
  const bool whole = head.size() == body_bytes;
  ByteReader reader(head);
  bind.portal = reader.cstring();
  bind.statement = reader.cstring();
  Formats formats;
  if (!read_formats(reader, formats)) return false;
  if (!read_parameters(reader, whole, body_bytes, formats, bind.parameters)) return false;
  bind.results.binary.clear();
  bind.results.rule = ResultFormats::Rule::unknown;
  if (!whole) return true;
  Formats results;
  if (!read_formats(reader, results) || !reader.done()) return false;
  set_result_formats(results, bind.results);
  return true;
}

bool decode_function_call(std::span<const uint8_t> head, uint64_t body_bytes, FunctionCall& call) {
  const bool whole = head.size() == body_bytes;
  ByteReader reader(head);
  call.function_oid = reader.u32();
  Formats formats;
  if (!read_formats(reader, formats)) return false;
  if (!read_parameters(reader, whole, body_bytes, formats, call.arguments)) return false;
  call.result = ResultFormats::Rule::unknown;
  if (!whole) return true;
  const uint16_t result = reader.u16();
  if (!reader.done() || result > kFormatBinary) return false;
  call.result = result == kFormatBinary ? ResultFormats::Rule::all_binary : ResultFormats::Rule::all_text;
  return true;
}

}  // namespace sluice::postgres
