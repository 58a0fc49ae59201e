// The policy language (docs/policy.md): one YAML file → rules. Unknown words and words of later versions are errors;
// nothing is ignored. Threading: none. Limits: kRulesMax rules over all files, patterns of kPatternBytesMax bytes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "policies/rules/masking.h"
#include "policies/rules/problem.h"
#include "policies/rules/rule.h"
#include "policies/rules/yaml_document.h"

namespace sluice::policies {

inline constexpr size_t kRuleNameBytesMax = 100;
inline constexpr size_t kBecauseBytesMax = 500;
inline constexpr uint64_t kIdMax = 4'294'967'294;  // 2^32-1 is "no id" (chown(2))

// What `default` says, and where.
struct StatedDefault {
  Effect effect = Effect::allow;
  std::string file;
  uint32_t line = 0;
};

// What the files read so far add up to.
struct RuleSource {
  std::vector<Rule> rules;
  std::vector<MaskRule> mask_rules;
  std::optional<StatedDefault> stated_default;
};

// Adds what `document` of `file` says to `source`; false where `problems` got an error.
bool parse_rules(const YamlNode& document, const std::string& file, RuleSource& source, Problems& problems);

}  // namespace sluice::policies
