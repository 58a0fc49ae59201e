// A policy set: all rules of a directory, compiled, immutable. A reload makes a new one and swaps the pointer; sessions
// evaluate their next command under the new set. Language: docs/policy.md.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "policies/rules/decision.h"
#include "policies/rules/problem.h"
#include "policies/rules/text_file.h"

namespace sluice::policies {

struct Rule;
struct MaskRule;
class DataPatterns;

class PolicySet {
 public:
  virtual ~PolicySet() = default;
  // Hash of the bytes of all files, hex; stands in every event.
  [[nodiscard]] virtual const std::string& version() const = 0;
  [[nodiscard]] virtual size_t rule_count() const = 0;
  // For policies/ itself: the rules in the order of the files, and what happens where none matches.
  [[nodiscard]] virtual const std::vector<Rule>& rules() const = 0;
  [[nodiscard]] virtual Effect default_effect() const = 0;
  // Some rule has a condition on columns.
  [[nodiscard]] virtual bool names_columns() const = 0;
  // What is masked, and how (masking.h); null where no rule names a pattern.
  [[nodiscard]] virtual const std::vector<MaskRule>& mask_rules() const = 0;
  [[nodiscard]] virtual const std::shared_ptr<const DataPatterns>& data_patterns() const = 0;
};

inline constexpr size_t kPolicyFilesMax = 1'000;
inline constexpr size_t kPolicyBytesMax = 64u << 20;  // of all files together
inline constexpr size_t kRulesMax = 20'000;

// No directory, or an empty one: masking alone, default allow.
[[nodiscard]] std::shared_ptr<const PolicySet> empty_policy_set();

// Loads *.yaml of `directory` in name order. `target_names` for "names that do not exist". Null where there is an error
// in `problems`.
[[nodiscard]] std::shared_ptr<const PolicySet> load_policies(const std::string& directory,
                                                             const std::vector<std::string>& target_names,
                                                             Problems& problems,
                                                             const FileOpener& opener = open_to_read);

// One text as if it were a file; for tests and `policy` commands.
[[nodiscard]] std::shared_ptr<const PolicySet> parse_policy(std::string_view text, const std::string& file_name,
                                                            const std::vector<std::string>& target_names,
                                                            Problems& problems);

}  // namespace sluice::policies
