// The command line's side of the control socket: one request, one answer, or a stream of lines.
// Stateless besides the path; every call makes its own connection. Any thread.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "daemon/base/result.h"

namespace sluice::control {

struct ClientReply {
  unsigned status = 0;
  std::string body;
};

// Why a call gave no reply.
struct ClientError {
  enum class Kind { unreachable, broken } kind = Kind::unreachable;  // broken: it answered, and then not to the end
  std::string message;
};

inline constexpr std::chrono::milliseconds kReplyTimeout{15'000};
inline constexpr uint64_t kReplyBytesMax = 64u << 20;  // a whole reply; streams have no limit
inline constexpr size_t kStreamLineBytesMax = 64u << 20;

class ControlClient {
 public:
  explicit ControlClient(std::string socket_path) : path_(std::move(socket_path)) {}

  // `target` is path and query, already encoded (request_target.h).
  [[nodiscard]] tl::expected<ClientReply, ClientError> call(std::string_view method, std::string_view target) const;

  // GET whose answer comes line by line, for as long as it takes. `line` returning false ends it early. The reply's
  // body is empty where its status is 200; otherwise it is the refusal.
  [[nodiscard]] tl::expected<ClientReply, ClientError> stream(std::string_view target,
                                                              const std::function<bool(std::string_view)>& line) const;

 private:
  std::string path_;
};

}  // namespace sluice::control
