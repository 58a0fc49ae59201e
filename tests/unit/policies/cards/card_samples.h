// What the card tests and the quality report are made of: published test numbers, generated numbers of every brand, the
// forms in which numbers hide, and numbers that are none.
#pragma once

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "policies/cards/issuer_table.h"

namespace sluice::policies::testing {

inline std::vector<std::string> published_test_numbers() {
  std::ifstream file("tests/support/test_pans.txt");
  std::vector<std::string> numbers;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line[0] != '#') numbers.push_back(line);
  }
  return numbers;
}

// Groups as they are printed on the card.
inline std::string grouped(const std::string& digits, const std::string& separator) {
  std::vector<size_t> widths{4, 4, 4, 4, 4};
  if (digits.size() == 15) widths = {4, 6, 5};
  if (digits.size() == 14) widths = {4, 6, 4};
  std::string out;
  for (size_t at = 0, group = 0; at < digits.size(); at += widths[group++]) {
    if (at != 0) out += separator;
    out += digits.substr(at, widths[group]);
  }
  return out;
}

inline char luhn_digit(const std::string& payload) {
  unsigned sum = 0;
  for (size_t i = 0; i < payload.size(); ++i) {
    unsigned digit = static_cast<unsigned>(payload[payload.size() - 1 - i] - '0');
    if (i % 2 == 0) digit = digit * 2 > 9 ? digit * 2 - 9 : digit * 2;
    sum += digit;
  }
  return static_cast<char>('0' + (10 - sum % 10) % 10);
}
inline std::string with_check_digit(const std::string& payload) {
  return payload + luhn_digit(payload);
}

// Prefixes of every brand, and the lengths that go with them.
struct BrandRange {
  const char* prefix;
  std::vector<size_t> lengths;
};
inline const std::vector<BrandRange>& brand_ranges() {
  static const std::vector<BrandRange> ranges = {
      {"4", {13, 16, 18, 19}},
      {"51", {16}},
      {"55", {16}},
      {"2221", {16}},
      {"2720", {16}},
      {"34", {15}},
      {"37", {15}},
      {"300", {14, 16, 19}},
      {"305", {14, 16, 19}},
      {"309", {14, 16, 19}},
      {"36", {14, 16, 19}},
      {"39", {14, 16, 19}},
      {"6011", {16, 17, 18, 19}},
      {"644", {16, 19}},
      {"65", {16, 19}},
      {"622126", {16, 19}},
      {"3528", {16, 19}},
      {"3589", {16, 19}},
      {"2131", {15}},
      {"1800", {15}},
      {"62", {16, 17, 18, 19}},
      {"8100", {16, 19}},
      {"8171", {16, 19}},
      {"493698", {16, 19}},
      {"500000", {16, 19}},
      {"506779", {16, 19}},
      {"56", {16, 19}},
      {"63", {16, 19}},
      {"67", {16, 19}},
      {"2200", {16, 19}},
      {"2204", {16, 19}},
      {"60", {16}},
      {"82", {16}},
      {"508", {16}},
      {"9792", {16}},
      {"509000", {16}},
      {"637095", {16}},
      {"606282", {16}},
      {"506099", {16, 18, 19}},
  };
  return ranges;
}

// Numbers that are one of a card only where something says so: random behind the prefix.
struct ContextNumber {
  const char* name;
  const char* prefix;
  size_t length;
  bool right_check_digit;
};
inline const std::vector<ContextNumber>& context_numbers() {
  static const std::vector<ContextNumber> all = {
      {"UnionPay of 16, wrong check digit", "62", 16, false},
      {"UnionPay of 19, wrong check digit", "62", 19, false},
      {"UnionPay 81, wrong check digit", "8123", 16, false},
      {"Maestro of 12", "6759", 12, true},
      {"Maestro of 13", "5018", 13, true},
      {"Maestro of 14", "5893", 14, true},
      {"Maestro of 15", "6304", 15, true},
      {"UATP", "10", 15, true},
  };
  return all;
}

using Hide = std::function<std::string(const std::string&)>;

inline std::string each(const std::string& text, const std::function<std::string(char)>& form) {
  std::string out;
  for (char c : text) out += form(c);
  return out;
}
inline std::string hex_of(char c, const char* format) {
  char out[16];
  std::snprintf(out, sizeof out, format, static_cast<unsigned>(static_cast<uint8_t>(c)));
  return out;
}
inline std::string base64(const std::string& text, const char* last_two = "+/") {
  const std::string alphabet = std::string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") + last_two;
  std::string out;
  for (size_t i = 0; i < text.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) bits = bits << 8 | (i + k < text.size() ? static_cast<uint8_t>(text[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) out += i + k > text.size() ? '=' : alphabet[bits >> (18 - 6 * k) & 63];
  }
  return out;
}
inline std::string utf16(const std::string& text, bool big) {
  return each(text, [&](char c) { return big ? std::string{'\0', c} : std::string{c, '\0'}; });
}
inline std::string utf32(const std::string& text, bool big) {
  return each(text, [&](char c) { return big ? std::string{'\0', '\0', '\0', c} : std::string{c, '\0', '\0', '\0'}; });
}
// Lines of `width` characters.
inline std::string in_lines(const std::string& text, size_t width, const char* line_end) {
  std::string out;
  for (size_t at = 0; at < text.size(); at += width) out += (at == 0 ? "" : line_end) + text.substr(at, width);
  return out;
}
// Packed decimal, with F behind an odd number of digits.
inline std::string packed(const std::string& digits) {
  std::string out;
  for (size_t at = 0; at < digits.size(); at += 2) {
    const int low = at + 1 < digits.size() ? digits[at + 1] - '0' : 0xF;
    out += static_cast<char>((digits[at] - '0') << 4 | low);
  }
  return out;
}
inline std::string bytes_as_hex(const std::string& bytes, const char* format = "%02X");
inline std::string digits_from(const std::string& text, const std::vector<std::string>& forms) {
  return each(text,
              [&](char c) { return c >= '0' && c <= '9' ? forms[static_cast<size_t>(c - '0')] : std::string(1, c); });
}
inline std::vector<std::string> from_code(uint32_t zero) {
  std::vector<std::string> out;
  for (uint32_t code = zero; code < zero + 10; ++code) {
    std::string form;
    if (code < 0x800) {
      form = {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
    } else if (code < 0x10000) {
      form = {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 63)),
              static_cast<char>(0x80 | (code & 63))};
    } else {
      form = {static_cast<char>(0xF0 | code >> 18), static_cast<char>(0x80 | (code >> 12 & 63)),
              static_cast<char>(0x80 | (code >> 6 & 63)), static_cast<char>(0x80 | (code & 63))};
    }
    out.push_back(form);
  }
  return out;
}

inline std::string bytes_as_hex(const std::string& bytes, const char* format) {
  return each(bytes, [&](char c) { return hex_of(c, format); });
}
// EMV data objects: the number (5A) and track 2 (57), with others around them.
inline std::string emv_number(const std::string& digits) {
  const std::string value = packed(digits);
  return std::string("\x9F\x26\x02\xAB\xCD\x5A", 6) + static_cast<char>(value.size()) + value +
         std::string("\x5F\x34\x01\x01", 4);
}
inline std::string emv_track(const std::string& digits) {
  std::string nibbles = bytes_as_hex(packed(digits)), value;
  if (digits.size() % 2 == 1) nibbles.pop_back();
  nibbles += "D25122011234567890";
  if (nibbles.size() % 2 == 1) nibbles += 'F';
  for (size_t at = 0; at < nibbles.size(); at += 2)
    value += static_cast<char>(std::stoi(nibbles.substr(at, 2), nullptr, 16));
  return std::string("\x84\x02\xA0\x00\x57", 5) + static_cast<char>(value.size()) + value +
         std::string("\x9F\x36\x02\x00\x01", 5);
}
// An ISO 8583 request for authorization: type, bitmap, number with its length, processing code, amount.
inline std::string iso_message(const std::string& digits) {
  return "02007000000000000000" + std::to_string(digits.size()) + digits + "000000000000010000";
}
inline std::string packed_iso_message(const std::string& digits) {
  return std::string("\x02\x00\x70\0\0\0\0\0\0\0", 10) + packed(std::to_string(digits.size())) +
         packed((digits.size() % 2 == 1 ? "0" : "") + digits) + std::string("\0\0\0\0\0\0\0\1\0\0", 10);
}
inline std::string as_bytea(const std::string& bytes) {
  return "\\x" + bytes_as_hex(bytes, "%02x");
}

struct HiddenForm {
  const char* name;
  Hide hide;
};

inline const std::vector<HiddenForm>& hidden_forms() {
  static const std::vector<HiddenForm> all = {
      {"percent", [](const std::string& n) { return each(n, [](char c) { return hex_of(c, "%%%02X"); }); }},
      {"percent twice", [](const std::string& n) { return each(n, [](char c) { return hex_of(c, "%%25%02x"); }); }},
      {"percent separators", [](const std::string& n) { return grouped(n, "%20"); }},
      {"percent no-break", [](const std::string& n) { return grouped(n, "%C2%A0"); }},
      {"plus", [](const std::string& n) { return grouped(n, "+"); }},
      {"double blank", [](const std::string& n) { return grouped(n, "  "); }},
      {"blank dash blank", [](const std::string& n) { return grouped(n, " - "); }},
      {"nbsp", [](const std::string& n) { return grouped(n, "&nbsp;"); }},
      {"numeric nbsp", [](const std::string& n) { return grouped(n, "&#160;"); }},
      {"entities", [](const std::string& n) { return each(n, [](char c) { return hex_of(c, "&#%u;"); }); }},
      {"hex entities", [](const std::string& n) { return each(n, [](char c) { return hex_of(c, "&#x%02x;"); }); }},
      {"unicode escapes", [](const std::string& n) { return each(n, [](char c) { return hex_of(c, "\\u%04x"); }); }},
      {"escapes in a string in a string",
       [](const std::string& n) { return each(n, [](char c) { return hex_of(c, "\\\\\\u%04x"); }); }},
      {"some escapes", [](const std::string& n) { return "\\u003" + n.substr(0, 1) + n.substr(1); }},
      {"x escapes", [](const std::string& n) { return each(n, [](char c) { return hex_of(c, "\\x%02x"); }); }},
      {"zero width", [](const std::string& n) { return each(n, [](char c) { return c + std::string("\u200B"); }); }},
      {"soft hyphen", [](const std::string& n) { return grouped(n, "\u00AD"); }},
      {"byte order mark", [](const std::string& n) { return grouped(n, "\uFEFF"); }},
      {"terminal escapes", [](const std::string& n) { return grouped(n, "\x1b[1;31m"); }},
      {"thin space", [](const std::string& n) { return grouped(n, "\u2009"); }},
      {"ideographic space", [](const std::string& n) { return grouped(n, "\u3000"); }},
      {"minus sign", [](const std::string& n) { return grouped(n, "\u2212"); }},
      {"full width", [](const std::string& n) { return digits_from(n, from_code(0xFF10)); }},
      {"full width, spaced", [](const std::string& n) { return digits_from(grouped(n, "\u3000"), from_code(0xFF10)); }},
      {"arabic-indic", [](const std::string& n) { return digits_from(n, from_code(0x0660)); }},
      {"extended arabic-indic", [](const std::string& n) { return digits_from(n, from_code(0x06F0)); }},
      {"devanagari", [](const std::string& n) { return digits_from(n, from_code(0x0966)); }},
      {"mathematical", [](const std::string& n) { return digits_from(n, from_code(0x1D7CE)); }},
      {"hex", [](const std::string& n) { return each(n, [](char c) { return hex_of(c, "%02x"); }); }},
      {"hex, dashed",
       [](const std::string& n) { return each(grouped(n, "-"), [](char c) { return hex_of(c, "%02X"); }); }},
      {"base64", [](const std::string& n) { return base64(n); }},
      {"base64, second phase", [](const std::string& n) { return base64("{\"pan\":\"" + n + "\"}"); }},
      {"base64, third phase", [](const std::string& n) { return base64("x, " + grouped(n, " ") + "?"); }},
      {"base64url", [](const std::string& n) { return base64("\xff\xfe?" + n + "\xfb\xff", "-_"); }},
      {"utf-16le", [](const std::string& n) { return utf16(n, false); }},
      {"utf-16be", [](const std::string& n) { return utf16(grouped(n, " "), true); }},
      {"ebcdic",
       [](const std::string& n) {
         return each(n, [](char c) { return std::string(1, static_cast<char>(c + 0xC0)); });
       }},
      {"utf-32le", [](const std::string& n) { return utf32(n, false); }},
      {"utf-32be", [](const std::string& n) { return utf32(grouped(n, " "), true); }},
      {"hex with blanks", [](const std::string& n) { return in_lines(bytes_as_hex(n), 2, " "); }},
      {"hex with colons", [](const std::string& n) { return in_lines(bytes_as_hex(grouped(n, "-"), "%02x"), 2, ":"); }},
      {"base64 in lines of 76",
       [](const std::string& n) {
         return in_lines(base64(std::string(50, 'x') + n + std::string(20, 'y')), 76, "\r\n");
       }},
      {"base64 in lines of 64",
       [](const std::string& n) {
         return in_lines(base64(std::string(40, 'x') + n + std::string(20, 'y')), 64, "\n");
       }},
      {"EMV 5A as hex", [](const std::string& n) { return bytes_as_hex(emv_number(n)); }},
      {"EMV 57 as hex", [](const std::string& n) { return bytes_as_hex(emv_track(n), "%02x"); }},
      {"ISO 8583", [](const std::string& n) { return iso_message(n); }},
      {"track 1", [](const std::string& n) { return "%B" + n + "^DOE/JOHN^25121011234567890123?"; }},
      {"track 2", [](const std::string& n) { return ";" + n + "=25121011234567890123?"; }},
      {"track 2 of chip cards", [](const std::string& n) { return n + "D25121011234567890F"; }},
  };
  return all;
}

// Forms of whole values of bytea and of unknown type, in binary.
inline const std::vector<HiddenForm>& binary_forms() {
  static const std::vector<HiddenForm> all = {
      {"packed decimal", [](const std::string& n) { return packed(n); }},
      {"packed decimal, zero before", [](const std::string& n) { return packed((n.size() % 2 == 1 ? "0" : "") + n); }},
      {"packed decimal, signed",
       [](const std::string& n) {
         std::string bytes = packed(n.size() % 2 == 1 ? n + "0" : "0" + n + "0");
         bytes.back() = static_cast<char>((static_cast<uint8_t>(bytes.back()) & 0xF0) | 0xC);
         return bytes;
       }},
      {"EMV 5A", [](const std::string& n) { return emv_number(n); }},
      {"EMV 57", [](const std::string& n) { return emv_track(n); }},
      {"ISO 8583, packed", [](const std::string& n) { return packed_iso_message(n); }},
      {"ISO 8583, binary bitmap",
       [](const std::string& n) {
         return "0200" + std::string("\x70\0\0\0\0\0\0\0", 8) + std::to_string(n.size()) + n + "000000";
       }},
      {"percent", [](const std::string& n) { return each(n, [](char c) { return hex_of(c, "%%%02X"); }); }},
      {"base64", [](const std::string& n) { return base64(n); }},
      {"ebcdic",
       [](const std::string& n) {
         return each(n, [](char c) { return std::string(1, static_cast<char>(c + 0xC0)); });
       }},
  };
  return all;
}

// Does a run of digits pass issuer, length and check digit, whatever stands beside it?
inline bool passes_without_context(const std::string& text) {
  std::vector<uint8_t> run;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] >= '0' && text[i] <= '9') {
      run.push_back(static_cast<uint8_t>(text[i] - '0'));
      continue;
    }
    if (cards::brand_of(run)) return true;
    run.clear();
  }
  return false;
}

// Random values by a seed, always the same.
class Samples {
 public:
  explicit Samples(uint64_t seed) : random_(seed) {}

  uint64_t next() { return random_(); }
  unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }
  std::string digits(size_t count) {
    std::string out;
    for (size_t i = 0; i < count; ++i) out += static_cast<char>('0' + below(10));
    return out;
  }
  std::string hex(size_t count) {
    std::string out;
    for (size_t i = 0; i < count; ++i) out += "0123456789abcdef"[below(16)];
    return out;
  }
  std::string padded(unsigned value, int width) {
    char out[16];
    std::snprintf(out, sizeof out, "%0*u", width, value);
    return out;
  }
  std::string date() { return padded(1970 + below(130), 4) + padded(1 + below(12), 2) + padded(1 + below(28), 2); }
  std::string time() { return padded(below(24), 2) + padded(below(60), 2) + padded(below(60), 2); }
  // Between 2001 and 2033.
  std::string epoch(uint64_t per_second) {
    return std::to_string((1000000000 + next() % 1000000000) * per_second + next() % per_second);
  }

 private:
  std::mt19937_64 random_;
};

inline std::string make_context_number(const ContextNumber& kind, Samples& samples) {
  std::string number =
      with_check_digit(kind.prefix + samples.digits(kind.length - std::string(kind.prefix).size() - 1));
  if (!kind.right_check_digit)
    number.back() = static_cast<char>('0' + (number.back() - '0' + 1 + samples.below(9)) % 10);
  return number;
}

struct LookAlike {
  const char* name;
  std::function<std::string(Samples&)> make;
  bool by_chance;             // it is a random number: as many pass as issuer, length and check digit let pass
  const char* key = "value";  // under which it stands where somebody says what it is
};
inline const std::vector<LookAlike>& look_alikes() {
  static const std::vector<LookAlike> all = {
      {"epoch, seconds", [](Samples& s) { return s.epoch(1); }, false, "timestamp"},
      {"epoch, milliseconds", [](Samples& s) { return s.epoch(1000); }, false, "timestamp"},
      {"epoch, microseconds", [](Samples& s) { return s.epoch(1000000); }, false, "timestamp"},
      {"epoch, nanoseconds", [](Samples& s) { return s.epoch(1000000000); }, false, "timestamp"},
      {"datetime YYYYMMDDhhmmss", [](Samples& s) { return s.date() + s.time(); }, false},
      {"the same with milliseconds", [](Samples& s) { return s.date() + s.time() + s.digits(3); }, false},
      {"datetime DDMMYYYYhhmmss",
       [](Samples& s) {
         return s.padded(1 + s.below(28), 2) + s.padded(1 + s.below(12), 2) + s.padded(1970 + s.below(130), 4) +
                s.time();
       },
       false},
      {"UUID",
       [](Samples& s) { return s.hex(8) + "-" + s.hex(4) + "-4" + s.hex(3) + "-a" + s.hex(3) + "-" + s.hex(12); },
       false},
      {"MD5", [](Samples& s) { return s.hex(32); }, false},
      {"SHA-256", [](Samples& s) { return s.hex(64); }, false},
      {"IMEI", [](Samples& s) { return with_check_digit("35" + s.digits(12)); }, false, "imei"},
      {"ICCID", [](Samples& s) { return with_check_digit("8949" + s.digits(14)); }, false, "iccid"},
      {"ISBN-13", [](Samples& s) { return "978" + s.digits(10); }, false, "isbn"},
      {"GTIN-13", [](Samples& s) { return std::to_string(20 + s.below(70)) + s.digits(11); }, true, "gtin"},
      {"IBAN", [](Samples& s) { return "DE" + s.digits(20); }, false},
      {"phone pairs", [](Samples& s) { return "+49 30 " + s.digits(7) + " / +49 40 " + s.digits(7); }, false},
      {"tracking number", [](Samples& s) { return "1Z" + s.hex(6) + s.digits(10); }, true, "tracking_number"},
      {"coordinates",
       [](Samples& s) {
         return std::to_string(s.below(180)) + "." + s.digits(14) + "," + std::to_string(s.below(90)) + "." +
                s.digits(14);
       },
       false},
      {"decimal fraction", [](Samples& s) { return "0." + s.digits(16); }, false},
      {"snowflake", [](Samples& s) { return std::to_string((uint64_t{1} << 58) + s.next() % (uint64_t{1} << 60)); },
       true, "snowflake_id"},
      {"order id, 16 digits", [](Samples& s) { return std::to_string(1 + s.below(9)) + s.digits(15); }, true,
       "order_id"},
      {"two columns of a table",
       [](Samples& s) {
         const size_t first = 5 + s.below(7);
         return "7\t" + s.digits(first) + "\t" + s.digits(16 - first) + "\tx";
       },
       false},
      {"columns of four digits",
       [](Samples& s) {
         return s.digits(4) + "\t" + s.digits(4) + "\t" + s.digits(4) + "\t" + s.digits(4) + "\t" + s.digits(2) + ".50";
       },
       false},
      {"base64 of random bytes",
       [](Samples& s) {
         std::string bytes;
         for (size_t i = 0; i < 60; ++i) bytes += static_cast<char>(s.below(256));
         return base64(bytes);
       },
       false},
  };
  return all;
}

}  // namespace sluice::policies::testing
