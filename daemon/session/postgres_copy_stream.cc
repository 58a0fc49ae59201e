#include "daemon/session/postgres_copy_stream.h"

#include <algorithm>
#include <cstring>

namespace sluice::session {

void CopyOutStream::part(std::span<const uint8_t> framing, std::span<const uint8_t> payload, RowEnd row_end,
                         Actions& actions) {
  shape_ = {policies::ValueType::copy_row};
  raw_.insert(raw_.end(), framing.begin(), framing.end());
  if (!payload.empty()) {
    hold(payload);
  } else if (row_end == RowEnd::no) {
    if (runs_.empty()) send_settled(0, actions);
    return;  // nothing to decide on; where bytes are held it stays in order behind them
  }
  const bool first = !in_row_;
  if (first) state_ = {};
  in_row_ = row_end == RowEnd::no;
  if (first && row_end == RowEnd::yes) {
    scan(policies::ValuePart::whole, actions);
  } else {
    scan(row_end == RowEnd::yes ? policies::ValuePart::last
                                : (first ? policies::ValuePart::first : policies::ValuePart::middle),
         actions);
  }
}

void CopyOutStream::field(const FieldPiece& piece, Actions& actions) {
  shape_ = kCopyFieldShape;
  shape_.name = piece.name;
  if (piece.begins) {
    state_ = {};
    in_row_ = true;
    in_parts_ = false;
    wait_whole_ = piece.field_bytes <= kWholeFieldMax;
    fresh_ = 0;
  }
  hold(piece.bytes);
  fresh_ += piece.bytes.size();
  if (piece.ends) {
    finish(actions);
  } else if (!wait_whole_ && fresh_ >= kPartMin) {
    scan(in_parts_ ? policies::ValuePart::middle : policies::ValuePart::first, actions);
    in_parts_ = true;
    fresh_ = 0;
  }
}

void CopyOutStream::finish(Actions& actions) {
  if (in_row_)
    scan(shape_.type == kCopyFieldShape.type && !in_parts_ ? policies::ValuePart::whole : policies::ValuePart::last,
         actions);
  in_row_ = false;
}

void CopyOutStream::hold(std::span<const uint8_t> bytes) {
  if (!runs_.empty() && runs_.back().offset + runs_.back().size == raw_.size()) {
    runs_.back().size += bytes.size();
  } else {
    runs_.push_back({raw_.size(), bytes.size()});
  }
  raw_.insert(raw_.end(), bytes.begin(), bytes.end());
}

void CopyOutStream::scan(policies::ValuePart part, Actions& actions) {
  value_.clear();
  for (const Run& run : runs_) {
    value_.insert(value_.end(), raw_.begin() + static_cast<ptrdiff_t>(run.offset),
                  raw_.begin() + static_cast<ptrdiff_t>(run.offset + run.size));
  }
  size_t settled = value_.size();
  if (!value_.empty()) {
    const bool whole = part == policies::ValuePart::whole;
    masker_.add(Place::copy, 0, value_, shape_, part, whole ? nullptr : &state_);
    settled = std::min(masker_.flush(), value_.size());
    if (whole || part == policies::ValuePart::last) settled = value_.size();
  }
  size_t from = 0;
  for (const Run& run : runs_) {
    std::memcpy(raw_.data() + run.offset, value_.data() + from, run.size);
    from += run.size;
  }
  send_settled(settled, actions);
}

void CopyOutStream::send_settled(size_t settled, Actions& actions) {
  // Everything up to the first row byte that is not settled; behind the last one, the framing as well.
  size_t cut = raw_.size();
  std::vector<Run> rest;
  for (const Run& run : runs_) {
    if (settled >= run.size) {
      settled -= run.size;
      continue;
    }
    if (rest.empty()) cut = run.offset + settled;
    rest.push_back({run.offset + settled, run.size - settled});
    settled = 0;
  }
  actions.to_client_copy({raw_.data(), cut});
  raw_.erase(raw_.begin(), raw_.begin() + static_cast<ptrdiff_t>(cut));
  for (Run& run : rest) run.offset -= cut;
  runs_ = std::move(rest);
}

}  // namespace sluice::session
