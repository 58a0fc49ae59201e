#include "policies/cards/text_scanner.h"

#include <algorithm>

#include "policies/cards/digit_prefilter.h"

namespace sluice::policies::cards {
namespace {

// From this size on Hyperscan looks for the stretches; below, the cost of starting it is more than the whole scan.
constexpr size_t kPatternBytesMin = 1024;

// What Hyperscan looks through at a time. A candidate that ends behind a piece starts within the overlap.
constexpr size_t kPieceBytes = 1024;
constexpr size_t kPieceOverlapBytes = 128;
static_assert(kPieceOverlapBytes > kCandidateBytesMax && kPieceBytes > 2 * kPieceOverlapBytes);

}  // namespace

std::unique_ptr<TextScanner> TextScanner::create(Engine engine, std::string& why) {
  std::unique_ptr<TextScanner> scanner(new TextScanner(engine));
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
      if (const std::optional<Candidate> candidate = candidate_at(text, at)) {
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
      engine_ == Engine::patterns || (engine_ == Engine::automatic && bytes.size() >= kPatternBytesMin);
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

size_t TextScanner::scan(const TextView& text, Ending ending, std::vector<TextFinding>& found) {
  const size_t size = text.size();
  // A group that starts here or later cannot be decided yet.
  size_t decidable = size;
  if (ending == Ending::more_follows) decidable = size >= kReachBytes ? size - kReachBytes + 1 : 0;

  size_t at = 0;
  while (engine_ != Engine::scalar) {
    const Stretch stretch = next_stretch_to_ask(text.bytes(), at);
    if (stretch.start >= size) break;
    if (const auto undecided = scan_stretch(text, stretch.start, stretch.end, decidable, found)) return *undecided;
    at = stretch.end;
  }
  // What is left is too short for a candidate, unless more follows.
  if (engine_ != Engine::scalar) at = std::max(at, decidable);
  return scan_stretch(text, at, size, decidable, found).value_or(size);
}

}  // namespace sluice::policies::cards
