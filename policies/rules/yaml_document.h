// YAML text as a tree with the place of every node, for configuration and policy files. yaml-cpp scans and parses; its
// events are taken here, so that nothing of it (exceptions, merged duplicates, aliases) reaches the rest. Lifetime: the
// tree owns its text. Threading: none; each call stands alone. Limits: below. Anchors, aliases and tags are refused:
// the formats do not need them, and a file cannot grow by them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policies/rules/problem.h"

namespace sluice::policies {

inline constexpr size_t kYamlBytesMax = 8u << 20;  // one file
inline constexpr size_t kYamlNodesMax = 500'000;   // 10,000 rules need about 200,000
inline constexpr size_t kYamlDepthMax = 32;
inline constexpr size_t kProblemsMax = 1'000;  // per load; one more says that there are more

struct YamlNode {
  enum class Kind : uint8_t { null, scalar, list, map };
  Kind kind = Kind::null;
  bool plain = false;           // a scalar written without quotes
  uint32_t line = 0;            // from 1
  uint32_t column = 0;          // from 1, in bytes
  std::string text;             // scalar
  std::vector<YamlNode> keys;   // map: scalars, unique, as many as items
  std::vector<YamlNode> items;  // list: elements; map: values
};

// The one document of `text`; nullopt with every error found in `problems`. An empty text is a null node.
[[nodiscard]] std::optional<YamlNode> parse_yaml(std::string_view text, const std::string& file, Problems& problems);

// Adds a problem unless there are kProblemsMax already; the last one then says so, as an error where one of those that
// are left out is one.
void add_problem(Problems& problems, Problem problem);
[[nodiscard]] bool has_errors(const Problems& problems);

}  // namespace sluice::policies
