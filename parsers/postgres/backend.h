// Bodies of the server's messages. As for the client's: whole bodies in, nullopt (or false) where malformed, results
// borrow. DataRow has no decoder here: its values are read in place by the session machine, and nothing is built per
// row.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "parsers/postgres/protocol.h"

namespace sluice::postgres {

struct ColumnDescription {
  std::string_view name;
  uint32_t table_oid = 0;
  uint16_t attribute = 0;
  uint32_t type_oid = 0;
  bool binary = false;
};

// A field of an ErrorResponse or NoticeResponse: its code (S, V, C, M, D …) and its text.
struct ReportField {
  char code = 0;
  std::string_view text;
};

struct CopyResponse {
  bool binary = false;   // overall; every column says the same, or the message is malformed
  uint16_t columns = 0;  // fields of a row
};

struct ParameterSetting {
  std::string_view name;
  std::string_view value;
};

struct Notification {
  std::string_view channel;
  std::string_view payload;
};

struct FunctionResult {
  bool is_null = false;
  std::span<const uint8_t> bytes;
};

enum class TransactionStatus : uint8_t { idle = 'I', in_transaction = 'T', failed = 'E' };

[[nodiscard]] bool decode_row_description(std::span<const uint8_t> body, std::vector<ColumnDescription>& columns);
[[nodiscard]] bool decode_report(std::span<const uint8_t> body, std::vector<ReportField>& fields);
[[nodiscard]] bool decode_parameter_description(std::span<const uint8_t> body, std::vector<uint32_t>& type_oids);
[[nodiscard]] std::optional<Auth> decode_authentication(std::span<const uint8_t> body);
[[nodiscard]] std::optional<CopyResponse> decode_copy_response(std::span<const uint8_t> body);
[[nodiscard]] std::optional<ParameterSetting> decode_parameter_status(std::span<const uint8_t> body);
[[nodiscard]] std::optional<Notification> decode_notification(std::span<const uint8_t> body);
[[nodiscard]] std::optional<FunctionResult> decode_function_result(std::span<const uint8_t> body);
[[nodiscard]] std::optional<TransactionStatus> decode_ready_for_query(std::span<const uint8_t> body);
// The newest minor version that the server speaks, and how many options it does not know.
struct NegotiatedVersion {
  uint32_t minor = 0;
  uint32_t unknown_options = 0;
};
[[nodiscard]] std::optional<NegotiatedVersion> decode_negotiate_version(std::span<const uint8_t> body);
// Rows named at the end of a command tag ("INSERT 0 5", "SELECT 3"); 0 where it names none. nullopt: not a string.
[[nodiscard]] std::optional<uint64_t> decode_command_complete(std::span<const uint8_t> body);

// Text of the field with this code; empty where there is none.
[[nodiscard]] std::string_view report_field(const std::vector<ReportField>& fields, char code);

}  // namespace sluice::postgres
