// How a session ends: because a side left, something failed, somebody asked for it or it took too long; and the orderly
// close that follows, which delivers what is left.
#include <algorithm>
#include <cstdint>
#include <string_view>
#include <system_error>
#include <vector>

#include "daemon/session/session.h"

namespace sluice::session {
namespace {

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

// --- closing

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
// reset, and that could take the last message away from a client that has not read it yet. A client that is gone
// without an orderly end takes the server with it once that has everything: nobody will read what it still sends, and
// it learns so at its next write, as from a client of its own.
void Session::work_closing() {
  End& server = end(Side::server);
  if (end(Side::client).broken && !server.broken && server.out.empty()) {
    server.transport->reset();
    server.broken = true;
  }
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
