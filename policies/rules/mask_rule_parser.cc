#include "policies/rules/mask_rule_parser.h"

#include <algorithm>

namespace sluice::policies {
namespace {

// pan, cvv and track are masked on every target; naming them is right, and changes nothing.
constexpr Word kData[] = {{"pan"}, {"cvv"}, {"track"}, {"iban"}, {"email"}, {"ssn"}};
constexpr size_t kCardWords = 3;
constexpr Word kStyles[] = {{"bin6_last4"}, {"last4"}, {"full"}, {"bin8_last4"}};
constexpr Word kWrites[] = {{"refuse"}, {"allow"}};
constexpr Word kUntraceable[] = {{"mask"}, {"block"}};
constexpr Word kNumbers[] = {{"zero"}, {"null"}};
constexpr Word kPatternKeys[] = {{"name"}, {"pattern"}};

void read_pattern(const YamlNode& node, FieldReader& reader, MaskRule& out) {
  if (!reader.map(node, "the pattern", kPatternKeys)) return;
  const YamlNode* const name = reader.require(node, "name", "the pattern", "what its findings are called");
  const YamlNode* const expression = reader.require(node, "pattern", "the pattern", "a regular expression");
  if (name == nullptr || expression == nullptr) return;
  const auto name_text = reader.text(*name, "`name`", kDataNameBytesMax);
  const auto expression_text = reader.text(*expression, "`pattern`", kExpressionBytesMax);
  if (!name_text || !expression_text) return;
  DataPattern pattern{*name_text, *expression_text};
  if (const auto rejected = reject_data_pattern({pattern.name, "abc"})) return reader.error(*name, *rejected);
  if (const auto rejected = reject_data_pattern(pattern)) {
    return reader.error(*expression, "pattern `" + pattern.name + "`: " + *rejected,
                        "syntax: PCRE without backreferences and look-around, as Hyperscan has it");
  }
  out.data.push_back(std::move(pattern));
}

void read_data(const YamlNode& node, FieldReader& reader, MaskRule& out, bool& cards) {
  const bool single = node.kind == YamlNode::Kind::scalar || node.kind == YamlNode::Kind::map;
  if (!single && (node.kind != YamlNode::Kind::list || node.items.empty())) {
    return reader.error(node, "`data` has to name at least one kind of data",
                        "pan, cvv, track, iban, email, ssn, or {name: …, pattern: '…'}");
  }
  const auto read_one = [&](const YamlNode& item) {
    if (item.kind == YamlNode::Kind::map) return read_pattern(item, reader, out);
    const auto word = reader.word(item, "kind of data", kData);
    if (!word) return;
    if (*word < kCardWords) {
      cards = true;
    } else {
      out.data.push_back({std::string(kData[*word].text), ""});
    }
  };
  if (single) return read_one(node);
  for (const YamlNode& item : node.items) read_one(item);
}

// What the rule says about its columns beside their names.
void read_column_answers(const YamlNode& rule, FieldReader& reader, MaskRule& out) {
  const YamlNode* const untraceable = FieldReader::find(rule, "untraceable");
  const YamlNode* const numbers = FieldReader::find(rule, "numbers");
  for (const YamlNode* const node : {untraceable, numbers}) {
    if (node != nullptr && out.when.columns.empty()) {
      reader.error(*node, "`untraceable` and `numbers` are about columns, and the rule names none",
                   "add `columns: [schema.table.column]`, or take it out");
    }
  }
  if (untraceable != nullptr) {
    if (const auto word = reader.word(*untraceable, "answer", kUntraceable))
      out.untraceable = *word == 1 ? ColumnMasks::Untraceable::block : ColumnMasks::Untraceable::mask;
  }
  if (numbers != nullptr) {
    if (numbers->kind == YamlNode::Kind::null) {  // what YAML makes of the word without quotes
      out.numbers = ColumnMasks::Numbers::null;
    } else if (const auto word = reader.word(*numbers, "way to mask a number", kNumbers))
      out.numbers = *word == 1 ? ColumnMasks::Numbers::null : ColumnMasks::Numbers::zero;
  }
}

}  // namespace

void read_mask_rule(const YamlNode& rule, FieldReader& reader, MaskRule& out) {
  bool cards = false;
  if (const YamlNode* data = FieldReader::find(rule, "data")) {
    read_data(*data, reader, out, cards);
  } else {
    cards = true;
  }
  if (const YamlNode* writes = FieldReader::find(rule, "masked_writes")) {
    if (const auto word = reader.word(*writes, "way with masked writes", kWrites))
      out.allow_masked_writes = kWrites[*word].text == "allow";
  }
  read_column_answers(rule, reader, out);
  const YamlNode* const style = FieldReader::find(rule, "style");
  if (style == nullptr) return;
  if (const auto word = reader.word(*style, "style", kStyles)) out.style = parse_mask_style(kStyles[*word].text);
  if (!cards) {
    reader.error(*style, "`style` is about card numbers, which this rule's `data` does not name",
                 "add pan to `data`, or take `style` out: other data is masked whole");
  }
}

std::shared_ptr<const DataPatterns> join_patterns(std::vector<MaskRule>& rules, Problems& problems) {
  std::vector<DataPattern> all;
  for (MaskRule& rule : rules) {
    const auto report = [&](std::string message, std::string hint) {
      add_problem(problems, Problem{rule.when.file, rule.when.line, rule.when.column, Severity::error,
                                    std::move(message), std::move(hint)});
    };
    for (const DataPattern& pattern : rule.data) {
      const auto known =
          std::find_if(all.begin(), all.end(), [&](const DataPattern& other) { return other.name == pattern.name; });
      if (known == all.end() && all.size() >= kDataPatternsMax) {
        report("more than " + std::to_string(kDataPatternsMax) + " patterns in all rules together", "");
        return nullptr;
      }
      if (known != all.end() && known->expression != pattern.expression) {
        report("rule `" + rule.when.name + "`: `" + pattern.name + "` is another pattern in a rule before",
               "findings are told apart by their names");
        return nullptr;
      }
      const size_t index = static_cast<size_t>(known - all.begin());
      if (known == all.end()) all.push_back(pattern);
      rule.set |= DataSet{1} << index;
    }
  }
  if (all.empty()) return nullptr;
  std::string why;
  std::shared_ptr<const DataPatterns> patterns = DataPatterns::compile(all, why);
  if (patterns == nullptr) {
    const Rule& last = rules.back().when;
    add_problem(problems, Problem{last.file, last.line, last.column, Severity::error,
                                  "the patterns of all rules together cannot be compiled: " + why, ""});
  }
  return patterns;
}

}  // namespace sluice::policies
