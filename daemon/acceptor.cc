#include "daemon/acceptor.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "daemon/base/clock.h"
#include "daemon/io/tcp_transport.h"

namespace sluice {
namespace {

constexpr int kTurnMs = 500;
constexpr uint64_t kReportMs = 1'000;  // refusals are one event per second at most

UniqueFd open_reserve() {
  return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

// Never 0. Drawn from the kernel 32 at a time; the acceptor's thread only.
uint64_t random_number() {
  thread_local std::array<uint64_t, 32> drawn;  // getrandom(2) gives up to 256 bytes whole
  thread_local size_t left = 0;
  if (left == 0) {
    // Cannot fail once the kernel's pool is ready, which it is long before a daemon starts.
    [[maybe_unused]] const ssize_t got = getrandom(drawn.data(), sizeof drawn, 0);
    left = drawn.size();
  }
  const uint64_t number = drawn[--left];
  return number == 0 ? 1 : number;
}

std::string hex16(uint64_t number) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text(16, '0');
  for (size_t i = 0; i < 16; ++i) text[15 - i] = kDigits[(number >> (4 * i)) & 15];
  return text;
}

identity::ProcessFacts facts_of(const interception::ConnectNote& note) {
  identity::ProcessFacts facts;
  facts.pid = note.pid;
  facts.uid = note.uid;
  facts.gid = note.gid;
  facts.cgroup_id = note.cgroup_id;
  facts.start_boottime_ns = note.start_boottime_ns;
  facts.exe_inode = note.exe_inode;
  facts.exe_device = note.exe_device;
  return facts;
}

// At least one, so that a limit that is too low shows as refusals with a reason.
size_t sessions_for_descriptors() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur <= Acceptor::kDescriptorsReserved) return 1;
  return std::max<size_t>(1, (files.rlim_cur - Acceptor::kDescriptorsReserved) / Acceptor::kDescriptorsPerSession);
}

}  // namespace

std::string address_text(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
    return std::string(text.data()) + ":" + std::to_string(ntohs(v4.sin_port));
  }
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
    return "[" + std::string(text.data()) + "]:" + std::to_string(ntohs(v6.sin6_port));
  }
  return "unknown";
}

Acceptor::Acceptor(interception::Steering& steering, const TargetTable& targets, identity::Resolver& resolver,
                   Recorder& recorder, std::vector<session::Worker*> workers)
    : steering_(steering),
      targets_(targets),
      resolver_(resolver),
      recorder_(recorder),
      workers_(std::move(workers)),
      sessions_max_(sessions_for_descriptors()) {}

Acceptor::~Acceptor() {
  stop();
}

Status Acceptor::start(const std::vector<int>& listeners) {
  auto loop = io::EventLoop::create();
  if (!loop) return tl::unexpected(loop.error());
  loop_ = std::make_unique<io::EventLoop>(std::move(*loop));
  auto mailbox = io::Mailbox::create();
  if (!mailbox) return tl::unexpected(mailbox.error());
  mailbox_ = std::move(*mailbox);
  reserve_ = open_reserve();
  if (Status added = loop_->add(mailbox_->fd(), EPOLLIN, *mailbox_); !added) return added;
  for (const int fd : listeners) {
    auto listener = std::make_unique<Listener>();
    listener->acceptor = this;
    listener->fd = fd;
    io::tune_stream(fd);  // what is accepted inherits it
    if (Status added = loop_->add(fd, EPOLLIN, *listener); !added) return added;
    listeners_.push_back(std::move(listener));
  }
  auto thread = Thread::start("acceptor", kSmallStackBytes, [this] { run(); });
  if (!thread) return tl::unexpected(thread.error());
  thread_ = std::move(*thread);
  return {};
}

void Acceptor::stop() {
  if (mailbox_ != nullptr) [[maybe_unused]]
    const bool posted = mailbox_->post([this] { stopping_ = true; });
  thread_.join();
}

void Acceptor::run() {
  while (!stopping_) {
    const Status waited = loop_->wait(resting_ ? kRestMs : kTurnMs);
    if (!waited) return;  // the heartbeat stops with us, and the kernel decides
    turns_.fetch_add(1, std::memory_order_relaxed);
    if (resting_ && system_clock().monotonic_ms() >= resting_until_ms_) {
      resting_ = false;
      for (const auto& listener : listeners_) {
        if (!loop_->add(listener->fd, EPOLLIN, *listener)) resting_ = true;  // tried again at the end of the next rest
      }
    }
    report_refusals();
  }
  for (const auto& listener : listeners_) accept_some(listener->fd);
  report_refusals();
}

void Acceptor::accept_some(int listener) {
  if (resting_) return;
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    sockaddr_storage peer{};
    socklen_t length = sizeof peer;
    UniqueFd client(accept4(listener, reinterpret_cast<sockaddr*>(&peer), &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (client.valid()) {
      take(std::move(client), peer);
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno != EAGAIN) out_of_descriptors(listener, errno);
    return;
  }
}

// A connection that cannot be accepted is refused at once instead of waiting for something that may never come.
void Acceptor::out_of_descriptors(int listener, int error_number) {
  if (error_number == EMFILE || error_number == ENFILE) {
    reserve_.reset();
    UniqueFd client(accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (client.valid()) refuse(std::move(client), "no descriptor is free");
    reserve_ = open_reserve();
  }
  for (const auto& one : listeners_) loop_->remove(one->fd);
  resting_ = true;
  resting_until_ms_ = system_clock().monotonic_ms() + kRestMs;
}

void Acceptor::refuse(UniqueFd client, std::string_view why) {
  counters_.refused.fetch_add(1, std::memory_order_relaxed);
  io::reset_and_close(std::move(client));
  ++unreported_;
  refusal_reason_ = why;
}

// Somebody found the listeners and connected to them without being led there: a port scan, or an attempt to use the
// daemon as a relay.
void Acceptor::report_without_note() {
  if (stray_unreported_ == 0) return;
  const uint64_t now = system_clock().monotonic_ms();
  if (!stopping_ && now - stray_reported_ms_ < kReportMs) return;
  events::EventBuilder event =
      recorder_.own(events::EventType::connect_refused, events::EventOutcome::refused, "daemon");
  event.detail("connected to a listener of the daemon without being steered there; the last one from " + stray_origin_);
  recorder_.publish(event.counter("connections_without_note", stray_unreported_));
  stray_reported_ms_ = now;
  stray_unreported_ = 0;
}

void Acceptor::report_refusals() {
  report_without_note();
  if (unreported_ == 0) return;
  const uint64_t now = system_clock().monotonic_ms();
  if (!stopping_ && now - reported_ms_ < kReportMs) return;
  events::EventBuilder event =
      recorder_.own(events::EventType::connect_refused, events::EventOutcome::refused, "daemon");
  event.detail(refusal_reason_).counter("connections", unreported_);
  recorder_.publish(event);
  reported_ms_ = now;
  unreported_ = 0;
}

void Acceptor::take(UniqueFd client, const sockaddr_storage& peer) {
  const auto note = steering_.take_note(client.get());
  if (!note.has_value()) {
    counters_.without_note.fetch_add(1, std::memory_order_relaxed);
    ++stray_unreported_;
    stray_origin_ = address_text(peer);
    io::reset_and_close(std::move(client));
    return;
  }
  size_t sessions = 0;
  for (const session::Worker* worker : workers_) sessions += worker->session_count();
  if (sessions >= sessions_max_) return refuse(std::move(client), "as many sessions as descriptors allow");
  const auto target = targets_.find(note->target_generation, note->target);
  if (!target.has_value()) return refuse(std::move(client), "its target is no longer configured");
  auto arrival = std::make_shared<session::Arrival>();
  arrival->client = std::move(client);
  arrival->destination = note->original;
  arrival->device = note->bound_device;
  arrival->machine_limits.statement_bytes_max = target->statement_bytes_max;
  arrival->machine_limits.stand_in_seed = random_number();
  session::SessionSubject& subject = arrival->subject;
  subject.serial = random_number();
  subject.info.id = hex16(subject.serial);
  subject.info.target = target->name;
  subject.info.origin = address_text(peer);
  subject.info.destination = address_text(note->original);
  subject.direction = target->direction;
  subject.protocol = target->protocol;
  const identity::Taken taken =
      resolver_.resolve(facts_of(*note), [this, arrival](policies::AttestedIdentity identity) {
        arrival->subject.info.actor.attested = std::move(identity);
        hand_over(arrival);
      });
  if (taken == identity::Taken::too_many_wait)
    refuse(std::move(arrival->client), "too many connections wait for their identity");
  if (taken == identity::Taken::nobody_to_ask)
    refuse(std::move(arrival->client), "the connecting process cannot be identified: the privileged helper is gone");
}

// On the acceptor's thread or the resolver's.
void Acceptor::hand_over(const std::shared_ptr<session::Arrival>& arrival) {
  session::Worker* const worker = *std::min_element(workers_.begin(), workers_.end(), [](const auto* a, const auto* b) {
    return a->session_count() < b->session_count();
  });
  if (worker->adopt(arrival)) {
    counters_.accepted.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  counters_.refused.fetch_add(1, std::memory_order_relaxed);
  io::reset_and_close(std::move(arrival->client));
}

}  // namespace sluice
