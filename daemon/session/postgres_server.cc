// Framing of the server's messages, rows and COPY data. Values are masked where they stand; a read in which nothing is
// dropped or replaced goes on as one piece.
#include <algorithm>
#include <cstring>

#include "daemon/session/postgres_machine.h"

namespace sluice::session {
namespace {

using namespace postgres::backend;
using postgres::kHeaderBytes;

constexpr size_t kRowHeaderBytes = kHeaderBytes + 2;  // tag, length, column count
// A value in parts: what is held back of one leaves room for the next.
static_assert(kWindowBytes > 2 * policies::kHoldBackBytesMax);

uint16_t read_u16(const uint8_t* at) {
  return static_cast<uint16_t>(at[0] << 8 | at[1]);
}
int32_t read_i32(const uint8_t* at) {
  uint32_t value;
  std::memcpy(&value, at, sizeof value);
  return static_cast<int32_t>(__builtin_bswap32(value));
}

}  // namespace

size_t PostgresMachine::on_server(Bytes bytes, Actions& actions) {
  if (stage_ == Stage::startup || stage_ == Stage::cancel) {
    violation("the server spoke out of turn");
    return bytes.size();
  }
  Stretch stretch{bytes, actions};
  while (!ending_ && stretch.position < bytes.size() && server_step(stretch)) {
  }
  (void)masker_.flush();
  stretch.send();
  report_loose_findings();
  if (pending_.empty()) release_scratch();
  close_if_drained();
  return stretch.position;
}

// Handles the next message or the next piece of one. False: more is needed.
bool PostgresMachine::server_step(Stretch& stretch) {
  const Bytes rest = stretch.rest();
  if (row_.active) {
    stretch.forward(stream_row(rest));
    return !row_.active;
  }
  if (copy_left_ > 0) {
    relay_copy_chunk(stretch);
    return true;
  }
  if (held_bytes_ != 0) return hold(stretch);

  const postgres::Frame frame = postgres::peek_frame(rest, postgres::kBackendBounds);
  if (frame.state == postgres::FrameState::incomplete) return false;
  if (frame.state != postgres::FrameState::ok) {
    violation(frame.state == postgres::FrameState::unknown_tag ? "unknown message type from the server"
                                                               : "invalid message length from the server");
    return false;
  }
  const size_t total = frame.total_bytes();
  if (total > rest.size()) return total > kWindowBytes && begin_large_answer(frame, stretch);
  const Bytes message = rest.first(total);
  if (frame.tag == kDataRow && stage_ == Stage::ready) {
    if (row_plan_ != nullptr) {
      on_planned_row(message, stretch);
      return true;
    }
    on_data_row(message.subspan(kHeaderBytes));
    if (row_plan_ != nullptr) {  // the first row of a portal: now it is known how it goes on
      on_planned_row(message, stretch);
    } else if (!ending_) {
      stretch.forward(total);
    }
  } else if (frame.tag == kCopyData && stage_ == Stage::ready) {
    relay_copy_data(message, stretch);
  } else {
    relay(message, Where::in_stretch, stretch);
  }
  return true;
}

// A message that does not fit into the window: rows and COPY data stream, everything else is held until it is whole.
bool PostgresMachine::begin_large_answer(const postgres::Frame& frame, Stretch& stretch) {
  const Bytes rest = stretch.rest();
  if (frame.tag == kDataRow && stage_ == Stage::ready) {
    if (rest.size() < kRowHeaderBytes) return false;
    if ((!row_shape_ && !resolve_row_shape()) || read_u16(rest.data() + kHeaderBytes) != row_shape_->size()) {
      violation("a row that does not fit its description");
      return false;
    }
    row_ = {};
    row_.active = true;
    row_.columns = read_u16(rest.data() + kHeaderBytes);
    row_.body_left = frame.body_bytes - 2;
    ++pending_.front().rows;
    pending_.front().bytes += frame.body_bytes;
    stretch.forward(kRowHeaderBytes);
    return true;
  }
  if (frame.tag == kCopyData && stage_ == Stage::ready) {
    if (pending_.empty() || !pending_.front().copying_out) {
      violation("COPY data outside of a COPY");
      return false;
    }
    if (copy_binary_) {
      pass_copy_framing(kHeaderBytes, stretch);
    } else {
      stretch.send();
      copy_out_.part(rest.first(kHeaderBytes), {}, CopyOutStream::RowEnd::no, stretch.actions);
      stretch.drop(kHeaderBytes);
    }
    copy_left_ = frame.body_bytes;
    pending_.front().bytes += frame.body_bytes;
    return true;
  }
  held_bytes_ = frame.total_bytes();
  return hold(stretch);
}

bool PostgresMachine::hold(Stretch& stretch) {
  const Bytes rest = stretch.rest();
  const size_t size = std::min(held_bytes_ - held_.size(), rest.size());
  held_.insert(held_.end(), rest.begin(), rest.begin() + static_cast<ptrdiff_t>(size));
  stretch.drop(size);
  if (held_.size() < held_bytes_) return false;
  spent_.push_back(std::move(held_));
  held_ = {};
  held_bytes_ = 0;
  relay(spent_.back(), Where::held, stretch);
  return true;
}

// Decides what becomes of a whole message, and passes it on.
void PostgresMachine::relay(Bytes message, Where where, Stretch& stretch) {
  const uint8_t tag = message[0];
  const bool between = tag == kNoticeResponse || tag == kParameterStatus || tag == kNotificationResponse;
  if (copy_out_.in_row() && !between) {
    stretch.send();
    copy_out_.finish(stretch.actions);
  }
  const Relay verdict = on_server_message(tag, message, stretch.actions);
  if (ending_) return;
  const size_t size = where == Where::in_stretch ? message.size() : 0;
  if (verdict == Relay::forward && copy_out_.holding()) {
    (void)masker_.flush();  // before it is copied
    copy_out_.between(message);
    stretch.drop(size);
    if (copy_out_.over_limit())
      end_session(CloseReason::limit_exceeded, {}, "too much between two parts of a COPY row");
  } else if (verdict == Relay::forward && where == Where::held) {
    stretch.send();
    stretch.actions.to_client(message);
  } else if (verdict == Relay::forward) {
    stretch.forward(size);
  } else {
    stretch.drop(size);
    stretch.actions.to_client_copy(replacement_);
    replacement_.clear();
  }
}

void PostgresMachine::relay_copy_data(Bytes message, Stretch& stretch) {
  if (pending_.empty() || !pending_.front().copying_out) {
    violation("COPY data outside of a COPY");
    return;
  }
  const Bytes payload = message.subspan(kHeaderBytes);
  pending_.front().bytes += payload.size();
  if (copy_plan_ != nullptr && !copy_binary_) copy_plan_->mask(payload, masker_);
  if (copy_binary_) {
    pass_copy_framing(kHeaderBytes, stretch);
    copy_left_ = payload.size();
    return;
  }
  const bool row_ends = !payload.empty() && payload.back() == '\n';
  if (row_ends && !copy_out_.in_row()) {  // a row in one message, as PostgreSQL sends them
    masker_.add_copy_row(payload);
    stretch.forward(message.size());
    return;
  }
  stretch.send();
  copy_out_.part(message.first(kHeaderBytes), payload,
                 row_ends ? CopyOutStream::RowEnd::yes : CopyOutStream::RowEnd::no, stretch.actions);
  stretch.drop(message.size());
  if (copy_out_.over_limit()) end_session(CloseReason::limit_exceeded, {}, "too much between two parts of a COPY row");
}

void PostgresMachine::relay_copy_chunk(Stretch& stretch) {
  const Bytes rest = stretch.rest();
  const Bytes chunk = rest.first(std::min<uint64_t>(copy_left_, rest.size()));
  if (copy_binary_) {
    relay_binary_copy(chunk.size(), stretch);
    return;
  }
  if (copy_plan_ != nullptr) copy_plan_->mask(chunk, masker_);
  copy_left_ -= chunk.size();
  const bool row_ends = copy_left_ == 0 && chunk.back() == '\n';
  stretch.send();
  copy_out_.part({}, chunk, row_ends ? CopyOutStream::RowEnd::yes : CopyOutStream::RowEnd::no, stretch.actions);
  stretch.drop(chunk.size());
}

// COPY data in binary format: structure goes by, fields are masked. A field that stands whole in these bytes is masked
// where it stands; others go through copy_out_.
void PostgresMachine::relay_binary_copy(size_t size, Stretch& stretch) {
  using postgres::BinaryCopyReader;
  while (size > 0) {
    const Bytes rest = stretch.rest().first(size);
    const BinaryCopyReader::Piece piece = copy_reader_.next(rest);
    if (piece.kind == BinaryCopyReader::PieceKind::malformed) {
      violation(std::string("COPY in binary format from the server: ").append(piece.why));
      return;
    }
    size -= piece.size;
    copy_left_ -= piece.size;
    const bool whole = piece.begins && piece.ends && piece.field_bytes <= CopyOutStream::kWholeFieldMax;
    if (copy_plan_ != nullptr && piece.kind == BinaryCopyReader::PieceKind::field)
      copy_plan_->mask_field(rest.first(piece.size), piece.column, piece.begins, masker_);
    if (piece.kind == BinaryCopyReader::PieceKind::structure) {
      pass_copy_framing(piece.size, stretch);
    } else if (whole) {
      masker_.add_copy_field(rest.first(piece.size), masker_.copy_name(piece.column));
      stretch.forward(piece.size);
    } else {
      stretch.send();
      copy_out_.field(
          {rest.first(piece.size), piece.field_bytes, piece.begins, piece.ends, masker_.copy_name(piece.column)},
          stretch.actions);
      stretch.drop(piece.size);
    }
    if (copy_out_.over_limit()) {
      end_session(CloseReason::limit_exceeded, {}, "too much between two parts of a COPY field");
      return;
    }
  }
}

void PostgresMachine::pass_copy_framing(size_t size, Stretch& stretch) {
  if (!copy_out_.holding()) {
    stretch.forward(size);
    return;
  }
  copy_out_.between(stretch.rest().first(size));
  stretch.drop(size);
}

void PostgresMachine::on_data_row(Bytes body) {
  if (!row_shape_ && !resolve_row_shape()) {
    violation("a row without a description of its columns");
    return;
  }
  if (row_plan_ != nullptr) return;
  const Shape& shape = *row_shape_;
  const uint8_t* const end = body.data() + body.size();
  uint8_t* at = body.data() + 2;
  bool fits = read_u16(body.data()) == shape.size();
  for (size_t column = 0; fits && column < shape.size(); ++column) {
    fits = end - at >= 4;
    if (!fits) break;
    const int32_t length = read_i32(at);
    at += 4;
    if (length == -1) continue;
    fits = length >= 0 && length <= end - at;
    if (!fits) break;
    masker_.add_field({at, static_cast<size_t>(length)}, shape[column], static_cast<uint16_t>(column));
    at += length;
  }
  if (!fits || at != end) {
    violation("a row that does not fit its description");
    return;
  }
  ++pending_.front().rows;
  pending_.front().bytes += body.size();
}

// Finds the columns of the rows that the oldest command returns.
bool PostgresMachine::resolve_row_shape() {
  if (pending_.empty() || pending_.front().kind != PendingKind::execute || !pending_.front().portal ||
      pending_.front().stand_in)
    return false;
  using Rule = postgres::ResultFormats::Rule;
  Portal& portal = *pending_.front().portal;
  if (!portal.shape && portal.prepared && portal.prepared->columns_known) {
    Prepared& prepared = *portal.prepared;
    switch (portal.formats.rule) {
      case Rule::all_text:
        portal.shape = prepared.columns;
        break;
      case Rule::all_binary:
        if (!prepared.columns_binary) prepared.columns_binary = with_formats(*prepared.columns, portal.formats);
        portal.shape = prepared.columns_binary;
        break;
      default:
        portal.shape = with_formats(*prepared.columns, portal.formats);
        break;
    }
  }
  row_shape_ = portal.shape;
  if (masker_.columns() && row_shape_ != nullptr) plan_portal_rows(portal);
  return row_shape_ != nullptr;
}

// Takes what can be taken of a row larger than the window: whole values as they are, larger ones part by part.
size_t PostgresMachine::stream_row(Bytes bytes) {
  size_t position = 0;
  while (row_.active && !ending_) {
    const Bytes rest = bytes.subspan(position);
    if (!row_.in_value) {
      if (row_.column == row_.columns) {
        if (row_.body_left != 0) violation("a row that does not fit its description");
        row_.active = row_.body_left != 0;
        break;
      }
      if (rest.size() < 4 && rest.size() < row_.body_left) break;
      if (!begin_value(rest)) break;
      position += 4;
      continue;
    }
    const ColumnShape shape = (*row_shape_)[row_.column];
    const size_t here = std::min<uint64_t>(row_.value_left, rest.size());
    size_t settled = here;
    if (is_planned(row_.column)) {
      mask_streamed(rest.first(here), shape);
    } else if (here == row_.value_left && row_.first) {
      masker_.add_field(rest.first(here), shape, row_.column);
    } else if (here == row_.value_left) {
      masker_.add(Place::column, row_.column, rest.first(here), shape, policies::ValuePart::last, &row_.state);
      (void)masker_.flush();
    } else {
      if (here < kStreamPartMin) break;
      masker_.add(Place::column, row_.column, rest.first(here), shape,
                  row_.first ? policies::ValuePart::first : policies::ValuePart::middle, &row_.state);
      settled = std::min(masker_.flush(), here);
      row_.first = false;
    }
    position += settled;
    row_.body_left -= settled;
    row_.value_left -= settled;
    if (row_.value_left > 0) break;  // the tail may be the start of a card number: it comes again with more behind it
    end_value();
  }
  return position;
}

bool PostgresMachine::begin_value(Bytes rest) {
  const int32_t length = rest.size() >= 4 && row_.body_left >= 4 ? read_i32(rest.data()) : INT32_MIN;
  if (length < -1 || (length > 0 && static_cast<uint64_t>(length) > row_.body_left - 4)) {
    violation("a row that does not fit its description");
    return false;
  }
  row_.body_left -= 4;
  row_.value_bytes = length > 0 ? static_cast<uint64_t>(length) : 0;
  row_.value_left = length > 0 ? static_cast<uint64_t>(length) : 0;
  row_.in_value = true;
  row_.first = true;
  row_.state = {};
  if (row_.value_left == 0) end_value();
  return true;
}

void PostgresMachine::end_value() {
  row_.in_value = false;
  ++row_.column;
}

PostgresMachine::Relay PostgresMachine::on_server_message(uint8_t tag, Bytes message, Actions& actions) {
  return stage_ == Stage::authentication ? on_start_answer(tag, message, actions) : on_answer(tag, message, actions);
}

}  // namespace sluice::session
