#include "policies/cards/hidden_text.h"

#include <algorithm>
#include <utility>

#include "policies/cards/hidden_unit.h"
#include "policies/cards/mask_finding.h"
#include "policies/cards/numbers.h"

namespace sluice::policies::cards {
namespace {

// Behind a core, so much decides whether it holds a number at all (a UUID, a fraction, a hash).
constexpr size_t kContextBehind = 48;
// A core may begin with so many digits and separators that stand for themselves: a card number less one digit.
constexpr size_t kPlainBeforeMax = 40;
// Units further before the text's end than this are never cut: at most kHoldBackBytesMax are held back.
constexpr size_t kCutBytesMax = 4096 + 128;

// So much is held back of what belongs together, and of what would go on for longer than that at least so much.
constexpr size_t kHeldBytesMax = kHoldBackBytesMax / 2 - 64;
constexpr size_t kHeldAnywayBytes = kHeldBytesMax - (19 + 18) * (kUnitBytesMax + kNothingBytesMax);
static_assert(kHeldAnywayBytes > kHeldRunBytesMax + kReachBytes && kHeldAnywayBytes < kCutBytesMax);

// A number that shares digits with what a mask leaves standing is none once they are hidden, and then another one may
// be there instead, which shares the digits at its end. Between two masks there is no third thing to happen.
constexpr int kLooksMax = 3;
// Masks of digits are other digits each time, and of each style.
constexpr int kDigitLooksMax = 8;
constexpr MaskStyle kStyles[] = {MaskStyle::full, MaskStyle::last4, MaskStyle::bin8_last4, MaskStyle::bin6_last4};

bool stands_in_number(int c) {
  return is_digit_or_mask(c) || is_ascii_separator(c);
}

void put_last(LeftContext& left, std::span<const uint8_t> bytes) {
  left.append(bytes.last(std::min(bytes.size(), kLeftContextBytes)));
}

}  // namespace

size_t HiddenText::scan(TextScanner& scanner, const TextView& text, const SignBlocks& signs, const LeftContext& left,
                        const HiddenMemory& memory, const PlainLook& plain, Ending ending,
                        std::vector<HiddenFinding>& found) {
  scanner_ = &scanner, text_ = text, signs_ = &signs, left_ = &left, before_ = memory, plain_ = plain;
  ending_ = ending, next_plain_ = 0;
  masked_.clear();
  masked_fully_.clear();
  unsettled_.clear();
  long_cores_.clear();
  const size_t first_found = found.size();
  scan_cores(found);

  const size_t blocks = (text.size() + kSignBlockBytes - 1) / kSignBlockBytes;
  const bool any_runs = next_marked(signs.runs, 0, blocks) < blocks;
  const auto look_at_runs = [&](std::span<const uint8_t> bytes) {
    runs_.scan(scanner, TextView(bytes, left_), signs, before_.encoded, ending, found, unsettled_);
  };
  // Digits that a mask leaves standing may join a run, and in a run that they join may hide a number: both ways.
  if (any_runs && !plain.findings.empty())
    look_beside_masks(found, 0, text.size(), look_at_runs);
  else if (any_runs || ending == Ending::more_follows)
    look_at_runs(text.bytes());
  put_in_order(found, first_found);
  if (ending == Ending::complete) return text.size();
  unsettled_.insert(unsettled_.end(), plain.together.begin(), plain.together.end());
  whole_.clear();
  for (size_t i = first_found; i < found.size(); ++i) whole_.push_back({found[i].start, found[i].end});
  for (const Finding& finding : plain.findings) {
    const size_t start = finding.offset - plain.base;
    if (start + finding.length + kCutBytesMax > text.size()) whole_.push_back({start, start + finding.length});
  }
  unsettled_.insert(unsettled_.end(), whole_.begin(), whole_.end());
  const auto is_later = [](const Unsettled& a, const Unsettled& b) { return a.start > b.start; };
  std::sort(whole_.begin(), whole_.end(), is_later);
  std::sort(unsettled_.begin(), unsettled_.end(), is_later);
  return settle(std::min(plain.decided, text.size()));
}

size_t HiddenText::settle(size_t at) {
  const size_t wanted = at;
  // The last to begin come first, so that one walk is enough.
  for (const Unsettled& stretch : unsettled_) {
    if (stretch.start < at && at < stretch.end) at = stretch.start;
  }
  if (text_.size() - at <= kHeldBytesMax) return at;
  // Stretches that overlap each other without end. Then what is found stays in one piece, and no more than that.
  at = std::min(wanted, text_.size() - kHeldAnywayBytes);
  for (const Unsettled& finding : whole_) {
    if (finding.start < at && at < finding.end) at = finding.start;
  }
  return at;
}

void HiddenText::remember(size_t cut, HiddenMemory& memory) {
  if (cut == 0) return;  // all of it will be seen again
  HiddenMemory after = before_;
  EncodedRuns::remember(TextView(text_.bytes(), left_), cut, after.encoded);
  after.within = 0;
  after.nothing = 0;
  for (const size_t start : long_cores_) {
    if (start >= cut) break;
    const Core core = read_core(start, cut);
    if (core.end < cut) continue;
    after.shown = context_before(start);
    put_last(after.shown, shown_);
    after.within = 1;
    after.nothing = static_cast<uint8_t>(nothing_);
  }
  memory = after;
}

// By place; of two that overlap the first one counts.
void HiddenText::put_in_order(std::vector<HiddenFinding>& found, size_t first_found) const {
  if (found.size() - first_found < 2) return;
  const auto first = found.begin() + static_cast<ptrdiff_t>(first_found);
  std::stable_sort(first, found.end(),
                   [](const HiddenFinding& a, const HiddenFinding& b) { return a.start < b.start; });
  size_t end = 0;
  const auto overlaps = [&end](const HiddenFinding& finding) {
    if (finding.start < end) return true;
    end = finding.end;
    return false;
  };
  found.erase(std::remove_if(first, found.end(), overlaps), found.end());
}

// What the plain look's mask leaves of the text.
std::span<const uint8_t> HiddenText::masked_text(MaskStyle style) {
  std::vector<uint8_t>& masked = style == MaskStyle::full ? masked_fully_ : masked_;
  if (masked.empty()) {
    masked.assign(text_.data(), text_.data() + text_.size());
    for (const Finding& finding : plain_.findings)
      mask_finding(std::span(masked).subspan(finding.offset - plain_.base, finding.length), finding, style);
  }
  return masked;
}

LeftContext HiddenText::context_before(size_t start) const {
  if (start == 0 && before_.within != 0) return before_.shown;
  LeftContext left;
  if (start < kLeftContextBytes) left = *left_;
  put_last(left, text_.bytes().first(start));
  return left;
}

void HiddenText::scan_cores(std::vector<HiddenFinding>& found) {
  const std::span<const uint8_t> bytes = text_.bytes();
  const size_t blocks = (bytes.size() + kSignBlockBytes - 1) / kSignBlockBytes;
  const bool more_follows = ending_ == Ending::more_follows;
  size_t at = 0, floor = 0;  // up to where the text is read; where the last unit ended
  if (before_.within != 0 && !bytes.empty()) at = floor = take_core(0, 0, found);
  for (size_t block = next_marked(signs_->units, 0, blocks); block < blocks;
       block = next_marked(signs_->units, block + 1, blocks)) {
    const size_t start = block * kSignBlockBytes, end = std::min(bytes.size(), start + kSignBlockBytes);
    at = std::max(at, start > kSignReachBytes ? start - kSignReachBytes : 0);
    while (at < end) {
      const uint8_t c = bytes[at];
      if (!kUnitStarts.is[c]) {
        ++at;
        continue;
      }
      if (is_ascii_separator(c) &&
          (text_.tabs() == Tabs::part || (at + 1 < bytes.size() && !is_ascii_separator(bytes[at + 1])))) {
        ++at;
        continue;
      }
      const auto place = static_cast<ptrdiff_t>(at);
      const TextView raw(bytes, left_);
      const int before[2] = {raw.at(place - 1), raw.at(place - 2)};
      const Unit unit = read_unit(bytes, at, before, more_follows);
      if (unit.kind == Unit::Kind::plain) {
        ++at;
      } else if (unit.kind == Unit::Kind::character && !stands_in_number(unit.character)) {
        if (more_follows && at + kCutBytesMax > bytes.size()) unsettled_.push_back({at, at + unit.bytes});
        at = floor = at + unit.bytes;
      } else {
        at = floor = take_core(at, floor, found);
      }
    }
  }
}

// The core around the unit at `at`, not reaching before `floor`. Returns where it ends.
size_t HiddenText::take_core(size_t at, size_t floor, std::vector<HiddenFinding>& found) {
  const uint8_t* bytes = text_.data();
  size_t start = at;
  while (start > floor && at - start < kPlainBeforeMax && stands_in_number(bytes[start - 1]) &&
         !(bytes[start - 1] == '\t' && text_.tabs() == Tabs::part))
    --start;
  const size_t first_unsettled = unsettled_.size();
  Core core = read_core(start, text_.size());
  if (ending_ == Ending::more_follows) {
    core.open = core.open || core.end + kContextBehind > text_.size();
    if (core.end + kCutBytesMax > text_.size())
      note_unsettled(core);
    else
      unsettled_.resize(first_unsettled);
  }
  if (core.digits >= kPanDigitsMin) look(core, found);
  return std::max(core.end, core.next);
}

// Reads from `start` on, up to what is no part of a number, or to `stop`.
HiddenText::Core HiddenText::read_core(size_t start, size_t stop) {
  const std::span<const uint8_t> bytes = text_.bytes();
  const TextView raw(bytes, left_);
  const bool more_follows = ending_ == Ending::more_follows;
  shown_.clear();
  from_.clear();
  to_.clear();
  nothing_ = start == 0 && before_.within != 0 ? before_.nothing : 0;
  Core core{start, start, start, false, 0};
  const auto show = [&](uint8_t c, size_t length) {
    core.digits += is_digit(c) ? 1 : 0;
    shown_.push_back(c);
    from_.push_back(static_cast<uint32_t>(core.end));
    to_.push_back(static_cast<uint32_t>(core.end + length));
    core.end += length;
    nothing_ = 0;
  };
  while (core.end < stop) {
    const size_t at = core.end;
    const uint8_t c = bytes[at];
    if (is_digit_or_mask(c)) {
      show(c, 1);
      continue;
    }
    const bool separator = is_ascii_separator(c);
    if (separator && text_.tabs() == Tabs::part) {
      if (c == '\t') return core;
      show(c, 1);
      continue;
    }
    if (!kUnitStarts.is[c]) return core;
    const auto place = static_cast<ptrdiff_t>(at);
    const int before[2] = {raw.at(place - 1), raw.at(place - 2)};
    const Unit unit = read_unit(bytes, at, before, more_follows);
    if (unit.kind == Unit::Kind::cut) {
      core.open = true;
      core.next = bytes.size();
      return core;
    }
    if (unit.kind == Unit::Kind::plain) {
      if (!separator) return core;
      show(c, 1);
      continue;
    }
    if (more_follows && at + kCutBytesMax > bytes.size()) unsettled_.push_back({at, at + unit.bytes});
    if (unit.kind == Unit::Kind::nothing) {
      if (nothing_ + unit.bytes > kNothingBytesMax) {
        core.next = at + unit.bytes;
        return core;
      }
      nothing_ += unit.bytes;
      core.end += unit.bytes;
      continue;
    }
    if (!stands_in_number(unit.character)) return core;
    show(unit.character, unit.bytes);
  }
  core.open = more_follows;
  return core;
}

// Where the text may not be cut, for a core near its end.
void HiddenText::note_unsettled(const Core& core) {
  const size_t behind = text_.size() + 1;
  if (core.end - core.start < kHeldRunBytesMax) {
    unsettled_.push_back({core.start, core.open ? behind : core.end});
    return;
  }
  long_cores_.push_back(core.start);
  const auto decided = std::lower_bound(from_.begin(), from_.end(), std::min(plain_.decided, core.end));
  const auto shown = static_cast<size_t>(decided - from_.begin());
  const bool whole = core.end <= plain_.decided && !core.open;
  if (!whole) unsettled_.push_back({shown > kShownReach ? from_[shown - kShownReach] : core.start, behind});
}

bool HiddenText::meets_plain_finding(const Core& core) {
  const std::span<const Finding> all = plain_.findings;
  const auto start_of = [this](const Finding& finding) { return finding.offset - plain_.base; };
  while (next_plain_ < all.size() && start_of(all[next_plain_]) + all[next_plain_].length <= core.start) ++next_plain_;
  return next_plain_ < all.size() && start_of(all[next_plain_]) < core.end;
}

// Overwrites what the plain look found: it is masked there already.
void HiddenText::apply_plain_masks(std::span<const uint8_t> masked) {
  for (size_t i = 0; i < from_.size(); ++i) {
    const uint8_t c = masked[from_[i]];
    if (to_[i] - from_[i] == 1 && is_digit(shown_[i]) && is_digit_or_mask(c)) shown_[i] = c;
  }
}

// Looks at what the plain look's masks leave between `start` and `end`, again while something that is found shares
// digits with it.
template <typename Look>
void HiddenText::look_beside_masks(std::vector<HiddenFinding>& found, size_t start, size_t end, Look look) {
  const size_t first = found.size();
  if (has_digits_as_mask(start, end)) {
    bool shared = true;
    for (int looks = 0; shared && looks < kDigitLooksMax; ++looks) {
      shared = false;
      for (const MaskStyle style : kStyles) {
        found.resize(first);
        mask_again(start, end, style);
        look(std::span<const uint8_t>(masked_));
        shared |= takes_back_shared(found, first);
      }
    }
    masked_fully_.clear();
    return;
  }
  for (int looks = 1;; ++looks) {
    look(masked_text(MaskStyle::bin6_last4));
    if (!takes_back_shared(found, first) || looks == kLooksMax) break;
    found.resize(first);
  }
  const size_t first_of_last = found.size();
  look(masked_text(MaskStyle::full));
  takes_back_shared(found, first_of_last);
}

template <typename Visit>
void HiddenText::for_plain_between(size_t start, size_t end, Visit visit) {
  const std::span<Finding> all = plain_.findings;
  const auto start_of = [this](const Finding& finding) { return finding.offset - plain_.base; };
  auto plain = std::partition_point(
      all.begin(), all.end(), [&](const Finding& finding) { return start_of(finding) + finding.length <= start; });
  for (; plain != all.end() && start_of(*plain) < end; ++plain) visit(*plain, start_of(*plain));
}

bool HiddenText::has_digits_as_mask(size_t start, size_t end) {
  bool any = false;
  for_plain_between(start, end, [&](const Finding& plain, size_t) { any |= is_masked_with_digits(plain.form); });
  return any;
}

// Puts masks of this style into the masked text.
void HiddenText::mask_again(size_t start, size_t end, MaskStyle style) {
  (void)masked_text(MaskStyle::bin6_last4);
  for_plain_between(start, end, [&](const Finding& plain, size_t at) { mask_one(plain, at, style); });
}
void HiddenText::mask_one(const Finding& plain, size_t at, MaskStyle style) {
  const auto bytes = text_.bytes().subspan(at, plain.length);
  std::copy(bytes.begin(), bytes.end(), masked_.begin() + static_cast<ptrdiff_t>(at));
  mask_finding(std::span(masked_).subspan(at, plain.length), plain, style);
}

// Hides what findings of the plain look share with hidden ones, and takes those out: with the shared digits hidden they
// are none. Returns whether there were any.
bool HiddenText::takes_back_shared(std::vector<HiddenFinding>& found, size_t first_found) {
  const auto first = found.begin() + static_cast<ptrdiff_t>(first_found);
  const auto kept = std::remove_if(first, found.end(), [this](const HiddenFinding& one) { return take_back(one); });
  const bool any = kept != found.end();
  found.erase(kept, found.end());
  return any;
}

bool HiddenText::take_back(const HiddenFinding& hidden) {
  bool shared = false;
  for_plain_between(hidden.start, hidden.end, [&](Finding& plain, size_t start) {
    if (hidden.start < start) plain.first_kept = 0;
    if (hidden.end > start + plain.length) plain.last_kept = 0;
    if (is_masked_with_digits(plain.form)) plain.filler = static_cast<uint8_t>(plain.filler % kFillersMax + 1);
    mask_one(plain, start, MaskStyle::bin6_last4);
    shared = true;
  });
  if (shared && ending_ == Ending::more_follows) unsettled_.push_back({hidden.start, hidden.end});
  return shared;
}

void HiddenText::look(const Core& core, std::vector<HiddenFinding>& found) {
  const std::span<const uint8_t> behind = text_.bytes().subspan(core.end);
  shown_.insert(shown_.end(), behind.begin(),
                behind.begin() + static_cast<ptrdiff_t>(std::min(behind.size(), kContextBehind)));
  if (!meets_plain_finding(core)) return look_at_shown(core, found);
  // Digits that a mask leaves standing may be part of a hidden number, or touch it so that it is none: both ways.
  unmasked_ = shown_;
  look_beside_masks(found, core.start, core.end, [&](std::span<const uint8_t> masked) {
    shown_ = unmasked_;
    apply_plain_masks(masked);
    look_at_shown(core, found);
  });
}

void HiddenText::look_at_shown(const Core& core, std::vector<HiddenFinding>& found) {
  const size_t shown = from_.size();
  // Of a long core, what starts near its end is decided when more of it is there.
  size_t starts_end = shown;
  if (ending_ == Ending::more_follows && core.end - core.start >= kHeldRunBytesMax && core.open)
    starts_end = shown > kShownReach ? shown - kShownReach : 0;
  const LeftContext left = context_before(core.start);
  text_found_.clear();
  scanner_->scan(TextView(shown_, &left, text_.tabs()), Ending::complete, text_found_);
  for (const TextFinding& finding : text_found_) {
    Candidate candidate = finding.candidate;
    candidate.end -= std::exchange(candidate.tail, uint8_t{0});  // a core shows nothing of it
    if (finding.start >= starts_end || candidate.end > shown) break;
    found.push_back({from_[finding.start], to_[candidate.end - 1], candidate, FindingForm::hidden});
  }
}

void mask_hidden(std::span<uint8_t> bytes, size_t digits, size_t first_kept, size_t last_kept) {
  size_t digit = 0;
  for (size_t at = 0; at < bytes.size();) {
    const int before[2] = {at > 0 ? bytes[at - 1] : TextView::kNone, at > 1 ? bytes[at - 2] : TextView::kNone};
    Unit unit = kUnitStarts.is[bytes[at]] ? read_unit(bytes, at, before, false) : Unit{};
    if (unit.kind == Unit::Kind::plain) unit.character = bytes[at];
    // A masked EBCDIC digit no longer tells that its neighbour is one.
    if (bytes[at] >= 0xF0 && bytes[at] <= 0xF9 && unit.bytes == 1)
      unit.character = static_cast<uint8_t>('0' + bytes[at] - 0xF0);
    if (unit.kind != Unit::Kind::nothing && is_digit(unit.character)) {
      if (digit >= first_kept && digit + last_kept < digits) mask_unit(bytes.subspan(at, unit.bytes));
      ++digit;
    }
    at += unit.bytes;
  }
}

}  // namespace sluice::policies::cards
