// The third look of ValueScanner at characters: what stands under the key of a code or PIN, and what follows a card
// number on a track (secrets.h). It comes last, because both need to know where card numbers are.
#include <algorithm>

#include "policies/cards/secrets.h"
#include "policies/cards/text_words.h"
#include "policies/cards/value_part.h"
#include "policies/cards/value_scanner.h"

namespace sluice::policies::cards {
namespace {

constexpr size_t kGroupDigitsMin = 3;  // of a code; its third digit stands in the block that is marked

// Outside of quotes, in JSON and in arrays, a number stays a number.
FindingForm form_at(const Part& part, const TextView& text, size_t start) {
  const bool numbers = part.type == ValueType::json || part.type == ValueType::jsonb || part.type == ValueType::array;
  const int before = text.at(static_cast<ptrdiff_t>(start) - 1);
  return numbers && before != '"' && before != '\'' ? FindingForm::covered_number : FindingForm::covered;
}

// Bytes since a card number ended, at the front of the part.
size_t since_card(const StreamMemory& memory) {
  return memory.card_reach == 0 ? size_t{UINT16_MAX} : kCardReachBytes + 1 - memory.card_reach;
}

}  // namespace

void ValueScanner::look_for_secrets(Part& part, size_t decided, size_t first_finding) {
  std::vector<Finding>& findings = *part.findings;
  StreamMemory& memory = part.memory;
  const TextView text(part.bytes, &memory.left);
  cards_found_.assign(findings.begin() + static_cast<ptrdiff_t>(first_finding), findings.end());
  size_t left = memory.secret_left;
  if (left > 0) {
    const size_t here = std::min(left, decided);
    if (is_uncovered(part.bytes.first(here), memory.secret_form))
      part.add_secret(0, here, memory.secret_kind, memory.secret_form, true, left - here);
    left -= here;
  }
  memory.secret_left = static_cast<uint8_t>(left);
  for (const Finding& card : cards_found_) {
    const size_t end = card.offset - part.base + card.length;
    if (card.form != FindingForm::characters || card.length != card.digits) continue;
    const std::optional<size_t> track_end = track_behind(text, end);
    const Finding* const next = &card + 1;
    const bool meets_next =
        next != cards_found_.data() + cards_found_.size() && track_end && next->offset - part.base < *track_end;
    if (!track_end || meets_next) continue;
    const size_t here = std::min(*track_end, decided);
    if (here > end)
      part.add_secret(end, here - end, FindingKind::track, FindingForm::covered, false, *track_end - here);
    if (*track_end > decided) {
      memory.secret_left = static_cast<uint8_t>(*track_end - decided);
      memory.secret_kind = FindingKind::track;
      memory.secret_form = FindingForm::covered;
    }
  }
  look_at_keys(part, text, decided, cards_found_, first_finding);
  const size_t last_end =
      cards_found_.empty() ? 0 : cards_found_.back().offset - part.base + cards_found_.back().length;
  const size_t since = cards_found_.empty() ? since_card(memory) + decided : decided - last_end;
  memory.card_reach = static_cast<uint16_t>(since <= kCardReachBytes ? kCardReachBytes + 1 - since : 0);
  if (findings.size() == first_finding + cards_found_.size()) return;
  std::stable_sort(findings.begin() + static_cast<ptrdiff_t>(first_finding), findings.end(),
                   [](const Finding& a, const Finding& b) { return a.offset < b.offset; });
}

void ValueScanner::look_at_keys(Part& part, const TextView& text, size_t decided, std::span<const Finding> found,
                                size_t first_finding) {
  const std::span<const uint8_t> bytes = part.bytes;
  std::vector<Finding>& findings = *part.findings;
  const size_t blocks = (bytes.size() + kSignBlockBytes - 1) / kSignBlockBytes;
  size_t next_found = 0, at = 0;
  const auto end_of = [&](const Finding& finding) { return finding.offset - part.base + finding.length; };
  // Of card numbers, and of what was carried over and tracks, all in order, those that end before where we are.
  size_t next_other = first_finding + found.size();
  const size_t others_end = findings.size();
  const auto overlaps = [&](size_t start, size_t end) {
    while (next_other < others_end && end_of(findings[next_other]) + findings[next_other].rest <= start) ++next_other;
    const bool other = next_other < others_end && findings[next_other].offset - part.base < end;
    return other || (next_found < found.size() && found[next_found].offset - part.base < end);
  };
  const auto look = [&](size_t start) {
    while (next_found < found.size() && end_of(found[next_found]) <= start) ++next_found;
    const size_t since = next_found > 0 ? start - end_of(found[next_found - 1]) : since_card(part.memory) + start;
    if (secrets_ == KeyedSecrets::beside_cards && since > kCardReachBytes) return;
    const std::optional<KeyedSecret> secret = keyed_secret_at(text, start, since);
    if (!secret || overlaps(start, secret->end)) return;
    const FindingForm form = form_at(part, text, start);
    const size_t here = std::min(secret->end, decided);
    if (secret->name == NameKind::pan && secret->end <= decided) {
      part.add(start, kContextDigitsMin, kContextDigitsMin, Brand::maestro,
               form == FindingForm::covered ? FindingForm::characters : FindingForm::decimal);
      return;
    }
    if (!is_uncovered(bytes.subspan(start, secret->end - start), form)) return;
    part.add_secret(start, here - start, secret_kind(secret->name), form, false, secret->end - here);
    if (secret->end > decided) {
      part.memory.secret_left = static_cast<uint8_t>(secret->end - decided);
      part.memory.secret_kind = secret_kind(secret->name);
      part.memory.secret_form = form;
    }
  };
  const auto look_between = [&](size_t from, size_t to) {
    for (at = std::max(at, from); at < std::min(to, decided); ++at) {
      if (!is_digit(bytes[at]) || is_digit(text.at(static_cast<ptrdiff_t>(at) - 1))) continue;
      bool assigned = false;
      for (size_t i = 1; i <= kAssignedReachBytes; ++i)
        assigned = assigned || is_assignment(text.at(static_cast<ptrdiff_t>(at) - static_cast<ptrdiff_t>(i)));
      if (assigned) look(at);
    }
  };
  if (part.memory.left.size > 0) look_between(0, kAssignedReachBytes);
  if (!any_sign_) return;
  for (size_t block = next_marked(signs_.keys, 0, blocks); block < blocks;
       block = next_marked(signs_.keys, block + 1, blocks)) {
    const size_t start = block * kSignBlockBytes;
    look_between(start < kGroupDigitsMin ? 0 : start - kGroupDigitsMin, start + kSignBlockBytes);
  }
}

}  // namespace sluice::policies::cards
