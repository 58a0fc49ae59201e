#include "policies/cards/builtin_data.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace sluice::policies::cards {
namespace {

constexpr size_t kLocalPartMax = 64, kDomainMax = 253;
constexpr size_t kIbanCharactersMax = 34;
constexpr size_t kSsnBytes = 11;

bool is_digit(uint8_t c) {
  return c >= '0' && c <= '9';
}
bool is_upper(uint8_t c) {
  return c >= 'A' && c <= 'Z';
}
bool is_letter(uint8_t c) {
  return is_upper(c) || (c >= 'a' && c <= 'z');
}
bool is_alnum(uint8_t c) {
  return is_letter(c) || is_digit(c);
}

// ISO 13616: country, characters in all. From the registry, release 97.
struct Country {
  char code[3];
  uint8_t length;
};
constexpr Country kCountries[] = {
    {"AD", 24}, {"AE", 23}, {"AL", 28}, {"AT", 20}, {"AZ", 28}, {"BA", 20}, {"BE", 16}, {"BG", 22}, {"BH", 22},
    {"BI", 27}, {"BR", 29}, {"BY", 28}, {"CH", 21}, {"CR", 22}, {"CY", 28}, {"CZ", 24}, {"DE", 22}, {"DJ", 27},
    {"DK", 18}, {"DO", 28}, {"EE", 20}, {"EG", 29}, {"ES", 24}, {"FI", 18}, {"FK", 18}, {"FO", 18}, {"FR", 27},
    {"GB", 22}, {"GE", 22}, {"GI", 23}, {"GL", 18}, {"GR", 27}, {"GT", 28}, {"HR", 21}, {"HU", 28}, {"IE", 22},
    {"IL", 23}, {"IQ", 23}, {"IS", 26}, {"IT", 27}, {"JO", 30}, {"KW", 30}, {"KZ", 20}, {"LB", 28}, {"LC", 32},
    {"LI", 21}, {"LT", 20}, {"LU", 20}, {"LV", 21}, {"LY", 25}, {"MC", 27}, {"MD", 24}, {"ME", 22}, {"MK", 19},
    {"MN", 20}, {"MR", 27}, {"MT", 31}, {"MU", 30}, {"NI", 28}, {"NL", 18}, {"NO", 15}, {"OM", 23}, {"PK", 24},
    {"PL", 28}, {"PS", 29}, {"PT", 25}, {"QA", 29}, {"RO", 24}, {"RS", 22}, {"RU", 33}, {"SA", 24}, {"SC", 31},
    {"SD", 18}, {"SE", 24}, {"SI", 19}, {"SK", 24}, {"SM", 27}, {"SO", 23}, {"ST", 25}, {"SV", 28}, {"TL", 23},
    {"TN", 24}, {"TR", 26}, {"UA", 29}, {"VA", 22}, {"VG", 24}, {"XK", 20}, {"YE", 30}};

size_t iban_length(uint8_t first, uint8_t second) {
  const auto* const found = std::lower_bound(
      std::begin(kCountries), std::end(kCountries), std::string_view{}, [&](const Country& country, std::string_view) {
        return static_cast<uint8_t>(country.code[0]) < first ||
               (static_cast<uint8_t>(country.code[0]) == first && static_cast<uint8_t>(country.code[1]) < second);
      });
  if (found == std::end(kCountries) || static_cast<uint8_t>(found->code[0]) != first ||
      static_cast<uint8_t>(found->code[1]) != second)
    return 0;
  return found->length;
}

unsigned mod97(unsigned rest, uint8_t c) {
  return is_digit(c) ? (rest * 10 + (c - '0')) % 97 : (rest * 100 + (c - 'A') + 10) % 97;
}

std::optional<DataMatch> iban(std::span<const uint8_t> bytes, size_t from, size_t trigger_end) {
  if (trigger_end < from + 4) return std::nullopt;
  const size_t start = trigger_end - 4;
  if (start > 0 && is_alnum(bytes[start - 1])) return std::nullopt;
  const size_t length = iban_length(bytes[start], bytes[start + 1]);
  if (length == 0) return std::nullopt;
  uint8_t characters[kIbanCharactersMax] = {};
  size_t taken = 0, at = start;
  while (taken < length && at < bytes.size()) {
    const uint8_t c = bytes[at];
    if (c == ' ' && taken > 0 && taken % 4 == 0 && bytes[at - 1] != ' ') {
      ++at;
      continue;
    }
    if (!is_upper(c) && !is_digit(c)) return std::nullopt;
    characters[taken++] = c;
    ++at;
  }
  if (taken < length || (at < bytes.size() && is_alnum(bytes[at]))) return std::nullopt;
  unsigned rest = 0;  // ISO 7064: the first four characters go to the end
  for (size_t i = 4; i < length; ++i) rest = mod97(rest, characters[i]);
  for (size_t i = 0; i < 4; ++i) rest = mod97(rest, characters[i]);
  if (rest != 1) return std::nullopt;
  return DataMatch{start, at};
}

bool is_local(uint8_t c) {
  return is_alnum(c) || c == '.' || c == '_' || c == '%' || c == '+' || c == '-';
}

std::optional<DataMatch> email(std::span<const uint8_t> bytes, size_t from, size_t trigger_end) {
  if (trigger_end < from + 3) return std::nullopt;
  const size_t sign = trigger_end - 2;
  size_t start = sign;
  while (start > from && sign - start < kLocalPartMax && is_local(bytes[start - 1])) --start;
  while (start < sign && !is_alnum(bytes[start]) && bytes[start] != '_') ++start;
  if (start == sign) return std::nullopt;
  size_t end = sign + 1;
  const size_t most = std::min(bytes.size(), end + kDomainMax);
  while (end < most && (is_alnum(bytes[end]) || bytes[end] == '-' || bytes[end] == '.')) {
    if (bytes[end] == '.' && bytes[end - 1] == '.') break;
    ++end;
  }
  while (end > sign + 1 && (bytes[end - 1] == '.' || bytes[end - 1] == '-')) --end;
  // The last label: two letters at least, behind a dot.
  size_t label = end;
  while (label > sign + 1 && bytes[label - 1] != '.') --label;
  if (label <= sign + 2 || end - label < 2) return std::nullopt;
  if (!std::all_of(bytes.begin() + static_cast<ptrdiff_t>(label), bytes.begin() + static_cast<ptrdiff_t>(end),
                   is_letter))
    return std::nullopt;
  return DataMatch{start, end};
}

std::optional<DataMatch> ssn(std::span<const uint8_t> bytes, size_t from, size_t trigger_end) {
  if (trigger_end < from + kSsnBytes) return std::nullopt;
  const size_t start = trigger_end - kSsnBytes;
  const uint8_t* const d = bytes.data() + start;
  const uint8_t separator = d[3];
  if (d[6] != separator) return std::nullopt;
  const auto goes_on = [&](uint8_t c) { return is_alnum(c) || c == separator; };
  if (start > 0 && separator != ' ' && goes_on(bytes[start - 1])) return std::nullopt;
  if (start > 0 && is_alnum(bytes[start - 1])) return std::nullopt;
  if (trigger_end < bytes.size() && (is_alnum(bytes[trigger_end]) || bytes[trigger_end] == '-')) return std::nullopt;
  const auto same = [&](size_t at, std::string_view digits) {
    return std::memcmp(d + at, digits.data(), digits.size()) == 0;
  };
  if (same(0, "000") || same(0, "666") || d[0] == '9' || same(4, "00") || same(7, "0000")) return std::nullopt;
  return DataMatch{start, trigger_end};
}

}  // namespace

const char* builtin_trigger(BuiltinData kind) {
  switch (kind) {
    case BuiltinData::iban:
      return "[A-Z]{2}[0-9]{2}";
    case BuiltinData::email:
      return "[A-Za-z0-9._%+-]@[A-Za-z0-9]";
    case BuiltinData::ssn:
      return "[0-9]{3}[ -][0-9]{2}[ -][0-9]{4}";
    case BuiltinData::none:
      break;
  }
  return "";
}

size_t builtin_bytes_max(BuiltinData kind) {
  switch (kind) {
    case BuiltinData::iban:
      return kIbanCharactersMax + kIbanCharactersMax / 4;
    case BuiltinData::email:
      return kLocalPartMax + 1 + kDomainMax;
    case BuiltinData::ssn:
      return kSsnBytes;
    case BuiltinData::none:
      break;
  }
  return 0;
}

std::optional<DataMatch> builtin_match(BuiltinData kind, std::span<const uint8_t> bytes, size_t from,
                                       size_t trigger_end) {
  switch (kind) {
    case BuiltinData::iban:
      return iban(bytes, from, trigger_end);
    case BuiltinData::email:
      return email(bytes, from, trigger_end);
    case BuiltinData::ssn:
      return ssn(bytes, from, trigger_end);
    case BuiltinData::none:
      break;
  }
  return std::nullopt;
}

}  // namespace sluice::policies::cards
