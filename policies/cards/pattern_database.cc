#include "policies/cards/pattern_database.h"

#include <hs/hs.h>

#include <algorithm>
#include <limits>

namespace sluice::policies::cards {
namespace {

// Twelve digits, each with at most one separator behind it, and one more.
constexpr const char* kPattern = R"re((?:[0-9](?:[ \-./\x09_]|\xC2\xA0|\xE2\x80[\x90-\x94\xAF])?){12}[0-9])re";

// Hyperscan takes 32-bit lengths; longer texts are looked at in pieces that overlap by more than a candidate.
constexpr size_t kPieceBytesMax = size_t{1} << 30;
constexpr size_t kPieceOverlapBytes = 128;

int stop_at_first(unsigned, unsigned long long, unsigned long long to, unsigned, void* context) {
  *static_cast<size_t*>(context) = static_cast<size_t>(to);
  return 1;
}

}  // namespace

std::unique_ptr<PatternScanner> PatternScanner::create(std::string& why) {
  if (hs_valid_platform() != HS_SUCCESS) {
    why = "this CPU lacks what Hyperscan needs (SSSE3)";
    return nullptr;
  }
  std::unique_ptr<PatternScanner> scanner(new PatternScanner);
  hs_compile_error_t* error = nullptr;
  if (hs_compile(kPattern, HS_FLAG_DOTALL, HS_MODE_BLOCK, nullptr, &scanner->database_, &error) != HS_SUCCESS) {
    why = std::string("compile card pattern: ") + (error != nullptr ? error->message : "unknown error");
    hs_free_compile_error(error);
    return nullptr;
  }
  if (hs_alloc_scratch(scanner->database_, &scanner->scratch_) != HS_SUCCESS) {
    why = "allocate Hyperscan scratch: out of memory";
    return nullptr;
  }
  return scanner;
}

PatternScanner::~PatternScanner() {
  hs_free_scratch(scratch_);
  hs_free_database(database_);
}

std::optional<size_t> PatternScanner::next_hit(std::span<const uint8_t> bytes, size_t from, bool& failed) {
  while (from < bytes.size()) {
    const size_t piece = std::min(bytes.size() - from, kPieceBytesMax);
    size_t hit = 0;
    const hs_error_t result = hs_scan(database_, reinterpret_cast<const char*>(bytes.data() + from),
                                      static_cast<unsigned>(piece), 0, scratch_, stop_at_first, &hit);
    if (result == HS_SCAN_TERMINATED) return from + hit;
    if (result != HS_SUCCESS) {
      failed = true;
      return std::nullopt;
    }
    if (from + piece == bytes.size()) return std::nullopt;
    from += piece - kPieceOverlapBytes;
  }
  return std::nullopt;
}

}  // namespace sluice::policies::cards
