// Bodies of the client's messages. Each decoder takes a whole body (header removed) and answers nullopt where it is
// malformed: a string without its end, a count that does not fit, bytes behind the last field. Results borrow from the
// body.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace sluice::postgres {

struct Query {
  std::string_view text;
};
struct Parse {
  std::string_view name;
  std::string_view text;
  std::span<const uint8_t> parameter_types;  // big-endian OIDs, four bytes each

  [[nodiscard]] std::vector<uint32_t> type_oids() const;
};
enum class NameKind : uint8_t { statement, portal };
// Describe and Close.
struct NamedTarget {
  NameKind kind = NameKind::statement;
  std::string_view name;
};
struct Execute {
  std::string_view portal;
  uint32_t row_limit = 0;
};

// A bind value or function argument. Of a value that has not fully arrived the beginning is there, with its announced
// size.
struct Parameter {
  std::span<const uint8_t> bytes;
  uint64_t bytes_total = 0;
  bool is_null = false;
  bool binary = false;
  bool arrived = true;  // false: nothing of it is at hand, not even its size
};

// Which formats the columns of a result will have.
struct ResultFormats {
  enum class Rule : uint8_t { all_text, all_binary, per_column, unknown } rule = Rule::all_text;
  std::vector<bool> binary;  // per_column
};

// Reused between messages: the vectors keep their memory.
struct Bind {
  std::string_view portal;
  std::string_view statement;
  std::vector<Parameter> parameters;
  ResultFormats results;
};
struct FunctionCall {
  uint32_t function_oid = 0;
  std::vector<Parameter> arguments;
  ResultFormats::Rule result = ResultFormats::Rule::all_text;
};

[[nodiscard]] std::optional<Query> decode_query(std::span<const uint8_t> body);
[[nodiscard]] std::optional<Parse> decode_parse(std::span<const uint8_t> body);
[[nodiscard]] std::optional<NamedTarget> decode_named_target(std::span<const uint8_t> body);
[[nodiscard]] std::optional<Execute> decode_execute(std::span<const uint8_t> body);

// `head` is the beginning of a body of `body_bytes`; equal sizes mean the whole. With a mere beginning, names, formats
// and counts must be within it, values may be missing, and the result formats are unknown. False: malformed, or the
// beginning is too short.
[[nodiscard]] bool decode_bind(std::span<const uint8_t> head, uint64_t body_bytes, Bind& bind);
[[nodiscard]] bool decode_function_call(std::span<const uint8_t> head, uint64_t body_bytes, FunctionCall& call);

}  // namespace sluice::postgres
