// Framing of the client's messages, and those that are no commands: Sync, Flush, Describe, Close, COPY data, Terminate.
#include <algorithm>

#include "daemon/session/postgres_machine.h"

namespace sluice::session {
namespace {

constexpr std::string_view kBadCopyFile = "22P04";
using policies::Permit;
using policies::Upkeep;
}  // namespace

size_t PostgresMachine::on_client(Bytes bytes, Actions& actions) {
  size_t taken = 0;
  while (!ending_ && wait_ == Wait::none) {
    const bool collected = collect_bytes_ != 0 && collected_.size() == collect_bytes_;
    if (taken == bytes.size() && !collected) break;
    const size_t step = client_step(bytes.subspan(taken), actions);
    taken += step;
    if (step == 0 && !collected) break;
  }
  client_left_over_ = taken < bytes.size();
  if (client_ended_ && pending_.empty() && wait_ == Wait::none)
    client_left_over_ = false;  // the end of a message that never comes
  close_if_drained();
  return taken;
}

// Takes the next piece: a whole message, or part of one that is larger than the window. 0: more is needed, or it waits.
size_t PostgresMachine::client_step(Bytes rest, Actions& actions) {
  if (terminated_) return rest.size();
  if (passing_ > 0) {
    const size_t size = std::min<uint64_t>(passing_, rest.size());
    actions.to_server(rest.first(size), Permit::for_upkeep(Upkeep::copy_data));
    passing_ -= size;
    return size;
  }
  if (skipping_ > 0) {
    const size_t size = std::min<uint64_t>(skipping_, rest.size());
    skipping_ -= size;
    return size;
  }
  if (copy_in_left_ > 0) return pass_large_copy_in(rest, actions);
  if (collect_bytes_ != 0) return collect(rest, actions);
  if (stage_ == Stage::cancel) return rest.size();
  if (stage_ == Stage::startup) return on_startup(rest, actions);

  const postgres::Frame frame = postgres::peek_frame(rest, postgres::kFrontendBounds);
  if (frame.state == postgres::FrameState::incomplete) return 0;
  if (frame.state != postgres::FrameState::ok) {
    violation(frame.state == postgres::FrameState::unknown_tag ? "unknown message type from the client"
                                                               : "invalid message length from the client");
    return rest.size();
  }
  const size_t total = frame.total_bytes();
  const bool text = frame.tag == postgres::frontend::kQuery || frame.tag == postgres::frontend::kParse;
  if (text && frame.body_bytes > limits_.statement_bytes_max && stage_ == Stage::ready)
    return begin_large(frame, rest, actions);
  if (rest.size() >= total) {
    return on_client_message(frame.tag, rest.first(total), total, actions) == Verdict::done ? total : 0;
  }
  return total <= kWindowBytes ? 0 : begin_large(frame, rest, actions);
}

// A message that is larger than the window, or a text over its limit: says how it goes on.
size_t PostgresMachine::begin_large(const postgres::Frame& frame, Bytes rest, Actions& actions) {
  using namespace postgres::frontend;
  const uint64_t total = frame.total_bytes();
  if (frame.tag == kPassword && stage_ == Stage::authentication) {
    if (!authentication_wanted_) {
      (void)wait_for_server(actions);
      return 0;
    }
    collect_bytes_ = collect_total_ = total;  // bounded by kPasswordBodyMax
    return collect(rest, actions);
  }
  if (stage_ != Stage::ready) {
    (void)wait_for_server(actions);  // sent before the session is ready: looked at then
    return 0;
  }
  if (copy_undecided_ || pending_.size() >= kPipelineMax) {
    (void)wait_for_server(actions);
    return 0;
  }
  if (copy_in_ && frame.tag != kCopyData) {
    violation("unexpected message type during COPY from stdin");
    return rest.size();
  }
  if (frame.tag == kCopyData) {
    if (copy_in_) {
      copy_in_left_ = frame.body_bytes;
      return postgres::kHeaderBytes;
    } else {
      skipping_ = total;
    }
    return client_step(rest, actions);
  }
  const bool text = frame.tag == kQuery || frame.tag == kParse;
  if (discarding_) {
    skipping_ = total;
    return client_step(rest, actions);
  }
  if (text && frame.body_bytes > limits_.statement_bytes_max) {
    const size_t head = std::min<size_t>({rest.size(), total, kWindowBytes});
    // The name of a Parse tells what the refusal takes away; wait until it is at hand.
    if (frame.tag == kParse && head < total && head < postgres::kHeaderBytes + postgres::kNameBytesMax + 1) return 0;
    refuse_large(frame.tag, rest.first(head).subspan(postgres::kHeaderBytes), actions);
    if (wait_ != Wait::none || ending_) return 0;
    skipping_ = total;
    return client_step(rest, actions);
  }
  collect_total_ = total;
  collect_bytes_ = text ? total : std::min<uint64_t>(total, kHeadBytesMax);
  return collect(rest, actions);
}

// Gathers a large message, then has it handled. It stays until the step's actions are executed.
size_t PostgresMachine::collect(Bytes rest, Actions& actions) {
  const size_t size = std::min(collect_bytes_ - collected_.size(), rest.size());
  collected_.insert(collected_.end(), rest.begin(), rest.begin() + static_cast<ptrdiff_t>(size));
  if (collected_.size() < collect_bytes_) return size;
  if (on_client_message(collected_[0], collected_, collect_total_, actions) == Verdict::done) {
    spent_.push_back(std::move(collected_));
    collected_ = {};
    collect_bytes_ = 0;
    collect_total_ = 0;
  }
  return size;
}

PostgresMachine::Verdict PostgresMachine::on_client_message(uint8_t tag, Bytes message, uint64_t total_bytes,
                                                            Actions& actions) {
  using namespace postgres::frontend;
  if (stage_ == Stage::authentication) {
    if (tag == kPassword) return on_authentication_answer(message, actions);
    if (tag == kTerminate) {
      end_session(CloseReason::client_left, {}, {});
      return Verdict::done;
    }
    return wait_for_server(actions);  // a client may send ahead; it is looked at once the session is ready
  }
  if (tag == kPassword) {
    violation("unexpected password message");
    return Verdict::done;
  }
  if (copy_undecided_ || pending_.size() >= kPipelineMax) return wait_for_server(actions);
  if (copy_in_) return on_copy_in_message(tag, message, actions);
  return on_ready_message(tag, message, total_bytes, actions);
}

// The server reads COPY data; it ignores Flush and Sync, and loses its footing on anything else (CopyGetData).
PostgresMachine::Verdict PostgresMachine::on_copy_in_message(uint8_t tag, Bytes message, Actions& actions) {
  using namespace postgres::frontend;
  switch (tag) {
    case kCopyData:
      if (!copy_in_may_go(message.subspan(postgres::kHeaderBytes), actions)) return Verdict::done;
      pending_.front().bytes += message.size() - postgres::kHeaderBytes;
      actions.to_server(message, Permit::for_upkeep(Upkeep::copy_data));
      return Verdict::done;
    case kCopyDone:
    case kCopyFail:
      actions.to_server(message, Permit::for_upkeep(Upkeep::copy_end));
      copy_in_ = false;
      // A text of several statements may hold another COPY. What belongs to it cannot be told from what does not until
      // the server has said which. A portal has one statement.
      copy_undecided_ = pending_.front().may_copy_in = pending_.front().kind == PendingKind::query;
      return Verdict::done;
    case kFlush:
    case kSync:
      return Verdict::done;
    case kTerminate:
      return on_terminate(message, actions);
    default:
      violation("unexpected message type during COPY from stdin");
      return Verdict::done;
  }
}

// Looks at the next bytes of COPY data: for card numbers that were masked, and in binary format for what is malformed.
// Where there is such the COPY is refused.
bool PostgresMachine::copy_in_may_go(ConstBytes payload, Actions& actions) {
  if (copy_in_masks_.holds(payload) && gate_.masking().refuse_masked_writes) {
    gate_.note(SessionNote::masked_write, kMaskedWrite);
    refuse_copy_in(kMaskedWrite, kMaskedWriteState, actions);
    return false;
  }
  if (!copy_binary_) return true;
  while (!payload.empty()) {
    const postgres::BinaryCopyReader::Piece piece = copy_reader_.next(payload);
    if (piece.kind == postgres::BinaryCopyReader::PieceKind::malformed) {
      gate_.note(SessionNote::protocol_violation, std::string("COPY in binary format: ").append(piece.why));
      refuse_copy_in(piece.why, kBadCopyFile, actions);
      return false;
    }
    payload = payload.subspan(piece.size);
  }
  return true;
}

// A message larger than the window goes on as several, so that what turns out malformed can still be refused between
// two of them. The server pays no heed to where messages end.
size_t PostgresMachine::pass_large_copy_in(Bytes rest, Actions& actions) {
  const size_t size = std::min<uint64_t>(copy_in_left_, rest.size());
  if (size < copy_in_left_ && size < kStreamPartMin) return 0;
  copy_in_left_ -= size;
  // Refused, or the server ended the COPY: what is left of the message means nothing any more.
  if (!copy_in_ || !copy_in_may_go(rest.first(size), actions)) return size;
  pending_.front().bytes += size;
  actions.to_server_copy(postgres::build_copy_data_header(size), Permit::for_upkeep(Upkeep::copy_data));
  actions.to_server(rest.first(size), Permit::for_upkeep(Upkeep::copy_data));
  return size;
}

PostgresMachine::Verdict PostgresMachine::on_ready_message(uint8_t tag, Bytes message, uint64_t total_bytes,
                                                           Actions& actions) {
  using namespace postgres::frontend;
  switch (tag) {
    case kSync:
      return on_sync(message, actions);
    case kTerminate:
      return on_terminate(message, actions);
    case kFlush:
      actions.to_server(message, Permit::for_upkeep(Upkeep::flush));
      unflushed_ = false;
      return Verdict::done;
    case kCopyData:  // outside a COPY the server ignores these, and so do we (left over from a COPY that failed)
    case kCopyDone:
    case kCopyFail:
      return Verdict::done;
    default:
      break;
  }
  if (discarding_) {  // the server ignores it: an earlier message of this segment failed, or will
    withdrawn_ = false;
    if (total_bytes > message.size()) skipping_ = total_bytes - message.size();
    return Verdict::done;
  }
  switch (tag) {
    case kQuery:
      return on_query(message, actions);
    case kParse:
      return on_parse(message, actions);
    case kBind:
      return on_bind(message, total_bytes, actions);
    case kExecute:
      return on_execute(message, actions);
    case kFunctionCall:
      return on_function_call(message, total_bytes, actions);
    case kDescribe:
      return on_describe(message, actions);
    case kClose:
      return on_close(message, actions);
    default:
      break;
  }
  violation("unexpected message type from the client");
  return Verdict::done;
}

PostgresMachine::Verdict PostgresMachine::on_sync(Bytes message, Actions& actions) {
  actions.to_server(message, Permit::for_upkeep(Upkeep::sync));
  push(Pending{});
  discarding_ = false;
  return Verdict::done;
}

PostgresMachine::Verdict PostgresMachine::on_terminate(Bytes message, Actions& actions) {
  actions.to_server(message, Permit::for_upkeep(Upkeep::terminate));
  terminated_ = true;
  // With answers under way the server finishes them, then closes.
  if (pending_.empty()) end_session(CloseReason::finished, {}, {});
  return Verdict::done;
}

PostgresMachine::Verdict PostgresMachine::on_describe(Bytes message, Actions& actions) {
  const auto target = postgres::decode_named_target(message.subspan(postgres::kHeaderBytes));
  if (!target) {
    violation("malformed Describe message");
    return Verdict::done;
  }
  Pending pending;
  if (target->kind == postgres::NameKind::statement) {
    pending.kind = PendingKind::describe_statement;
    // Where the name's meaning is still open, the answer is passed on and nothing is learnt from it.
    if (statements_.find(target->name, segment_, pending.prepared) == NameTable<Prepared>::Known::yes) {
      pending.prepared->described_in = segment_;
    }
  } else {
    pending.kind = PendingKind::describe_portal;
    if (portals_.find(target->name, segment_, pending.portal) == NameTable<Portal>::Known::yes) {
      pending.portal->described_in = segment_;
      pending.portal->executions_seen = executions_;
    }
  }
  actions.to_server(message, Permit::for_upkeep(Upkeep::describe));
  push(std::move(pending));
  return Verdict::done;
}

PostgresMachine::Verdict PostgresMachine::on_close(Bytes message, Actions& actions) {
  const auto target = postgres::decode_named_target(message.subspan(postgres::kHeaderBytes));
  if (!target) {
    violation("malformed Close message");
    return Verdict::done;
  }
  Pending pending;
  pending.name = target->name;
  if (target->kind == postgres::NameKind::statement) {
    pending.kind = PendingKind::close_statement;
    statements_.begin(target->name, nullptr, segment_);
  } else {
    pending.kind = PendingKind::close_portal;
    portals_.begin(target->name, nullptr, segment_);
  }
  actions.to_server(message, Permit::for_upkeep(Upkeep::close));
  push(std::move(pending));
  return Verdict::done;
}

// The message is presented again once the server has answered something. Where the client asked for no answers yet, we
// do.
PostgresMachine::Verdict PostgresMachine::wait_for_server(Actions& actions) {
  wait_ = Wait::server;
  if (unflushed_) {
    actions.to_server_copy(postgres::build_flush(), Permit::for_upkeep(Upkeep::flush));
    unflushed_ = false;
  }
  return Verdict::wait;
}

void PostgresMachine::push(Pending pending) {
  pending.segment = segment_;
  if (pending.ends_segment()) {
    ++segment_;
    unflushed_ = false;
  } else {
    unflushed_ = true;
  }
  if (pending.stand_in) ++stand_ins_;
  pending_.push_back(std::move(pending));
}

}  // namespace sluice::session
