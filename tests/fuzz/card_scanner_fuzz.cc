// The card scanner on hostile values. Must hold for every value of every type and form:
// - all engines find what the scalar oracle finds;
// - findings are in order, within the value, and do not overlap;
// - masking changes nothing outside them, and masked values have no finding, in every style;
// - a value in parts, cut anywhere, is masked as the whole is, and little is held back.
//
// Input: type and form, style and the column's name, seed of the cuts, alphabet; then the value. Random bytes seldom
// make a card number, so all alphabets but one turn each byte into a piece that does.
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "policies/cards/card_scanner_engine.h"

namespace {

using namespace sluice::policies;
using cards::Engine;

constexpr size_t kHeaderBytes = 4;
constexpr size_t kValueBytesMax = 1 << 16;

constexpr std::string_view kPieces[] = {
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "7",
    "8",
    "9",
    "4",
    "1",
    "0",
    "5",
    " ",
    " ",
    "-",
    ".",
    "/",
    "\t",
    "_",
    "\xC2\xA0",
    "\xE2\x80\x93",
    "\xE2\x80",
    "*",
    "**",
    "***",
    "a",
    "f",
    "x",
    ",",
    ":",
    "\"",
    "\\",
    "{",
    "}",
    "e+15",
    "\n",
    "4111",
    "1111",
    "4242",
    "5454",
    "5555",
    "4444",
    "6011",
    "3782",
    "822463",
    "10005",
    "4111111111111111",
    "5454545454545454",
    "4222222222222",
    "378282246310005",
    "4111 1111 1111 1111",
    "5555-5555-5555-4444",
    "4.111111111111111",
    "4111111111111111.0",
    "\\x3431313131313131",
    "3131313131313131",
    "\\064",
    "\\000",
    "00000000",
    "444",
    "12",
    "411111",
    "41 11 11 11 11 11 11 11",
    "9b2d4111-1111-4111-8111-111111111111",
    "%34",
    "%31",
    "%20",
    "%",
    "&#52;",
    "&nbsp;",
    "&",
    "\\u0034",
    "\\x31",
    "\\u00",
    "\xE2\x80\x8B",
    "\xEF\xBC\x94",
    "\xEF\xBC\x91",
    "\xD9\xA1",
    "\x1b[1m",
    "+",
    "  ",
    "NDExMTExMTExMTExMTExMQ==",
    "NDExMTEx",
    "34313131313131313131313131313131",
    "\xF4\xF1\xF1\xF1",
    "MTEx",
    "MTExMTExMTExMTEx",
    "%E2%80%8B",
    "&shy;",
    std::string_view("\0001\0001", 4),
    "cvv=",
    "\"cvv\":",
    "pin: ",
    "&cid=",
    "<cvv>",
    "123",
    "card ",
    "\"pan\":",
    "6221558812340001",
    "122000000000003",
    "675922222228",
    "=25121011234567890?",
    "^A/B^",
    "D2512101",
    "order_id=",
};
constexpr size_t kPieceCount = std::size(kPieces);

// Pieces of what machines send each other.
using namespace std::string_view_literals;
constexpr std::string_view kMachinePieces[] = {
    "0",
    "1",
    "4",
    "5",
    "F",
    "D",
    "=",
    "^",
    "?",
    "%",
    " ",
    "\n",
    "\r\n",
    ":",
    "4111111111111111",
    "378282246310005",
    "1111",
    "2512101",
    "25121011234567890",
    "=2512101123",
    "^DOE/J^2512101123",
    "%3D2512101",
    "%5E",
    "5A08",
    "5A0A",
    "5708",
    "5713",
    "5710",
    "570F",
    "5F34",
    "4111111111111111D25122011234567890000F",
    "\x5A\x08"sv,
    "\x57\x13"sv,
    "\x41\x11\x11\x11\x11\x11\x11\x11"sv,
    "\x51\x05\x10\x51\x05\x10\x51\x00"sv,
    "\x37\x82\x82\x24\x63\x10\x00\x5F"sv,
    "\x03\x78\x28\x22\x46\x31\x00\x05"sv,
    "\xD2\x51\x22\x01\x12\x34\x56\x78\x90\x00\x0F"sv,
    "\x31\x31\x31\x31"sv,
    "\x00\x00\x00"sv,
    "\x5F\x34\x01"sv,
    "\x9F\x26\x08"sv,
    "0200",
    "7234054128228805",
    "F23C44818EE180200000000000000000",
    "16",
    "15",
    "020072340541282288051641111111"
    "11111111000000",
    "\x02\x00\x72\x34\x05\x41\x28\x22\x88\x05\x16"sv,
    "\x72\x34\x05\x41\x28\x22\x88\x05"sv,
    "\\x",
    "\\x5a084111111111111111",
    "5a084111111111111111",
    "NDExMTEx\nMTExMTExMTEx",
    "NDExMTExMTEx\r\nMTExMTEx",
    "MTEx\n",
    "34 31 31 31 ",
    "31:31:31:31:",
    "34 31 31 31 31 31 31 31 31 31 31 31 31 31 31 31",
    "4\0\0\0"sv,
    "1\0\0\0"sv,
    "\0\0\0"
    "1"sv,
    "\xF4\xF1\xF1\xF1"sv,
    "34313131313131313131313131313131",
};

#define REQUIRE(condition, what)                                     \
  do {                                                               \
    if (!(condition)) {                                              \
      std::fprintf(stderr, "violated: %s (%s)\n", what, #condition); \
      std::abort();                                                  \
    }                                                                \
  } while (false)

struct Case {
  ValueType type;
  ValueFormat format;
  MaskStyle style;
  NameKind name;
  uint32_t seed;
  std::string bytes;
};

Case read_case(const uint8_t* data, size_t size) {
  Case made;
  made.type = static_cast<ValueType>(data[0] % 128 % kValueTypeCount);
  made.format = (data[0] & 0x80) != 0 ? ValueFormat::binary : ValueFormat::text;
  made.style = static_cast<MaskStyle>(data[1] % 3);
  constexpr NameKind kNames[] = {NameKind::none, NameKind::none, NameKind::none, NameKind::pan,
                                 NameKind::cvv,  NameKind::pin,  NameKind::code, NameKind::other};
  made.name = kNames[data[1] / 3 % std::size(kNames)];
  made.seed = data[2] * 2654435761u + 1;
  for (size_t i = kHeaderBytes; i < size && made.bytes.size() < kValueBytesMax; ++i) {
    if (data[3] % 4 == 0)
      made.bytes += static_cast<char>(data[i]);
    else if (data[3] % 4 == 1)
      made.bytes += kPieces[data[i] % 16];  // digits and blanks
    else if (data[3] % 4 == 2)
      made.bytes += kPieces[data[i] % kPieceCount];
    else
      made.bytes += kMachinePieces[data[i] % std::size(kMachinePieces)];
  }
  return made;
}

constexpr Engine kEngines[] = {Engine::scalar, Engine::digits, Engine::patterns, Engine::portable};
constexpr Engine kVectorEngines[] = {Engine::avx2, Engine::avx512};

// Not every CPU has every vector width.
bool runs_here(Engine engine) {
  std::string why;
  return create_card_scanner(engine, why) != nullptr;
}

CardScanner& scanner(Engine engine) {
  static std::array<std::unique_ptr<CardScanner>, 7> made;
  std::unique_ptr<CardScanner>& one = made[static_cast<size_t>(engine)];
  if (one == nullptr) {
    std::string why;
    one = create_card_scanner(engine, why);
    REQUIRE(one != nullptr, "scanner made");
  }
  return *one;
}

ValueView view(const Case& made, std::string& bytes) {
  ValueView value{{reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()}, made.type, made.format};
  value.name = made.name;
  return value;
}

std::vector<Finding> find(const Case& made, std::string& bytes, Engine engine) {
  ValueView value = view(made, bytes);
  std::vector<Finding> findings;
  scanner(engine).scan({&value, 1}, findings, {});
  return findings;
}

void check_same(const std::vector<Finding>& a, const std::vector<Finding>& b) {
  REQUIRE(a.size() == b.size(), "engines agree on the number of findings");
  for (size_t i = 0; i < a.size(); ++i) {
    REQUIRE(a[i].offset == b[i].offset && a[i].length == b[i].length, "engines agree on the place");
    REQUIRE(a[i].brand == b[i].brand && a[i].digits == b[i].digits && a[i].form == b[i].form &&
                a[i].last_kept == b[i].last_kept && a[i].kind == b[i].kind && a[i].tail == b[i].tail &&
                a[i].held_as == b[i].held_as,
            "engines agree on what it is");
  }
}

std::string mask_whole(const Case& made) {
  std::string bytes = made.bytes;
  const std::vector<Finding> findings = find(made, bytes, Engine::automatic);
  for (Engine engine : kEngines) check_same(findings, find(made, bytes, engine));
  static const bool vectors[] = {runs_here(kVectorEngines[0]), runs_here(kVectorEngines[1])};
  for (size_t i = 0; i < std::size(kVectorEngines); ++i) {
    if (vectors[i]) check_same(findings, find(made, bytes, kVectorEngines[i]));
  }
  size_t end = 0;
  for (const Finding& finding : findings) {
    REQUIRE(finding.offset >= end, "findings are in order and do not overlap");
    end = size_t{finding.offset} + finding.length;
    REQUIRE(end <= bytes.size(), "findings are within the value");
  }
  ValueView value = view(made, bytes);
  scanner(Engine::automatic).mask({&value, 1}, findings, made.style);
  size_t next = 0;
  for (const Finding& finding : findings) {
    REQUIRE(bytes.compare(next, finding.offset - next, made.bytes, next, finding.offset - next) == 0,
            "nothing else is touched");
    REQUIRE(bytes.compare(finding.offset, finding.length, made.bytes, finding.offset, finding.length) != 0,
            "a mask masks");
    next = size_t{finding.offset} + finding.length;
  }
  REQUIRE(bytes.substr(next) == made.bytes.substr(next), "nothing else is touched");
  return bytes;
}

std::string mask_in_parts(const Case& made) {
  std::string out, held;
  StreamState state;
  uint32_t random = made.seed;
  size_t at = 0;
  bool first = true;
  while (true) {
    random = random * 1664525 + 1013904223;
    const size_t wanted = (random >> 16) % ((random >> 8) % 8 == 0 ? 3000 : 300);
    const size_t taken = std::min(wanted, made.bytes.size() - at);
    held.append(made.bytes, at, taken);
    at += taken;
    const bool last = at == made.bytes.size();
    ValueView value = view(made, held);
    value.part = last ? ValuePart::last : first ? ValuePart::first : ValuePart::middle;
    value.stream = &state;
    first = false;
    std::vector<Finding> findings;
    size_t settled = 0;
    scanner(Engine::automatic).scan({&value, 1}, findings, {&settled, 1});
    REQUIRE(settled <= held.size(), "settled is within the part");
    REQUIRE(held.size() - settled <= kHoldBackBytesMax, "little is held back");
    for (const Finding& finding : findings)
      REQUIRE(size_t{finding.offset} + finding.length <= settled, "findings are settled");
    scanner(Engine::automatic).mask({&value, 1}, findings, made.style);
    out.append(held, 0, settled);
    held.erase(0, settled);
    if (last) break;
  }
  REQUIRE(held.empty(), "the last part settles everything");
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < kHeaderBytes) return 0;
  const Case made = read_case(data, size);
  std::string masked = mask_whole(made);
  REQUIRE(find(made, masked, Engine::automatic).empty(), "masked values have no finding");
  std::string in_parts = mask_in_parts(made);
  // Forms that are told by all of their bytes are found in whole values only.
  const bool told_by_all =
      made.format == ValueFormat::binary &&
      (made.type == ValueType::opaque || made.type == ValueType::integer_range || made.type == ValueType::geometric ||
       made.type == ValueType::array || made.type == ValueType::text_array);
  // So is what a column's name says of the form of a value, other than that everything in it is a code.
  const bool told_by_whole = made.name != NameKind::none && made.name != NameKind::cvv;
  if (!told_by_all && !told_by_whole) REQUIRE(in_parts == masked, "parts are masked as the whole");
  return 0;
}
