#include "daemon/interception/tcp_sockets.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <sstream>

#include "daemon/base/unique_fd.h"

#ifndef INET_DIAG_CGROUP_ID
#define INET_DIAG_CGROUP_ID 21
#endif

namespace sluice::interception {
namespace {

constexpr int kAnswerSeconds = 1;  // the kernel answers at once
constexpr size_t kAnswerBytes = 64 * 1024;
constexpr uint64_t kAnyCookie = UINT64_MAX;  // INET_DIAG_NOCOOKIE twice: the kernel does not compare it
constexpr size_t kProcFileBytesMax = 64u << 20;
// States that can carry bytes, in one direction at least (net/tcp_states.h); a half-closed client still reads.
constexpr uint32_t kStates =
    1u << TCP_ESTABLISHED | 1u << TCP_SYN_SENT | 1u << TCP_FIN_WAIT1 | 1u << TCP_FIN_WAIT2 | 1u << TCP_CLOSE_WAIT;

bool is_mapped(const uint8_t* address) {
  static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return std::memcmp(address, kMapped, sizeof kMapped) == 0;
}

// An endpoint from 4 or 16 bytes in network order; v4-mapped becomes IPv4.
SteeredEndpoint endpoint_of(int family, const uint8_t* bytes, uint16_t port) {
  SteeredEndpoint endpoint;
  endpoint.port = port;
  const bool mapped = family == AF_INET6 && is_mapped(bytes);
  endpoint.family = mapped ? AF_INET : family;
  endpoint.prefix_bits = endpoint.family == AF_INET ? 32 : 128;
  std::memcpy(endpoint.address, bytes + (mapped ? 12 : 0), endpoint.family == AF_INET ? 4 : 16);
  return endpoint;
}

struct Request {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

// 0 or an errno. sendmsg and recvmsg, because the helper process may make no other calls on sockets.
int send_request(int socket, Request& request) {
  request.header.nlmsg_len = sizeof request;
  sockaddr_nl kernel = {};
  kernel.nl_family = AF_NETLINK;
  iovec piece = {&request, sizeof request};
  msghdr message = {};
  message.msg_name = &kernel;
  message.msg_namelen = sizeof kernel;
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  const ssize_t sent = ::sendmsg(socket, &message, 0);
  return sent == static_cast<ssize_t>(sizeof request) ? 0 : sent < 0 ? errno : EIO;
}

ssize_t receive(int socket, void* memory, size_t size) {
  iovec piece = {memory, size};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  for (;;) {
    const ssize_t got = ::recvmsg(socket, &message, 0);
    if (got >= 0 || errno != EINTR) return got;
  }
}

void take(const nlmsghdr* message, std::vector<TcpSocket>& out) {
  const auto* diag = static_cast<const inet_diag_msg*>(NLMSG_DATA(message));
  if (diag->idiag_inode == 0) return;  // only the kernel holds it: it is on its way out
  TcpSocket socket;
  const int family = diag->idiag_family;
  const auto* source = reinterpret_cast<const uint8_t*>(diag->id.idiag_src);
  const auto* destination = reinterpret_cast<const uint8_t*>(diag->id.idiag_dst);
  socket.local = endpoint_of(family, source, ntohs(diag->id.idiag_sport));
  socket.remote = endpoint_of(family, destination, ntohs(diag->id.idiag_dport));
  socket.mapped = family == AF_INET6 && socket.remote.family == AF_INET;
  socket.cookie = uint64_t{diag->id.idiag_cookie[1]} << 32 | diag->id.idiag_cookie[0];
  socket.inode = diag->idiag_inode;
  socket.uid = diag->idiag_uid;
  socket.interface = diag->id.idiag_if;
  auto left = static_cast<unsigned>(message->nlmsg_len - NLMSG_LENGTH(sizeof *diag));
  const auto* attribute = reinterpret_cast<const rtattr*>(diag + 1);
  for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
    if (attribute->rta_type == INET_DIAG_CGROUP_ID && RTA_PAYLOAD(attribute) >= sizeof socket.cgroup_id)
      std::memcpy(&socket.cgroup_id, RTA_DATA(attribute), sizeof socket.cgroup_id);
  }
  out.push_back(socket);
}

// One dump of one family.
Status dump(int socket, uint8_t family, std::vector<TcpSocket>& out) {
  Request request = {};
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.body.sdiag_family = family;
  request.body.sdiag_protocol = IPPROTO_TCP;
  request.body.idiag_states = kStates;
  if (const int error = send_request(socket, request); error != 0) return fail_errno("ask sock_diag", error);
  alignas(nlmsghdr) static thread_local char answer[kAnswerBytes];
  for (;;) {
    const ssize_t got = receive(socket, answer, sizeof answer);
    if (got <= 0) return fail_errno("read sock_diag's answer", got == 0 ? EPROTO : errno);
    auto left = static_cast<unsigned>(got);
    for (const auto* message = reinterpret_cast<const nlmsghdr*>(answer); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_type == NLMSG_DONE) return {};
      if (message->nlmsg_type == NLMSG_ERROR) {
        const auto* error = static_cast<const nlmsgerr*>(NLMSG_DATA(message));
        return fail_errno("list sockets", -error->error);
      }
      if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY || message->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg)))
        continue;
      if (out.size() >= kSocketsListedMax) return fail("more TCP connections than can be looked at");
      take(message, out);
    }
  }
}

Result<std::string> read_proc_file(const std::string& path) {
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return fail_errno("open " + path, errno);
  std::string text;
  char chunk[32 * 1024];
  for (;;) {
    const ssize_t got = ::read(file.get(), chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("read " + path, errno);
    if (got == 0) return text;
    if (text.size() > kProcFileBytesMax) return fail(path + ": more than can be looked at");
    text.append(chunk, static_cast<size_t>(got));
  }
}

bool parse_hex(std::string_view text, uint64_t& value) {
  const char* const end = text.data() + text.size();
  return !text.empty() && std::from_chars(text.data(), end, value, 16).ptr == end;
}

// "0100007F:1F90": words of the address as the CPU holds them in memory, and the port as a number.
bool parse_proc_endpoint(std::string_view text, int family, SteeredEndpoint& endpoint) {
  const size_t words = family == AF_INET ? 1 : 4;
  if (text.size() != words * 8 + 5 || text[words * 8] != ':') return false;
  uint32_t address[4] = {};
  for (size_t i = 0; i < words; ++i) {
    uint64_t word = 0;
    if (!parse_hex(text.substr(i * 8, 8), word)) return false;
    address[i] = static_cast<uint32_t>(word);
  }
  uint64_t port = 0;
  if (!parse_hex(text.substr(words * 8 + 1), port)) return false;
  endpoint = endpoint_of(family, reinterpret_cast<const uint8_t*>(address), static_cast<uint16_t>(port));
  return true;
}

}  // namespace

Result<UniqueFd> open_sock_diag() {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!socket.valid()) return fail_errno("open sock_diag", errno);
  const timeval wait{kAnswerSeconds, 0};
  if (setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) != 0)
    return fail_errno("sock_diag: SO_RCVTIMEO", errno);
  return socket;
}

Result<std::vector<TcpSocket>> list_tcp_sockets() {
  auto socket = open_sock_diag();
  if (!socket) return tl::unexpected(socket.error());
  std::vector<TcpSocket> sockets;
  for (const uint8_t family : {static_cast<uint8_t>(AF_INET), static_cast<uint8_t>(AF_INET6)}) {
    if (Status dumped = dump(socket->get(), family, sockets); !dumped) return tl::unexpected(dumped.error());
  }
  return sockets;
}

Result<std::vector<TcpSocket>> parse_proc_net_tcp(std::string_view text, int family) {
  std::vector<TcpSocket> sockets;
  for (size_t start = text.find('\n'); start != std::string_view::npos && start + 1 < text.size();) {
    const size_t end = std::min(text.find('\n', start + 1), text.size());
    std::istringstream line{std::string(text.substr(start + 1, end - start - 1))};
    start = end;
    std::string number, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
    if (!(line >> number >> local >> remote >> state >> queues >> timer >> retransmits >> uid >> timeout >> inode))
      return fail("a line of /proc/net/tcp has too few fields");
    TcpSocket socket;
    uint64_t state_number = 0;
    const auto number_of = [](const std::string& word, auto& value) {
      const char* const stop = word.data() + word.size();
      return std::from_chars(word.data(), stop, value).ptr == stop;
    };
    if (!parse_proc_endpoint(local, family, socket.local) || !parse_proc_endpoint(remote, family, socket.remote) ||
        !parse_hex(state, state_number) || !number_of(uid, socket.uid) || !number_of(inode, socket.inode)) {
      return fail("a line of /proc/net/tcp cannot be read");
    }
    socket.mapped = family == AF_INET6 && socket.remote.family == AF_INET;
    if (state_number > 31 || (kStates >> state_number & 1) == 0 || socket.inode == 0) continue;
    if (sockets.size() >= kSocketsListedMax) return fail("more TCP connections than can be looked at");
    sockets.push_back(socket);
  }
  return sockets;
}

Result<std::vector<TcpSocket>> list_tcp_sockets_of(const std::string& proc_net_directory) {
  std::vector<TcpSocket> all;
  for (const auto& [name, family] : {std::pair("/tcp", AF_INET), {"/tcp6", AF_INET6}}) {
    auto text = read_proc_file(proc_net_directory + name);
    if (!text) return tl::unexpected(text.error());
    auto some = parse_proc_net_tcp(*text, family);
    if (!some) return tl::unexpected(some.error());
    all.insert(all.end(), some->begin(), some->end());
  }
  return all;
}

namespace {

// A request about one socket, named by everything that tells it from others.
Request request_about(const TcpSocket& target) {
  Request request = {};
  const bool v4 = target.remote.family == AF_INET;
  request.body.sdiag_family = v4 && !target.mapped ? AF_INET : AF_INET6;
  request.body.sdiag_protocol = IPPROTO_TCP;
  request.body.id.idiag_sport = htons(target.local.port);
  request.body.id.idiag_dport = htons(target.remote.port);
  const auto put = [&](const SteeredEndpoint& endpoint, void* where) {
    auto* bytes = static_cast<uint8_t*>(where);
    if (target.mapped) bytes[10] = bytes[11] = 0xff;
    std::memcpy(bytes + (target.mapped ? 12 : 0), endpoint.address, v4 ? 4 : 16);
  };
  put(target.local, request.body.id.idiag_src);
  put(target.remote, request.body.id.idiag_dst);
  request.body.id.idiag_if = target.interface;
  request.body.id.idiag_cookie[0] = static_cast<uint32_t>(target.cookie);
  request.body.id.idiag_cookie[1] = static_cast<uint32_t>(target.cookie >> 32);
  return request;
}

// The kernel looks for a connection first, and then for whoever listens at its local end: a listener must not be
// taken for one. 0 or an errno.
int check_is_connection(int sock_diag, const TcpSocket& target) {
  Request request = request_about(target);
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.body.idiag_states = ~0u;
  if (const int error = send_request(sock_diag, request); error != 0) return error;
  struct {
    nlmsghdr header;
    union {
      nlmsgerr error;
      inet_diag_msg socket;
    };
    char rest[1024];
  } answer = {};
  const ssize_t got = receive(sock_diag, &answer, sizeof answer);
  if (got < 0) return errno;
  if (got >= static_cast<ssize_t>(NLMSG_LENGTH(sizeof(nlmsgerr))) && answer.header.nlmsg_type == NLMSG_ERROR)
    return answer.error.error != 0 ? -answer.error.error : EPROTO;
  if (got < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(inet_diag_msg))) ||
      answer.header.nlmsg_type != SOCK_DIAG_BY_FAMILY)
    return EPROTO;
  const bool connected = answer.socket.idiag_state < 32 && (kStates >> answer.socket.idiag_state & 1) != 0 &&
                         ntohs(answer.socket.id.idiag_dport) == target.remote.port;
  return connected ? 0 : ENOENT;
}

}  // namespace

int destroy_tcp_socket(int sock_diag, const TcpSocket& target) {
  if (target.mapped && target.remote.family != AF_INET) return EINVAL;
  if (target.cookie == 0 || target.cookie == kAnyCookie) return EINVAL;
  if (const int error = check_is_connection(sock_diag, target); error != 0) return error;
  Request request = request_about(target);
  request.header.nlmsg_type = SOCK_DESTROY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  if (const int error = send_request(sock_diag, request); error != 0) return error;
  struct {
    nlmsghdr header;
    nlmsgerr error;
    char rest[256];
  } answer = {};
  const ssize_t got = receive(sock_diag, &answer, sizeof answer);
  if (got < 0) return errno;
  if (got < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(nlmsgerr))) || answer.header.nlmsg_type != NLMSG_ERROR)
    return EPROTO;
  return -answer.error.error;
}

Status destroyed(int error_number) {
  switch (error_number) {
    case 0:
      return {};
    case EOPNOTSUPP:
      return fail("this kernel cannot end connections of others (it is built without CONFIG_INET_DIAG_DESTROY)");
    case ENOENT:
      return fail("the connection is gone");
    default:
      return fail_errno("end the connection", error_number);
  }
}

}  // namespace sluice::interception
