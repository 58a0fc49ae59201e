// The analysis on any bytes, under every client_encoding and both readings of a backslash. Besides not crashing, it holds
// the scan that bounds a text against the grammar's own scanner: it may count a token too many, never one too few, and taking the
// comments out must not change what the grammar reads.
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

constexpr std::string_view kEncodings[] = {"UTF8", "UTF8", "UTF8", "SQL_ASCII", "LATIN1", "SJIS", "BIG5", "GBK",
                                           "GB18030", "UHC", "JOHAB", "SHIFT_JIS_2004", "EUC_JP", "WIN1252", "MULE_INTERNAL"};
// An ordinary stack is enough for this; what needs more is tested with one.
constexpr sluice::sql::AnalysisLimits kLimits{.text_bytes_max = 64u << 10, .tokens_max = 1'500, .nesting_max = 100, .statements_max = 100};

void require(bool invariant) {
  if (!invariant) std::abort();
}

void check_scan(const std::string& text, sluice::sql::Conforming conforming) {
  using namespace sluice::sql;
  const Parsed sets_the_library("", conforming);  // its scanner and fingerprint read the same setting
  std::string bare;
  const Prescan scan = prescan(text, conforming, {kLimits.tokens_max, kLimits.nesting_max}, bare);
  if (scan.too_many_tokens || scan.too_deep || scan.unterminated || scan.overlong_operator) return;
  if (!scan.has_comments) bare = text;
  const PgQueryScanResult result = pg_query_scan(bare.c_str());
  if (result.error == nullptr) {
    // Each token is one length-delimited entry (field 2 of ScanResult) of the answer.
    const std::string_view bytes(result.pbuf.data, result.pbuf.len);
    size_t tokens = 0, i = 0;
    while (i < bytes.size()) {
      const auto tag = static_cast<uint8_t>(bytes[i++]);
      uint64_t value = 0;
      for (unsigned shift = 0; i < bytes.size(); shift += 7) {
        const auto byte = static_cast<uint8_t>(bytes[i++]);
        value |= static_cast<uint64_t>(byte & 0x7f) << shift;
        if (byte < 0x80) break;
      }
      if ((tag & 7) != 2) continue;
      ++tokens;
      i += value;
    }
    require(tokens <= scan.tokens);
  }
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
extern "C" const char* __lsan_default_suppressions() { return "leak:pg_query_raw_parse\n"; }

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
