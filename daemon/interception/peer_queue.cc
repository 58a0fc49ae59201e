#include "daemon/interception/peer_queue.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace sluice::interception {
namespace {

constexpr timeval kPatience = {1, 0};  // the kernel answers within the call; a lost answer must not stop a worker
constexpr size_t kAnswerBytesMax = 4'096;

struct Question {
  nlmsghdr header;
  inet_diag_req_v2 request;
};

// The addresses as the other end has them. False where `fd` is not a connected TCP socket.
bool ask_for_peer(int fd, inet_diag_req_v2& request) {
  sockaddr_storage own = {};
  sockaddr_storage peer = {};
  socklen_t own_size = sizeof(own);
  socklen_t peer_size = sizeof(peer);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&own), &own_size) != 0) return false;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peer_size) != 0) return false;
  request.sdiag_family = static_cast<uint8_t>(own.ss_family);
  request.sdiag_protocol = IPPROTO_TCP;
  request.idiag_ext = 1u << (INET_DIAG_SKMEMINFO - 1);
  request.idiag_states = UINT32_MAX;
  request.id.idiag_cookie[0] = request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  if (own.ss_family == AF_INET) {
    const auto& from = reinterpret_cast<const sockaddr_in&>(peer);
    const auto& to = reinterpret_cast<const sockaddr_in&>(own);
    request.id.idiag_src[0] = from.sin_addr.s_addr;
    request.id.idiag_dst[0] = to.sin_addr.s_addr;
    request.id.idiag_sport = from.sin_port;
    request.id.idiag_dport = to.sin_port;
    return true;
  }
  if (own.ss_family != AF_INET6) return false;
  const auto& from = reinterpret_cast<const sockaddr_in6&>(peer);
  const auto& to = reinterpret_cast<const sockaddr_in6&>(own);
  std::memcpy(request.id.idiag_src, &from.sin6_addr, sizeof(request.id.idiag_src));
  std::memcpy(request.id.idiag_dst, &to.sin6_addr, sizeof(request.id.idiag_dst));
  request.id.idiag_sport = from.sin6_port;
  request.id.idiag_dport = to.sin6_port;
  return true;
}

// inet_diag(7): the attribute INET_DIAG_SKMEMINFO is an array of 32-bit numbers.
std::optional<uint32_t> received_bytes_of(const nlmsghdr* header) {
  if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY || header->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg)))
    return std::nullopt;
  const auto* answer = static_cast<const inet_diag_msg*>(NLMSG_DATA(header));
  auto left = static_cast<int>(header->nlmsg_len - NLMSG_LENGTH(sizeof(inet_diag_msg)));
  for (const auto* entry = reinterpret_cast<const rtattr*>(answer + 1); RTA_OK(entry, left);
       entry = RTA_NEXT(entry, left)) {
    if (entry->rta_type != INET_DIAG_SKMEMINFO) continue;
    if (RTA_PAYLOAD(entry) < (SK_MEMINFO_RMEM_ALLOC + 1) * sizeof(uint32_t)) return std::nullopt;
    uint32_t bytes = 0;
    std::memcpy(&bytes, static_cast<const uint32_t*>(RTA_DATA(entry)) + SK_MEMINFO_RMEM_ALLOC, sizeof(bytes));
    return bytes;
  }
  return std::nullopt;
}

}  // namespace

Status PeerQueue::open() {
  netlink_.reset(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!netlink_.valid()) return fail_errno("open sock_diag", errno);
  if (setsockopt(netlink_.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience)) != 0)
    return fail_errno("set up sock_diag", errno);
  return {};
}

std::optional<uint32_t> PeerQueue::queued_at_peer(int fd) const {
  Question question = {};
  question.header.nlmsg_len = sizeof(question);
  question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.header.nlmsg_flags = NLM_F_REQUEST;
  if (!ask_for_peer(fd, question.request)) return std::nullopt;
  const std::lock_guard<std::mutex> lock(mutex_);
  question.header.nlmsg_seq = ++sequence_;
  sockaddr_nl kernel = {};
  kernel.nl_family = AF_NETLINK;
  if (sendto(netlink_.get(), &question, sizeof(question), 0, reinterpret_cast<sockaddr*>(&kernel), sizeof(kernel)) < 0)
    return std::nullopt;
  alignas(nlmsghdr) std::array<char, kAnswerBytesMax> buffer{};
  for (;;) {
    const ssize_t got = recv(netlink_.get(), buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < static_cast<ssize_t>(sizeof(nlmsghdr))) return std::nullopt;
    const auto* header = reinterpret_cast<const nlmsghdr*>(buffer.data());
    if (header->nlmsg_len > static_cast<size_t>(got)) return std::nullopt;
    if (header->nlmsg_seq != question.header.nlmsg_seq) continue;  // the late answer to an earlier question
    return received_bytes_of(header);
  }
}

}  // namespace sluice::interception
