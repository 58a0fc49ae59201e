#include "daemon/interception/accelerate_pair.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

namespace sluice::interception {
namespace {

constexpr size_t kChunkBytesMax = 40'000;  // more than a page fragment holds, less than half of a receive buffer

int64_t now_ms() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000 + now.tv_nsec / 1'000'000;
}

Status open_ends(TrialPair& pair, const Accelerator& accelerator, uint8_t into) {
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (!listener.valid() || bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(listener.get(), 1) != 0 ||
      getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return fail_errno("listen on loopback", errno);
  }
  pair.daemon.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!pair.daemon.valid()) return fail_errno("open a socket", errno);
  if (into != 0) {
    if (Status exempt = accelerator.exempt_trial(pair.daemon.get(), into); !exempt) return exempt;
  }
  if (connect(pair.daemon.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 && errno != EINPROGRESS)
    return fail_errno("connect on loopback", errno);
  if (!wait_for(listener.get(), POLLIN)) return fail("connect on loopback: it takes too long");
  pair.foreign.reset(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!pair.foreign.valid()) return fail_errno("accept on loopback", errno);
  if (!wait_for(pair.daemon.get(), POLLOUT)) return fail("connect on loopback: it takes too long");
  return {};
}

}  // namespace

Result<TrialPair> make_trial_pair(const Accelerator& accelerator, uint8_t into) {
  TrialPair pair;
  const Status opened = open_ends(pair, accelerator, into);
  if (into != 0 && pair.daemon.valid()) accelerator.forget_trial(pair.daemon.get());
  if (!opened) return tl::unexpected(opened.error());
  const int on = 1;
  setsockopt(pair.daemon.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  setsockopt(pair.foreign.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return pair;
}

bool wait_for(int fd, short events, int patience_ms) {
  const int64_t until = now_ms() + patience_ms;
  for (;;) {
    pollfd wait = {fd, events, 0};
    const int got = poll(&wait, 1, static_cast<int>(std::max<int64_t>(0, until - now_ms())));
    if (got > 0) return (wait.revents & events) != 0;
    if (got == 0 || errno != EINTR) return false;
  }
}

Status put(int fd, const std::string& bytes) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t now = send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (now > 0) {
      sent += static_cast<size_t>(now);
    } else if (errno != EAGAIN && errno != EINTR) {
      return fail_errno("send", errno);
    } else if (!wait_for(fd, POLLOUT)) {
      return fail("send: it takes too long");
    }
  }
  return {};
}

std::string take(int fd, size_t bytes) {
  std::string got(bytes, '\0');
  size_t have = 0;
  while (have < bytes && wait_for(fd, POLLIN)) {
    const ssize_t now = recv(fd, got.data() + have, bytes - have, 0);
    if (now <= 0 && !(now < 0 && (errno == EAGAIN || errno == EINTR))) break;
    if (now > 0) have += static_cast<size_t>(now);
  }
  got.resize(have);
  return got;
}

bool at_end(int fd) {
  char byte = 0;
  return wait_for(fd, POLLIN | POLLRDHUP) && recv(fd, &byte, 1, 0) == 0;
}

namespace {

// Reads what is there and holds it against the stream. Returns how many bytes came, or what was wrong.
Result<size_t> check_some(int to, uint64_t place, std::vector<char>& buffer) {
  const ssize_t got = recv(to, buffer.data(), buffer.size(), 0);
  if (got == 0) return fail("the stream ended at byte " + std::to_string(place));
  if (got < 0 && errno != EAGAIN && errno != EINTR) return fail_errno("read", errno);
  for (ssize_t i = 0; i < got; ++i) {
    if (buffer[static_cast<size_t>(i)] != pattern_at(place + static_cast<uint64_t>(i)))
      return fail("byte " + std::to_string(place + static_cast<uint64_t>(i)) + " is not the one that was sent");
  }
  return got < 0 ? 0 : static_cast<size_t>(got);
}

void fill_pattern(std::vector<char>& buffer, size_t bytes, uint64_t place) {
  for (size_t i = 0; i < bytes; ++i) buffer[i] = pattern_at(place + i);
}

// A small generator of chunk sizes (xorshift): the test needs variety, not randomness.
uint32_t next_number(uint32_t& state) {
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

}  // namespace

TrialWriter::TrialWriter(const Accelerator& accelerator, int fd) : accelerator_(accelerator), fd_(fd) {
  if (const uint64_t* notices = accelerator.notices_of(fd); notices != nullptr)
    seen_ = __atomic_load_n(notices, __ATOMIC_ACQUIRE);
}

ssize_t TrialWriter::write(const char* bytes, size_t size) {
  if (accelerator_.reader_lags(fd_, seen_)) {
    errno = EAGAIN;
    return -1;
  }
  return send(fd_, bytes, size, MSG_NOSIGNAL);
}

std::string stream_through(TrialWriter from, int to, size_t bytes, uint32_t seed) {
  std::vector<char> out(kChunkBytesMax);
  std::vector<char> in(kChunkBytesMax);
  uint64_t written = 0;
  uint64_t read = 0;
  uint32_t state = seed == 0 ? 1 : seed;
  while (read < bytes) {
    size_t moved = 0;
    // Writer and reader take turns of changing length, so that the queue is empty at times and holds several at others.
    const uint32_t writes = next_number(state) % 3;
    for (uint32_t i = 0; i < writes && written < bytes; ++i) {
      const size_t chunk = std::min<uint64_t>(1 + next_number(state) % kChunkBytesMax, bytes - written);
      fill_pattern(out, chunk, written);
      const ssize_t sent = from.write(out.data(), chunk);
      if (sent < 0 && errno != EAGAIN && errno != EINTR) return fail_errno("write", errno).value().message;
      if (sent > 0) {
        written += static_cast<uint64_t>(sent);
        moved += static_cast<size_t>(sent);
      }
    }
    const auto came = check_some(to, read, in);
    if (!came) return came.error().message;
    read += *came;
    moved += *came;
    if (moved == 0 && read < written && !wait_for(to, POLLIN))
      return "bytes from " + std::to_string(read) + " on did not arrive";
  }
  return {};
}

Flood flood(TrialWriter from, size_t chunk_bytes, uint64_t most) {
  Flood done;
  std::vector<char> out(chunk_bytes);
  while (done.written < most) {
    fill_pattern(out, chunk_bytes, done.written);
    const ssize_t sent = from.write(out.data(), chunk_bytes);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) {
      done.stopped = errno == EAGAIN;
      break;
    }
    done.written += static_cast<uint64_t>(sent);
  }
  return done;
}

std::string drain_flood(int to, uint64_t bytes) {
  std::vector<char> in(kChunkBytesMax);
  uint64_t read = 0;
  while (read < bytes) {
    if (!wait_for(to, POLLIN)) return "bytes from " + std::to_string(read) + " on did not arrive";
    const auto came = check_some(to, read, in);
    if (!came) return came.error().message;
    read += *came;
  }
  return {};
}

}  // namespace sluice::interception
