#include "daemon/control/metrics_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <utility>

#include <boost/beast/core/flat_static_buffer.hpp>
#include <boost/beast/http.hpp>

#include "daemon/control/connection_pool.h"
#include "daemon/control/socket_stream.h"

namespace sluice::control {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;

constexpr unsigned kHttpVersion = 11;
constexpr int kBacklog = 32;

// The configuration has validated the form already.
Result<UniqueFd> listen_tcp(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return fail("no port in " + address);
  uint16_t port = 0;
  const char* const end = address.data() + address.size();
  if (std::from_chars(address.data() + colon + 1, end, port).ptr != end) return fail("no port in " + address);
  std::string host = address.substr(0, colon);
  const bool six = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (six) host = host.substr(1, host.size() - 2);
  sockaddr_storage where = {};
  socklen_t size = sizeof(sockaddr_in);
  if (six) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(where);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    size = sizeof(sockaddr_in6);
    if (inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) != 1) return fail("no address in " + address);
  } else {
    auto& v4 = reinterpret_cast<sockaddr_in&>(where);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) != 1) return fail("no address in " + address);
  }
  UniqueFd socket(::socket(where.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return fail_errno("socket", errno);
  const int yes = 1;
  // A restart must not wait for connections of the last scrape to time out.
  if (setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0)
    return fail_errno("SO_REUSEADDR", errno);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&where), size) != 0)
    return fail_errno("bind " + address, errno);
  if (::listen(socket.get(), kBacklog) != 0) return fail_errno("listen on " + address, errno);
  return socket;
}

void reply(SocketStream& stream, const MetricsServerOptions& options, http::status status, const char* content_type,
           std::string body) {
  http::response<http::string_body> response(status, kHttpVersion);
  response.set(http::field::content_type, content_type);
  response.set("X-Content-Type-Options", "nosniff");
  response.keep_alive(false);
  response.body() = std::move(body);
  response.prepare_payload();
  stream.set_timeout(options.write_timeout);
  error_code ec;
  http::write(stream, response, ec);  // a scraper that left before its answer is no news
}

void serve(SocketStream& stream, const MetricsServerOptions& options, Operations& operations) {
  boost::beast::flat_static_buffer<kMetricsRequestBytesMax> buffer;
  http::request_parser<http::empty_body> parser;
  parser.header_limit(kMetricsRequestBytesMax);
  stream.set_timeout(options.request_timeout);
  error_code ec;
  http::read_header(stream, buffer, parser, ec);
  if (ec == http::error::end_of_stream || ec == boost::asio::error::operation_aborted) return;
  constexpr const char* kPlain = "text/plain; charset=utf-8";
  if (ec) return reply(stream, options, http::status::bad_request, kPlain, "not a request\n");
  if (parser.get().method() != http::verb::get)
    return reply(stream, options, http::status::method_not_allowed, kPlain, "this address takes GET\n");
  const auto target = parser.get().target();
  if (target.substr(0, target.find('?')) != "/metrics")
    return reply(stream, options, http::status::not_found, kPlain, "only /metrics is here\n");
  reply(stream, options, http::status::ok, kMetricsContentType, operations.metrics());
}

class Server final : public MetricsServer {
 public:
  Server(const MetricsServerOptions& options, Operations& operations, UniqueFd listener, UniqueFd cancel)
      : options_(options),
        pool_(
            "metrics", std::move(listener), std::move(cancel), options.clients_max,
            [this, &operations](SocketStream& stream) { serve(stream, options_, operations); },
            [this](SocketStream& stream) {
              reply(stream, options_, http::status::service_unavailable, "text/plain", "too many connections\n");
            }) {}

 private:
  const MetricsServerOptions options_;
  ConnectionPool pool_;
};

}  // namespace

Result<std::unique_ptr<MetricsServer>> MetricsServer::start(const MetricsServerOptions& options,
                                                            Operations& operations) {
  Result<UniqueFd> listener = listen_tcp(options.address);
  if (!listener) return tl::unexpected<Error>(listener.error());
  UniqueFd cancel(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!cancel.valid()) return fail_errno("eventfd", errno);
  return std::make_unique<Server>(options, operations, std::move(*listener), std::move(cancel));
}

}  // namespace sluice::control
