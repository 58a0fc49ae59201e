#include "policies/cards/data_patterns.h"

#include <hs/hs.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <limits>
#include <map>
#include <mutex>

#include "policies/cards/builtin_data.h"

namespace sluice::policies {
namespace {

// Words that mean something else where data is named.
constexpr std::array<std::string_view, 3> kTakenNames = {"pan", "cvv", "track"};

constexpr unsigned kUserFlags = HS_FLAG_SOM_LEFTMOST;

bool is_name(std::string_view name) {
  const auto fits = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  return !name.empty() && name.size() <= kDataNameBytesMax && name[0] >= 'a' && name[0] <= 'z' &&
         std::all_of(name.begin(), name.end(), fits);
}

std::string message_of(hs_compile_error_t* error) {
  std::string message = error != nullptr && error->message != nullptr ? error->message : "cannot be compiled";
  hs_free_compile_error(error);
  while (!message.empty() && (message.back() == '.' || message.back() == ' ')) message.pop_back();
  return message;
}

// Widths in bytes; `why` where there is none.
struct Width {
  size_t least = 0, most = 0;
};
std::optional<Width> width_of(const std::string& expression, std::string& why) {
  hs_expr_info_t* info = nullptr;
  hs_compile_error_t* error = nullptr;
  if (hs_expression_info(expression.c_str(), kUserFlags, &info, &error) != HS_SUCCESS) {
    why = message_of(error);
    return std::nullopt;
  }
  constexpr unsigned kUnbounded = std::numeric_limits<unsigned>::max();
  const Width width{info->min_width, info->max_width == kUnbounded ? SIZE_MAX : info->max_width};
  ::free(info);  // hs_set_allocator() is not used: it is malloc()'s
  return width;
}

// What was compiled and is still held by someone. A memo of a pure function: the same patterns, the same database.
struct Memo {
  std::mutex mutex;
  std::map<std::string, std::weak_ptr<const DataPatterns>> known;
};
Memo& memo() {
  static Memo the_memo;
  return the_memo;
}

std::string key_of(std::span<const DataPattern> patterns) {
  std::string key;
  for (const DataPattern& pattern : patterns) {
    key += std::to_string(pattern.name.size()) + ":" + pattern.name;
    key += std::to_string(pattern.expression.size()) + ":" + pattern.expression;
  }
  return key;
}

}  // namespace

BuiltinData builtin_data(std::string_view name) {
  if (name == "iban") return BuiltinData::iban;
  if (name == "email") return BuiltinData::email;
  if (name == "ssn") return BuiltinData::ssn;
  return BuiltinData::none;
}

std::optional<std::string> reject_data_pattern(const DataPattern& pattern) {
  if (!is_name(pattern.name)) {
    return "a name has lower-case letters, digits and `_`, begins with a letter, and has at most " +
           std::to_string(kDataNameBytesMax) + " characters";
  }
  const BuiltinData builtin = builtin_data(pattern.name);
  if (pattern.expression.empty()) {
    if (builtin != BuiltinData::none) return std::nullopt;
    return "`" + pattern.name + "` is not built in, and has no pattern";
  }
  if (builtin != BuiltinData::none ||
      std::find(kTakenNames.begin(), kTakenNames.end(), pattern.name) != kTakenNames.end())
    return "`" + pattern.name + "` is built in; choose another name";
  if (pattern.expression.size() > kExpressionBytesMax)
    return "longer than " + std::to_string(kExpressionBytesMax) + " bytes";
  if (pattern.expression.find('\0') != std::string::npos) return "holds a zero byte";
  std::string why;
  const std::optional<Width> width = width_of(pattern.expression, why);
  if (!width) return why;
  if (width->most == SIZE_MAX) return "has no bound to its width: write {1,40} in place of + and {0,40} in place of *";
  if (width->most > kDataBytesMax) {
    return "may span " + std::to_string(width->most) + " bytes; at most " + std::to_string(kDataBytesMax);
  }
  if (width->least < kDataBytesMin) {
    return "may span " + std::to_string(width->least) + " bytes; at least " + std::to_string(kDataBytesMin) +
           ", or half of every text would be masked";
  }
  hs_database_t* database = nullptr;
  hs_compile_error_t* error = nullptr;
  if (hs_compile(pattern.expression.c_str(), kUserFlags, HS_MODE_BLOCK, nullptr, &database, &error) != HS_SUCCESS)
    return message_of(error);
  hs_free_database(database);
  return std::nullopt;
}

std::shared_ptr<const DataPatterns> DataPatterns::compile(std::span<const DataPattern> patterns, std::string& why) {
  if (patterns.size() > kDataPatternsMax) {
    why = "more than " + std::to_string(kDataPatternsMax) + " patterns";
    return nullptr;
  }
  const std::string key = key_of(patterns);
  const std::lock_guard lock(memo().mutex);
  if (const auto known = memo().known.find(key); known != memo().known.end()) {
    if (std::shared_ptr<const DataPatterns> held = known->second.lock()) return held;
  }
  std::shared_ptr<DataPatterns> made(new DataPatterns);
  std::vector<const char*> expressions;
  std::vector<unsigned> flags, ids;
  for (const DataPattern& pattern : patterns) {
    if (const auto rejected = reject_data_pattern(pattern)) {
      why = pattern.name + ": " + *rejected;
      return nullptr;
    }
    made->patterns_.push_back(pattern);
    const BuiltinData builtin = pattern.expression.empty() ? builtin_data(pattern.name) : BuiltinData::none;
    made->builtins_.push_back(builtin);
    const size_t width = builtin != BuiltinData::none ? cards::builtin_bytes_max(builtin)
                                                      : width_of(pattern.expression, why).value_or(Width{}).most;
    made->bytes_max_ = std::max(made->bytes_max_, width);
    ids.push_back(static_cast<unsigned>(ids.size()));
    // A built-in's expression says where its check is to look; it needs no start of match.
    flags.push_back(builtin != BuiltinData::none ? 0U : kUserFlags);
    expressions.push_back(builtin != BuiltinData::none ? cards::builtin_trigger(builtin) : pattern.expression.c_str());
  }
  hs_compile_error_t* error = nullptr;
  if (hs_compile_multi(expressions.data(), flags.data(), ids.data(), static_cast<unsigned>(ids.size()), HS_MODE_BLOCK,
                       nullptr, &made->database_, &error) != HS_SUCCESS) {
    why = message_of(error);
    return nullptr;
  }
  std::erase_if(memo().known, [](const auto& entry) { return entry.second.expired(); });
  memo().known[key] = made;
  return made;
}

DataPatterns::~DataPatterns() {
  hs_free_database(database_);
}

}  // namespace sluice::policies
