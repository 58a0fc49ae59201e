// Hyperscan, wrapped: one compiled database for the shape of a card number in text (13 digits, at most one separator
// between two), end-only and in block mode. The start of a match is not asked for: on digit floods that costs
// sixteenfold. The database is made once and shared; every PatternScratch belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

struct hs_database;
struct hs_scratch;

namespace sluice::policies::cards {

class PatternScanner {
 public:
  // Null, with `why` set, where this CPU cannot run Hyperscan or memory is short.
  [[nodiscard]] static std::unique_ptr<PatternScanner> create(std::string& why);
  ~PatternScanner();
  PatternScanner(const PatternScanner&) = delete;
  PatternScanner& operator=(const PatternScanner&) = delete;

  // Just behind a digit that is the 13th of a candidate: the first such place at or behind `from`; nullopt where there
  // is none. `failed` is set where Hyperscan itself fails; the caller then has to look at everything.
  [[nodiscard]] std::optional<size_t> next_hit(std::span<const uint8_t> bytes, size_t from, bool& failed);

 private:
  PatternScanner() = default;
  hs_database* database_ = nullptr;
  hs_scratch* scratch_ = nullptr;
};

}  // namespace sluice::policies::cards
