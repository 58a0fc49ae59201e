#include "daemon/session/worker.h"

#include <algorithm>
#include <cassert>
#include <ctime>
#include <utility>

#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif

namespace sluice::session {
namespace {

// The loop turns at least this often, so that nothing depends on a wake-up alone.
constexpr int kIdleTurnMs = 1'000;
// While events wait for room, the ring is looked at this often: its slots come free a little after the signal.
constexpr int kCongestedTurnMs = 2;
// While texts wait for room at the analysis threads, which other workers fill too, it is asked for this often.
constexpr int kAnalysisRoomTurnMs = 20;
// While commands wait for a reading of a server's catalog, it is asked for this often.
constexpr int kCatalogTurnMs = 2;
// How long the end of a worker waits for room for the last events. With a log that cannot be written they are lost, and
// the next start says so.
constexpr int kLastEventsWaitMs = 2'000;
// How long it waits for servers to take the last cancel requests.
constexpr uint64_t kLastCancelsWaitMs = 1'000;
constexpr int kLastCancelsTurnMs = 50;
// Cancel requests to servers under way at once. Beyond it a statement of an ended session runs on.
constexpr size_t kUpstreamCancelsMax = 1'024;

}  // namespace

Result<std::unique_ptr<Worker>> Worker::create(WorkerParts parts) {
  auto loop = io::EventLoop::create();
  if (!loop) return tl::unexpected(loop.error());
  auto mailbox = io::Mailbox::create();
  if (!mailbox) return tl::unexpected(mailbox.error());
  auto answers = command::AnalysisMailbox::create();
  if (!answers) return tl::unexpected(answers.error());
  std::unique_ptr<Worker> worker(
      new Worker(std::move(parts), std::move(*loop), std::move(*mailbox), std::move(*answers)));
  Worker& w = *worker;
  if (auto added = w.loop_.add(w.mailbox_->fd(), EPOLLIN, *w.mailbox_); !added) return tl::unexpected(added.error());
  if (auto added = w.loop_.add(w.answers_->event_fd(), EPOLLIN, w.answers_watch_); !added)
    return tl::unexpected(added.error());
  if (auto added = w.loop_.add(w.parts_.durable_event.get(), EPOLLIN, w.durable_watch_); !added) {
    return tl::unexpected(added.error());
  }
  return worker;
}

Worker::Worker(WorkerParts parts, io::EventLoop loop, std::unique_ptr<io::Mailbox> mailbox,
               std::shared_ptr<command::AnalysisMailbox> answers)
    : parts_(std::move(parts)),
      loop_(std::move(loop)),
      mailbox_(std::move(mailbox)),
      answers_(std::move(answers)),
      read_buffer_(kReadBufferBytes),
      outbox_(*parts_.ring),
      statements_(parts_.hash_key),
      analyst_(*parts_.analysis, answers_),
      scanners_(*parts_.scanner),
      gate_context_{outbox_,       statements_,   *parts_.scanner, scanners_, analyst_,         *parts_.policies,
                    policy_cache_, *parts_.clock, bind_excerpt_,   counters_, parts_.durability} {
  now_ms_ = parts_.clock->monotonic_ms();
  gate_context_.cancels = parts_.cancels.get();
  gate_context_.catalog_of = parts_.catalog_of;
  gate_context_.deliver_cancel = [this](uint64_t serial) {
    return mailbox_->post([this, serial] {
      if (Session* session = find(serial)) session->cancel_command();
    });
  };
}

Worker::~Worker() = default;

// --- other threads
// -----------------------------------------------------------------------------------------------------

bool Worker::adopt(const std::shared_ptr<Arrival>& arrival) {
  session_count_.fetch_add(1, std::memory_order_relaxed);  // at once, so that the next choice of a worker sees it
  if (mailbox_->post([this, arrival] { welcome(*arrival); })) return true;
  session_count_.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

void Worker::drain(uint64_t timeout_ms) {
  [[maybe_unused]] const bool posted = mailbox_->post([this, timeout_ms] {
    draining_ = true;
    drain_deadline_ms_ = now_ms_ + timeout_ms;
    for_each([](Session& session) { session.drain(); });
  });
}

void Worker::stop() {
  [[maybe_unused]] const bool posted = mailbox_->post([this] { stopping_ = true; });
}

// --- the loop
// ----------------------------------------------------------------------------------------------------------

void Worker::run() {
  while (!stopping_) turn();
  wind_down();
}

void Worker::turn() {
  analyst_.begin_turn();
  const Status waited = loop_.wait(wait_ms(), [this] {
    now_ms_ = parts_.clock->monotonic_ms();
    turns_.fetch_add(1, std::memory_order_relaxed);
  });
  assert(waited.has_value());  // epoll on its own descriptor fails only by our own mistake
  timers_.fire(now_ms_);
  run_ready();
  serve_durable();
  make_room();
  bury();
  if (durable_wanted_ > outbox_.durable()) outbox_.request_durable(durable_wanted_);
  if (draining_ && now_ms_ >= drain_deadline_ms_) stopping_ = true;
  if (draining_ && sessions_.empty()) stopping_ = true;
}

int Worker::wait_ms() const {
  if (!again_.empty()) return 0;
  if (outbox_.congested() || outbox_.room_wanted()) return kCongestedTurnMs;
  if (gate_context_.catalog_wanted) return kCatalogTurnMs;
  uint64_t next = now_ms_ + (analyst_.room_wanted() ? kAnalysisRoomTurnMs : kIdleTurnMs);
  if (const auto deadline = timers_.next_deadline_ms()) next = std::min(next, *deadline);
  if (draining_) next = std::min(next, drain_deadline_ms_);
  return next <= now_ms_ ? 0 : static_cast<int>(next - now_ms_);
}

template <typename Action>
void Worker::for_each(Action&& action) {
  // Sessions are only destroyed in bury(), so the map stands still whatever the action does.
  for (auto& [serial, resident] : sessions_) action(*resident.session);
}

Session* Worker::find(uint64_t serial) const {
  const auto found = sessions_.find(serial);
  return found == sessions_.end() ? nullptr : found->second.session.get();
}

void Worker::run_ready() {
  std::vector<uint64_t> ready;
  ready.swap(again_);
  for (const uint64_t serial : ready) {
    if (Session* session = find(serial)) session->run();
  }
}

void Worker::bury() {
  bury_cancels();  // first: what that lets go on may end sessions
  for (const uint64_t serial : finished_) {
    const auto found = sessions_.find(serial);
    if (found == sessions_.end()) continue;
    sessions_.erase(found);  // closes its sockets, and that takes them out of the epoll set
    session_count_.fetch_sub(1, std::memory_order_relaxed);
  }
  finished_.clear();
}

void Worker::bury_cancels() {
  std::vector<uint64_t> told;
  std::erase_if(upstream_cancels_, [this, &told](const std::unique_ptr<UpstreamCancel>& one) {
    if (!one->done()) return false;
    if (one->fd() >= 0) loop_.remove(one->fd());
    told.push_back(one->session());
    return true;
  });
  for (const uint64_t serial : told) {
    if (Session* session = find(serial)) session->cancel_delivered();
  }
}

// Asks the session's server to cancel what it runs for it: without that a statement would run on there, although nobody
// waits for it any more.
bool Worker::cancel_at_server(Session& session) {
  std::vector<uint8_t> request = session.cancel_request();
  if (request.empty() || upstream_cancels_.size() >= kUpstreamCancelsMax) return false;
  const int fd = session.transport(Side::server).fd();
  sockaddr_storage server{};
  socklen_t length = sizeof server;
  if (fd < 0 || getpeername(fd, reinterpret_cast<sockaddr*>(&server), &length) != 0) return false;
  int device = 0;
  length = sizeof device;
  if (getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &device, &length) != 0) device = 0;
  auto opened = parts_.upstreams->open(server, static_cast<uint32_t>(device));
  if (!opened) return false;  // the server takes no connection: there is nothing more to be done about the statement
  auto one =
      std::make_unique<UpstreamCancel>(session.serial(), std::move(*opened), std::move(request), timers_, now_ms_);
  if (!loop_.add(one->fd(), io::EventLoop::kBothWays, *one)) return false;
  upstream_cancels_.push_back(std::move(one));
  return true;
}

// --- sessions come
// -----------------------------------------------------------------------------------------------------

void Worker::welcome(Arrival& arrival) {
  const bool failing = outbox_.log_failing();
  if (failing && !outbox_.has_room()) {
    // Nothing about this connection could be recorded, not even that it was refused.
    refused_unrecorded_.fetch_add(1, std::memory_order_relaxed);
    io::reset_and_close(std::move(arrival.client));
    session_count_.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  io::ShortCircuit short_circuit;
  if (parts_.short_circuit_of) short_circuit = parts_.short_circuit_of(arrival.client.get());
  std::string why_not;
  std::unique_ptr<io::Transport> server;
  if (!failing && !draining_) {
    auto opened = parts_.upstreams->open(arrival.destination, arrival.device);
    if (opened)
      server = std::move(*opened);
    else
      why_not = opened.error().message;
  }
  const bool connected = server != nullptr;
  if (!connected) server = std::make_unique<io::NoTransport>();
  const uint64_t serial = arrival.subject.serial;
  const std::string protocol = arrival.subject.protocol;
  auto gate = std::make_unique<CommandGate>(gate_context_, std::move(arrival.subject));
  auto machine = parts_.make_machine(protocol, *gate, *parts_.scanner, arrival.machine_limits);
  assert(machine != nullptr);  // the configuration names only protocols that have one
  SessionHost& host = *this;
  auto session = std::make_unique<Session>(serial, host, parts_.limits,
                                           std::make_unique<io::TcpTransport>(std::move(arrival.client), short_circuit),
                                           std::move(server), std::move(gate), std::move(machine));
  Session& resident = *session;
  sessions_.emplace(serial, Resident{std::move(session), parts_.clock->utc_ns()});
  Status added =
      loop_.add(resident.transport(Side::client).fd(), io::EventLoop::kBothWays, resident.handler(Side::client));
  if (added && connected) {
    added = loop_.add(resident.transport(Side::server).fd(), io::EventLoop::kBothWays, resident.handler(Side::server));
  }
  if (!added) {
    resident.abandon(added.error().message);
  } else if (failing) {
    resident.fail(Failure::log_unavailable, "audit log cannot be written");
  } else if (draining_) {
    resident.fail(Failure::shutdown, "the proxy is shutting down");
  } else if (!connected) {
    resident.fail(Failure::upstream_unreachable, why_not);
  }
}

// --- the log
// -----------------------------------------------------------------------------------------------------------

void Worker::await_durable(Session& session, uint64_t sequence) {
  durable_waiters_.push_back({sequence, session.serial(), parts_.clock->monotonic_ns()});
  durable_wanted_ = std::max(durable_wanted_, sequence);
}

void Worker::log_moved() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(parts_.durable_event.get(), &count, sizeof count);
  watch_log_state();
  serve_durable();
}

void Worker::serve_durable() {
  const uint64_t durable = outbox_.durable();
  size_t due = durable_waiters_.size();
  if (due == 0 || durable_waiters_.front().sequence > durable) return;
  const uint64_t now_ns = parts_.clock->monotonic_ns();
  while (due-- > 0 && !durable_waiters_.empty() && durable_waiters_.front().sequence <= durable) {
    const DurableWaiter waiter = durable_waiters_.front();
    Session* session = find(waiter.serial);
    durable_waiters_.pop_front();
    counters_.durable_wait.add(now_ns - std::min(now_ns, waiter.since_ns));
    if (session != nullptr) session->durable_reached();
  }
}

void Worker::watch_log_state() {
  const bool failing = outbox_.log_failing();
  if (failing == log_was_failing_) return;
  log_was_failing_ = failing;
  for_each([failing](Session& session) {
    if (failing) session.log_failed();
    session.resume();  // what is parked for room is refused now, or can go on
  });
}

void Worker::make_room() {
  const bool was_congested = outbox_.congested();
  if (was_congested && outbox_.flush()) for_each([](Session& session) { session.run(); });
  if (outbox_.room_wanted() && outbox_.has_room() && outbox_.take_room_wanted()) {
    for_each([](Session& session) { session.resume(); });
  }
  if (outbox_.congested() || outbox_.room_wanted()) outbox_.request_room();
  if (std::exchange(gate_context_.catalog_wanted, false)) for_each([](Session& session) { session.resume(); });
  if (analyst_.room_wanted() && now_ms_ >= analysis_room_look_ms_) {
    analysis_room_look_ms_ = now_ms_ + kAnalysisRoomTurnMs;
    if (analyst_.take_room_wanted()) for_each([](Session& session) { session.resume(); });
  }
}

void Worker::answers_came() {
  for (command::AnalysisAnswer& answer : answers_->take()) {
    Session* session = find(answer.ticket);
    if (session == nullptr) continue;
    session->gate().analysed(std::move(answer));
    session->resume();
  }
}

// --- the end
// -----------------------------------------------------------------------------------------------------------

void Worker::wind_down() {
  mailbox_->close();
  mailbox_->deliver();  // nobody waits in vain; sessions that arrive now end below
  for_each([this](Session& session) {
    static_cast<void>(cancel_at_server(session));
    session.abandon("the proxy is shutting down");
  });
  bury();
  const uint64_t cancels_deadline_ms = parts_.clock->monotonic_ms() + kLastCancelsWaitMs;
  while (!upstream_cancels_.empty() && now_ms_ < cancels_deadline_ms) {
    const Status waited = loop_.wait(kLastCancelsTurnMs, [this] { now_ms_ = parts_.clock->monotonic_ms(); });
    assert(waited.has_value());
    bury_cancels();
  }
  for (int waited = 0; !outbox_.flush() && waited < kLastEventsWaitMs; waited += kCongestedTurnMs) {
    outbox_.request_room();
    const timespec pause{0, kCongestedTurnMs * 1'000'000};
    nanosleep(&pause, nullptr);
  }
}

std::vector<SessionRow> Worker::rows() const {
  std::vector<SessionRow> rows;
  rows.reserve(sessions_.size());
  for (const auto& [serial, resident] : sessions_) {
    Session& session = *resident.session;
    const bool accelerated = parts_.short_circuited && parts_.short_circuited(session.transport(Side::client).fd(),
                                                                              session.transport(Side::server).fd());
    rows.push_back({session.gate().info(), resident.started_ns, session.phase(), session.gate().gate_totals(),
                    session.totals(), accelerated});
  }
  return rows;
}

bool Worker::kill(std::string_view session_id, std::string_view detail) {
  for (auto& [serial, resident] : sessions_) {
    if (resident.session->gate().info().id != session_id) continue;
    if (resident.session->phase() == Phase::closing) return false;
    static_cast<void>(cancel_at_server(*resident.session));
    resident.session->fail(Failure::killed, detail);
    return true;
  }
  return false;
}

}  // namespace sluice::session
