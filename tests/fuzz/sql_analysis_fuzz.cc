// The analysis on any bytes, under every client_encoding and both readings of a backslash. Besides not crashing, it
// holds the scan that bounds a text against the grammar's own scanner: it may count a token too many, never one too
// few, and taking the comments out must not change what the grammar reads.
#include <pg_query.h>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>

#include "parsers/sql/analysis.h"
#include "parsers/sql/encoding.h"
#include "parsers/sql/grammar.h"
#include "parsers/sql/prescan.h"

namespace {

constexpr std::string_view kEncodings[] = {"UTF8",  "UTF8",           "UTF8",   "SQL_ASCII", "LATIN1",
                                           "SJIS",  "BIG5",           "GBK",    "GB18030",   "UHC",
                                           "JOHAB", "SHIFT_JIS_2004", "EUC_JP", "WIN1252",   "MULE_INTERNAL"};
// An ordinary stack is enough for this; what needs more is tested with one.
constexpr sluice::sql::AnalysisLimits kLimits{
    .text_bytes_max = 64u << 10, .tokens_max = 1'500, .nesting_max = 100, .statements_max = 100};

constexpr size_t kTokensCompared = 64;  // one by one; each costs a scan of what lies before it

void require(bool invariant) {
  if (!invariant) std::abort();
}

uint64_t varint(std::string_view& bytes) {
  uint64_t value = 0;
  for (unsigned shift = 0; !bytes.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return value;
}

// `scan_result` is a ScanResult: version = 1, repeated tokens = 2, each with start = 1 and end = 2.
void check_tokens(const std::string& bare, std::string_view scan_result, size_t counted,
                  sluice::sql::Conforming conforming) {
  using namespace sluice::sql;
  size_t tokens = 0;
  while (!scan_result.empty()) {
    const uint64_t tag = varint(scan_result);
    const uint64_t value = varint(scan_result);
    if ((tag & 7) != 2) continue;
    std::string_view token = scan_result.substr(0, value);
    scan_result.remove_prefix(value);
    if (++tokens > kTokensCompared) continue;
    while (!token.empty()) {
      const uint64_t field = varint(token);
      const uint64_t place = varint(token);
      if ((field >> 3) > 2) break;
      // Before and after a token of the grammar's scanner, ours is not inside a literal either.
      std::string unused;
      require(!prescan(std::string_view(bare).substr(0, place), conforming, {1u << 20, 1u << 20}, unused).unterminated);
    }
  }
  require(tokens <= counted);
}

void check_scan(const std::string& text, sluice::sql::Conforming conforming) {
  using namespace sluice::sql;
  const Parsed sets_the_library("", conforming);  // its scanner and fingerprint read the same setting
  std::string bare;
  const Prescan scan = prescan(text, conforming, {kLimits.tokens_max, kLimits.nesting_max}, bare);
  if (scan.too_many_tokens || scan.too_deep || scan.unterminated || scan.overlong_operator) return;
  if (!scan.has_comments) bare = text;
  const PgQueryScanResult result = pg_query_scan(bare.c_str());
  if (result.error == nullptr) check_tokens(bare, {result.pbuf.data, result.pbuf.len}, scan.tokens, conforming);
  pg_query_free_scan_result(result);
  if (!scan.has_comments) return;
  // Where the grammar reads the text with its comments at all, it reads the same without them.
  const PgQueryFingerprintResult with = pg_query_fingerprint(text.c_str());
  if (with.error == nullptr) {
    const PgQueryFingerprintResult without = pg_query_fingerprint(bare.c_str());
    require(without.error == nullptr ? with.fingerprint == without.fingerprint : text.find('\'') != std::string::npos);
    pg_query_free_fingerprint_result(without);
  }
  pg_query_free_fingerprint_result(with);
}

}  // namespace

// libpg_query loses a byte on every PL/pgSQL block that it refuses; parsers/sql/grammar.cc bounds that.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:pg_query_raw_parse\n";
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::sql;
  if (size < 1) return 0;
  const size_t choice = data[0];
  const std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  const size_t encodings = sizeof(kEncodings) / sizeof(kEncodings[0]);
  const TextSettings settings{kEncodings[choice % encodings], choice < 200, true};
  const Analysis analysis = analyze(text, settings, kLimits);
  if (analysis.kinds_complete && analysis.relations_complete && analysis.functions_complete) {
    require(analysis.why_unknown.empty());
  } else {
    require(!analysis.why_unknown.empty());
  }
  for (const Kind kind : analysis.kinds) require(kind != Kind::unknown || !analysis.kinds_complete);
  Utf8Text utf8;
  to_utf8(text, settings.client_encoding, utf8);
  if (utf8.ok && utf8.text.size() <= kLimits.text_bytes_max) {
    check_scan(std::string(utf8.text), settings.standard_conforming_strings ? Conforming::yes : Conforming::no);
  }
  return 0;
}
