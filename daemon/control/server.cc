#include "daemon/control/server.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include <spdlog/spdlog.h>
#include <boost/beast/core/flat_static_buffer.hpp>
#include <boost/beast/http.hpp>

#include "daemon/control/connection_pool.h"
#include "daemon/control/listen_socket.h"
#include "daemon/control/peer.h"
#include "daemon/control/routes.h"
#include "daemon/control/socket_stream.h"
#include "daemon/control/views.h"

namespace sluice::control {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;

constexpr unsigned kHttpVersion = 11;
constexpr int kBacklog = 64;

const char* content_type_of(ReplyForm form) {
  switch (form) {
    case ReplyForm::json:
      return "application/json";
    case ReplyForm::lines:
      return "application/x-ndjson";
    case ReplyForm::metrics:
      return kMetricsContentType;
  }
  return "application/json";
}

void send_reply(SocketStream& stream, const ServerOptions& options, const ControlReply& reply) {
  http::response<http::string_body> response(static_cast<http::status>(reply.status), kHttpVersion);
  response.set(http::field::content_type, content_type_of(reply.form));
  response.keep_alive(false);
  response.body() = reply.body;
  if (reply.form == ReplyForm::json) response.body() += '\n';
  response.prepare_payload();
  stream.set_timeout(options.write_timeout);
  error_code ec;
  http::write(stream, response, ec);  // a client that left before its answer is no news
}

// Lines as HTTP chunks. A break half-way ends the connection without the last chunk, so the reader knows that it is not
// whole.
class ChunkedLines final : public LineSink {
 public:
  ChunkedLines(SocketStream& stream, const ServerOptions& options) : stream_(stream), options_(options) {}

  bool line(std::string_view text) override {
    buffer_.append(text);
    buffer_.push_back('\n');
    return buffer_.size() < kStreamChunkBytes || flush();
  }

  bool flush() override {
    if (!begin()) return false;
    if (buffer_.empty()) return true;
    const bool sent = write(http::make_chunk(boost::asio::buffer(buffer_)));
    buffer_.clear();
    return sent;
  }

  bool pause(std::chrono::milliseconds time) override { return stream_.wait_while_connected(time); }

  void finish() {
    if (flush()) (void)write(http::make_chunk_last());
  }

 private:
  bool begin() {
    if (begun_) return true;
    begun_ = true;
    http::response<http::empty_body> response(http::status::ok, kHttpVersion);
    response.set(http::field::content_type, "application/x-ndjson");
    response.keep_alive(false);
    response.chunked(true);
    http::response_serializer<http::empty_body> serializer(response);
    stream_.set_timeout(options_.write_timeout);
    error_code ec;
    http::write_header(stream_, serializer, ec);
    return !ec;
  }

  template <typename Buffers>
  bool write(const Buffers& buffers) {
    stream_.set_timeout(options_.write_timeout);
    error_code ec;
    boost::asio::write(stream_, buffers, ec);
    return !ec;
  }

  SocketStream& stream_;
  const ServerOptions& options_;
  std::string buffer_;
  bool begun_ = false;
};

void refuse_request(SocketStream& stream, const ServerOptions& options, unsigned status, std::string_view sentence) {
  send_reply(stream, options, {status, to_line(Json{{"error", sentence}}), ReplyForm::json});
}

void serve(SocketStream& stream, const ServerOptions& options, Operations& operations) {
  boost::beast::flat_static_buffer<kRequestHeaderBytesMax> buffer;
  http::request_parser<http::string_body> parser;
  parser.header_limit(kRequestHeaderBytesMax);
  parser.body_limit(kRequestBodyBytesMax);
  stream.set_timeout(options.request_timeout);
  error_code ec;
  http::read(stream, buffer, parser, ec);
  if (ec == http::error::end_of_stream || ec == boost::asio::error::operation_aborted) return;
  if (ec == boost::asio::error::timed_out)
    return refuse_request(stream, options, 408, "the request did not arrive in time");
  if (ec) return refuse_request(stream, options, 400, "not a request: " + ec.message());

  Result<Caller> caller = identify_peer(stream.fd(), options.executable_path);
  if (!caller)
    return refuse_request(stream, options, 403, "the caller cannot be identified: " + caller.error().message);
  const auto& message = parser.get();
  std::optional<RequestTarget> target = parse_request_target({message.target().data(), message.target().size()});
  if (!target) return refuse_request(stream, options, 400, "the request target cannot be read");

  ControlRequest request;
  request.method = std::string(message.method_string());
  request.target = std::move(*target);
  request.may_change = may_change(*caller);
  request.caller = std::move(*caller);
  if (!is_stream(request)) return send_reply(stream, options, answer(request, operations));

  ChunkedLines lines(stream, options);
  const Result<std::optional<ControlReply>> result = control::stream(request, operations, lines);
  if (!result) {
    if (!stream.peer_gone())
      spdlog::info("control: a stream of events ends before its end: {}", result.error().message);
    return;
  }
  if (result->has_value()) return send_reply(stream, options, **result);
  lines.finish();
}

class Server final : public ControlServer {
 public:
  Server(const ServerOptions& options, Operations& operations, UniqueFd listener, UniqueFd cancel)
      : options_(options),
        pool_(
            "control", std::move(listener), std::move(cancel), options.clients_max,
            [this, &operations](SocketStream& stream) { serve(stream, options_, operations); },
            // The answer fits the socket's empty buffer, so this does not hold up the acceptor.
            [this](SocketStream& stream) { refuse_request(stream, options_, 503, "too many control connections"); }) {}

  ~Server() override { ::unlink(options_.socket_path.c_str()); }

 private:
  const ServerOptions options_;
  ConnectionPool pool_;
};

}  // namespace

Result<UniqueFd> bind_control_socket(const std::string& path, uid_t owner) {
  return bind_unix(path, owner);
}

Result<std::unique_ptr<ControlServer>> ControlServer::start(const ServerOptions& options, Operations& operations,
                                                            UniqueFd bound) {
  Result<UniqueFd> listener = bound.valid() ? std::move(bound) : bind_unix(options.socket_path, geteuid());
  if (!listener) return tl::unexpected<Error>(listener.error());
  if (::listen(listener->get(), kBacklog) < 0) return fail_errno("listen on " + options.socket_path, errno);
  UniqueFd cancel(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!cancel.valid()) return fail_errno("control server: eventfd", errno);
  return std::make_unique<Server>(options, operations, std::move(*listener), std::move(cancel));
}

}  // namespace sluice::control
