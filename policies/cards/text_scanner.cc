#include "policies/cards/text_scanner.h"

#include <algorithm>

#include "policies/cards/digit_prefilter.h"

namespace sluice::policies::cards {
namespace {

// From this size on Hyperscan looks for the stretches; below, the cost of starting it is more than the whole scan.
constexpr size_t kPatternBytesMin = 1024;

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

size_t TextScanner::scan(const TextView& text, Ending ending, std::vector<TextFinding>& found) {
  const size_t size = text.size();
  // A group that starts here or later cannot be decided yet.
  size_t decidable = size;
  if (ending == Ending::more_follows) decidable = size >= kReachBytes ? size - kReachBytes + 1 : 0;

  Engine engine = engine_;
  if (engine == Engine::automatic) engine = size >= kPatternBytesMin ? Engine::patterns : Engine::digits;
  size_t at = 0;
  while (engine != Engine::scalar) {
    Stretch stretch;
    if (engine == Engine::patterns) {
      bool failed = false;
      const std::optional<size_t> hit = patterns_->next_hit(text.bytes(), at, failed);
      if (failed) {
        engine = Engine::digits;  // our own prefilter misses nothing either
        continue;
      }
      stretch = hit ? stretch_around(text.bytes(), at, *hit) : Stretch{size, size};
    } else {
      stretch = next_stretch(text.bytes(), at);
    }
    if (stretch.start >= size) break;
    if (const auto undecided = scan_stretch(text, stretch.start, stretch.end, decidable, found)) return *undecided;
    at = stretch.end;
  }
  // What is left is too short for a candidate, unless more follows.
  if (engine != Engine::scalar) at = std::max(at, decidable);
  return scan_stretch(text, at, size, decidable, found).value_or(size);
}

}  // namespace sluice::policies::cards
