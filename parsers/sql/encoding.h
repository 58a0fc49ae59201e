// A statement text as UTF-8, read with the character lengths that PostgreSQL itself uses for the session's
// client_encoding. That is what keeps a second byte 0x5C (SJIS, BIG5, GBK, GB18030, UHC, JOHAB) from being taken for a
// backslash. Pure; any thread (one conversion descriptor is kept per thread). Source of the length rules: PostgreSQL
// 15, src/common/wchar.c.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sluice::sql {

struct Utf8Text {
  bool ok = false;
  std::string_view text;  // valid UTF-8 without NUL; borrows from the input or from `converted`
  std::string converted;
  const char* why = nullptr;  // a literal; set where not ok
  bool names_exact =
      true;  // false: non-ASCII characters may not be the ones that the server sees (its tables may differ)
};

// Converts into `out` (an out parameter, because `text` may borrow from `converted`).
void to_utf8(std::string_view text, std::string_view client_encoding, Utf8Text& out);

// Is every byte below 0x80?
[[nodiscard]] bool all_ascii(std::string_view text);

}  // namespace sluice::sql
