#include "daemon/cli/suggest.h"

#include <algorithm>
#include <numeric>

namespace sluice::cli {
namespace {

constexpr size_t kWordMax = 64;  // longer words are no slips of ours

// Optimal string alignment: insertions, deletions, substitutions, and swaps of neighbours count one each.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before_last(b.size() + 1);
  std::vector<size_t> last(b.size() + 1);
  std::vector<size_t> current(b.size() + 1);
  std::iota(last.begin(), last.end(), 0u);
  for (size_t i = 1; i <= a.size(); ++i) {
    current[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitution = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      current[j] = std::min({last[j] + 1, current[j - 1] + 1, substitution});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        current[j] = std::min(current[j], before_last[j - 2] + 1);
    }
    std::swap(before_last, last);
    std::swap(last, current);
  }
  return last[b.size()];
}

}  // namespace

std::string nearest(std::string_view typed, const std::vector<std::string>& known) {
  if (typed.empty() || typed.size() > kWordMax) return {};
  std::string best;
  size_t best_distance = std::max<size_t>(1, (typed.size() + 2) / 3);
  for (const std::string& word : known) {
    const size_t d = distance(typed, word);
    if (d < best_distance || (d == best_distance && best.empty())) {
      best = word;
      best_distance = d;
    }
  }
  return best;
}

}  // namespace sluice::cli
