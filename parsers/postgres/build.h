// Messages that Sluice says itself: errors to a client, and what stands in for a refused command towards a server.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "parsers/postgres/frontend.h"

namespace sluice::postgres {

enum class Severity : uint8_t { error, fatal };

// Fields S, V, C, M: what every client understands. NULs in the message are cut off with what follows.
[[nodiscard]] std::vector<uint8_t> build_error(Severity severity, std::string_view sqlstate, std::string_view message);

[[nodiscard]] std::vector<uint8_t> build_query(std::string_view text);
[[nodiscard]] std::vector<uint8_t> build_parse(std::string_view name, std::string_view text);
[[nodiscard]] std::vector<uint8_t> build_bind(std::string_view portal, std::string_view statement);
[[nodiscard]] std::vector<uint8_t> build_describe(NameKind kind, std::string_view name);
[[nodiscard]] std::vector<uint8_t> build_execute(std::string_view portal);
[[nodiscard]] std::vector<uint8_t> build_function_call(uint32_t function_oid);
[[nodiscard]] std::vector<uint8_t> build_copy_fail(std::string_view message);
// `key` is that of BackendKeyData: process id and secret.
[[nodiscard]] std::vector<uint8_t> build_cancel_request(std::span<const uint8_t> key);
// A start-up message with these parameters.
[[nodiscard]] std::vector<uint8_t> build_startup(
    uint16_t minor, std::span<const std::pair<std::string_view, std::string_view>> parameters);
[[nodiscard]] std::vector<uint8_t> build_negotiate_version(uint16_t minor, std::span<const std::string> options);
// The header of a CopyData message; its `bytes` of data follow.
[[nodiscard]] std::vector<uint8_t> build_copy_data_header(size_t bytes);
[[nodiscard]] std::vector<uint8_t> build_flush();

}  // namespace sluice::postgres
