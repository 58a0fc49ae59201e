#include "daemon/session/postgres_masker.h"

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

void PostgresMasker::add(Place place, uint16_t detail, std::span<uint8_t> bytes, ColumnShape shape,
                         policies::ValuePart part, policies::StreamState* stream) {
  if (place != place_ || batch_.size() == kBatchMax) {
    (void)flush();
    place_ = place;
  }
  in_parts_ = in_parts_ || stream != nullptr;
  batch_.push_back({bytes, shape.type, shape.format, part, detail, stream});
}

size_t PostgresMasker::flush() {
  if (batch_.empty()) return 0;
  settled_.resize(in_parts_ ? batch_.size() : 0);
  scanner_.scan(batch_, findings_, settled_);
  if (!findings_.empty()) {
    scanner_.mask(batch_, findings_, policies::MaskStyle::bin6_last4);
    for (const policies::Finding& finding : findings_) {
      const uint64_t key = uint64_t{static_cast<uint8_t>(place_)} << 32 | uint64_t{finding.column} << 16 |
                           uint64_t{static_cast<uint8_t>(finding.kind)} << 8 | static_cast<uint8_t>(finding.brand);
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
    report_.push_back({static_cast<policies::FindingKind>(key >> 8 & 0xff), static_cast<policies::Brand>(key & 0xff),
                       names_.back(), count});
  }
  counts_.clear();
  return report_;
}

}  // namespace sluice::session
