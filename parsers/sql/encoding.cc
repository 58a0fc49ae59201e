#include "parsers/sql/encoding.h"

#include <iconv.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace sluice::sql {
namespace {

// How a client encoding can be read. ASCII-safe: bytes below 0x80 are always ASCII characters. Unsafe: they may be the
// second byte of a longer character, whose length PostgreSQL computes from the lead byte.
enum class Family : uint8_t { utf8, bytes, ascii_safe, sjis, big5, gbk, uhc, gb18030, johab };

struct Encoding {
  std::string_view name;  // as ParameterStatus reports it (pg_enc2name_tbl)
  const char* iconv_name;
  Family family;
};

// An encoding that is not here is read only where the text is plain ASCII. MULE_INTERNAL: nothing converts it.
// SHIFT_JIS_2004: the server's table makes a backslash of 0x815F and a tilde of 0x81B0; no table but its own says so.
// For those that are here, every sequence of two bytes (and the longer ones for ASCII in the result) was compared with
// PostgreSQL 15's own conversion.
constexpr Encoding kEncodings[] = {
    {"UTF8", nullptr, Family::utf8},
    {"SQL_ASCII", "ISO-8859-1", Family::bytes},
    {"LATIN1", "ISO-8859-1", Family::ascii_safe},
    {"LATIN2", "ISO-8859-2", Family::ascii_safe},
    {"LATIN3", "ISO-8859-3", Family::ascii_safe},
    {"LATIN4", "ISO-8859-4", Family::ascii_safe},
    {"LATIN5", "ISO-8859-9", Family::ascii_safe},
    {"LATIN6", "ISO-8859-10", Family::ascii_safe},
    {"LATIN7", "ISO-8859-13", Family::ascii_safe},
    {"LATIN8", "ISO-8859-14", Family::ascii_safe},
    {"LATIN9", "ISO-8859-15", Family::ascii_safe},
    {"LATIN10", "ISO-8859-16", Family::ascii_safe},
    {"ISO_8859_5", "ISO-8859-5", Family::ascii_safe},
    {"ISO_8859_6", "ISO-8859-6", Family::ascii_safe},
    {"ISO_8859_7", "ISO-8859-7", Family::ascii_safe},
    {"ISO_8859_8", "ISO-8859-8", Family::ascii_safe},
    {"WIN1250", "CP1250", Family::ascii_safe},
    {"WIN1251", "CP1251", Family::ascii_safe},
    {"WIN1252", "CP1252", Family::ascii_safe},
    {"WIN1253", "CP1253", Family::ascii_safe},
    {"WIN1254", "CP1254", Family::ascii_safe},
    {"WIN1255", "CP1255", Family::ascii_safe},
    {"WIN1256", "CP1256", Family::ascii_safe},
    {"WIN1257", "CP1257", Family::ascii_safe},
    {"WIN1258", "CP1258", Family::ascii_safe},
    {"WIN866", "CP866", Family::ascii_safe},
    {"WIN874", "CP874", Family::ascii_safe},
    {"KOI8R", "KOI8-R", Family::ascii_safe},
    {"KOI8U", "KOI8-U", Family::ascii_safe},
    {"EUC_JP", "EUC-JP", Family::ascii_safe},
    {"EUC_KR", "EUC-KR", Family::ascii_safe},
    {"EUC_CN", "EUC-CN", Family::ascii_safe},
    {"EUC_TW", "EUC-TW", Family::ascii_safe},
    {"EUC_JIS_2004", "EUC-JISX0213", Family::ascii_safe},
    {"SJIS", "CP932", Family::sjis},
    {"BIG5", "BIG5", Family::big5},
    {"GBK", "GBK", Family::gbk},
    {"UHC", "UHC", Family::uhc},
    {"GB18030", "GB18030", Family::gb18030},
    {"JOHAB", "JOHAB", Family::johab},
};
constexpr size_t kCharBytesMax = 4;  // longest character of the unsafe families
constexpr size_t kUtf8PerChar = 16;  // room for what one character may become
constexpr size_t kConvertChunk = 4096;

bool is_high(char c) {
  return static_cast<uint8_t>(c) >= 0x80;
}

// UTF-8 as PostgreSQL accepts it (pg_utf8_islegal: no overlong forms, no surrogates, up to U+10FFFF).
bool valid_utf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const auto at = [&](size_t k) { return static_cast<uint8_t>(text[i + k]); };
    const uint8_t lead = at(0);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const size_t length = lead >= 0xc2 && lead <= 0xdf   ? 2
                          : lead >= 0xe0 && lead <= 0xef ? 3
                          : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                         : 0;
    if (length == 0 || text.size() - i < length) return false;
    uint8_t low = 0x80, high = 0xbf;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
    if (at(1) < low || at(1) > high) return false;
    for (size_t k = 2; k < length; ++k) {
      if ((at(k) & 0xc0) != 0x80) return false;
    }
    i += length;
  }
  return true;
}

// The length of the character whose lead byte is `lead` (≥ 0x80); `next` is the byte after it (0 at the end).
size_t char_bytes(Family family, uint8_t lead, uint8_t next) {
  switch (family) {
    case Family::sjis:
      return lead >= 0xa1 && lead <= 0xdf ? 1 : 2;
    case Family::gb18030:
      return next >= 0x30 && next <= 0x39 ? 4 : 2;
    case Family::johab:
      return lead == 0x8f ? 3 : 2;
    default:
      return 2;
  }
}

// One iconv descriptor per thread: a session keeps its encoding, and opening one costs more than a short conversion.
class Converter {
 public:
  Converter() = default;
  Converter(const Converter&) = delete;
  Converter& operator=(const Converter&) = delete;
  ~Converter() { close(); }

  bool open(const char* from) {
    if (from_ == from) return true;
    close();
    descriptor_ = ::iconv_open("UTF-8", from);
    if (descriptor_ == kNone) return false;
    from_ = from;
    return true;
  }

  // Appends all of `in`, converted; false where a sequence is invalid, incomplete or without an equivalent.
  bool append(std::string_view in, std::string& out) {
    ::iconv(descriptor_, nullptr, nullptr, nullptr, nullptr);
    char* from = const_cast<char*>(in.data());  // iconv's signature; it does not write there
    size_t left = in.size();
    std::array<char, kConvertChunk> chunk;
    for (;;) {
      char* to = chunk.data();
      size_t room = chunk.size();
      const size_t changed = left > 0 ? ::iconv(descriptor_, &from, &left, &to, &room)
                                      : ::iconv(descriptor_, nullptr, nullptr, &to, &room);
      out.append(chunk.data(), chunk.size() - room);
      if (changed == static_cast<size_t>(-1)) {
        if (errno != E2BIG) return false;
        continue;
      }
      if (changed > 0) return false;  // converted irreversibly: not what the server's table says
      if (left == 0 && from == nullptr) return true;
      if (left == 0) from = nullptr;  // one more turn flushes what the descriptor holds back
    }
  }

 private:
  // NOLINTNEXTLINE(performance-no-int-to-ptr): what iconv_open() returns when it fails
  static inline const iconv_t kNone = reinterpret_cast<iconv_t>(-1);
  void close() {
    if (from_ != nullptr) ::iconv_close(descriptor_);
    from_ = nullptr;
  }
  const char* from_ = nullptr;  // one of kEncodings' literals, compared by address
  iconv_t descriptor_ = kNone;
};

// Converts character by character with PostgreSQL's own lengths, so that no byte is taken for ASCII that is not.
bool convert_unsafe(std::string_view text, Family family, Converter& converter, std::string& out) {
  size_t i = 0;
  while (i < text.size()) {
    if (!is_high(text[i])) {
      out.push_back(text[i++]);
      continue;
    }
    const uint8_t next = i + 1 < text.size() ? static_cast<uint8_t>(text[i + 1]) : 0;
    const size_t length = char_bytes(family, static_cast<uint8_t>(text[i]), next);
    static_assert(kCharBytesMax <= kUtf8PerChar);
    if (text.size() - i < length) return false;
    const size_t before = out.size();
    if (!converter.append(text.substr(i, length), out)) return false;
    // A character that PostgreSQL counts as one must not become ASCII here, nor two ASCII-visible ones.
    if (out.size() == before || out.size() - before > kUtf8PerChar) return false;
    if (!std::all_of(out.begin() + static_cast<ptrdiff_t>(before), out.end(), is_high)) return false;
    i += length;
  }
  return true;
}

size_t ascii_count(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return !is_high(c); }));
}

void converted(std::string_view text, const Encoding& encoding, Utf8Text& out) {
  thread_local Converter converter;
  out.names_exact = false;
  if (!converter.open(encoding.iconv_name)) {
    out.why = "client_encoding cannot be converted on this host";
    return;
  }
  out.converted.clear();
  out.converted.reserve(text.size() * 2);
  const bool safe = encoding.family == Family::ascii_safe || encoding.family == Family::bytes;
  out.ok = safe ? converter.append(text, out.converted) && ascii_count(text) == ascii_count(out.converted)
                : convert_unsafe(text, encoding.family, converter, out.converted);
  out.text = out.converted;
  if (!out.ok) out.why = "bytes that are not valid in client_encoding";
}

}  // namespace

bool all_ascii(std::string_view text) {
  size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + i, 8);
    if ((word & 0x8080808080808080u) != 0) return false;
  }
  return std::none_of(text.begin() + static_cast<ptrdiff_t>(i), text.end(), is_high);
}

void to_utf8(std::string_view text, std::string_view client_encoding, Utf8Text& out) {
  out = Utf8Text{};
  if (text.find('\0') != std::string_view::npos) {
    out.why = "a NUL byte in the text";
    return;
  }
  if (all_ascii(text)) {  // every encoding of PostgreSQL has ASCII as it is
    out.text = text;
    out.ok = true;
    return;
  }
  const auto* encoding = std::find_if(std::begin(kEncodings), std::end(kEncodings),
                                      [&](const Encoding& e) { return e.name == client_encoding; });
  if (encoding == std::end(kEncodings)) {
    out.why = "client_encoding that is not known here";
    return;
  }
  if (encoding->family == Family::utf8 || (encoding->family == Family::bytes && valid_utf8(text))) {
    out.text = text;
    out.names_exact = encoding->family == Family::utf8;
    out.ok = valid_utf8(text);
    if (!out.ok) out.why = "invalid UTF-8";
    return;
  }
  converted(text, *encoding, out);
}

}  // namespace sluice::sql
