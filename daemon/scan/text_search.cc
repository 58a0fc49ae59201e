#include "daemon/scan/text_search.h"

#include <algorithm>
#include <cstring>

#include "daemon/scan/limits.h"

namespace sluice::scan {

static_assert(kWindowBytes > 2 * policies::kHoldBackBytesMax);

uint64_t count_lines(std::span<const uint8_t> bytes) {
  // In blocks whose count fits a byte, so that the compiler adds up whole vectors of them.
  constexpr size_t kLanes = 32, kRounds = 255;
  uint64_t lines = 0;
  size_t at = 0;
  while (bytes.size() - at >= kLanes) {
    uint8_t sums[kLanes] = {};
    const size_t rounds = std::min(kRounds, (bytes.size() - at) / kLanes);
    for (size_t round = 0; round < rounds; ++round, at += kLanes) {
      for (size_t i = 0; i < kLanes; ++i) sums[i] = static_cast<uint8_t>(sums[i] + (bytes[at + i] == '\n' ? 1 : 0));
    }
    for (const uint8_t sum : sums) lines += sum;
  }
  for (; at < bytes.size(); ++at) lines += bytes[at] == '\n' ? 1 : 0;
  return lines;
}

TextSearch::TextSearch(policies::CardScanner& scanner)
    : scanner_(scanner), window_(std::make_unique_for_overwrite<uint8_t[]>(kWindowBytes)) {}

Status TextSearch::fill(ByteSource& source) {
  while (held_ < kWindowBytes && !ended_) {
    const Result<size_t> count = source.read({window_.get() + held_, kWindowBytes - held_});
    if (!count) return tl::unexpected(count.error());
    ended_ = *count == 0;
    held_ += *count;
  }
  return {};
}

Result<std::span<const uint8_t>> TextSearch::begin(ByteSource& source) {
  held_ = 0, offset_ = 0, lines_ = 0, counted_ = 0;
  ended_ = false;
  const Status filled = fill(source);
  // What was read before an error is still searched: run() meets the error again.
  if (!filled && held_ == 0) return tl::unexpected(filled.error());
  return std::span<const uint8_t>(window_.get(), held_);
}

uint64_t TextSearch::line_at(size_t offset) {
  lines_ += count_lines({window_.get() + counted_, offset - counted_});
  counted_ = offset;
  return lines_ + 1;
}

void TextSearch::look(policies::ValuePart part, const OnHit& on_hit) {
  policies::ValueView value;
  value.bytes = {window_.get(), held_};
  value.part = part;
  if (part != policies::ValuePart::whole) value.stream = &state_;
  scanner_.scan({&value, 1}, findings_, {&settled_, 1});
  TextHit hit;
  for (const policies::Finding& finding : findings_) {
    if (finding.continued) continue;
    hit.offset = offset_ + finding.offset;
    hit.line = line_at(finding.offset);
    hit.finding = finding;
    hit.name = scanner_.kind_name(finding);
    hit.masked = policies::masked_digits(value.bytes, finding, policies::MaskStyle::bin6_last4);
    on_hit(hit);
  }
}

Status TextSearch::run(ByteSource& source, const OnHit& on_hit, uint64_t& bytes) {
  using policies::ValuePart;
  state_ = {};
  bool begun = false;
  Status read = fill(source);
  while (true) {
    const bool last = ended_ || !read;
    look(last ? (begun ? ValuePart::last : ValuePart::whole) : (begun ? ValuePart::middle : ValuePart::first), on_hit);
    bytes += last ? held_ : settled_;
    if (last) return read;
    begun = true;
    (void)line_at(settled_);
    held_ -= settled_;
    std::memmove(window_.get(), window_.get() + settled_, held_);
    offset_ += settled_;
    counted_ = 0;
    read = fill(source);
  }
}

}  // namespace sluice::scan
