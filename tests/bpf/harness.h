// For tests that drive the real hooks: a private cgroup, a pin directory of the test's own, and client processes
// inside. Only processes moved into the private cgroup are steered; the test process (the daemon) stays outside unless
// it says so. Everything made here is removed at the end, whatever the test did.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "daemon/base/unique_fd.h"
#include "daemon/interception/host.h"
#include "daemon/interception/steering.h"

namespace sluice::interception::test {

inline constexpr auto kPatience = std::chrono::seconds(10);

// A socket address from text: "127.0.0.1", "::1", "fe80::1%3".
inline sockaddr_storage address_of(const std::string& text, uint16_t port) {
  sockaddr_storage out = {};
  auto& four = reinterpret_cast<sockaddr_in&>(out);
  auto& six = reinterpret_cast<sockaddr_in6&>(out);
  if (inet_pton(AF_INET, text.c_str(), &four.sin_addr) == 1) {
    four.sin_family = AF_INET;
    four.sin_port = htons(port);
    return out;
  }
  std::string plain = text.substr(0, text.find('%'));
  if (inet_pton(AF_INET6, plain.c_str(), &six.sin6_addr) != 1) std::abort();
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(port);
  if (plain != text) six.sin6_scope_id = static_cast<uint32_t>(std::stoul(text.substr(plain.size() + 1)));
  return out;
}

inline socklen_t size_of(const sockaddr_storage& address) {
  return address.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
}

inline std::string show(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "?";
  if (address.ss_family == AF_INET) {
    const auto& four = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &four.sin_addr, text, sizeof(text));
    return std::string(text) + ":" + std::to_string(ntohs(four.sin_port));
  }
  if (address.ss_family != AF_INET6) return "?";
  const auto& six = reinterpret_cast<const sockaddr_in6&>(address);
  inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof(text));
  return "[" + std::string(text) + "]:" + std::to_string(ntohs(six.sin6_port));
}

inline SteeredEndpoint endpoint(const std::string& text, uint16_t port, uint8_t prefix_bits = 255) {
  sockaddr_storage address = address_of(text, port);
  SteeredEndpoint out;
  out.family = address.ss_family;
  out.port = port;
  if (out.family == AF_INET) {
    std::memcpy(out.address, &reinterpret_cast<sockaddr_in&>(address).sin_addr, 4);
  } else {
    std::memcpy(out.address, &reinterpret_cast<sockaddr_in6&>(address).sin6_addr, 16);
  }
  out.prefix_bits = prefix_bits != 255 ? prefix_bits : (out.family == AF_INET ? 32 : 128);
  return out;
}

inline SteeredTarget target(const std::string& name, std::vector<SteeredEndpoint> endpoints,
                            WhenDown when_down = WhenDown::deny) {
  SteeredTarget out;
  out.name = name;
  out.when_down = when_down;
  out.endpoints = std::move(endpoints);
  return out;
}

// What a client saw of one connect. Plain, so that it can cross a pipe.
struct Attempt {
  int error = 0;  // errno of connect (or of what came before it), 0: connected
  char step[32] = {};
  sockaddr_storage peer = {};  // getpeername
  sockaddr_storage own = {};   // getsockname
  int bound_device_bytes = 0;  // length of SO_BINDTODEVICE's value after connect
  pid_t pid = 0;
  char reply[16] = {};  // what the other side sent
};

// How a client connects. Plain as well.
struct ConnectOptions {
  std::string to;
  uint16_t port = 0;
  int family = 0;  // 0: that of `to`
  int protocol = IPPROTO_TCP;
  std::string source;  // bind to it first
  std::string device;  // SO_BINDTODEVICE
  bool v6only = false;
  bool fastopen_connect = false;
  bool want_reply = true;  // read what the other side sends
};

inline void fail_at(Attempt& attempt, const char* step) {
  attempt.error = errno;
  std::strncpy(attempt.step, step, sizeof(attempt.step) - 1);
}

inline Attempt attempt_on(int fd, const ConnectOptions& options) {
  Attempt out;
  out.pid = getpid();
  int family = options.family != 0 ? options.family : address_of(options.to, 0).ss_family;
  int on = 1;
  if (options.v6only && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0)
    return fail_at(out, "V6ONLY"), out;
  if (!options.v6only && family == AF_INET6) {
    int off = 0;
    if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) != 0) return fail_at(out, "V6ONLY"), out;
  }
  if (!options.device.empty() && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, options.device.c_str(),
                                            static_cast<socklen_t>(options.device.size() + 1)) != 0) {
    return fail_at(out, "BINDTODEVICE"), out;
  }
  if (options.fastopen_connect) {
    constexpr int kTcpFastopenConnect = 30;
    if (setsockopt(fd, IPPROTO_TCP, kTcpFastopenConnect, &on, sizeof(on)) != 0) return fail_at(out, "FASTOPEN"), out;
  }
  timeval patience = {5, 0};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));  // connect gives EINPROGRESS after it
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  if (!options.source.empty()) {
    sockaddr_storage source = address_of(options.source, 0);
    if (bind(fd, reinterpret_cast<sockaddr*>(&source), size_of(source)) != 0) return fail_at(out, "bind"), out;
  }
  sockaddr_storage to = address_of(options.to, options.port);
  if (connect(fd, reinterpret_cast<sockaddr*>(&to), size_of(to)) != 0) return fail_at(out, "connect"), out;
  if (options.fastopen_connect && send(fd, "x", 1, MSG_NOSIGNAL) != 1) return fail_at(out, "send"), out;
  if (options.want_reply) {
    ssize_t got = recv(fd, out.reply, sizeof(out.reply) - 1, 0);
    if (got < 0) return fail_at(out, "recv"), out;
    if (got == 0) std::strncpy(out.step, "closed", sizeof(out.step) - 1);
  }
  socklen_t size = sizeof(out.peer);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&out.peer), &size) != 0) return fail_at(out, "getpeername"), out;
  size = sizeof(out.own);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&out.own), &size) != 0) return fail_at(out, "getsockname"), out;
  char device[64] = {};
  size = sizeof(device);
  if (getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &size) == 0) out.bound_device_bytes = static_cast<int>(size);
  return out;
}

inline Attempt attempt(const ConnectOptions& options) {
  int family = options.family != 0 ? options.family : address_of(options.to, 0).ss_family;
  UniqueFd fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC, options.protocol));
  if (!fd.valid()) {
    Attempt out;
    fail_at(out, "socket");
    return out;
  }
  return attempt_on(fd.get(), options);
}

// Runs `body` in a child process and brings back its plain result. The child leaves by _exit: no test code runs twice.
template <typename T>
T in_child(const std::function<T()>& body) {
  static_assert(std::is_trivially_copyable_v<T>);
  int pipe_fds[2];
  if (pipe(pipe_fds) != 0) std::abort();
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that is stopped leaves no client behind
    T result = body();
    ssize_t wrote = write(pipe_fds[1], &result, sizeof(result));
    _exit(wrote == static_cast<ssize_t>(sizeof(result)) ? 0 : 1);
  }
  close(pipe_fds[1]);
  T result = {};
  ssize_t got = read(pipe_fds[0], &result, sizeof(result));
  close(pipe_fds[0]);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(got, static_cast<ssize_t>(sizeof(result))) << "the child process died";
  return result;
}

template <typename Condition>
void wait_until(const std::string& what, Condition condition) {
  auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) {
      ADD_FAILURE() << "waited in vain: " << what;
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

// A plain server that says who it is to everyone and closes. Runs on a thread until destroyed.
class HelloServer {
 public:
  HelloServer(const std::string& address, const std::string& greeting, uint16_t port = 0) : greeting_(greeting) {
    sockaddr_storage where = address_of(address, port);
    fd_.reset(socket(where.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    int on = 1;
    setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd_.get(), reinterpret_cast<sockaddr*>(&where), size_of(where)) != 0 || listen(fd_.get(), 1024) != 0) {
      ADD_FAILURE() << "server on " << address << ": " << std::strerror(errno);
    }
    socklen_t size = sizeof(where);
    getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&where), &size);
    port_ = ntohs(where.ss_family == AF_INET ? reinterpret_cast<sockaddr_in&>(where).sin_port
                                             : reinterpret_cast<sockaddr_in6&>(where).sin6_port);
    thread_ = std::thread([this] { serve(); });
    // A test may fork next: with a thread that is still starting, the child would inherit the allocator's locks as
    // held.
    wait_until("the server's thread runs", [this] { return running_.load(); });
  }
  ~HelloServer() {
    stop_ = true;
    thread_.join();
  }
  HelloServer(const HelloServer&) = delete;
  HelloServer& operator=(const HelloServer&) = delete;
  [[nodiscard]] uint16_t port() const { return port_; }

 private:
  void serve() {
    running_ = true;
    while (!stop_) {
      pollfd wait = {fd_.get(), POLLIN, 0};
      if (poll(&wait, 1, 20) <= 0) continue;
      UniqueFd accepted(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (accepted.valid()) (void)!send(accepted.get(), greeting_.data(), greeting_.size(), MSG_NOSIGNAL);
    }
  }
  std::string greeting_;
  UniqueFd fd_;
  uint16_t port_ = 0;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> running_ = false;
  std::thread thread_;
};

// Accepts on the steering's listeners on a thread, takes the notes, greets noted connections with "sluice" and resets
// the others. Beats the heart while it runs.
class AcceptLoop {
 public:
  AcceptLoop(Steering& steering, std::vector<int> listeners) : steering_(steering), listeners_(std::move(listeners)) {
    thread_ = std::thread([this] { run(); });
  }
  ~AcceptLoop() { halt(); }
  AcceptLoop(const AcceptLoop&) = delete;
  AcceptLoop& operator=(const AcceptLoop&) = delete;
  void halt() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  std::vector<ConnectNote> notes() {
    std::lock_guard<std::mutex> lock(mutex_);
    return notes_;
  }
  int accepted() const { return accepted_; }
  int uninvited() const { return uninvited_; }

 private:
  void run() {
    std::vector<pollfd> waits;
    for (int fd : listeners_) waits.push_back({fd, POLLIN, 0});
    while (!stop_) {
      steering_.heartbeat();
      if (poll(waits.data(), waits.size(), 20) <= 0) continue;
      for (const pollfd& ready : waits) {
        if ((ready.revents & POLLIN) == 0) continue;
        UniqueFd accepted(accept4(ready.fd, nullptr, nullptr, SOCK_CLOEXEC));
        if (accepted.valid()) handle(accepted.get());
      }
    }
  }
  void handle(int fd) {
    auto note = steering_.take_note(fd);
    if (!note) {
      linger reset = {1, 0};
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
      ++uninvited_;
      return;
    }
    (void)!send(fd, "sluice", 6, MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    if (open_.size() >= kOpenMax) open_.erase(open_.begin());
    open_.emplace_back(dup(fd));  // a close with unread bytes would be a reset
    std::lock_guard<std::mutex> lock(mutex_);
    if (notes_.size() < 100000) notes_.push_back(*note);
    ++accepted_;
  }
  static constexpr size_t kOpenMax = 64;
  Steering& steering_;
  std::vector<UniqueFd> open_;
  std::vector<int> listeners_;
  std::atomic<bool> stop_ = false;
  std::atomic<int> accepted_ = 0;
  std::atomic<int> uninvited_ = 0;
  std::mutex mutex_;
  std::vector<ConnectNote> notes_;
  std::thread thread_;
};

class BpfTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "skipped: attaching eBPF programs needs root";
    static int number = 0;
    std::string name = "sluice-test-" + std::to_string(getpid()) + "-" + std::to_string(++number);
    std::string root = find_cgroup_root();
    ASSERT_FALSE(root.empty()) << "the cgroup v2 hierarchy is not mounted";
    cgroup_ = root + "/" + name;
    ASSERT_EQ(mkdir(cgroup_.c_str(), 0755), 0) << cgroup_ << ": " << std::strerror(errno);
    options_.bpf_directory = "/sys/fs/bpf/" + name;
    options_.cgroup_path = cgroup_;
  }
  void TearDown() override {
    if (cgroup_.empty()) return;
    leave_cgroup();
    accepting_.reset();
    steering_.reset();
    auto gone = unload(options_);
    EXPECT_TRUE(gone) << gone.error().message;
    for (const char* suffix : {"", "-new", "-old", "-lock"}) {
      EXPECT_NE(access((options_.bpf_directory + suffix).c_str(), F_OK), 0)
          << "left behind: " << options_.bpf_directory << suffix;
    }
    wait_until("the private cgroup can be removed", [&] { return rmdir(cgroup_.c_str()) == 0 || errno == ENOENT; });
  }

  // Moves the calling process into the private cgroup.
  void enter_cgroup() const {
    std::ofstream procs(cgroup_ + "/cgroup.procs");
    procs << getpid() << std::flush;
    if (!procs) std::abort();
  }
  static void leave_cgroup() {
    std::ofstream procs(find_cgroup_root() + "/cgroup.procs");
    procs << getpid() << std::flush;
  }
  // One connect from a process inside the private cgroup.
  Attempt connect_inside(const ConnectOptions& options) const {
    return in_child<Attempt>([&] {
      enter_cgroup();
      return attempt(options);
    });
  }
  Attempt connect_inside(const std::string& to, uint16_t port) const {
    ConnectOptions options;
    options.to = to;
    options.port = port;
    return connect_inside(options);
  }

  // Starts, sets targets, opens listeners, goes live, accepts.
  void go_live(std::vector<SteeredTarget> targets) {
    auto started = Steering::start(options_);
    ASSERT_TRUE(started) << started.error().message;
    steering_ = std::move(*started);
    Status set = steering_->set_targets(targets);
    ASSERT_TRUE(set) << set.error().message;
    auto listeners = steering_->open_listeners();
    ASSERT_TRUE(listeners) << listeners.error().message;
    listener_fds_ = *listeners;
    Status live = steering_->go_live();
    ASSERT_TRUE(live) << live.error().message;
    accepting_ = std::make_unique<AcceptLoop>(*steering_, *listeners);
  }
  void expect_adds_up() {
    for (const TargetCounters& c : steering_->counters()) {
      EXPECT_EQ(c.connects, c.redirected + c.refused + c.exempt + c.uncovered);
    }
  }

  std::string cgroup_;
  SteeringOptions options_;
  std::vector<int> listener_fds_;
  std::unique_ptr<Steering> steering_;
  std::unique_ptr<AcceptLoop> accepting_;  // destroyed first
};

}  // namespace sluice::interception::test
