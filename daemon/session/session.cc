// Readiness, turns, reading, and the machine; session_output.cc sends, session_end.cc ends.
#include "daemon/session/session.h"

#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace sluice::session {

Session::Session(uint64_t serial, SessionHost& host, const SessionLimits& limits, std::unique_ptr<io::Transport> client,
                 std::unique_ptr<io::Transport> server, std::unique_ptr<SessionGate> gate,
                 std::unique_ptr<Machine> machine)
    : serial_(serial), host_(host), limits_(limits), gate_(std::move(gate)), machine_(std::move(machine)) {
  end(Side::client).transport = std::move(client);
  end(Side::server).transport = std::move(server);
  for (const Side side : {Side::client, Side::server}) {
    end(side).handler.session = this;
    end(side).handler.side = side;
  }
  started_ms_ = active_ms_ = host_.now_ms();
  watch_deadline();
}

Session::~Session() {
  cancel();
}

size_t Session::buffered_bytes() const {
  size_t bytes = 0;
  for (const End& one : ends_) bytes += one.out.size() + one.leftover.capacity();
  return bytes;
}

// --- readiness

void Session::on_ready(Side side, uint32_t epoll_events) {
  if (finished_) return;
  End& ready = end(side);
  if ((epoll_events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) ready.readable = true;
  if ((epoll_events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) ready.hung_up = true;
  if ((epoll_events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) ready.writable = true;
  if (connecting_ && side == Side::server && !finish_connecting(epoll_events)) return;
  run();
}

// True once the upstream connection stands (or the session is ending, and goes on to close).
bool Session::finish_connecting(uint32_t epoll_events) {
  if ((epoll_events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return false;
  int error_number = 0;
  socklen_t length = sizeof error_number;
  if (getsockopt(end(Side::server).transport->fd(), SOL_SOCKET, SO_ERROR, &error_number, &length) != 0)
    error_number = errno;
  if (error_number == 0 && (epoll_events & EPOLLOUT) != 0) {
    connecting_ = false;
    return true;
  }
  if (error_number == 0) error_number = ECONNREFUSED;
  end(Side::server).broken = true;
  fail(Failure::upstream_unreachable, std::generic_category().message(error_number));
  return false;
}

void Session::run() {
  if (finished_ || working_) return;
  working_ = true;
  active_ms_ = host_.now_ms();
  if (command_waits_) watch_cancel();  // before the client is read, which may go on once its command has left
  if (close_reason_ == CloseReason::none && !connecting_) work();
  if (close_reason_ != CloseReason::none) work_closing();
  working_ = false;
  if (finished_) return;
  watch_cancel();
  send_cancel();
  if (!finished_) watch_deadline();
}

// Says whether a cancel request that comes now would meet its command here. One that came until now did.
void Session::watch_cancel() {
  const bool held = end(Side::server).out.waits_for(host_.durable()) != 0;
  const bool waits = close_reason_ == CloseReason::none && (held || (machine_->parked() && machine_->cancellable()));
  if (waits != command_waits_) {
    command_waits_ = waits;
    gate_->set_waiting(waits);
    if (!waits) take_cancel();
  }
}

void Session::send_cancel() {
  if (cancel_ != Cancel::when_sent || close_reason_ != CloseReason::none || !end(Side::server).out.empty()) return;
  if (host_.cancel_at_server(*this)) {
    cancel_ = Cancel::under_way;
  } else {
    cancel_delivered();  // the server runs nothing, or cannot be asked
  }
}

void Session::work() {
  size_t budget = kTurnBytes;
  for (;;) {
    size_t moved = 0;
    // Both outputs first: what one of them lets go is what the other side's reading waited for, and no event comes for
    // that.
    if (!flush(Side::client) || !flush(Side::server)) return;
    for (const Side side : {Side::client, Side::server}) {
      if (!may_read(side)) continue;
      moved += read_some(side);
      if (close_reason_ != CloseReason::none) return;
    }
    if (moved == 0) break;
    budget -= std::min(budget, moved);
    if (budget == 0) {
      host_.run_again(*this);  // fairness: the others first
      break;
    }
  }
  if (draining_ && settled()) fail(Failure::shutdown, "the proxy is shutting down");
}

bool Session::may_read(Side side) const {
  const End& from = end(side);
  if (!from.readable || from.read_closed || from.broken || host_.congested()) return false;
  if (from.leftover.size() >= kWindowBytes) return false;
  if (side == Side::server) return end(Side::client).out.empty();
  if (machine_->parked() || cancel_ != Cancel::none || end(Side::client).out.size() > kPendingBytesMax) return false;
  const OutputQueue& out = end(Side::server).out;
  // Bytes that wait for the log alone let the client go on, so that one fsync serves what it pipelines.
  return out.empty() ||
         (end(Side::server).writable && out.size() < kPendingBytesMax && out.waits_for(host_.durable()) != 0);
}

// One read and what comes of it. Returns how many bytes came.
size_t Session::read_some(Side side) {
  End& from = end(side);
  const std::span<uint8_t> buffer = host_.read_buffer();
  const size_t kept = from.leftover.size();
  if (kept > 0) std::memcpy(buffer.data(), from.leftover.data(), kept);
  const std::span<uint8_t> room = buffer.subspan(kept);
  const io::IoResult got = from.transport->read(room);
  switch (got.state) {
    case io::IoState::would_block:
      from.readable = false;
      return 0;
    case io::IoState::end:
      read_ended(side);
      return 0;
    case io::IoState::error:
      broke(side, got.error_number);
      return 0;
    case io::IoState::ok:
      break;
  }
  if (got.bytes < room.size() && !from.hung_up)
    from.readable = false;  // edge-triggered: more bytes come with a new event
  feed(side, kept + got.bytes);
  after_step();
  return got.bytes;
}

// --- the machine

// Gives the first `size` bytes of the read buffer to the machine, executes what it says, and keeps what it left over.
void Session::feed(Side side, size_t size) {
  End& from = end(side);
  const std::span<uint8_t> bytes = host_.read_buffer().first(size);
  Actions& actions = host_.actions();
  actions.clear();
  const size_t taken = machine_->on_bytes(side, bytes, actions);
  assert(taken <= size);
  execute();
  const std::span<const uint8_t> rest = bytes.subspan(taken);
  if (rest.empty()) {
    if (!from.leftover.empty()) std::vector<uint8_t>().swap(from.leftover);
  } else {
    from.leftover.assign(rest.begin(), rest.end());
  }
  const bool may_be_large = side == Side::client && machine_->parked();
  if (rest.size() >= kWindowBytes && !may_be_large && close_reason_ == CloseReason::none) {
    // A machine that breaks this would stall the session for ever, for there would be no room to read into.
    begin_close(CloseReason::internal_error, "more bytes were left over than a window holds");
  }
}

// Presents what the client's side left over once more, with nothing new behind it.
void Session::feed_leftover() {
  End& from = end(Side::client);
  const size_t kept = from.leftover.size();
  if (kept > 0) std::memcpy(host_.read_buffer().data(), from.leftover.data(), kept);
  feed(Side::client, kept);
}

// A step may have unparked the machine (an answer of the server settled what a command waited for).
void Session::after_step() {
  if (cancel_ != Cancel::none) {
    was_parked_ = was_parked_ || machine_->parked();  // cancel_delivered() goes on with it
    return;
  }
  while (close_reason_ == CloseReason::none && was_parked_ && !machine_->parked()) {
    was_parked_ = false;
    feed_leftover();
    was_parked_ = machine_->parked();
  }
  was_parked_ = machine_->parked();
}

void Session::resume() {
  if (finished_ || close_reason_ != CloseReason::none || !machine_->parked()) return;
  if (cancel_ != Cancel::none) return;  // cancel_delivered() does it
  was_parked_ = true;
  host_.actions().clear();
  machine_->resume(host_.actions());
  execute();
  after_step();
  run();
}

void Session::cancel_command() {
  if (finished_) return;
  take_cancel();
  run();
}

void Session::take_cancel() {
  if (!gate_->take_cancel() || close_reason_ != CloseReason::none) return;
  command_waits_ = false;
  // What has left the gate but not the daemon is the server's to cancel, once it has it.
  const bool here = machine_->on_cancel() == Machine::Cancelled::here;
  if (!here && cancel_ == Cancel::none) cancel_ = Cancel::when_sent;
  host_.actions().clear();
  after_step();
}

void Session::cancel_delivered() {
  cancel_ = Cancel::none;
  if (finished_ || close_reason_ != CloseReason::none) return;
  host_.actions().clear();
  if (machine_->parked()) {
    was_parked_ = true;
    machine_->resume(host_.actions());
    execute();
  }
  after_step();
  run();
}

}  // namespace sluice::session
