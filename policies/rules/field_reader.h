// Reads the fields of a YAML tree against a list of the keys that there are, and reports what does not fit, each
// problem with its place and a hint. Used for policy files and for sluice.yaml, so that both complain in the same
// words. Lifetime: borrows the file name and the problems of its caller. Threading: none.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "policies/rules/problem.h"
#include "policies/rules/yaml_document.h"

namespace sluice::policies {

// `later`: part of the language, but not yet supported by this version. Refused with that message, never ignored.
enum class Standing : uint8_t { supported, later };

struct Word {
  std::string_view text;
  Standing standing = Standing::supported;
};

inline constexpr size_t kListItemsMax = 10'000;

class FieldReader {
 public:
  FieldReader(const std::string& file, Problems& problems) : file_(file), problems_(problems) {}

  void error(const YamlNode& at, std::string message, std::string hint = {});
  void warning(const YamlNode& at, std::string message, std::string hint = {});
  // Errors reported through this reader so far.
  [[nodiscard]] size_t errors() const { return errors_; }

  // True where `node` is a map; its unknown and not yet supported keys are reported. `what` names it: "target",
  // "`audit`".
  [[nodiscard]] bool map(const YamlNode& node, std::string_view what, std::span<const Word> keys);
  // The value of a key; null where it is not there.
  [[nodiscard]] static const YamlNode* find(const YamlNode& map, std::string_view key);
  // The same, reported as missing where it is not there.
  [[nodiscard]] const YamlNode* require(const YamlNode& map, std::string_view key, std::string_view what,
                                        std::string hint = {});

  // A scalar of 1 to bytes_max bytes.
  [[nodiscard]] std::optional<std::string> text(const YamlNode& node, std::string_view what, size_t bytes_max);
  // A decimal number without quotes.
  [[nodiscard]] std::optional<uint64_t> number(const YamlNode& node, std::string_view what, uint64_t least,
                                               uint64_t most);
  // Index of one of `words`.
  [[nodiscard]] std::optional<size_t> word(const YamlNode& node, std::string_view what, std::span<const Word> words);
  // A scalar, or a list of at least one scalar: its scalars. Empty after an error.
  [[nodiscard]] std::vector<const YamlNode*> one_or_more(const YamlNode& node, std::string_view what);

 private:
  const std::string& file_;
  Problems& problems_;
  size_t errors_ = 0;
};

// "did you mean `addresses`?" for the nearest of `words` by edit distance; empty where none is near.
[[nodiscard]] std::string did_you_mean(std::string_view word, std::span<const Word> words);
[[nodiscard]] std::string did_you_mean(std::string_view word, std::span<const std::string> words);

}  // namespace sluice::policies
