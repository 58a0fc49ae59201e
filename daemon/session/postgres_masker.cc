#include "daemon/session/postgres_masker.h"

#include <algorithm>

#include "policies/cards/data_patterns.h"

namespace sluice::session {
namespace {

std::string place_name(Place place, uint16_t detail) {
  switch (place) {
    case Place::column:
      return "column:" + std::to_string(detail);
    case Place::error:
      return std::string("error:") + static_cast<char>(detail);
    case Place::notice:
      return std::string("notice:") + static_cast<char>(detail);
    case Place::copy:
      return "copy";
    case Place::notification:
      return "notification";
    case Place::function_result:
      return "function_result";
    case Place::parameter_status:
      return "parameter_status";
    case Place::column_name:
      return "column_name:" + std::to_string(detail);
  }
  return "unknown";
}

}  // namespace

void PostgresMasker::refresh() {
  if (!batch_.empty()) return;
  const MaskingInForce masking = gate_.masking();
  scanner_ = masking.scanner != nullptr ? masking.scanner : &cards_;
  style_ = masking.style;
  columns_ = masking.columns;
  text_bytes_min_ = masking.short_values ? policies::kDataBytesMin : kTextBytesMin;
  other_bytes_min_ = masking.short_values ? policies::kDataBytesMin : kOtherBytesMin;
}

uint8_t PostgresMasker::pattern_number(std::string_view name) {
  const auto found = std::find(pattern_names_.begin(), pattern_names_.end(), name);
  if (found != pattern_names_.end()) return static_cast<uint8_t>(found - pattern_names_.begin());
  // A policy has fewer; a session that sees hundreds of them come and go counts the rest under the last name.
  if (pattern_names_.size() > UINT8_MAX) return UINT8_MAX;
  pattern_names_.emplace_back(name);
  return static_cast<uint8_t>(pattern_names_.size() - 1);
}

void PostgresMasker::count_whole(Place place, uint16_t detail, command::ColumnVerdict verdict) {
  const uint8_t which = pattern_number(verdict == command::ColumnVerdict::masked ? "column" : "untraceable_column");
  ++counts_[uint64_t{static_cast<uint8_t>(place)} << 32 | uint64_t{detail} << 16 |
            uint64_t{static_cast<uint8_t>(policies::FindingKind::pattern)} << 8 | which];
}

void PostgresMasker::add(Place place, uint16_t detail, std::span<uint8_t> bytes, ColumnShape shape,
                         policies::ValuePart part, policies::StreamState* stream) {
  if (place != place_ || batch_.size() == kBatchMax) {
    (void)flush();
    place_ = place;
  }
  in_parts_ = in_parts_ || stream != nullptr;
  batch_.push_back({bytes, shape.type, shape.format, part, detail, stream, shape.name});
}

size_t PostgresMasker::flush() {
  if (batch_.empty()) return 0;
  settled_.resize(in_parts_ ? batch_.size() : 0);
  scanner_->scan(batch_, findings_, settled_);
  if (!findings_.empty()) {
    scanner_->mask(batch_, findings_, style_);
    for (const policies::Finding& finding : findings_) {
      if (finding.continued) continue;
      const uint8_t which = finding.kind == policies::FindingKind::pattern
                                ? pattern_number(scanner_->kind_name(finding))
                                : static_cast<uint8_t>(finding.brand);  // the first where the kind has none
      const uint64_t key = uint64_t{static_cast<uint8_t>(place_)} << 32 | uint64_t{finding.column} << 16 |
                           uint64_t{static_cast<uint8_t>(finding.kind)} << 8 | which;
      ++counts_[key];
    }
  }
  const size_t settled = in_parts_ ? settled_.back() : batch_.back().bytes.size();
  in_parts_ = false;
  batch_.clear();
  return settled;
}

void PostgresMasker::release() {
  if (batch_.capacity() > kKeptMax) batch_ = {};
  if (settled_.capacity() > kKeptMax) settled_ = {};
  if (findings_.capacity() > kKeptMax) findings_ = {};
  if (report_.capacity() > kKeptMax) {
    report_ = {};
    names_ = {};
  }
}

std::span<const FindingCount> PostgresMasker::take_findings() {
  report_.clear();
  names_.clear();
  if (counts_.empty()) return report_;
  names_.reserve(counts_.size());
  for (const auto& [key, count] : counts_) {
    names_.push_back(place_name(static_cast<Place>(key >> 32), static_cast<uint16_t>(key >> 16)));
    const auto kind = static_cast<policies::FindingKind>(key >> 8 & 0xff);
    const auto which = static_cast<uint8_t>(key & 0xff);
    const bool pattern = kind == policies::FindingKind::pattern;
    report_.push_back({kind, pattern ? std::string_view(pattern_names_[which]) : policies::to_string(kind),
                       policies::has_brand(kind) ? static_cast<policies::Brand>(which) : policies::Brand{},
                       names_.back(), count});
  }
  counts_.clear();
  return report_;
}

}  // namespace sluice::session
