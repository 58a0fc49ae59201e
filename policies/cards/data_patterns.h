// Data besides card numbers that policy or the command line asks for: IBANs, e-mail addresses, social security numbers,
// and patterns of one's own. All of them are one Hyperscan database (block mode), made once and shared by all threads;
// DataScanner (data_scanner.h) runs it. A pattern has a bounded width, so that a value that comes in parts is seen as
// the same value as a whole. Immutable; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct hs_database;

namespace sluice::policies {

inline constexpr size_t kDataPatternsMax = 64;
inline constexpr size_t kDataNameBytesMax = 40;
inline constexpr size_t kExpressionBytesMax = 1000;
inline constexpr size_t kDataBytesMin = 3;    // that a match spans: anything shorter would mask half of every text
inline constexpr size_t kDataBytesMax = 512;  // likewise at most; what may hold a value back

// One kind of data. Without an expression it is the built-in of that name.
struct DataPattern {
  std::string name;
  std::string expression;
  bool operator==(const DataPattern&) const = default;
};

enum class BuiltinData : uint8_t { none, iban, email, ssn };
[[nodiscard]] BuiltinData builtin_data(std::string_view name);

// Why this pattern cannot be: its name, what its expression is, how wide it is. Nothing where it can.
[[nodiscard]] std::optional<std::string> reject_data_pattern(const DataPattern& pattern);

// Bit n: the n-th pattern of a DataPatterns.
using DataSet = uint64_t;
static_assert(kDataPatternsMax <= 64);

class DataPatterns {
 public:
  // Null, with `why` set, where a pattern is rejected or all of them together are too large. The same patterns give the
  // same object while anyone holds it, so that a reload compiles nothing. REQUIRES: names are unique.
  [[nodiscard]] static std::shared_ptr<const DataPatterns> compile(std::span<const DataPattern> patterns,
                                                                   std::string& why);
  ~DataPatterns();
  DataPatterns(const DataPatterns&) = delete;
  DataPatterns& operator=(const DataPatterns&) = delete;

  [[nodiscard]] const std::vector<DataPattern>& patterns() const { return patterns_; }
  [[nodiscard]] BuiltinData builtin(size_t index) const { return builtins_[index]; }
  // Bytes that the widest match spans.
  [[nodiscard]] size_t bytes_max() const { return bytes_max_; }
  [[nodiscard]] const hs_database* database() const { return database_; }

 private:
  DataPatterns() = default;

  std::vector<DataPattern> patterns_;
  std::vector<BuiltinData> builtins_;
  size_t bytes_max_ = 0;
  hs_database* database_ = nullptr;
};

}  // namespace sluice::policies
