#include "daemon/privilege/channel.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace sluice::privilege {
namespace {

struct Header {
  uint32_t word = 0;
  uint32_t payload_bytes = 0;
};

// Room for one descriptor. What a peer sends beyond is dropped by the kernel and shows as MSG_CTRUNC.
union ControlRoom {
  cmsghdr align;
  std::array<char, CMSG_SPACE(sizeof(int))> bytes;
};

}  // namespace

Result<std::pair<UniqueFd, UniqueFd>> make_channel() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return fail_errno("make a socket pair", errno);
  return std::pair(UniqueFd(ends[0]), UniqueFd(ends[1]));
}

Status send_message(int channel, uint32_t word, std::string_view payload, int fd) {
  if (payload.size() > kPayloadBytesMax) return fail("a message of " + std::to_string(payload.size()) + " bytes");
  Header header{word, static_cast<uint32_t>(payload.size())};
  iovec pieces[2] = {{&header, sizeof header}, {const_cast<char*>(payload.data()), payload.size()}};
  msghdr message = {};
  message.msg_iov = pieces;
  message.msg_iovlen = payload.empty() ? 1 : 2;
  ControlRoom room = {};
  if (fd >= 0) {
    message.msg_control = room.bytes.data();
    message.msg_controllen = room.bytes.size();
    cmsghdr* const control = CMSG_FIRSTHDR(&message);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(control), &fd, sizeof fd);
  }
  for (;;) {
    const ssize_t sent = sendmsg(channel, &message, MSG_NOSIGNAL);
    if (sent == static_cast<ssize_t>(sizeof header + payload.size())) return {};
    if (sent < 0 && errno == EINTR) continue;
    return fail_errno("send a message", sent < 0 ? errno : EMSGSIZE);
  }
}

Result<Message> receive_message(int channel, int timeout_ms) {
  pollfd waiting{channel, POLLIN, 0};
  int ready = 0;
  do {
    ready = poll(&waiting, 1, timeout_ms);
  } while (ready < 0 && errno == EINTR);
  if (ready < 0) return fail_errno("wait for a message", errno);
  if (ready == 0) return fail("no answer within " + std::to_string(timeout_ms) + " ms");

  Header header;
  Message result;
  result.payload.resize(kPayloadBytesMax);
  iovec pieces[2] = {{&header, sizeof header}, {result.payload.data(), result.payload.size()}};
  ControlRoom room = {};
  msghdr message = {};
  message.msg_iov = pieces;
  message.msg_iovlen = 2;
  message.msg_control = room.bytes.data();
  message.msg_controllen = room.bytes.size();
  ssize_t got = 0;
  do {
    got = recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return fail_errno("receive a message", errno);
  // Whatever came with it is ours to close, also where the message is then refused.
  size_t descriptors = 0;
  for (cmsghdr* control = CMSG_FIRSTHDR(&message); control != nullptr; control = CMSG_NXTHDR(&message, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    for (size_t at = 0; CMSG_LEN(at + sizeof(int)) <= control->cmsg_len; at += sizeof(int), ++descriptors) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(control) + at, sizeof fd);
      result.fd.reset(fd);
    }
  }
  if (got == 0) return fail("the other side is gone");
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return fail("a message that is too large");
  if (descriptors > 1) return fail("a message with " + std::to_string(descriptors) + " descriptors");
  const size_t payload_bytes = static_cast<size_t>(got) - sizeof header;
  if (static_cast<size_t>(got) < sizeof header || header.payload_bytes != payload_bytes)
    return fail("a message whose length is wrong");
  result.word = header.word;
  result.payload.resize(payload_bytes);
  return result;
}

}  // namespace sluice::privilege
