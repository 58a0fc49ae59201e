// The part of the policy language that is about masking: `style`, `data`, `masked_writes`, `untraceable` and `numbers`
// of a rule with `then: mask`. Threading: none.
#pragma once

#include "policies/rules/field_reader.h"
#include "policies/rules/masking.h"
#include "policies/rules/yaml_document.h"

namespace sluice::policies {

// Reads them off `rule` (a map). REQUIRES: `out.when` was read, its columns too. What is wrong is reported, patterns
// that cannot be compiled with their place included.
void read_mask_rule(const YamlNode& rule, FieldReader& reader, MaskRule& out);

// Brings the patterns of all rules together into one database and sets MaskRule::set. Null without patterns, or after
// an error in `problems`.
[[nodiscard]] std::shared_ptr<const DataPatterns> join_patterns(std::vector<MaskRule>& rules, Problems& problems);

}  // namespace sluice::policies
