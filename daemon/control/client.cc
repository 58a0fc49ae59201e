#include "daemon/control/client.h"

#include <array>
#include <limits>

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include "daemon/control/socket_stream.h"

namespace sluice::control {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;

constexpr unsigned kHttpVersion = 11;
constexpr size_t kReadBytes = 64 * 1024;

tl::unexpected<ClientError> unreachable(std::string message) {
  return tl::unexpected<ClientError>(ClientError{ClientError::Kind::unreachable, std::move(message)});
}
tl::unexpected<ClientError> broken(std::string message) {
  return tl::unexpected<ClientError>(ClientError{ClientError::Kind::broken, std::move(message)});
}

error_code send_request(SocketStream& stream, std::string_view method, std::string_view target) {
  http::request<http::empty_body> request;
  request.version(kHttpVersion);
  request.method_string({method.data(), method.size()});
  request.target({target.data(), target.size()});
  request.set(http::field::host, "sluice");
  request.keep_alive(false);
  request.prepare_payload();
  error_code ec;
  http::write(stream, request, ec);
  return ec;
}

// Cuts lines out of pieces.
class LineCutter {
 public:
  explicit LineCutter(const std::function<bool(std::string_view)>& line) : line_(line) {}

  // False where the receiver wants no more, or a line is too long (see too_long()).
  bool take(std::string_view piece) {
    while (!piece.empty()) {
      const size_t newline = piece.find('\n');
      const std::string_view part = piece.substr(0, newline);
      if (partial_.size() + part.size() > kStreamLineBytesMax) {
        too_long_ = true;
        return false;
      }
      if (newline == std::string_view::npos) {
        partial_.append(part);
        return true;
      }
      piece.remove_prefix(newline + 1);
      bool more = true;
      if (partial_.empty()) {
        more = line_(part);
      } else {
        partial_.append(part);
        more = line_(partial_);
        partial_.clear();
      }
      if (!more) return false;
    }
    return true;
  }
  [[nodiscard]] bool too_long() const { return too_long_; }

 private:
  const std::function<bool(std::string_view)>& line_;
  std::string partial_;
  bool too_long_ = false;
};

// The body of a refusal, whole.
ClientReply read_refusal(SocketStream& stream, boost::beast::flat_buffer& buffer,
                         http::response_parser<http::buffer_body>&& started, error_code& ec) {
  ClientReply reply{started.get().result_int(), {}};
  std::array<char, kReadBytes> memory;
  while (!started.is_done() && reply.body.size() < kReplyBytesMax) {
    started.get().body().data = memory.data();
    started.get().body().size = memory.size();
    http::read(stream, buffer, started, ec);
    if (ec == http::error::need_buffer) ec = {};
    if (ec) break;
    reply.body.append(memory.data(), memory.size() - started.get().body().size);
  }
  return reply;
}

}  // namespace

tl::expected<ClientReply, ClientError> ControlClient::call(std::string_view method, std::string_view target) const {
  Result<UniqueFd> socket = connect_unix(path_);
  if (!socket) return unreachable(socket.error().message);
  SocketStream stream(std::move(*socket), -1);
  stream.set_timeout(kReplyTimeout);
  // A refusal can come before the request is read to its end; so a failed write does not mean that there is no answer.
  const error_code write_error = send_request(stream, method, target);

  boost::beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(kReplyBytesMax);
  error_code ec;
  http::read(stream, buffer, parser, ec);
  if (ec) return broken(path_ + ": " + (write_error ? write_error : ec).message());
  return ClientReply{parser.get().result_int(), parser.get().body()};
}

tl::expected<ClientReply, ClientError> ControlClient::stream(std::string_view target,
                                                             const std::function<bool(std::string_view)>& line) const {
  Result<UniqueFd> socket = connect_unix(path_);
  if (!socket) return unreachable(socket.error().message);
  SocketStream stream(std::move(*socket), -1);
  stream.set_timeout(kReplyTimeout);
  const error_code write_error = send_request(stream, "GET", target);

  boost::beast::flat_buffer buffer;
  http::response_parser<http::buffer_body> parser;
  parser.body_limit(std::numeric_limits<uint64_t>::max());  // boost::none means zero to Boost 1.74
  error_code ec;
  // A search that finds little for a long time sends nothing meanwhile: no deadline from here on, the socket tells when
  // it ends.
  stream.set_deadline(SocketStream::Clock::time_point::max());
  http::read_header(stream, buffer, parser, ec);
  if (ec) return broken(path_ + ": " + (write_error ? write_error : ec).message());
  if (parser.get().result() != http::status::ok) {
    ClientReply refusal = read_refusal(stream, buffer, std::move(parser), ec);
    if (ec) return broken(path_ + ": " + ec.message());
    return refusal;
  }

  LineCutter cutter(line);
  std::array<char, kReadBytes> memory;
  while (!parser.is_done()) {
    parser.get().body().data = memory.data();
    parser.get().body().size = memory.size();
    http::read_some(stream, buffer, parser, ec);
    if (ec == http::error::need_buffer) ec = {};
    if (ec) return broken("the daemon ended the stream before its end: " + ec.message());
    if (!cutter.take({memory.data(), memory.size() - parser.get().body().size})) {
      if (cutter.too_long())
        return broken("a line of the stream is longer than " + std::to_string(kStreamLineBytesMax) + " bytes");
      return ClientReply{200, {}};
    }
  }
  return ClientReply{200, {}};
}

}  // namespace sluice::control
