#include "policies/cards/data_scanner.h"

#include <hs/hs.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <limits>
#include <span>

#include "policies/cards/builtin_data.h"

namespace sluice::policies {
namespace {

constexpr size_t kNone = SIZE_MAX;

// Some overlapping matches of one pattern.
struct Run {
  size_t start = 0, end = 0;
  uint8_t pattern = 0;
  bool merged = false;    // into a later one
  size_t before = kNone;  // the run of the same pattern before it
};

bool is_alnum(uint8_t c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

struct Match {
  uint8_t pattern;
  size_t start, end;
};

// Characters; binary forms only where they are characters with something around them.
bool is_looked_at(const ValueView& value) {
  switch (value.type) {
    case ValueType::text:
    case ValueType::json:
    case ValueType::jsonb:
    case ValueType::text_array:
    case ValueType::copy_row:
    case ValueType::opaque:
      return true;
    default:
      return false;
  }
}

// In JSON a number outside of a string must stay one.
bool is_bare_number(std::span<const uint8_t> bytes, size_t start, size_t end) {
  const auto in_number = [](uint8_t c) {
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
  };
  const auto blank = [](uint8_t c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
  if (!std::all_of(bytes.begin() + static_cast<ptrdiff_t>(start), bytes.begin() + static_cast<ptrdiff_t>(end),
                   in_number))
    return false;
  while (start > 0 && in_number(bytes[start - 1])) --start;
  while (start > 0 && blank(bytes[start - 1])) --start;
  while (end < bytes.size() && in_number(bytes[end])) ++end;
  while (end < bytes.size() && blank(bytes[end])) ++end;
  const bool opens = start == 0 || bytes[start - 1] == ':' || bytes[start - 1] == '[' || bytes[start - 1] == ',' ||
                     bytes[start - 1] == 1;  // jsonb's version byte
  const bool closes = end == bytes.size() || bytes[end] == ',' || bytes[end] == ']' || bytes[end] == '}';
  return opens && closes;
}

void mask_data(const ValueView& value, const Finding& finding) {
  const std::span<uint8_t> bytes = value.bytes.subspan(finding.offset, finding.length);
  const bool json = value.type == ValueType::json || value.type == ValueType::jsonb;
  const bool number = json && is_bare_number(value.bytes, finding.offset, finding.offset + finding.length);
  for (uint8_t& c : bytes) {
    if (number) {
      if (c >= '0' && c <= '9') c = '1';  // not 0: no number may begin with several
    } else if (is_alnum(c) || c >= 0x80) {
      c = '*';
    }
  }
}

class DataScanner final : public CardScanner {
 public:
  DataScanner(std::shared_ptr<const DataPatterns> patterns, DataSet wanted, CardScanner& cards)
      : patterns_(std::move(patterns)), wanted_(wanted), cards_(&cards) {}
  DataScanner(std::shared_ptr<const DataPatterns> patterns, std::unique_ptr<CardScanner> cards)
      : patterns_(std::move(patterns)), wanted_(~DataSet{0}), owned_(std::move(cards)), cards_(owned_.get()) {}
  ~DataScanner() override { hs_free_scratch(scratch_); }
  DataScanner(const DataScanner&) = delete;
  DataScanner& operator=(const DataScanner&) = delete;

  [[nodiscard]] bool allocate() { return hs_alloc_scratch(patterns_->database(), &scratch_) == HS_SUCCESS; }

  void scan(std::span<const ValueView> values, std::vector<Finding>& findings, std::span<size_t> settled) override {
    const bool whole = std::all_of(values.begin(), values.end(),
                                   [](const ValueView& value) { return value.part == ValuePart::whole; });
    if (whole) {
      cards_->scan(values, findings, settled);
      bool added = false;
      for (size_t i = 0; i < values.size(); ++i) added = scan_whole(values[i], i, findings) || added;
      if (added) sort(findings);
      return;
    }
    findings.clear();
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i].part != ValuePart::whole && is_looked_at(values[i])) {
        settled[i] = scan_part(values[i], i, findings);
        continue;
      }
      settled[i] = scan_cards(values[i], i, findings);
      if (values[i].part == ValuePart::whole) (void)scan_whole(values[i], i, findings);
    }
    sort(findings);
  }

  void mask(std::span<ValueView> values, std::span<const Finding> findings, MaskStyle style) override {
    cards_found_.clear();
    for (const Finding& finding : findings) {
      if (finding.kind != FindingKind::pattern) cards_found_.push_back(finding);
    }
    cards_->mask(values, cards_found_, style);
    for (const Finding& finding : findings) {
      if (finding.kind == FindingKind::pattern) mask_data(values[finding.value], finding);
    }
  }

  [[nodiscard]] std::string_view kind_name(const Finding& finding) const override {
    if (finding.kind != FindingKind::pattern) return cards_->kind_name(finding);
    return patterns_->patterns()[finding.pattern].name;
  }

 private:
  static void sort(std::vector<Finding>& findings) {
    std::sort(findings.begin(), findings.end(), [](const Finding& a, const Finding& b) {
      return a.value != b.value ? a.value < b.value : a.offset < b.offset;
    });
  }

  size_t scan_cards(const ValueView& value, size_t index, std::vector<Finding>& findings) {
    size_t settled = 0;
    cards_->scan({&value, 1}, cards_found_, {&settled, 1});
    for (Finding& finding : cards_found_) {
      finding.value = static_cast<uint32_t>(index);
      findings.push_back(finding);
    }
    return settled;
  }

  bool scan_whole(const ValueView& value, size_t index, std::vector<Finding>& findings) {
    if (value.bytes.size() < kDataBytesMin || !is_looked_at(value)) return false;
    find_runs(value.bytes, value.bytes.size(), 0, 0);
    for (const Run& run : runs_) {
      if (!run.merged) add(value, index, run.start, run.end, run.pattern, findings);
    }
    return !runs_.empty();
  }

  static Finding& add(const ValueView& value, size_t index, size_t start, size_t end, uint8_t pattern,
                      std::vector<Finding>& findings) {
    Finding finding;
    finding.value = static_cast<uint32_t>(index);
    finding.offset = static_cast<uint32_t>(start);
    finding.length = static_cast<uint32_t>(end - start);
    finding.kind = FindingKind::pattern;
    finding.pattern = pattern;
    finding.column = value.column;
    findings.push_back(finding);
    return findings.back();
  }

  // One part of a value. A match that begins before `decidable` ends within these bytes and what decides it is there.
  // What the cards settle may end within a run: its rest is then masked at the front of the next part.
  size_t scan_part(const ValueView& value, size_t index, std::vector<Finding>& findings) {
    StreamState& stream = *value.stream;
    const bool more = value.part != ValuePart::last;
    const size_t size = value.bytes.size();
    const size_t reach = patterns_->bytes_max() + 1;
    const size_t decidable = !more ? size : size > reach ? size - reach : 0;
    const size_t carried = std::min<size_t>(stream.data_carry, size);
    if (more && decidable == 0) return 0;

    size_t left = 0;  // the byte before these stands in front
    if (stream.data_begun != 0) {
      joined_.assign(1, stream.data_left);
      joined_.insert(joined_.end(), value.bytes.begin(), value.bytes.end());
      left = 1;
    }
    find_runs(left == 0 ? std::span<const uint8_t>(value.bytes) : std::span<const uint8_t>(joined_), decidable + left,
              left, carried);

    ValueView decided = value;
    decided.bytes = value.bytes.first(decidable);
    const size_t settled = scan_cards(decided, index, findings);

    size_t carry_end = carried;
    uint8_t carry_pattern = stream.data_pattern;
    size_t continued_end = carried;
    for (const Run& run : runs_) {
      const size_t start = run.start > left ? run.start - left : 0;
      const size_t end = run.end - left;
      if (run.merged || start >= settled || end <= start) continue;
      if (run.pattern == stream.data_pattern && start < continued_end) {
        continued_end = std::max(continued_end, end);
      } else {
        add(value, index, start, std::min(end, settled), run.pattern, findings).rest =
            static_cast<uint32_t>(end - std::min(end, settled));
      }
      if (end > carry_end) carry_end = end, carry_pattern = run.pattern;
    }
    if (continued_end > 0 && settled > 0)
      add(value, index, 0, std::min(continued_end, settled), stream.data_pattern, findings).continued = true;
    stream.data_carry = static_cast<uint32_t>(carry_end > settled ? carry_end - settled : 0);
    stream.data_pattern = carry_pattern;
    if (settled > 0) {
      stream.data_left = value.bytes[settled - 1];
      stream.data_begun = 1;
    }
    return settled;
  }

  // Fills runs_ with what begins before `decidable`. The first `left` bytes (none or one) are those of the part before:
  // a match that begins there is known since then and ends within what was carried over. Where one ends further, it is
  // none, because what stands before it is not what it seems here (a word border, say); but it may hide one that begins
  // later and ends there too, for Hyperscan names the leftmost start alone. So those ends are asked for again.
  void find_runs(std::span<const uint8_t> bytes, size_t decidable, size_t left, size_t carried) {
    runs_.clear();
    last_.fill(kNone);
    doubted_.clear();
    left_ = left;
    known_end_ = carried + left;
    decidable_ = decidable;
    asked_again_ = false;
    run_database(bytes);
    if (doubted_.empty()) return;
    asked_again_ = true;
    last_.fill(kNone);
    decidable_ -= left;
    const size_t first_again = runs_.size();
    run_database(bytes.subspan(left));
    for (size_t i = first_again; i < runs_.size(); ++i) runs_[i].start += left, runs_[i].end += left;
  }

  void run_database(std::span<const uint8_t> bytes) {
    bytes_ = bytes;
    // Longer values come in parts.
    assert(bytes.size() <= std::numeric_limits<unsigned>::max());
    const hs_error_t result = hs_scan(patterns_->database(), reinterpret_cast<const char*>(bytes.data()),
                                      static_cast<unsigned>(bytes.size()), 0, scratch_, on_match, this);
    // Scratch and database are ours and the callback never stops: anything else is our own mistake.
    assert(result == HS_SUCCESS);
    (void)result;
  }

  static int on_match(unsigned id, unsigned long long from, unsigned long long to, unsigned, void* context) {
    auto& self = *static_cast<DataScanner*>(context);
    if ((self.wanted_ >> id & 1) == 0) return 0;
    const BuiltinData builtin = self.patterns_->builtin(id);
    const Match match{static_cast<uint8_t>(id), static_cast<size_t>(from), static_cast<size_t>(to)};
    if (self.asked_again_) {  // built-ins have no start from Hyperscan, so nothing of theirs is doubted
      if (self.is_doubted({match.pattern, 0, match.end + self.left_})) self.add_match(match);
    } else if (builtin != BuiltinData::none) {
      const auto found = cards::builtin_match(builtin, self.bytes_, 0, match.end);
      if (found && found->start >= self.left_) self.add_match({match.pattern, found->start, found->end});
    } else if (match.start >= self.left_) {
      self.add_match(match);
    } else if (match.end > self.known_end_) {
      self.doubted_.push_back({match.pattern, 0, match.end});
    }
    return 0;
  }

  // Few: they end within the width of a match.
  [[nodiscard]] bool is_doubted(const Match& match) const {
    return match.end <= patterns_->bytes_max() + left_ &&
           std::any_of(doubted_.begin(), doubted_.end(),
                       [&](const Match& other) { return other.pattern == match.pattern && other.end == match.end; });
  }

  void add_match(const Match& match) {
    if (match.start >= decidable_) return;
    const uint8_t pattern = match.pattern;
    // The second time the runs of the first are in other coordinates; they may overlap, which does no harm.
    Run run{match.start, match.end, pattern, false, last_[pattern]};
    while (run.before != kNone && runs_[run.before].end > run.start) {
      Run& other = runs_[run.before];
      run.start = std::min(run.start, other.start);
      run.end = std::max(run.end, other.end);
      run.before = other.before;
      other.merged = true;
    }
    // A run that grows stays where it is, so that a flood of matches takes no memory.
    if (!runs_.empty() && runs_.back().merged && runs_.back().pattern == pattern) {
      runs_.back() = run;
    } else {
      runs_.push_back(run);
    }
    last_[pattern] = runs_.size() - 1;
  }

  std::shared_ptr<const DataPatterns> patterns_;
  DataSet wanted_;
  std::unique_ptr<CardScanner> owned_;
  CardScanner* cards_;
  hs_scratch_t* scratch_ = nullptr;
  std::vector<Finding> cards_found_;
  std::vector<uint8_t> joined_;
  std::vector<Run> runs_;
  std::array<size_t, kDataPatternsMax> last_{};
  std::span<const uint8_t> bytes_;
  size_t decidable_ = 0;
  size_t left_ = 0, known_end_ = 0;
  std::vector<Match> doubted_;  // pattern and end
  bool asked_again_ = false;
};

}  // namespace

std::unique_ptr<CardScanner> create_data_scanner(std::shared_ptr<const DataPatterns> patterns, std::string& why,
                                                 DetectorOptions options) {
  std::unique_ptr<CardScanner> cards = CardScanner::create(why, options);
  if (cards == nullptr) return nullptr;
  auto scanner = std::make_unique<DataScanner>(std::move(patterns), std::move(cards));
  if (scanner->allocate()) return scanner;
  why = "allocate Hyperscan scratch: out of memory";
  return nullptr;
}

CardScanner* ScannerDesk::scanner_for(const std::shared_ptr<const DataPatterns>& patterns, DataSet wanted) {
  if (patterns == nullptr || wanted == 0) return &cards_;
  for (const Kept& kept : kept_) {
    if (kept.wanted == wanted && kept.patterns.lock() == patterns) return kept.scanner.get();
  }
  // A scanner holds its patterns: where nobody else does, no session needs it any more.
  std::erase_if(kept_, [](const Kept& kept) { return kept.patterns.use_count() <= 1; });
  auto made = std::make_shared<DataScanner>(patterns, wanted, cards_);
  if (!made->allocate()) return nullptr;
  kept_.push_back({patterns, wanted, made});
  return made.get();
}

}  // namespace sluice::policies
