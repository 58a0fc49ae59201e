#include "policies/cards/text_stream.h"

#include <cassert>
#include <cstring>

namespace sluice::policies {
namespace {

// Large enough that system calls do not count, small enough for the second-level cache.
constexpr size_t kWindowBytes = size_t{256} * 1024;
static_assert(kWindowBytes > 2 * kHoldBackBytesMax);

}  // namespace

TextStream::TextStream(CardScanner& scanner, MaskStyle style)
    : scanner_(scanner), style_(style), window_(kWindowBytes) {}

std::span<uint8_t> TextStream::room() {
  if (settled_ > 0) {
    held_ -= settled_;
    std::memmove(window_.data(), window_.data() + settled_, held_);
    offset_ += settled_;
    settled_ = 0;
  }
  assert(held_ < window_.size());
  return std::span(window_).subspan(held_);
}

std::span<const uint8_t> TextStream::take(size_t count, More more, std::vector<ReportedFinding>& findings) {
  assert(settled_ == 0 && count <= window_.size() - held_);
  held_ += count;
  ValueView value;
  value.bytes = std::span(window_).first(held_);
  if (more == More::follows) {
    value.part = begun_ ? ValuePart::middle : ValuePart::first;
  } else if (begun_) {
    value.part = ValuePart::last;
  }
  begun_ = true;
  if (value.part != ValuePart::whole) value.stream = &state_;
  scanner_.scan({&value, 1}, findings_, {&settled_, 1});
  for (const Finding& finding : findings_) {
    if (finding.continued) continue;
    findings.push_back({offset_ + finding.offset, finding.length + finding.rest, finding.kind,
                        scanner_.kind_name(finding), finding.brand, finding.digits,
                        masked_digits(value.bytes, finding, style_)});
  }
  scanner_.mask({&value, 1}, findings_, style_);
  return value.bytes.first(settled_);
}

}  // namespace sluice::policies
