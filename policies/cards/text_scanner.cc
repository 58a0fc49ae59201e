#include "policies/cards/text_scanner.h"

#include <algorithm>
#include <array>

#include "policies/cards/digit_prefilter.h"
#include "policies/cards/packed_digits.h"
#include "policies/cards/text_words.h"

namespace sluice::policies::cards {
namespace {

// From this size on Hyperscan looks for the stretches; below, the cost of starting it is more than the whole scan.
constexpr size_t kPatternBytesMin = 1024;

// What Hyperscan looks through at a time. A candidate that ends behind a piece starts within the overlap.
constexpr size_t kPieceBytes = 1024;
constexpr size_t kPieceOverlapBytes = 128;
static_assert(kPieceOverlapBytes > kCandidateBytesMax && kPieceBytes > 2 * kPieceOverlapBytes);

// Beyond this, counting digits first costs more than looking for them.
constexpr size_t kCountedBytesMax = 256;

// How far before a number the token begins that it ends.
constexpr ptrdiff_t kTokenBackBytes = 12;

// Places to ask about, at a time.
constexpr size_t kHitsAtATime = 256;
static_assert(kHitsAtATime >= WindowFinder::kRoomMin);

}  // namespace

std::unique_ptr<TextScanner> TextScanner::create(Engine engine, ForeignKeys keys, std::string& why) {
  VectorLevel level = VectorLevel::none;
  if (engine == Engine::automatic) level = vector_level();
  if (engine == Engine::avx2) level = VectorLevel::avx2;
  if (engine == Engine::avx512) level = VectorLevel::avx512;
  if (engine == Engine::automatic && level == VectorLevel::none) engine = Engine::portable;
  std::unique_ptr<TextScanner> scanner(new TextScanner(engine, keys));
  if (level != VectorLevel::none) {
    scanner->find_windows_ = WindowFinder::choose(level);
    if (scanner->find_windows_ == nullptr) {
      why = "this CPU lacks the vector instructions";
      return nullptr;
    }
    scanner->mark_signs_ = choose_mark_signs(level);
    scanner->glance_ = choose_glance(level);
    scanner->finder_ = std::make_unique<WindowFinder>();
    return scanner;
  }
  scanner->patterns_ = PatternScanner::create(why);
  return scanner->patterns_ == nullptr ? nullptr : std::move(scanner);
}

// Asks the oracle at every digit group between start and end. Returns where it stopped undecided, or nothing.
std::optional<size_t> TextScanner::scan_stretch(const TextView& text, size_t start, size_t end, size_t decidable,
                                                std::vector<TextFinding>& found) {
  const uint8_t* bytes = text.data();
  size_t at = start;
  while (at < end) {
    if (!is_digit(bytes[at])) {
      ++at;
      continue;
    }
    if (!is_digit(text.at(static_cast<ptrdiff_t>(at) - 1))) {
      if (at >= decidable) return at;
      if (const std::optional<Candidate> candidate = candidate_at(text, at); candidate && !is_foreign(text, at)) {
        found.push_back({at, *candidate});
        at = candidate->end;
        continue;
      }
    }
    while (at < end && is_digit(bytes[at])) ++at;
  }
  return std::nullopt;
}

// Where the oracle is to be asked next. The digit prefilter runs over what holds no number at ten times Hyperscan's
// speed [measured]; from the first stretch on, Hyperscan says what has the shape of a card number, piece by piece.
Stretch TextScanner::next_stretch_to_ask(std::span<const uint8_t> bytes, size_t from) {
  const bool ask_patterns =
      engine_ == Engine::patterns || (engine_ == Engine::portable && bytes.size() >= kPatternBytesMin);
  if (!ask_patterns) return next_stretch(bytes, from);
  size_t at = from;
  while (true) {
    const Stretch stretch = engine_ == Engine::patterns ? Stretch{at, bytes.size()} : next_stretch(bytes, at);
    if (stretch.start >= bytes.size()) return stretch;
    const size_t piece =
        engine_ == Engine::patterns ? bytes.size() : std::min(bytes.size(), stretch.start + kPieceBytes);
    bool failed = false;
    const std::optional<size_t> hit = patterns_->next_hit(bytes.first(piece), stretch.start, failed);
    if (failed) return next_stretch(bytes, at);  // our own prefilter misses nothing either
    if (hit) return stretch_around(bytes, from, *hit);
    if (piece == bytes.size()) return {bytes.size(), bytes.size()};
    at = piece - kPieceOverlapBytes;
  }
}

// Returns up to where everything is looked at; sets `undecided` where it stopped before.
size_t TextScanner::scan_by_stretches(const TextView& text, size_t decidable, std::vector<TextFinding>& found,
                                      std::optional<size_t>& undecided) {
  size_t at = 0;
  while (true) {
    const Stretch stretch = next_stretch_to_ask(text.bytes(), at);
    if (stretch.start >= text.size()) return at;
    undecided = scan_stretch(text, stretch.start, stretch.end, decidable, found);
    if (undecided) return *undecided;
    at = stretch.end;
  }
}

// Returns up to where everything that starts before `decidable` is looked at.
size_t TextScanner::scan_by_windows(const TextView& text, size_t decidable, std::vector<TextFinding>& found) {
  std::array<WindowHit, kHitsAtATime> hits;
  size_t at = 0, next = 0;
  while (next < text.size()) {
    const size_t count =
        find_windows_(*finder_, text.data(), text.size(), std::max(at, next), hits.data(), hits.size(), next);
    for (size_t i = 0; i < count; ++i) {
      const WindowHit& hit = hits[i];
      if (hit.start < at) continue;
      if (hit.start >= decidable) return at;
      if (hit.start == 0 && is_digit(text.at(-1))) continue;
      if (hit.needs_words && !may_say_card(text, hit.start)) continue;
      std::optional<Candidate> candidate;
      if (hit.checked_digits != 0)
        candidate = checked_candidate_at(text, hit.start, hit.checked_digits, hit.first_four);
      if (!candidate) candidate = candidate_at(text, hit.start);
      if (!candidate || is_foreign(text, hit.start)) continue;
      found.push_back({hit.start, *candidate});
      at = candidate->end;
    }
  }
  return at;
}

// The vector finder marks them as it goes.
void TextScanner::begin_tags(std::span<const uint8_t> bytes) {
  const size_t words = (bytes.size() / kSignBlockBytes + 64) / 64;
  tagged_.assign(words, engine_ == Engine::scalar ? ~uint64_t{0} : 0);  // the oracle looks everywhere
  any_tagged_ = engine_ == Engine::scalar;
  if (find_windows_ != nullptr)
    finder_->tagged = tagged_.data(), finder_->any_tagged = false;
  else if (engine_ != Engine::scalar)
    any_tagged_ = mark_tags(bytes, tagged_);
}

size_t TextScanner::scan(const TextView& text, Ending ending, std::vector<TextFinding>& found) {
  const size_t size = text.size();
  // A group that starts here or later cannot be decided yet.
  size_t decidable = size;
  if (ending == Ending::more_follows) decidable = size >= kReachBytes ? size - kReachBytes + 1 : 0;

  begin_tags(text.bytes());
  size_t at = 0;
  std::optional<size_t> undecided;
  if (find_windows_ != nullptr)
    at = scan_by_windows(text, decidable, found), any_tagged_ = finder_->any_tagged;
  else if (engine_ != Engine::scalar)
    at = scan_by_stretches(text, decidable, found, undecided);
  if (undecided) return *undecided;
  // What is left is too short for a candidate, unless more follows.
  if (engine_ != Engine::scalar) at = std::max(at, decidable);
  return scan_stretch(text, at, size, decidable, found).value_or(size);
}

bool TextScanner::is_foreign(const TextView& text, size_t start) const {
  if (keys_ != ForeignKeys::trusted) return false;
  const auto at = static_cast<ptrdiff_t>(start);
  const bool hex_literal = (text.at(at - 1) | 0x20) == 'x' && text.at(at - 2) == '0';
  // The key is that of the whole token ("1Z999AA10123456784").
  ptrdiff_t token = at;
  const auto in_token = [](int c) { return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'); };
  while (at - token < kTokenBackBytes && in_token(text.at(token - 1))) --token;
  return hex_literal || key_before(text, token, at - static_cast<ptrdiff_t>(kWordsBackBytes)) == NameKind::other;
}

bool TextScanner::mark_signs(std::span<const uint8_t> bytes, SignBlocks& signs) const {
  signs.reset(bytes.size());
  if (mark_signs_ != nullptr) {
    uint64_t* const marks[3] = {signs.units.data(), signs.runs.data(), signs.keys.data()};
    return mark_signs_(bytes.data(), bytes.size(), marks);
  }
  if (engine_ == Engine::portable) return cards::mark_signs(bytes, signs);
  signs.mark_all(bytes.size());  // the oracle looks everywhere
  return true;
}

Glance TextScanner::glance(std::span<const uint8_t> bytes, Tabs tabs, std::vector<TextFinding>& found) {
  if (glance_ == nullptr || bytes.size() > kGlanceBytesMax) {
    const bool counts = engine_ != Engine::scalar && bytes.size() <= kCountedBytesMax;
    return counts && !has_enough_digits(bytes) && !may_hide(bytes) ? Glance::few : Glance::ask;
  }
  GlanceHits hits;
  const Glance verdict =
      glance_(bytes.data(), bytes.size(), tabs == Tabs::part ? GlanceTabs::part : GlanceTabs::join, hits);
  if (verdict != Glance::cards) return verdict;
  if (keys_ == ForeignKeys::trusted) return Glance::ask;
  for (size_t i = 0; i < hits.count; ++i) {
    const WindowHit& hit = hits.hits[i];
    const std::optional<Brand> brand = brand_of_first_four(hit.first_four, hit.checked_digits);
    if (!brand) return Glance::ask;
    found.push_back({hit.start, {hit.start + hit.checked_digits, hit.checked_digits, kLastKept, *brand}});
  }
  return Glance::cards;
}

bool TextScanner::may_hide(std::span<const uint8_t> bytes) {
  return mark_signs(bytes, short_signs_);
}

}  // namespace sluice::policies::cards
