// The looks of ValueScanner at packed numbers: data objects and messages in binary, and in text as hex and digits.
// Their masks consist of digits, so what stands beside one is asked whether it makes another number of them.
#include <algorithm>
#include <iterator>

#include "policies/cards/binary_types.h"
#include "policies/cards/encoded_bytes.h"
#include "policies/cards/mask_finding.h"
#include "policies/cards/packed_digits.h"
#include "policies/cards/value_part.h"
#include "policies/cards/value_scanner.h"

namespace sluice::policies::cards {
namespace {

// A token of hex that goes on is held up to here, so that a message that it begins is seen whole.
constexpr size_t kTagTokenBytesMax = 256;
static_assert(kTagTokenBytesMax > kTagTextReachBytes);

// So much on both sides of a mask of digits decides whether there is another number in it. The plain look decides no
// less before what is to come.
constexpr size_t kBesideBytes = kReachBytes - 1;
static_assert(kBesideBytes >= 2 * kTagReachBytes && kBesideBytes >= kTagTextReachBytes);

// Tag and length, as hex.
constexpr size_t kTagFrontBytes = 4;

constexpr MaskStyle kStyles[] = {MaskStyle::bin6_last4, MaskStyle::last4, MaskStyle::full, MaskStyle::bin8_last4};

// Tag and length before what a mask changes.
size_t front_bytes(FindingForm form) {
  return form == FindingForm::tagged_hex ? kTagFrontBytes : form == FindingForm::tagged_decimal ? 2 : 0;
}

size_t start_within(size_t at, size_t before) {
  return at > before ? at - before : 0;
}

bool overlaps(const PackedFinding& found, size_t start, size_t end) {
  return found.start < end && found.end > start;
}

// Does a card number as characters share bytes with this stretch?
bool shares_characters(const TextView& text, size_t start, size_t end) {
  for (size_t at = 0; at < end; ++at) {
    if (!is_digit(text.data()[at]) || is_digit(text.at(static_cast<ptrdiff_t>(at) - 1))) continue;
    if (const auto found = candidate_at(text, at); found && found->end > start) return true;
  }
  return false;
}

// A data object or a message, in text?
bool shares_tagged(const TextView& text, size_t start, size_t end) {
  for (size_t at = 0; at < std::min(end + kTagFrontBytes, text.size()); ++at) {
    if (!is_digit(text.data()[at]) || is_digit(text.at(static_cast<ptrdiff_t>(at) - 1))) continue;
    for (auto found = find_around_digits(text, at, 0); found; found = find_around_digits(text, at, found->end)) {
      if (overlaps(*found, start, end)) return true;
    }
  }
  return false;
}

// Or in binary?
bool shares_packed(std::span<const uint8_t> bytes, size_t start, size_t end, bool message) {
  for (size_t at = start_within(start, kTagReachBytes); at < end; ++at) {
    const auto found = find_object_at(bytes, at);
    if (found && overlaps(*found, start, end)) return true;
  }
  const auto found = message ? find_in_message(bytes) : std::nullopt;
  return found && overlaps(*found, start, end);
}

}  // namespace

// With more to follow: hex at the end may still be, or become, a data object or a message.
void ValueScanner::hold_open_tags(const Part& part) {
  const std::span<const uint8_t> bytes = part.bytes;
  const size_t size = bytes.size();
  size_t at = size;
  while (at > 0 && size - at <= kTagTokenBytesMax && hex_value(bytes[at - 1]) >= 0) --at;
  // Of a longer token, only what may be a tag within it.
  if (size - at > kTagTokenBytesMax) at = size - kTagTextReachBytes;
  together_.push_back({start_within(at, kBesideBytes), size + 1});
}

// EMV data objects in hex and ISO 8583 messages, where signs of them are. What the plain look found within one is the
// same number, seen as characters.
void ValueScanner::look_for_tags(Part& part, size_t first_finding, Tabs tabs) {
  const TextView text(part.bytes, &part.memory.left, tabs);
  const size_t blocks = (text.size() + kSignBlockBytes - 1) / kSignBlockBytes;
  std::vector<Finding>& findings = *part.findings;
  size_t found_end = 0;
  tagged_.clear();
  const std::span<Finding> before = std::span(findings).subspan(first_finding);
  size_t next = 0;
  const auto start_of = [&](size_t i) { return before[i].offset - part.base; };
  const auto take = [&](const PackedFinding& tagged) {
    while (next < before.size() && start_of(next) + before[next].length <= tagged.start) ++next;
    size_t end = next;
    for (; end < before.size() && start_of(end) < tagged.end; ++end) {
      if (start_of(end) < tagged.start || start_of(end) + before[end].length > tagged.end) return;
    }
    for (; next < end; ++next) before[next].length = 0;
    tagged_.push_back(tagged);
  };
  const std::span<const uint64_t> marks = text_->tagged();
  for (size_t block = next_marked(marks, 0, blocks); block < blocks; block = next_marked(marks, block + 1, blocks)) {
    const size_t start = block * kSignBlockBytes, end = std::min(text.size(), start + kSignBlockBytes);
    for (size_t at = start; at < end; ++at) {
      if (!is_digit(text.data()[at]) || (at > 0 && is_digit(text.data()[at - 1]))) continue;
      while (const auto tagged = find_around_digits(text, at, found_end)) {
        found_end = tagged->end;
        take(*tagged);
      }
    }
  }
  if (tagged_.empty()) return;
  findings.erase(std::remove_if(findings.begin() + static_cast<ptrdiff_t>(first_finding), findings.end(),
                                [](const Finding& finding) { return finding.length == 0; }),
                 findings.end());
  for (const PackedFinding& tagged : tagged_) part.add(tagged);
  part.put_in_order(first_finding);
  choose_fillers(part, part.bytes, first_finding, tagged_, Held::text, tabs);
}

// Where the mask that the style says would be a part of another number, it is made of other digits. From the last one
// to the first: what is shared by two belongs to the first of them, so that the value may be cut between them.
void ValueScanner::choose_fillers(Part& part, std::span<const uint8_t> bytes, size_t first_finding,
                                  std::span<const PackedFinding> all, Held held, Tabs tabs) {
  const std::span<Finding> findings = std::span(*part.findings).subspan(first_finding);
  for (size_t i = all.size(); i-- > 0;) {
    const PackedFinding& packed = all[i];
    const auto first_behind = [&](size_t at) {
      return std::partition_point(findings.begin(), findings.end(),
                                  [&](const Finding& finding) { return finding.offset < part.base + at; });
    };
    const bool at_front = in_bytes_ && part.memory.begun == 0 && packed.start < kMessageReachBytes;
    const size_t from = at_front ? 0 : std::max(start_within(packed.start, kBesideBytes), i > 0 ? all[i - 1].end : 0);
    together_.push_back({std::min(from, packed.anchor), packed.end});
    choose_filler(part, bytes, {first_behind(from), findings.end()}, *first_behind(packed.start), packed, from, held,
                  tabs);
  }
}

// `findings`: those that begin at or behind `from`; `mine` is one of them.
void ValueScanner::choose_filler(const Part& part, std::span<const uint8_t> bytes, std::span<const Finding> findings,
                                 Finding& mine, const PackedFinding& packed, size_t from, Held held, Tabs tabs) {
  const size_t to = std::min(bytes.size(), packed.end + kBesideBytes), end = packed.end - from;
  const size_t start = packed.start - from + front_bytes(packed.form);  // of what the mask changes
  LeftContext left = from < kLeftContextBytes ? part.memory.left : LeftContext{};
  left.append(bytes.first(from));
  const bool message = from == 0 && part.memory.begun == 0;
  const auto shares = [&](MaskStyle style) {
    beside_.assign(bytes.begin() + static_cast<ptrdiff_t>(from), bytes.begin() + static_cast<ptrdiff_t>(to));
    for (const Finding& finding : findings) {
      const size_t at = finding.offset - part.base - from;
      if (at >= beside_.size()) break;
      if (at + finding.length <= beside_.size())
        mask_finding(std::span(beside_).subspan(at, finding.length), finding, style);
    }
    const TextView view(beside_, &left, tabs, part.name);
    if (shares_characters(view, start, end)) return true;
    if (in_bytes_ && shares_packed(beside_, start, end, message)) return true;
    return held == Held::text && shares_tagged(view, start, end);
  };
  uint8_t& filler = mine.filler;
  for (; filler < kFillersMax; ++filler) {
    const size_t styles = filler == 0 ? std::size(kStyles) : 1;
    if (std::none_of(std::begin(kStyles), std::begin(kStyles) + styles, shares)) return;
  }
}

// Eight bytes that are a packed number may be a number of another kind once they are masked.
void ValueScanner::add_whole(Part& part, const PackedFinding& packed) {
  part.add(packed);
  Finding& finding = part.findings->back();
  const auto shares = [&](MaskStyle style) {
    beside_.assign(part.bytes.begin(), part.bytes.end());
    mask_finding(beside_, finding, style);
    return find_in_eight_bytes(beside_).has_value();
  };
  if (std::any_of(std::begin(kStyles), std::end(kStyles), shares)) finding.filler = 1;
}

// With more to follow: what may be a data object, once what stands in it is masked.
void ValueScanner::hold_packed(std::span<const uint8_t> bytes) {
  for (size_t at = 0; at < bytes.size(); ++at) {
    if (const size_t end = may_end_object(bytes, at); end != 0) together_.push_back({at, end});
  }
}

// Masks in characters, such as `2a` for a byte in hex, may be packed digits of an object whose tag stands before them:
// every byte becomes a star then, which is none.
void ValueScanner::cover_what_masks_pack(Part& part, size_t first_finding) {
  for (size_t i = first_finding; i < part.findings->size(); ++i) {
    Finding& finding = (*part.findings)[i];
    if (is_masked_with_digits(finding.form) || finding.form == FindingForm::characters || finding.rest != 0) continue;
    const size_t start = finding.offset - part.base, end = start + finding.length;
    const size_t from = start_within(start, kTagReachBytes), to = std::min(part.bytes.size(), end + kTagReachBytes);
    bool any = false;
    for (size_t at = from; at < end && !any; ++at) any = may_end_object(part.bytes, at) > start;
    if (!any) continue;
    const auto packs = [&](MaskStyle style) {
      beside_.assign(part.bytes.begin() + static_cast<ptrdiff_t>(from),
                     part.bytes.begin() + static_cast<ptrdiff_t>(to));
      mask_finding(std::span(beside_).subspan(start - from, finding.length), finding, style);
      return shares_packed(beside_, start - from, end - from, false);
    };
    if (std::any_of(std::begin(kStyles), std::end(kStyles), packs)) finding.form = FindingForm::covered_bytes;
  }
}

// Bytes that may hold numbers in binary, and characters. The characters are looked at with the packed numbers masked
// as they will be, so that a mask changes nothing about its neighbours.
size_t ValueScanner::scan_bytes(Part& part) {
  if (find_short_in_column(part)) return part.bytes.size();
  const bool at_front = part.memory.begun == 0;
  const bool complete = part.ending == Ending::complete;
  if (at_front && !complete && part.bytes.size() < kMessageReachBytes) return 0;
  if (at_front && complete) {
    const bool unknown = part.type != ValueType::bytea;
    if (const auto packed = unknown ? find_packed_in_unknown(part.bytes) : find_packed(part.bytes)) {
      add_whole(part, *packed);
      return part.bytes.size();
    }
  }
  packed_.clear();
  together_.clear();
  size_t packed_decided = find_objects(part.bytes, part.ending, packed_);
  if (!complete) packed_decided = start_within(packed_decided, kBesideBytes);
  if (at_front) {
    if (const auto message = find_in_message(part.bytes)) {
      const auto shares = [&](const PackedFinding& object) { return overlaps(object, message->start, message->end); };
      packed_.erase(std::remove_if(packed_.begin(), packed_.end(), shares), packed_.end());
      packed_.insert(std::partition_point(packed_.begin(), packed_.end(),
                                          [&](const PackedFinding& object) { return object.start < message->start; }),
                     *message);
    }
  }
  in_bytes_ = true;
  const size_t first_finding = part.findings->size();
  const std::span<const uint8_t> bytes = part.bytes;
  if (!complete) hold_packed(bytes);
  if (!packed_.empty()) {
    for (const PackedFinding& packed : packed_) part.add(packed);
    choose_fillers(part, bytes, first_finding, packed_, Held::bytes, Tabs::join);
    with_packed_masked_.assign(bytes.begin(), bytes.end());
    part.bytes = with_packed_masked_;
    for (size_t i = first_finding; i < part.findings->size(); ++i) {
      const Finding& finding = (*part.findings)[i];
      mask_finding(std::span(with_packed_masked_).subspan(finding.offset - part.base, finding.length), finding,
                   MaskStyle::bin6_last4);
    }
  }
  const size_t decided = std::min(look_for_text(part, Tabs::join), packed_decided);
  part.put_in_order(first_finding);
  const size_t settled = look_for_hidden(part, decided, first_finding, Tabs::join);
  keep_settled(part, settled, first_finding);
  part.bytes = bytes;
  in_bytes_ = false;
  cover_what_masks_pack(part, first_finding);
  if (settled > 0) part.memory.begun = 1;
  return settled;
}

}  // namespace sluice::policies::cards
