#include "daemon/io/tcp_transport.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace sluice::io {
namespace {

// Two ends of a TCP connection over loopback; `inner` is non-blocking.
struct Pair {
  UniqueFd inner, outer;
};
Pair connected() {
  UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  EXPECT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(listen(listener.get(), 1), 0);
  EXPECT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
  Pair pair;
  pair.outer.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(connect(pair.outer.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  pair.inner.reset(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  EXPECT_TRUE(pair.inner.valid());
  return pair;
}

void wait_for_input(int fd) {
  pollfd entry{fd, POLLIN, 0};
  ASSERT_EQ(poll(&entry, 1, 10'000), 1);
}

TEST(TcpTransport, ReadsWritesAndSaysWhenThereIsNothing) {
  Pair pair = connected();
  TcpTransport transport(std::move(pair.inner));
  std::vector<uint8_t> buffer(64);
  EXPECT_EQ(transport.read(buffer).state, IoState::would_block);
  ASSERT_EQ(send(pair.outer.get(), "hello", 5, 0), 5);
  wait_for_input(transport.fd());
  const IoResult got = transport.read(buffer);
  EXPECT_EQ(got.state, IoState::ok);
  EXPECT_EQ(std::string(buffer.begin(), buffer.begin() + 5), "hello");
  char a[] = "ab", b[] = "cd";
  const iovec pieces[] = {{a, 2}, {b, 2}};
  EXPECT_EQ(transport.write(pieces).bytes, 4u);
  char back[4];
  ASSERT_EQ(recv(pair.outer.get(), back, 4, MSG_WAITALL), 4);
  EXPECT_EQ(std::string(back, 4), "abcd");
}

TEST(TcpTransport, AFullSocketTakesAPartAndThenBlocks) {
  Pair pair = connected();
  TcpTransport transport(std::move(pair.inner));
  std::vector<char> much(1 << 20);
  const iovec piece{much.data(), much.size()};
  for (int i = 0; i < 1'000; ++i) {
    const IoResult result = transport.write({&piece, 1});
    if (result.state == IoState::would_block) return;
    ASSERT_EQ(result.state, IoState::ok);
  }
  FAIL() << "the socket took everything";
}

TEST(TcpTransport, HalfCloseIsAnEndToThePeerAlone) {
  Pair pair = connected();
  TcpTransport transport(std::move(pair.inner));
  transport.shutdown_write();
  char c;
  EXPECT_EQ(recv(pair.outer.get(), &c, 1, 0), 0);
  ASSERT_EQ(send(pair.outer.get(), "x", 1, 0), 1);
  wait_for_input(transport.fd());
  std::vector<uint8_t> buffer(4);
  EXPECT_EQ(transport.read(buffer).bytes, 1u);
  pair.outer.reset();
  wait_for_input(transport.fd());
  EXPECT_EQ(transport.read(buffer).state, IoState::end);
}

// A reader that lags as long as it is told to.
class FakeWatch final : public LagWatch {
 public:
  bool reader_lags(int, uint64_t& seen) const override {
    ++asked;
    if (!lags) seen = now;
    return lags;
  }
  bool lags = false;
  uint64_t now = 0;
  mutable int asked = 0;
};

TEST(TcpTransport, AsksWhetherTheReaderLagsOnlyAfterANotice) {
  Pair pair = connected();
  FakeWatch watch;
  uint64_t notices = 7;
  TcpTransport transport(std::move(pair.inner), {&notices, &watch});
  char text[] = "ab";
  const iovec piece{text, 2};
  EXPECT_EQ(transport.write({&piece, 1}).bytes, 2u);
  EXPECT_EQ(watch.asked, 0);
  watch.now = notices = 8;
  watch.lags = true;
  for (int i = 0; i < 2; ++i) {
    const IoResult held = transport.write({&piece, 1});
    EXPECT_EQ(held.state, IoState::would_block);
    EXPECT_TRUE(held.look_again);
  }
  watch.lags = false;
  EXPECT_EQ(transport.write({&piece, 1}).bytes, 2u);
  EXPECT_EQ(watch.asked, 3);
  EXPECT_EQ(transport.write({&piece, 1}).bytes, 2u);
  EXPECT_EQ(watch.asked, 3);
  char back[6];
  EXPECT_EQ(recv(pair.outer.get(), back, 6, MSG_WAITALL), 6) << "what was held was not sent";
}

TEST(TcpTransport, AFullSocketOfAShortCircuitWaitsForItsEvent) {
  Pair pair = connected();
  const FakeWatch watch;
  const uint64_t notices = 0;
  TcpTransport transport(std::move(pair.inner), {&notices, &watch});
  std::vector<char> much(1 << 20);
  const iovec piece{much.data(), much.size()};
  for (int i = 0; i < 1'000; ++i) {
    const IoResult result = transport.write({&piece, 1});
    if (result.state == IoState::ok) continue;
    EXPECT_EQ(result.state, IoState::would_block);
    EXPECT_FALSE(result.look_again);
    return;
  }
  FAIL() << "the socket took everything";
}

TEST(TcpTransport, ReadsOfAShortCircuitEndAsOthersDo) {
  Pair pair = connected();
  const FakeWatch watch;
  uint64_t notices = 0;
  TcpTransport transport(std::move(pair.inner), {&notices, &watch});
  std::vector<uint8_t> buffer(64);
  for (int i = 0; i < 3; ++i) {
    notices += static_cast<uint64_t>(i);
    ASSERT_EQ(send(pair.outer.get(), "hello", 5, 0), 5);
    wait_for_input(transport.fd());
    EXPECT_EQ(transport.read(buffer).bytes, 5u);
    EXPECT_EQ(transport.read(buffer).state, IoState::would_block);
  }
  ASSERT_EQ(send(pair.outer.get(), "last", 4, 0), 4);
  ASSERT_EQ(shutdown(pair.outer.get(), SHUT_WR), 0);
  notices += 1;
  wait_for_input(transport.fd());
  EXPECT_EQ(transport.read(buffer).bytes, 4u);
  EXPECT_EQ(transport.read(buffer).state, IoState::end);
}

TEST(TcpTransport, ResetIsSeenAsOne) {
  Pair pair = connected();
  TcpTransport transport(std::move(pair.inner));
  transport.reset();
  EXPECT_EQ(transport.fd(), -1);
  char c;
  EXPECT_EQ(recv(pair.outer.get(), &c, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST(TcpTransport, ARefusedConnectionIsReset) {
  Pair pair = connected();
  reset_and_close(std::move(pair.inner));
  char c;
  EXPECT_EQ(recv(pair.outer.get(), &c, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

}  // namespace
}  // namespace sluice::io
