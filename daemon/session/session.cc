#include "daemon/session/session.h"

#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace sluice::session {
namespace {

constexpr size_t kPiecesPerWrite = 64;

Side other(Side side) {
  return side == Side::client ? Side::server : Side::client;
}

CloseReason reason_of(Failure failure) {
  switch (failure) {
    case Failure::upstream_unreachable:
      return CloseReason::server_left;
    case Failure::startup_timeout:
      return CloseReason::timeout;
    case Failure::log_unavailable:
      return CloseReason::log_unavailable;
    case Failure::shutdown:
      return CloseReason::shutdown;
    case Failure::killed:
      return CloseReason::killed;
    case Failure::out_of_memory:
      return CloseReason::internal_error;
  }
  return CloseReason::internal_error;
}

}  // namespace

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
// ---------------------------------------------------------------------------------------------------------

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
  if (close_reason_ == CloseReason::none && !connecting_) work();
  if (close_reason_ != CloseReason::none) work_closing();
  working_ = false;
  if (finished_) return;
  watch_cancel();
  watch_deadline();
}

// Says whether a cancel request that comes now would meet its command here.
void Session::watch_cancel() {
  const bool held = end(Side::server).out.waits_for(host_.durable()) != 0;
  const bool waits = close_reason_ == CloseReason::none && (held || (machine_->parked() && machine_->cancellable()));
  if (waits != command_waits_) {
    command_waits_ = waits;
    gate_->set_waiting(waits);
  }
  if (cancel_when_sent_ && end(Side::server).out.empty()) {
    cancel_when_sent_ = false;
    host_.cancel_at_server(*this);
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
  if (machine_->parked() || end(Side::client).out.size() > kPendingBytesMax) return false;
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
// -------------------------------------------------------------------------------------------------------

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
  while (close_reason_ == CloseReason::none && was_parked_ && !machine_->parked()) {
    was_parked_ = false;
    feed_leftover();
    was_parked_ = machine_->parked();
  }
  was_parked_ = machine_->parked();
}

void Session::resume() {
  if (finished_ || close_reason_ != CloseReason::none || !machine_->parked()) return;
  was_parked_ = true;
  host_.actions().clear();
  machine_->resume(host_.actions());
  execute();
  after_step();
  run();
}

void Session::cancel_command() {
  gate_->cancel_seen_to();
  command_waits_ = false;
  if (finished_ || close_reason_ != CloseReason::none) return;
  // What has left the gate but not the daemon is the server's to cancel, once it has it.
  cancel_when_sent_ = machine_->on_cancel() != Machine::Cancelled::here;
  if (was_parked_ && !machine_->parked()) {
    host_.actions().clear();
    after_step();
  }
  run();
}

void Session::read_ended(Side side) {
  End& from = end(side);
  from.read_closed = true;
  from.readable = false;
  std::vector<uint8_t>().swap(from.leftover);
  host_.actions().clear();
  machine_->on_end(side, host_.actions());
  execute();
  if (close_reason_ != CloseReason::none) return;
  if (end(other(side)).read_closed) {
    begin_close(CloseReason::finished, "");
  } else {
    end(other(side)).write_closing = true;  // passed on once everything before it is delivered
    flush(other(side));
  }
}

void Session::broke(Side side, int error_number) {
  End& from = end(side);
  if (from.broken) return;
  from.broken = true;
  from.readable = false;
  from.read_closed = true;
  from.out.discard();
  if (close_reason_ != CloseReason::none) return;
  std::vector<uint8_t>().swap(from.leftover);
  host_.actions().clear();
  machine_->on_end(side, host_.actions());
  execute();
  begin_close(side == Side::client ? CloseReason::client_left : CloseReason::server_left,
              std::generic_category().message(error_number));
}

void Session::fail(Failure failure, std::string_view detail) {
  if (finished_ || close_reason_ != CloseReason::none) return;
  end(Side::server).out.discard();  // what has not left must not leave any more
  if (connecting_) end(Side::server).broken = true;
  host_.actions().clear();
  machine_->on_failure(failure, detail, host_.actions());
  execute();
  if (machine_->refusing()) {
    connecting_ = false;
    end(Side::server).broken = true;
    close_started_ms_ = host_.now_ms();
  } else {
    begin_close(reason_of(failure), detail);
  }
  run();
}

void Session::log_failed() {
  if (end(Side::server).out.waits_for(host_.durable()) == 0) return;
  fail(Failure::log_unavailable, "audit log cannot be written");
}

void Session::drain() {
  draining_ = true;
  if (finished_ || close_reason_ != CloseReason::none) return;
  if (connecting_ || settled()) fail(Failure::shutdown, "the proxy is shutting down");
}

void Session::abandon(std::string_view detail) {
  if (finished_) return;
  fail(Failure::shutdown, detail);  // one attempt to tell the client
  for (End& one : ends_) one.broken = true;
  finish();
}

bool Session::settled() const {
  const Phase now = machine_->phase();
  const bool waits = now == Phase::idle || now == Phase::startup || now == Phase::authentication;
  return waits && !machine_->parked() && end(Side::client).out.empty() && end(Side::server).out.empty() &&
         end(Side::client).leftover.empty() && end(Side::server).leftover.empty();
}

// --- output
// ------------------------------------------------------------------------------------------------------------

void Session::execute() {
  Actions& actions = host_.actions();
  if (!actions.client().empty()) send(Side::client, actions.client(), 0);
  if (!actions.server().empty()) send(Side::server, actions.server(), gate_->barrier());
  if (actions.close_reason() != CloseReason::none) begin_close(actions.close_reason(), actions.close_detail());
}

void Session::send(Side side, std::span<const Actions::Piece> pieces, uint64_t barrier) {
  End& to = end(side);
  if (to.broken || to.write_closed) return;  // nobody is there to take it; the session is ending
  const bool held = barrier > host_.durable();
  size_t sent = 0;
  if (to.out.empty() && to.writable && !held) {
    sent = write_now(to, pieces);
    if (to.broken) return;
    size_t total = 0;
    for (const Actions::Piece& piece : pieces) total += piece.size;
    if (sent == total) return;
  }
  if (to.out.append(pieces, sent, held ? barrier : 0)) host_.await_durable(*this, barrier);
}

// Writes until everything is gone or the socket is full. Returns how many bytes went.
size_t Session::write_now(End& to, std::span<const Actions::Piece> pieces) {
  size_t sent = 0, piece = 0, offset = 0;
  while (piece < pieces.size()) {
    std::array<iovec, kPiecesPerWrite> vector;
    size_t count = 0, wanted = 0;
    for (size_t i = piece; i < pieces.size() && count < vector.size(); ++i, ++count) {
      const size_t skip = i == piece ? offset : 0;
      vector[count] = {const_cast<uint8_t*>(pieces[i].data) + skip, pieces[i].size - skip};  // iovec has no const form
      wanted += pieces[i].size - skip;
    }
    const io::IoResult result = to.transport->write({vector.data(), count});
    if (result.state == io::IoState::would_block) {
      stop_writing(to, result);
      break;
    }
    if (result.state != io::IoState::ok) {
      to.broken = true;
      to.read_closed = true;
      to.out.discard();
      begin_close(&to == &end(Side::client) ? CloseReason::client_left : CloseReason::server_left,
                  std::generic_category().message(result.error_number));
      break;
    }
    sent += result.bytes;
    (&to == &end(Side::client) ? totals_.bytes_to_client : totals_.bytes_to_server) += result.bytes;
    size_t left = result.bytes;
    while (left > 0) {
      const size_t rest = pieces[piece].size - offset;
      if (left < rest) {
        offset += left;
        left = 0;
      } else {
        left -= rest;
        ++piece;
        offset = 0;
      }
    }
    if (result.bytes < wanted) {
      // A stream socket takes less than it was given only when it is full; the next event says when it has room.
      stop_writing(to, result);
      break;
    }
    to.look_again_ms = to.patience_ms = 0;
  }
  return sent;
}

void Session::stop_writing(End& to, const io::IoResult& result) {
  to.writable = false;
  if (!result.look_again) return;
  to.patience_ms = std::clamp(to.patience_ms * 2, kLookAgainLeastMs, kLookAgainMostMs);
  to.look_again_ms = host_.now_ms() + to.patience_ms;
}

// Sends what may leave. False where the session has begun to close on the way.
bool Session::flush(Side side) {
  End& to = end(side);
  if (!to.out.empty() && to.writable && !to.broken) {
    const std::span<const uint8_t> ready = to.out.ready(host_.durable());
    if (!ready.empty()) {
      const Actions::Piece piece{ready.data(), ready.size()};
      const size_t sent = write_now(to, {&piece, 1});
      if (!to.broken) to.out.consume(sent);
    }
  }
  if (to.write_closing && !to.write_closed && to.out.empty() && !to.broken) {
    to.transport->shutdown_write();
    to.write_closed = true;
  }
  return close_reason_ == CloseReason::none;
}

void Session::durable_reached() {
  if (finished_) return;
  run();
}

// --- the end
// -----------------------------------------------------------------------------------------------------------

void Session::begin_close(CloseReason reason, std::string_view detail) {
  if (close_reason_ != CloseReason::none) return;
  close_reason_ = reason;
  close_detail_ = detail;
  close_started_ms_ = host_.now_ms();
  for (End& one : ends_) {
    std::vector<uint8_t>().swap(one.leftover);
    one.write_closing = true;
  }
  if (!working_) host_.run_again(*this);
}

// Delivers what is left, half-closes, and waits for the peers to close too: closing with unread input would send a
// reset, and that could take the last message away from a client that has not read it yet.
void Session::work_closing() {
  bool done = true;
  for (const Side side : {Side::client, Side::server}) {
    End& one = end(side);
    flush(side);
    if (!one.broken && !one.read_closed && one.write_closed) discard_input(one);
    const bool closed = one.broken || (one.write_closed && one.read_closed);
    done = done && closed;
  }
  if (done) finish();
}

void Session::discard_input(End& from) {
  size_t budget = kTurnBytes;
  while (from.readable && budget > 0) {
    const io::IoResult got = from.transport->read(host_.read_buffer());
    if (got.state == io::IoState::would_block) {
      from.readable = false;
    } else if (got.state != io::IoState::ok) {
      from.readable = false;
      from.read_closed = true;
    } else {
      budget -= std::min(budget, got.bytes);
      if (got.bytes < host_.read_buffer().size() && !from.hung_up) from.readable = false;
    }
  }
  if (from.readable) host_.run_again(*this);
}

void Session::finish() {
  if (finished_) return;
  finished_ = true;
  cancel();
  gate_->ended(close_reason_, close_detail_, totals_);
  host_.finished(*this);
}

// --- time
// --------------------------------------------------------------------------------------------------------------

uint64_t Session::deadline_ms() const {
  uint64_t deadline = limit_ms();
  for (const End& one : ends_) {
    if (one.look_again_ms != 0) deadline = std::min(deadline, one.look_again_ms);
  }
  return deadline;
}

// When what the session is in takes too long.
uint64_t Session::limit_ms() const {
  if (close_reason_ != CloseReason::none || machine_->refusing()) return close_started_ms_ + limits_.linger_timeout_ms;
  if (connecting_) return started_ms_ + limits_.upstream_connect_timeout_ms;
  const Phase now = machine_->phase();
  if (now == Phase::startup || now == Phase::authentication) return started_ms_ + limits_.startup_timeout_ms;
  const bool stalled = !end(Side::client).out.empty() || !end(Side::server).out.empty();
  return active_ms_ + (stalled ? limits_.write_stall_timeout_ms : limits_.idle_timeout_ms);
}

// Arms the timer where it would come too late; one that comes too early looks at the deadline again.
void Session::watch_deadline() {
  const uint64_t deadline = deadline_ms();
  if (!armed() || io::Timer::deadline_ms() > deadline) host_.timers().arm(*this, deadline);
}

// Tries to write again where no event tells when there is room. True where that was due.
bool Session::look_again(uint64_t now_ms) {
  const uint64_t moved = totals_.bytes_to_client + totals_.bytes_to_server;
  bool due = false;
  for (const Side side : {Side::client, Side::server}) {
    End& one = end(side);
    if (one.look_again_ms == 0 || now_ms < one.look_again_ms) continue;
    one.look_again_ms = 0;
    one.writable = due = true;
    flush(side);
  }
  if (!due) return false;
  const bool went_on = moved != totals_.bytes_to_client + totals_.bytes_to_server;
  if (went_on || close_reason_ != CloseReason::none) {
    run();
  } else {
    watch_deadline();  // looking is not activity
  }
  return true;
}

void Session::on_timer(uint64_t now_ms) {
  if (finished_ || look_again(now_ms)) return;
  if (now_ms < deadline_ms()) {
    watch_deadline();
    return;
  }
  if (close_reason_ != CloseReason::none) {
    for (End& one : ends_) {
      if (!one.broken) one.transport->reset();
      one.broken = true;
    }
    finish();
    return;
  }
  if (connecting_) {
    fail(Failure::upstream_unreachable, "connecting to the server timed out");
    return;
  }
  const Phase phase_now = machine_->phase();
  if (phase_now == Phase::startup || phase_now == Phase::authentication) {
    fail(Failure::startup_timeout, "start-up took too long");
    return;
  }
  const bool stalled = !end(Side::client).out.empty() || !end(Side::server).out.empty();
  begin_close(CloseReason::timeout, stalled ? "the peer took no bytes for too long" : "idle for too long");
  run();
}

}  // namespace sluice::session
