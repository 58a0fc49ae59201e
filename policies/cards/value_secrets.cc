// The third look of ValueScanner at characters: what stands under the key of a code or PIN (secrets.h). It comes last,
// because it needs to know where card numbers are.
#include <algorithm>
#include <cstring>

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

// Which of 64 bytes are digits, one bit each.
uint64_t digits_of_block(const uint8_t* bytes) {
  static_assert(kSignBlockBytes == 64);
  constexpr uint64_t kOnes = 0x0101010101010101, kTops = 0x80 * kOnes;
  constexpr uint64_t kGather = 0x0002040810204081;  // the lowest bit of each byte, side by side at the top
  uint64_t digits = 0;
  for (size_t i = 0; i < kSignBlockBytes; i += sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, bytes + i, sizeof word);
    const uint64_t low = word & ~kTops;
    const uint64_t tops = (low + (0x80 - '0') * kOnes) & ~(low + (0x7f - '9') * kOnes) & ~word & kTops;
    digits |= ((tops >> 7) * kGather >> 49 & 0xff) << i;
  }
  return digits;
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
  const size_t cards_end = findings.size();  // secrets are added behind, and sorted in at the end
  size_t left = memory.secret_left;
  if (left > 0) {
    const size_t here = std::min(left, decided);
    if (is_uncovered(part.bytes.first(here), memory.secret_form))
      part.add_secret(0, here, memory.secret_kind, memory.secret_form, true, left - here);
    left -= here;
  }
  memory.secret_left = static_cast<uint8_t>(left);
  look_at_keys(part, text, decided, first_finding, cards_end);
  const bool any_card = cards_end > first_finding;
  const size_t last_end = any_card ? findings[cards_end - 1].offset - part.base + findings[cards_end - 1].length : 0;
  const size_t since = any_card ? decided - last_end : since_card(memory) + decided;
  memory.card_reach = static_cast<uint16_t>(since <= kCardReachBytes ? kCardReachBytes + 1 - since : 0);
  if (findings.size() == cards_end) return;
  std::stable_sort(findings.begin() + static_cast<ptrdiff_t>(first_finding), findings.end(),
                   [](const Finding& a, const Finding& b) { return a.offset < b.offset; });
}

// Of the findings of this part those up to `cards_end` are card numbers, in order; then, in order too, what was carried
// over.
void ValueScanner::look_at_keys(Part& part, const TextView& text, size_t decided, size_t first_finding,
                                size_t cards_end) {
  const std::span<const uint8_t> bytes = part.bytes;
  std::vector<Finding>& findings = *part.findings;
  const size_t blocks = (bytes.size() + kSignBlockBytes - 1) / kSignBlockBytes;
  size_t next_card = first_finding, at = 0;
  const auto end_of = [&](const Finding& finding) { return finding.offset - part.base + finding.length; };
  size_t next_other = cards_end;
  const size_t others_end = findings.size();
  const auto overlaps = [&](size_t start, size_t end) {
    while (next_other < others_end && end_of(findings[next_other]) + findings[next_other].rest <= start) ++next_other;
    const bool other = next_other < others_end && findings[next_other].offset - part.base < end;
    return other || (next_card < cards_end && findings[next_card].offset - part.base < end);
  };
  const auto look = [&](size_t start) {
    while (next_card < cards_end && end_of(findings[next_card]) <= start) ++next_card;
    const size_t since =
        next_card > first_finding ? start - end_of(findings[next_card - 1]) : since_card(part.memory) + start;
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
  const auto look_where_assigned = [&](size_t start) {
    for (size_t i = 1; i <= kAssignedReachBytes; ++i) {
      if (is_assignment(text.at(static_cast<ptrdiff_t>(start) - static_cast<ptrdiff_t>(i)))) return look(start);
    }
  };
  const auto look_between = [&](size_t from, size_t to) {
    for (at = std::max(at, from); at < std::min(to, decided); ++at) {
      if (is_digit(bytes[at]) && !is_digit(text.at(static_cast<ptrdiff_t>(at) - 1))) look_where_assigned(at);
    }
  };
  if (part.memory.left.size > 0) look_between(0, kAssignedReachBytes);
  if (!any_sign_) return;
  for (size_t block = next_marked(signs_.keys, 0, blocks); block < blocks;
       block = next_marked(signs_.keys, block + 1, blocks)) {
    const size_t start = block * kSignBlockBytes;
    const size_t first = start < kGroupDigitsMin ? 0 : start - (kGroupDigitsMin - 1);  // of a group that is marked here
    if (first == 0 || first + kSignBlockBytes > decided) {
      look_between(first, start + kSignBlockBytes);
      continue;
    }
    const uint64_t digits = digits_of_block(bytes.data() + first);
    uint64_t starts = digits & ~(digits << 1 | (is_digit(bytes[first - 1]) ? 1 : 0));
    for (; starts != 0; starts &= starts - 1) {
      const size_t here = first + static_cast<size_t>(__builtin_ctzll(starts));
      if (here >= at) look_where_assigned(here);
    }
    at = std::max(at, first + kSignBlockBytes);
  }
}

}  // namespace sluice::policies::cards
