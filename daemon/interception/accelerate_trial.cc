// The self-test of the short-circuit: each row of what is known to go wrong with sk_msg redirects, tried on this
// kernel.
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <functional>
#include <utility>

#include "daemon/interception/accelerate.h"
#include "daemon/interception/accelerate_pair.h"

namespace sluice::interception {
namespace {

constexpr uint8_t kIntoDaemon = SLUICE_INTO_DAEMON;
constexpr uint8_t kBothWays = SLUICE_INTO_DAEMON | SLUICE_INTO_FOREIGN;
constexpr size_t kStreamBytes = 1 << 20;
constexpr uint64_t kFloodBytesMax =
    32u << 20;                              // far more than buffers hold on both sides (net.ipv4.tcp_{r,w}mem: 6 MB)
constexpr size_t kFloodChunkBytes = 8'192;  // what database servers write at once
constexpr int kWholeReadMs = 40;
constexpr size_t kRounds = 11;
constexpr int kExchangesPerRound = 150;

// What a check saw: empty where all is well.
using Finding = std::string;

class Trial {
 public:
  explicit Trial(const Accelerator& accelerator) : accelerator_(accelerator) {}
  Finding joins();
  Finding order();
  Finding integrity();
  Finding half_close();
  Finding readiness();
  Finding idle_reader();
  Finding queued_bytes();
  Finding splice_out();
  Finding whole_reads();
  Finding reset_on_close();
  // Processor time of an exchange in percent of that by TCP; 0 where it cannot be measured.
  unsigned cost_percent(uint8_t into);

 private:
  // Runs `step` on a new pair whose directions named in `into` are redirected from the first byte on.
  Finding on_pair(uint8_t into, const std::function<Finding(TrialPair&)>& step);
  bool redirected(int writer) const {
    const auto end = accelerator_.own_end(writer);
    return end && end->way == SLUICE_REDIRECTED;
  }
  Finding order_of(int writer, int reader, bool may_begin_late);

  const Accelerator& accelerator_;
};

Finding Trial::on_pair(uint8_t into, const std::function<Finding(TrialPair&)>& step) {
  auto pair = make_trial_pair(accelerator_, into);
  if (!pair) return pair.error().message;
  return step(*pair);
}

Finding Trial::joins() {
  for (const uint8_t into : {kIntoDaemon, kBothWays}) {
    Finding found = on_pair(into, [&](TrialPair& pair) -> Finding {
      if (!accelerator_.own_end(pair.daemon.get()) || !accelerator_.own_end(pair.foreign.get()))
        return "sockets of this process do not join: is it below the steered cgroup?";
      if (!put(pair.foreign.get(), "a") || take(pair.daemon.get(), 1) != "a") return "the first byte does not arrive";
      if (!redirected(pair.foreign.get())) return "the first byte goes by TCP";
      if (!put(pair.daemon.get(), "b") || take(pair.foreign.get(), 1) != "b") return "the answer does not arrive";
      if (redirected(pair.daemon.get()) != (into == kBothWays)) return "the answer goes the wrong way";
      return {};
    });
    if (!found.empty()) return found;
  }
  return {};
}

// Bytes that went by TCP first, because the other end was not known yet, are not overtaken.
Finding Trial::order_of(int writer, int reader, bool may_begin_late) {
  auto known = accelerator_.own_end(writer);
  if (!known) return "the end is not known";
  sluice_end unknown = *known;
  unknown.peer = 0;
  if (!accelerator_.put_own_end(writer, unknown) || !put(writer, "1")) return "the first byte could not be sent";
  known->way = accelerator_.own_end(writer)->way;
  known->reason = accelerator_.own_end(writer)->reason;
  if (!accelerator_.put_own_end(writer, *known) || !put(writer, "2")) return "the second byte could not be sent";
  const std::string got = take(reader, 2);
  if (got != "12") return "bytes came as \"" + got + "\" instead of \"12\"";
  if (!put(writer, "3") || take(reader, 1) != "3") return "the third byte does not arrive";
  if (redirected(writer) != may_begin_late) return may_begin_late ? "does not begin late" : "begins late";
  return {};
}

Finding Trial::order() {
  Finding found =
      on_pair(kIntoDaemon, [&](TrialPair& pair) { return order_of(pair.foreign.get(), pair.daemon.get(), true); });
  if (!found.empty()) return "into the daemon: " + found;
  found = on_pair(kBothWays, [&](TrialPair& pair) { return order_of(pair.daemon.get(), pair.foreign.get(), false); });
  return found.empty() ? found : "into others: " + found;
}

Finding Trial::integrity() {
  for (const uint8_t into : {kIntoDaemon, kBothWays}) {
    Finding found = on_pair(into, [&](TrialPair& pair) {
      Finding there = stream_through({accelerator_, pair.foreign.get()}, pair.daemon.get(), kStreamBytes, 7);
      return there.empty() ? stream_through({accelerator_, pair.daemon.get()}, pair.foreign.get(), kStreamBytes, 11)
                           : there;
    });
    if (!found.empty()) return found;
  }
  return {};
}

Finding Trial::half_close() {
  for (const uint8_t into : {kIntoDaemon, kBothWays}) {
    Finding found = on_pair(into, [](TrialPair& pair) -> Finding {
      const int ends[2] = {pair.foreign.get(), pair.daemon.get()};
      for (const int writer : ends) {
        const int reader = writer == ends[0] ? ends[1] : ends[0];
        if (!put(writer, "last") || shutdown(writer, SHUT_WR) != 0) return "the last bytes could not be sent";
        if (take(reader, 4) != "last") return "the end of the stream overtakes the last bytes";
        if (!at_end(reader)) return "the end of the stream does not arrive";
      }
      return {};
    });
    if (!found.empty()) return found;
  }
  return {};
}

Finding Trial::readiness() {
  for (const uint8_t into : {kIntoDaemon, kBothWays}) {
    Finding found = on_pair(into, [](TrialPair& pair) -> Finding {
      const UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
      epoll_event event = {};
      event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
      const int ends[2] = {pair.foreign.get(), pair.daemon.get()};
      for (const int writer : ends) {
        const int reader = writer == ends[0] ? ends[1] : ends[0];
        if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, reader, &event) != 0) return "epoll does not take the socket";
        epoll_event first = {};
        if (epoll_wait(epoll.get(), &first, 1, kTrialPatienceMs) != 1) return "epoll does not say that there is room";
        for (int i = 0; i < 2; ++i) {
          if (!put(writer, "x")) return "a byte could not be sent";
          epoll_event ready = {};
          if (epoll_wait(epoll.get(), &ready, 1, kTrialPatienceMs) != 1 || (ready.events & EPOLLIN) == 0)
            return "epoll does not tell of bytes that came";
          if (take(reader, 1) != "x") return "a byte does not arrive";
          if (wait_for(reader, POLLIN, 0)) return "poll tells of bytes where there are none";
        }
        if (epoll_ctl(epoll.get(), EPOLL_CTL_DEL, reader, nullptr) != 0) return "epoll does not let go of the socket";
      }
      return {};
    });
    if (!found.empty()) return found;
  }
  return {};
}

// A reader that takes nothing: the writer is stopped, nothing is lost, and nothing waits for a timer afterwards.
Finding Trial::idle_reader() {
  return on_pair(kBothWays, [&](TrialPair& pair) -> Finding {
    const int ends[2] = {pair.foreign.get(), pair.daemon.get()};
    for (const int writer : ends) {
      const int reader = writer == ends[0] ? ends[1] : ends[0];
      if (!put(writer, std::string(1, pattern_at(0))) || !redirected(writer)) return "the first byte goes by TCP";
      if (take(reader, 1).empty()) return "the first byte does not arrive";
      const Flood flooded = flood({accelerator_, writer}, kFloodChunkBytes, kFloodBytesMax);
      if (!flooded.stopped)
        return std::to_string(flooded.written) + " bytes were taken, and nothing stopped the writer";
      Finding drained = drain_flood(reader, flooded.written);
      if (!drained.empty()) return drained;
      if (!put(writer, "x") || take(reader, 1) != "x") return "a byte after the flood does not arrive";
      if (redirected(writer)) return "the guard did not send the writer back to TCP";
    }
    return {};
  });
}

Finding Trial::queued_bytes() {
  for (const uint8_t into : {kIntoDaemon, kBothWays}) {
    Finding found = on_pair(into, [&](TrialPair& pair) -> Finding {
      if (!put(pair.daemon.get(), "12345") || !wait_for(pair.foreign.get(), POLLIN)) return "bytes do not arrive";
      int queued = 0;
      if (ioctl(pair.foreign.get(), FIONREAD, &queued) != 0) return "FIONREAD fails";
      if (queued == 5) return {};
      return "FIONREAD says " + std::to_string(queued) + " where 5 bytes wait" +
             (into == kBothWays ? " past TCP" : " in TCP's own queue");
    });
    if (!found.empty()) return found;
  }
  return {};
}

Finding Trial::splice_out() {
  return on_pair(kBothWays, [](TrialPair& pair) -> Finding {
    int ends[2] = {-1, -1};
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return "no pipe";
    const UniqueFd out(ends[0]);
    const UniqueFd in(ends[1]);
    if (!put(pair.daemon.get(), "12345") || !wait_for(pair.foreign.get(), POLLIN)) return "bytes do not arrive";
    if (splice(pair.foreign.get(), nullptr, in.get(), nullptr, 5, SPLICE_F_NONBLOCK) == 5) return {};
    return "splice(2) does not see bytes that came";
  });
}

// recv(MSG_WAITALL) waits for as much as was asked for.
Finding Trial::whole_reads() {
  return on_pair(kBothWays, [](TrialPair& pair) -> Finding {
    if (!put(pair.daemon.get(), "123") || !wait_for(pair.foreign.get(), POLLIN)) return "bytes do not arrive";
    const int flags = fcntl(pair.foreign.get(), F_GETFL);
    const timeval patience = {0, kWholeReadMs * 1'000};
    if (fcntl(pair.foreign.get(), F_SETFL, flags & ~O_NONBLOCK) != 0 ||
        setsockopt(pair.foreign.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0) {
      return "the socket cannot be set up";
    }
    timespec before = {};
    timespec after = {};
    char bytes[6];
    clock_gettime(CLOCK_MONOTONIC, &before);
    const ssize_t got = recv(pair.foreign.get(), bytes, sizeof(bytes), MSG_WAITALL);
    clock_gettime(CLOCK_MONOTONIC, &after);
    const int64_t waited_ms = (after.tv_sec - before.tv_sec) * 1'000 + (after.tv_nsec - before.tv_nsec) / 1'000'000;
    if (got == 3 && waited_ms >= kWholeReadMs / 2) return {};
    return "recv(MSG_WAITALL) of 6 bytes gives " + std::to_string(got) + " without waiting for the rest";
  });
}

// A peer that closes without having read everything says so with a reset.
Finding Trial::reset_on_close() {
  return on_pair(kBothWays, [](TrialPair& pair) -> Finding {
    if (!put(pair.daemon.get(), "12345") || !wait_for(pair.foreign.get(), POLLIN)) return "bytes do not arrive";
    pair.foreign.reset();
    char byte = 0;
    if (!wait_for(pair.daemon.get(), POLLIN | POLLHUP | POLLRDHUP | POLLERR)) return "a close is not noticed at all";
    if (recv(pair.daemon.get(), &byte, 1, 0) < 0 && errno == ECONNRESET) return {};
    return "a close with unread bytes looks like an orderly end";
  });
}

int64_t thread_cpu_ns() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// A question and an answer of the size that a prepared statement has; 0 where they do not arrive.
int64_t cost_of_exchanges(const TrialPair& pair) {
  static constexpr size_t kQuestionBytes = 60;
  static constexpr size_t kAnswerBytes = 90;
  std::array<char, 128> buffer{};
  const int64_t before = thread_cpu_ns();
  for (int i = 0; i < kExchangesPerRound; ++i) {
    // Between two sockets of one thread nothing is waited for: the bytes are there when send() returns.
    if (send(pair.foreign.get(), buffer.data(), kQuestionBytes, MSG_NOSIGNAL) != kQuestionBytes ||
        recv(pair.daemon.get(), buffer.data(), buffer.size(), 0) != kQuestionBytes ||
        send(pair.daemon.get(), buffer.data(), kAnswerBytes, MSG_NOSIGNAL) != kAnswerBytes ||
        recv(pair.foreign.get(), buffer.data(), buffer.size(), 0) != kAnswerBytes) {
      return 0;
    }
  }
  return thread_cpu_ns() - before;
}

unsigned Trial::cost_percent(uint8_t into) {
  auto plain = make_trial_pair(accelerator_, 0);
  auto shortened = make_trial_pair(accelerator_, into);
  if (!plain || !shortened) return 0;
  if (cost_of_exchanges(*plain) == 0 || cost_of_exchanges(*shortened) == 0) return 0;  // the first round warms up
  std::array<double, kRounds> ratios{};
  for (size_t i = 0; i < kRounds; ++i) {
    // Which of the two comes first changes: what slows the machine down meets both alike.
    const bool plain_first = i % 2 == 0;
    const int64_t first = cost_of_exchanges(plain_first ? *plain : *shortened);
    const int64_t second = cost_of_exchanges(plain_first ? *shortened : *plain);
    if (first == 0 || second == 0) return 0;
    ratios[i] = plain_first ? static_cast<double>(second) / static_cast<double>(first)
                            : static_cast<double>(first) / static_cast<double>(second);
  }
  std::nth_element(ratios.begin(), ratios.begin() + kRounds / 2, ratios.end());
  return static_cast<unsigned>(std::lround(ratios[kRounds / 2] * 100));
}

struct Row {
  const char* name;
  CheckWeight weight;
  Finding (Trial::*check)();
  const char* passed;
  const char* meaning;
};
constexpr Row kRows[] = {
    {"joining", CheckWeight::fatal, &Trial::joins, "both ends join as the connection is made",
     "connections cannot be short-circuited"},
    {"order", CheckWeight::fatal, &Trial::order, "bytes that went by TCP first are not overtaken",
     "bytes would change places"},
    {"integrity", CheckWeight::fatal, &Trial::integrity, "1 MiB each way arrives as it was sent",
     "bytes would be lost"},
    {"half-close", CheckWeight::fatal, &Trial::half_close, "the end comes after the last byte, each way",
     "last bytes would be lost"},
    {"readiness", CheckWeight::fatal, &Trial::readiness, "poll and epoll tell of each arrival", "sessions would stall"},
    {"idle reader", CheckWeight::fatal, &Trial::idle_reader, "a writer is stopped, and goes on where the reader does",
     "a slow reader would fill the kernel's memory, or stall"},
    {"FIONREAD", CheckWeight::foreign, &Trial::queued_bytes, "counts what waits",
     "programs that ask how much there is to read see a wrong number"},
    {"splice", CheckWeight::guarded, &Trial::splice_out, "moves what waits",
     "programs that read with splice(2) see nothing"},
    {"MSG_WAITALL", CheckWeight::guarded, &Trial::whole_reads, "waits for the whole",
     "programs that read with MSG_WAITALL get less than they asked for"},
    {"reset on close", CheckWeight::guarded, &Trial::reset_on_close, "a close with unread bytes is a reset",
     "a program is not told that its peer closed without reading its last bytes"},
};

}  // namespace

AccelerationReport try_acceleration(const Accelerator* accelerator, const std::string& why_not) {
  AccelerationReport report;
  if (accelerator == nullptr) {
    report.checks.push_back({"loading", CheckWeight::fatal, false, why_not, "connections cannot be short-circuited"});
    decide(report);
    return report;
  }
  report.checks.push_back({"loading", CheckWeight::fatal, true, "the programs are attached", ""});
  Trial trial(*accelerator);
  for (const Row& row : kRows) {
    const Finding found = (trial.*row.check)();
    report.checks.push_back(
        {row.name, row.weight, found.empty(), found.empty() ? row.passed : found, found.empty() ? "" : row.meaning});
    // Without joining there is nothing to try.
    if (!found.empty() && row.check == &Trial::joins) break;
  }
  const auto failed = [](const AccelerationCheck& check) {
    return check.weight == CheckWeight::fatal && !check.passed;
  };
  if (std::none_of(report.checks.begin(), report.checks.end(), failed)) {
    report.into_daemon_percent = trial.cost_percent(kIntoDaemon);
    report.both_ways_percent = trial.cost_percent(kBothWays);
  }
  decide(report);
  return report;
}

}  // namespace sluice::interception
