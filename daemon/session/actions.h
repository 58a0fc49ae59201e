// What a machine wants done, in order: the output of one step. The pump executes it and knows nothing of the protocol.
// Lifetime: one Actions per worker, cleared before each step. Borrowed pieces point into the step's input or into
// memory of the machine and stay valid until the step's actions are executed; the pump copies what the socket does not
// take at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "policies/rules/decision.h"

namespace sluice::session {

enum class Side : uint8_t { client, server };

enum class CloseReason : uint8_t {
  none,
  finished,
  client_left,
  server_left,
  protocol_violation,
  refused,
  limit_exceeded,
  timeout,
  killed,
  shutdown,
  log_unavailable,
  internal_error,
};
[[nodiscard]] std::string_view to_string(CloseReason reason);

class Actions {
 public:
  struct Piece {
    const uint8_t* data;
    size_t size;
  };

  // Bytes for the client. Neighbouring borrowed pieces are joined, so that a read passes on as one write.
  void to_client(std::span<const uint8_t> bytes) { append(client_, bytes); }
  void to_client_copy(std::span<const uint8_t> bytes) { append(client_, keep(bytes)); }

  // Bytes for the server: only with a permit.
  void to_server(std::span<const uint8_t> bytes, const policies::Permit&) { append(server_, bytes); }
  void to_server_copy(std::span<const uint8_t> bytes, const policies::Permit&) { append(server_, keep(bytes)); }

  // End the session once what stands before is delivered (bounded by the linger time-out). The first reason stays.
  void close(CloseReason reason, std::string_view detail) {
    if (close_reason_ != CloseReason::none) return;
    close_reason_ = reason;
    close_detail_ = detail;
  }

  [[nodiscard]] const std::vector<Piece>& client() const { return client_; }
  [[nodiscard]] const std::vector<Piece>& server() const { return server_; }
  [[nodiscard]] CloseReason close_reason() const { return close_reason_; }
  [[nodiscard]] const std::string& close_detail() const { return close_detail_; }
  void clear() {
    client_.clear();
    server_.clear();
    kept_.clear();
    close_reason_ = CloseReason::none;
    close_detail_.clear();
  }

 private:
  static void append(std::vector<Piece>& pieces, std::span<const uint8_t> bytes) {
    if (bytes.empty()) return;
    if (!pieces.empty() && pieces.back().data + pieces.back().size == bytes.data()) {
      pieces.back().size += bytes.size();
    } else {
      pieces.push_back({bytes.data(), bytes.size()});
    }
  }
  std::span<const uint8_t> keep(std::span<const uint8_t> bytes) {
    if (bytes.empty()) return {};
    kept_.push_back(std::make_unique_for_overwrite<uint8_t[]>(bytes.size()));
    std::memcpy(kept_.back().get(), bytes.data(), bytes.size());
    return {kept_.back().get(), bytes.size()};
  }

  std::vector<Piece> client_;
  std::vector<Piece> server_;
  std::vector<std::unique_ptr<uint8_t[]>> kept_;
  CloseReason close_reason_ = CloseReason::none;
  std::string close_detail_;
};

}  // namespace sluice::session
