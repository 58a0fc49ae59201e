#include "daemon/session/copy_masks.h"

#include <algorithm>

namespace sluice::session {

using command::ColumnVerdict;

CopyMasks::CopyMasks(ColumnPlanRef plan, Bytes bytes)
    : plan_(std::move(plan)), certain_(plan_->copy.certain && bytes == Bytes::ascii_safe) {
  next_row();
}

// A row that has more fields than were announced.
ColumnVerdict CopyMasks::verdict(size_t column) const {
  return column < plan_->columns.size() ? plan_->columns[column] : ColumnVerdict::untraceable;
}

void CopyMasks::next_field() {
  ++column_;
  masks_ = verdict(column_) != ColumnVerdict::clear;
  counted_ = escaped_ = quoted_ = after_quote_ = false;
  bytes_ = 0;
}

void CopyMasks::next_row() {
  column_ = SIZE_MAX;  // one before the first
  next_field();
}

void CopyMasks::count(PostgresMasker& masker) {
  if (counted_) return;
  counted_ = true;
  masker.count_whole(Place::column, static_cast<uint16_t>(column_), verdict(column_));
}

void CopyMasks::mask(std::span<uint8_t> bytes, PostgresMasker& masker) {
  if (!certain_) {
    for (uint8_t& byte : bytes) {
      if (byte != '\n') byte = '*';
    }
    masker.count_whole(Place::column, 0, ColumnVerdict::untraceable);
  } else if (plan_->copy.kind == sql::CopyFormat::Kind::csv) {
    mask_csv(bytes, masker);
  } else {
    mask_text(bytes, masker);
  }
}

// COPY, "Text Format": a delimiter or line feed within a value has a backslash before it, and `\N` is no value. An
// escape that begins a value stays, whatever follows, so that parts of a message are masked as the whole.
void CopyMasks::mask_text(std::span<uint8_t> bytes, PostgresMasker& masker) {
  const auto delimiter = static_cast<uint8_t>(plan_->copy.delimiter);
  for (uint8_t& byte : bytes) {
    if (!escaped_ && byte == '\n') {
      next_row();
      continue;
    }
    if (!escaped_ && byte == delimiter) {
      next_field();
      continue;
    }
    const bool begins_escape = bytes_ == 0 && byte == '\\';
    const bool ends_null = bytes_ == 1 && escaped_ && byte == 'N';  // an escaped backslash would be another one
    if (bytes_ < 2) ++bytes_;
    escaped_ = !escaped_ && byte == '\\';
    if (!masks_ || begins_escape || ends_null) continue;
    count(masker);
    byte = '*';
  }
}

// COPY, "CSV Format": a delimiter or line feed within a value stands between quotes; a quote there has an escape before
// it, which by default is a quote as well.
void CopyMasks::mask_csv(std::span<uint8_t> bytes, PostgresMasker& masker) {
  const auto delimiter = static_cast<uint8_t>(plan_->copy.delimiter);
  const auto quote = static_cast<uint8_t>(plan_->copy.quote);
  const auto escape = static_cast<uint8_t>(plan_->copy.escape);
  for (uint8_t& byte : bytes) {
    if (after_quote_) {
      after_quote_ = false;
      if (byte == quote) {  // two of them: one that belongs to the value; the first was left standing
        if (masks_) count(masker);
        continue;  // both stay, so that it still is one
      }
      quoted_ = false;
    }
    if (!quoted_ && byte == '\n') {
      next_row();
    } else if (!quoted_ && byte == delimiter) {
      next_field();
    } else if (!quoted_ && byte == quote) {
      quoted_ = true;
    } else if (quoted_ && !escaped_ && byte == quote) {
      after_quote_ = true;
    } else {
      const bool was_escaped = escaped_;
      escaped_ = quoted_ && !was_escaped && escape != quote && byte == escape;
      if (masks_) {
        count(masker);
        byte = '*';
      }
    }
  }
}

void CopyMasks::mask_field(std::span<uint8_t> bytes, uint16_t column, bool begins, PostgresMasker& masker) {
  const ColumnVerdict found = verdict(column);
  if (found == ColumnVerdict::clear) return;
  if (begins) masker.count_whole(Place::column, column, found);
  std::fill(bytes.begin(), bytes.end(), '*');
}

}  // namespace sluice::session
