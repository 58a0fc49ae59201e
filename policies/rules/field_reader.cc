#include "policies/rules/field_reader.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <utility>

namespace sluice::policies {
namespace {

constexpr size_t kSuggestBytesMax = 64;  // longer words are no typing mistakes
constexpr size_t kShownBytesMax = 100;   // of a wrong value, in a message

// Insertions, deletions, replacements and swaps of neighbours that make `b` of `a` (optimal string alignment).
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before_last(b.size() + 1);
  std::vector<size_t> last(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  std::iota(last.begin(), last.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    std::swap(before_last, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

template <typename Range, typename Text>
std::string nearest(std::string_view word, const Range& words, Text text_of) {
  if (word.empty() || word.size() > kSuggestBytesMax) return "";
  std::string_view best;
  size_t best_distance = std::max<size_t>(1, word.size() / 3) + 1;
  for (const auto& candidate : words) {
    const std::string_view text = text_of(candidate);
    if (text.size() > kSuggestBytesMax) continue;
    const size_t distance = edit_distance(word, text);
    if (distance < best_distance) {
      best = text;
      best_distance = distance;
    }
  }
  return best.empty() ? "" : "did you mean `" + std::string(best) + "`?";
}

std::string shown(std::string_view text) {
  if (text.size() <= kShownBytesMax) return "`" + std::string(text) + "`";
  size_t end = kShownBytesMax;
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80) --end;  // not inside a character
  return "`" + std::string(text.substr(0, end)) + "…`";
}

std::string listed(std::span<const Word> words) {
  std::string list;
  for (const Word& word : words) {
    if (word.standing == Standing::later) continue;
    if (!list.empty()) list += ", ";
    list += word.text;
  }
  return list;
}

std::string_view described(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::null:
      return "empty";
    case YamlNode::Kind::scalar:
      return "a single value";
    case YamlNode::Kind::list:
      return "a list";
    case YamlNode::Kind::map:
      return "a map";
  }
  return "something else";
}

}  // namespace

std::string did_you_mean(std::string_view word, std::span<const Word> words) {
  return nearest(word, words, [](const Word& w) { return w.text; });
}

std::string did_you_mean(std::string_view word, std::span<const std::string> words) {
  return nearest(word, words, [](const std::string& w) { return std::string_view(w); });
}

void FieldReader::error(const YamlNode& at, std::string message, std::string hint) {
  ++errors_;
  add_problem(problems_, Problem{file_, at.line, at.column, Severity::error, std::move(message), std::move(hint)});
}

void FieldReader::warning(const YamlNode& at, std::string message, std::string hint) {
  add_problem(problems_, Problem{file_, at.line, at.column, Severity::warning, std::move(message), std::move(hint)});
}

bool FieldReader::map(const YamlNode& node, std::string_view what, std::span<const Word> keys) {
  if (node.kind != YamlNode::Kind::map) {
    error(node, std::string(what) + " has to be a map of keys and values, and is " + std::string(described(node)),
          "keys: " + listed(keys));
    return false;
  }
  for (const YamlNode& key : node.keys) {
    const auto known = std::find_if(keys.begin(), keys.end(), [&](const Word& word) { return word.text == key.text; });
    if (known == keys.end()) {
      std::string hint = did_you_mean(key.text, keys);
      error(key, "unknown key " + shown(key.text) + " in " + std::string(what),
            hint.empty() ? "keys: " + listed(keys) : hint);
    } else if (known->standing == Standing::later) {
      error(key, "not yet supported: " + shown(key.text), "this version would ignore it; take it out");
    }
  }
  return true;
}

const YamlNode* FieldReader::find(const YamlNode& map, std::string_view key) {
  for (size_t i = 0; i < map.keys.size(); ++i) {
    if (map.keys[i].text == key) return &map.items[i];
  }
  return nullptr;
}

const YamlNode* FieldReader::require(const YamlNode& map, std::string_view key, std::string_view what,
                                     std::string hint) {
  const YamlNode* found = find(map, key);
  if (found == nullptr) error(map, std::string(what) + " lacks `" + std::string(key) + "`", std::move(hint));
  return found;
}

std::optional<std::string> FieldReader::text(const YamlNode& node, std::string_view what, size_t bytes_max) {
  if (node.kind != YamlNode::Kind::scalar) {
    error(node, std::string(what) + " has to be a text, and is " + std::string(described(node)));
    return std::nullopt;
  }
  if (node.text.empty() || node.text.size() > bytes_max) {
    error(node, std::string(what) + " has to have 1 to " + std::to_string(bytes_max) + " bytes");
    return std::nullopt;
  }
  // Escapes in double quotes can make what the file itself may not hold; these texts reach terminals and clients.
  const bool control = std::any_of(node.text.begin(), node.text.end(), [](char c) {
    const auto byte = static_cast<uint8_t>(c);
    return (byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7F;
  });
  if (control) {
    error(node, std::string(what) + " has a control character in it");
    return std::nullopt;
  }
  return node.text;
}

std::optional<uint64_t> FieldReader::number(const YamlNode& node, std::string_view what, uint64_t least,
                                            uint64_t most) {
  uint64_t value = 0;
  const char* end = node.text.data() + node.text.size();
  const auto [stop, code] = std::from_chars(node.text.data(), end, value);
  const bool is_number = node.kind == YamlNode::Kind::scalar && node.plain && code == std::errc{} && stop == end;
  if (is_number && value >= least && value <= most) return value;
  error(node, std::string(what) + " has to be a number from " + std::to_string(least) + " to " + std::to_string(most));
  return std::nullopt;
}

std::optional<size_t> FieldReader::word(const YamlNode& node, std::string_view what, std::span<const Word> words) {
  if (node.kind != YamlNode::Kind::scalar) {
    error(node, std::string(what) + " has to be one word, and is " + std::string(described(node)),
          "one of: " + listed(words));
    return std::nullopt;
  }
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i].text != node.text) continue;
    if (words[i].standing == Standing::supported) return i;
    error(node, "not yet supported: " + shown(node.text), "one of: " + listed(words));
    return std::nullopt;
  }
  std::string hint = did_you_mean(node.text, words);
  error(node, shown(node.text) + " is no " + std::string(what), hint.empty() ? "one of: " + listed(words) : hint);
  return std::nullopt;
}

std::vector<const YamlNode*> FieldReader::one_or_more(const YamlNode& node, std::string_view what) {
  if (node.kind == YamlNode::Kind::scalar) return {&node};
  if (node.kind != YamlNode::Kind::list) {
    error(node, std::string(what) + " has to be a value or a list of values, and is " + std::string(described(node)));
    return {};
  }
  if (node.items.empty()) {
    error(node, std::string(what) + " is an empty list, which matches nothing",
          "take the key out, or name at least one");
    return {};
  }
  if (node.items.size() > kListItemsMax) {
    error(node, std::string(what) + " has more than " + std::to_string(kListItemsMax) + " values");
    return {};
  }
  std::vector<const YamlNode*> scalars;
  scalars.reserve(node.items.size());
  for (const YamlNode& item : node.items) {
    if (item.kind == YamlNode::Kind::scalar) {
      scalars.push_back(&item);
    } else {
      error(item, std::string(what) + ": each value has to be a text, and this is " + std::string(described(item)));
    }
  }
  return scalars;
}

}  // namespace sluice::policies
