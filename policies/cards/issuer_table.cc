#include "policies/cards/issuer_table.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>

#include "policies/cards/card_scanner.h"

namespace sluice::policies {

std::string_view issuer_table_version() {
  return "2026.2";
}

std::string_view to_string(FindingKind kind) {
  switch (kind) {
    case FindingKind::pan:
      return "pan";
    case FindingKind::pattern:
      return "pattern";
    case FindingKind::cvv:
      return "cvv";
    case FindingKind::pin:
      return "pin";
    case FindingKind::track:
      return "track";
  }
  return "unknown";
}

std::string_view to_string(Brand brand) {
  switch (brand) {
    case Brand::visa:
      return "visa";
    case Brand::mastercard:
      return "mastercard";
    case Brand::amex:
      return "amex";
    case Brand::diners:
      return "diners";
    case Brand::discover:
      return "discover";
    case Brand::jcb:
      return "jcb";
    case Brand::unionpay:
      return "unionpay";
    case Brand::maestro:
      return "maestro";
    case Brand::mir:
      return "mir";
    case Brand::rupay:
      return "rupay";
    case Brand::troy:
      return "troy";
    case Brand::elo:
      return "elo";
    case Brand::hiper:
      return "hiper";
    case Brand::hipercard:
      return "hipercard";
    case Brand::verve:
      return "verve";
    case Brand::uatp:
      return "uatp";
  }
  return "unknown";
}

}  // namespace sluice::policies

namespace sluice::policies::cards {
namespace {

struct IssuerRange {
  Brand brand;
  uint32_t low, high;  // prefixes, both of prefix_digits digits
  uint8_t prefix_digits;
  LengthSet lengths;
};

constexpr LengthSet length(size_t digits) {
  return static_cast<LengthSet>(1u << (digits - kPanDigitsMin));
}
constexpr LengthSet k14 = length(14), k15 = length(15), k16 = length(16), k18 = length(18), k19 = length(19);
constexpr LengthSet k16To19 = length(16) | length(17) | length(18) | length(19);
constexpr LengthSet kDinersLengths = k14 | k16 | k19;
constexpr LengthSet kVisaLengths = length(13) | k16 | k18 | k19;
constexpr LengthSet kVerveLengths = k16 | k18 | k19;

// First match wins, so the narrow ranges stand before the wide ones that contain them. RuPay's 353 and 356 lie within
// JCB's range and are named jcb. Maestro's 12 to 15 digits and UATP (1…, 15 digits) match one in ten order ids and are
// none without a column name or keyword that says what they are (kContextRanges).
constexpr IssuerRange kRanges[] = {
    {Brand::verve, 506099, 506198, 6, kVerveLengths},
    {Brand::verve, 507865, 507964, 6, kVerveLengths},
    {Brand::verve, 650002, 650027, 6, kVerveLengths},
    {Brand::elo, 401178, 401179, 6, k16},
    {Brand::elo, 431274, 431274, 6, k16},
    {Brand::elo, 438935, 438935, 6, k16},
    {Brand::elo, 451416, 451416, 6, k16},
    {Brand::elo, 457393, 457393, 6, k16},
    {Brand::elo, 457631, 457632, 6, k16},
    {Brand::elo, 504175, 504175, 6, k16},
    {Brand::elo, 506699, 506778, 6, k16},
    {Brand::elo, 509000, 509999, 6, k16},
    {Brand::elo, 627780, 627780, 6, k16},
    {Brand::elo, 636297, 636297, 6, k16},
    {Brand::elo, 636368, 636368, 6, k16},
    {Brand::elo, 650031, 650033, 6, k16},
    {Brand::elo, 650035, 650051, 6, k16},
    {Brand::elo, 650405, 650439, 6, k16},
    {Brand::elo, 650485, 650538, 6, k16},
    {Brand::elo, 650541, 650598, 6, k16},
    {Brand::elo, 650700, 650718, 6, k16},
    {Brand::elo, 650720, 650727, 6, k16},
    {Brand::elo, 650901, 650978, 6, k16},
    {Brand::elo, 651652, 651679, 6, k16},
    {Brand::elo, 655000, 655019, 6, k16},
    {Brand::elo, 655021, 655058, 6, k16},
    {Brand::hiper, 637095, 637095, 6, k16},
    {Brand::hiper, 637374, 637374, 6, k16},
    {Brand::hiper, 637433, 637433, 6, k16},
    {Brand::hiper, 637568, 637568, 6, k16},
    {Brand::hiper, 637599, 637599, 6, k16},
    {Brand::hiper, 637609, 637609, 6, k16},
    {Brand::hiper, 637612, 637612, 6, k16},
    {Brand::hipercard, 606282, 606282, 6, k16},
    {Brand::hipercard, 384100, 384100, 6, k16},
    {Brand::hipercard, 384140, 384140, 6, k16},
    {Brand::hipercard, 384160, 384160, 6, k16},
    {Brand::discover, 622126, 622925, 6, k16To19},
    {Brand::maestro, 493698, 493698, 6, k16To19},
    {Brand::visa, 4, 4, 1, kVisaLengths},
    {Brand::mastercard, 51, 55, 2, k16},
    {Brand::mastercard, 2221, 2720, 4, k16},
    {Brand::amex, 34, 34, 2, k15},
    {Brand::amex, 37, 37, 2, k15},
    {Brand::jcb, 3528, 3589, 4, k16To19},
    {Brand::jcb, 2131, 2131, 4, k15},
    {Brand::jcb, 1800, 1800, 4, k15},
    {Brand::diners, 300, 305, 3, kDinersLengths},
    {Brand::diners, 309, 309, 3, kDinersLengths},
    {Brand::diners, 36, 36, 2, kDinersLengths},
    {Brand::diners, 38, 39, 2, kDinersLengths},
    {Brand::discover, 6011, 6011, 4, k16To19},
    {Brand::discover, 644, 649, 3, k16To19},
    {Brand::discover, 65, 65, 2, k16To19},
    {Brand::rupay, 508, 508, 3, k16},
    {Brand::rupay, 60, 60, 2, k16},
    {Brand::unionpay, 62, 62, 2, k16To19},
    {Brand::unionpay, 8100, 8171, 4, k16To19},
    {Brand::rupay, 81, 82, 2, k16},
    {Brand::maestro, 500000, 506698, 6, k16To19},
    {Brand::maestro, 506779, 508999, 6, k16To19},
    {Brand::maestro, 56, 59, 2, k16To19},
    {Brand::maestro, 63, 63, 2, k16To19},
    {Brand::maestro, 67, 67, 2, k16To19},
    {Brand::mir, 2200, 2204, 4, k16To19},
    {Brand::troy, 9792, 9792, 4, k16},
};

// Published test numbers are masked like any other; these have a length, prefix or check digit that no rule above
// accepts without context, so they are named one by one.
struct TestNumber {
  Brand brand;
  std::string_view digits;
};
constexpr TestNumber kTestNumbers[] = {
    {Brand::amex, "34343434343434"},
    {Brand::uatp, "122000000000003"},
    {Brand::uatp, "135410014004955"},
    {Brand::unionpay, "6221558812340000"},
};
constexpr unsigned first_four_of(const TestNumber& number) {
  unsigned prefix = 0;
  for (size_t i = 0; i < 4; ++i) prefix = prefix * 10 + static_cast<unsigned>(number.digits[i] - '0');
  return prefix;
}
static_assert(std::all_of(std::begin(kTestNumbers), std::end(kTestNumbers), [](const TestNumber& number) {
  return !is_unchecked_prefix(first_four_of(number)) || first_four_of(number) == kUncheckedTestNumber;
}));

// Lengths that need context, by the first four digits, of numbers with a right check digit. Twelve digits are none of a
// LengthSet: they are asked for by brand_in_context() alone.
struct ContextRange {
  unsigned low, high;
  LengthSet lengths;
};
constexpr LengthSet k13To15 = length(13) | length(14) | length(15);
constexpr ContextRange kContextRanges[] = {
    {1000, 1999, length(15)}, {4936, 4936, k13To15}, {5000, 5089, k13To15},
    {5600, 5999, k13To15},    {6300, 6399, k13To15}, {6700, 6799, k13To15},
};
constexpr size_t kUatpDigits = 15, kMaestroContextDigitsMax = 15, kUnionPayDigitsMin = 16;
constexpr size_t kMaskedFrom = 8, kMaskedUntil = 4;  // of a number's digits, what every style hides

constexpr uint64_t power_of_ten(unsigned exponent) {
  uint64_t power = 1;
  while (exponent-- > 0) power *= 10;
  return power;
}

static_assert(std::size(kRanges) < 256);

constexpr FirstFour make_first_four() {
  FirstFour sets;
  for (size_t i = std::size(kRanges); i-- > 0;) {
    const IssuerRange& range = kRanges[i];
    uint64_t low = range.low, end = range.high + uint64_t{1};
    if (range.prefix_digits <= 4) {
      low *= power_of_ten(4u - range.prefix_digits);
      end *= power_of_ten(4u - range.prefix_digits);
    } else {
      low /= power_of_ten(range.prefix_digits - 4u);
      end = range.high / power_of_ten(range.prefix_digits - 4u) + 1;
    }
    for (uint64_t prefix = low; prefix < end; ++prefix) {
      sets.lengths[prefix] |= range.lengths;
      sets.first_range[prefix] = static_cast<uint8_t>(i);
      const bool sure = range.prefix_digits <= 4;
      sets.settled[prefix] = {range.brand, sure ? range.lengths : LengthSet{0}};
    }
  }
  for (const TestNumber& number : kTestNumbers) {
    sets.lengths[first_four_of(number)] |= length(number.digits.size());
  }
  for (const ContextRange& range : kContextRanges) {
    for (unsigned prefix = range.low; prefix <= range.high; ++prefix) sets.lengths[prefix] |= range.lengths;
  }
  for (unsigned prefix = 0; prefix < 10000; ++prefix) {
    if (is_unchecked_prefix(prefix)) sets.lengths[prefix] |= kUncheckedPrefix;
  }
  return sets;
}

unsigned first_four(std::span<const uint8_t> digits) {
  return digits[0] * 1000u + digits[1] * 100u + digits[2] * 10u + digits[3];
}

}  // namespace

constexpr FirstFour kFirstFour = make_first_four();

std::optional<Brand> brand_by_range(std::span<const uint8_t> digits) {
  const unsigned first = first_four(digits);
  if (const auto settled = brand_of_first_four(first, digits.size())) return settled;
  size_t i = kFirstFour.first_range[first];
  uint32_t prefix[7] = {};  // by number of digits
  for (size_t n = 1; n <= 6; ++n) prefix[n] = prefix[n - 1] * 10 + digits[n - 1];
  for (; i < std::size(kRanges); ++i) {
    const IssuerRange& range = kRanges[i];
    const uint32_t value = prefix[range.prefix_digits];
    if (value >= range.low && value <= range.high && has_length(range.lengths, digits.size())) return range.brand;
  }
  return std::nullopt;
}

// Nothing but zeros in the hidden places, and a digit in the last of them: what mask_number_text and its kin leave.
static bool looks_masked(std::span<const uint8_t> digits) {
  const auto hidden = digits.subspan(kMaskedFrom, digits.size() - kMaskedFrom - kMaskedUntil);
  return std::all_of(hidden.begin(), hidden.end() - 1, [](uint8_t digit) { return digit == 0; });
}

std::optional<Brand> brand_in_context(std::span<const uint8_t> digits) {
  if (digits.size() < kContextDigitsMin || digits.size() > kPanDigitsMax) return std::nullopt;
  if (!luhn_valid(digits)) {
    const bool unionpay = digits.size() >= kUnionPayDigitsMin && is_unchecked_prefix(first_four(digits));
    return unionpay && !looks_masked(digits) ? std::optional(Brand::unionpay) : std::nullopt;
  }
  if (digits.size() == kUatpDigits && digits[0] == 1) return Brand::uatp;
  if (digits.size() > kMaestroContextDigitsMax) return std::nullopt;
  uint32_t prefix = 0;
  for (size_t i = 0; i < 6; ++i) prefix = prefix * 10 + digits[i];
  for (const IssuerRange& range : kRanges) {
    if (range.brand != Brand::maestro) continue;
    const auto cut = static_cast<uint32_t>(prefix / power_of_ten(6u - range.prefix_digits));
    if (cut >= range.low && cut <= range.high) return Brand::maestro;
  }
  return std::nullopt;
}

bool luhn_valid(std::span<const uint8_t> digits) {
  constexpr uint8_t kDoubled[10] = {0, 2, 4, 6, 8, 1, 3, 5, 7, 9};
  unsigned sum = 0;
  bool doubled = (digits.size() & 1) == 0;
  for (uint8_t digit : digits) {
    sum += doubled ? kDoubled[digit] : digit;
    doubled = !doubled;
  }
  return sum % 10 == 0;
}

std::optional<Brand> brand_of(std::span<const uint8_t> digits) {
  if (digits.size() < kPanDigitsMin || digits.size() > kPanDigitsMax) return std::nullopt;
  if (!has_length(kFirstFour.lengths[first_four(digits)], digits.size())) return std::nullopt;
  if (luhn_valid(digits)) {
    if (const std::optional<Brand> brand = brand_by_range(digits)) return brand;
  }
  for (const TestNumber& number : kTestNumbers) {
    if (std::equal(digits.begin(), digits.end(), number.digits.begin(), number.digits.end(),
                   [](uint8_t digit, char character) { return digit == character - '0'; })) {
      return number.brand;
    }
  }
  return std::nullopt;
}

}  // namespace sluice::policies::cards
