#include "daemon/session/output_queue.h"

#include <cassert>

namespace sluice::session {

bool OutputQueue::append(std::span<const Actions::Piece> pieces, size_t skip, uint64_t barrier) {
  if (head_ > 0 && head_ >= bytes_.size() / 2) {  // move down at most half: amortised, each byte moves once
    const size_t moved = head_;
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(moved));
    head_ = 0;
    for (size_t i = first_mark_; i < marks_.size(); ++i) marks_[i].offset -= moved;
  }
  const bool rises = barrier != 0 && (first_mark_ == marks_.size() || barrier > marks_.back().sequence);
  if (rises) marks_.push_back({bytes_.size(), barrier});
  for (const Actions::Piece& piece : pieces) {
    if (skip >= piece.size) {
      skip -= piece.size;
      continue;
    }
    bytes_.insert(bytes_.end(), piece.data + skip, piece.data + piece.size);
    skip = 0;
  }
  return rises;
}

void OutputQueue::settle(uint64_t durable) {
  while (first_mark_ < marks_.size() && marks_[first_mark_].sequence <= durable) ++first_mark_;
  if (first_mark_ == marks_.size()) {
    marks_.clear();
    first_mark_ = 0;
  }
}

std::span<const uint8_t> OutputQueue::ready(uint64_t durable) {
  settle(durable);
  const size_t end = first_mark_ < marks_.size() ? marks_[first_mark_].offset : bytes_.size();
  assert(end >= head_);
  return {bytes_.data() + head_, end - head_};
}

void OutputQueue::consume(size_t bytes) {
  assert(bytes <= size());
  head_ += bytes;
  if (head_ < bytes_.size()) return;
  bytes_.clear();
  head_ = 0;
  for (size_t i = first_mark_; i < marks_.size(); ++i) marks_[i].offset = 0;
  if (bytes_.capacity() > kKeptBytes) std::vector<uint8_t>().swap(bytes_);
}

uint64_t OutputQueue::waits_for(uint64_t durable) const {
  if (empty()) return 0;
  for (size_t i = first_mark_; i < marks_.size(); ++i) {
    if (marks_[i].sequence > durable) return marks_[i].sequence;
  }
  return 0;
}

void OutputQueue::discard() {
  std::vector<uint8_t>().swap(bytes_);
  std::vector<Mark>().swap(marks_);
  head_ = 0;
  first_mark_ = 0;
}

}  // namespace sluice::session
