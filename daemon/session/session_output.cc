// What a session sends: at once where the socket takes it and the log is far enough, otherwise from its queues.
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <system_error>

#include "daemon/session/session.h"

namespace sluice::session {
namespace {

constexpr size_t kPiecesPerWrite = 64;

}  // namespace

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

}  // namespace sluice::session
