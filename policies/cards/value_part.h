// One stretch of a value's bytes to look at, and where it stands: what the steps of ValueScanner hand to each other.
// Borrows; one call.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "policies/cards/numbers.h"
#include "policies/cards/packed_digits.h"
#include "policies/cards/value_scanner.h"

namespace sluice::policies::cards {

struct Part {
  std::span<const uint8_t> bytes;
  ValueType type;
  ValueFormat format;
  Ending ending;
  StreamMemory memory;  // of the value up to here; moved on by what looks at it
  size_t base;          // of bytes, within the ValueView
  uint32_t value;
  uint16_t column;
  std::vector<Finding>* findings;
  NameKind name = NameKind::none;  // what the name of the column says
  bool whole = false;              // all of the value is here

  void add_secret(size_t offset, size_t length, FindingKind kind, FindingForm form, bool continued = false,
                  size_t rest = 0) {
    Finding finding;
    finding.value = value;
    finding.offset = static_cast<uint32_t>(base + offset);
    finding.length = static_cast<uint32_t>(length);
    finding.kind = kind;
    finding.column = column;
    finding.form = form;
    finding.first_kept = finding.last_kept = 0;
    finding.continued = continued;
    finding.rest = static_cast<uint32_t>(rest);
    findings->push_back(finding);
  }
  void add(size_t offset, size_t length, uint8_t digits, Brand brand, FindingForm form, uint8_t last_kept = 4,
           uint8_t tail = 0) {
    findings->push_back({value, static_cast<uint32_t>(base + offset), static_cast<uint32_t>(length),
                         tail == 0 ? FindingKind::pan : FindingKind::track, brand, digits, column, form, last_kept});
    findings->back().tail = tail;
  }
  void add(const NumberFinding& found, FindingForm form) {
    add(found.offset, found.length, found.digits, found.brand, form);
  }

  void add(const PackedFinding& found) {
    add(found.start, found.end - found.start, found.digits, found.brand, found.form, found.last_kept);
    if (found.track) findings->back().kind = FindingKind::track;
  }

  // The findings from `first` on.
  void put_in_order(size_t first) const {
    std::stable_sort(findings->begin() + static_cast<ptrdiff_t>(first), findings->end(),
                     [](const Finding& a, const Finding& b) { return a.offset < b.offset; });
  }

  // The part behind `offset`, with the memory moved over.
  [[nodiscard]] Part behind(size_t offset) const {
    Part rest = *this;
    rest.bytes = bytes.subspan(offset);
    rest.base = base + offset;
    return rest;
  }
};

}  // namespace sluice::policies::cards
