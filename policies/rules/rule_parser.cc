#include "policies/rules/rule_parser.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "policies/rules/field_reader.h"
#include "policies/rules/mask_rule_parser.h"
#include "policies/rules/policy_set.h"

namespace sluice::policies {
namespace {

constexpr Standing kLater = Standing::later;

constexpr Word kFileKeys[] = {{"version"}, {"default"}, {"rules"}};
constexpr Word kRuleKeys[] = {{"name"},
                              {"when"},
                              {"then"},
                              {"because"},
                              {"approvers", kLater},
                              {"within", kLater},
                              {"in_transaction", kLater},
                              {"data"},
                              {"style"},
                              {"masked_writes"},
                              {"columns"},
                              {"untraceable"},
                              {"numbers"},
                              {"expires", kLater}};
constexpr Word kWhenKeys[] = {
    {"target"},           {"direction"},         {"protocol"},     {"statement"},      {"tables"},
    {"functions"},        {"identity"},          {"columns"},      {"where", kLater},  {"limit", kLater},
    {"method", kLater},   {"host", kLater},      {"path", kLater}, {"header", kLater}, {"tool", kLater},
    {"resource", kLater}, {"arguments", kLater}, {"exec", kLater}, {"time", kLater},   {"text", kLater}};
constexpr Word kIdentityKeys[] = {{"user"},
                                  {"uid"},
                                  {"group"},
                                  {"gid"},
                                  {"exe"},
                                  {"exe_sha256"},
                                  {"unit"},
                                  {"container"},
                                  {"cgroup"},
                                  {"db_user"},
                                  {"application"},
                                  {"pod", kLater},
                                  {"namespace", kLater},
                                  {"service_account", kLater},
                                  {"client", kLater},
                                  {"token", kLater}};
constexpr Word kEffects[] = {{"allow"}, {"block"}, {"hold", kLater}, {"mask"}, {"reveal", kLater}};
constexpr Word kDefaults[] = {{"allow"}, {"block"}, {"hold", kLater}};
constexpr Word kDirections[] = {{"outbound"}, {"inbound", kLater}, {"listen", kLater}};
constexpr Word kProtocols[] = {{"postgres"},    {"mysql", kLater}, {"http", kLater},
                               {"mcp", kLater}, {"ssh", kLater},   {"tcp", kLater}};

constexpr std::string_view kEveryCommand = "to match every command, say `when: {target: \"*\"}`";

Effect effect_of(size_t word) {
  return kEffects[word].text == "allow" ? Effect::allow : Effect::block;
}

std::vector<Word> statement_words() {
  std::vector<Word> words;
  for (size_t i = 0; i < kStatementKindCount; ++i) words.push_back({to_string(static_cast<StatementKind>(i))});
  return words;
}

bool has_wildcard(std::string_view text) {
  return text.find_first_of("*?") != std::string_view::npos;
}

// One part of a qualified name at `at`: "quoted" (taken literally) or a glob up to the next dot. False where it is
// malformed.
bool read_name_part(const std::string& text, size_t& at, Glob& part, bool& unquoted_upper) {
  if (at < text.size() && text[at] == '"') {
    std::string name;
    for (++at; at < text.size(); ++at) {
      if (text[at] != '"') {
        name += text[at];
      } else if (at + 1 < text.size() && text[at + 1] == '"') {
        name += text[at++];
      } else {
        ++at;
        part = Glob::literal(name);
        return !name.empty();
      }
    }
    return false;
  }
  const size_t end = std::min(text.find('.', at), text.size());
  std::string name = text.substr(at, end - at);
  at = end;
  unquoted_upper |= std::any_of(name.begin(), name.end(), [](unsigned char c) { return c >= 'A' && c <= 'Z'; });
  const bool well_formed = !name.empty() && name.find_first_of("\" ") == std::string::npos;
  part = Glob::pattern(std::move(name));
  return well_formed;
}

// Reads one file.
class FileParser {
 public:
  FileParser(const std::string& file, RuleSource& source, Problems& problems)
      : file_(file), source_(source), reader_(file, problems) {}

  bool parse(const YamlNode& document) {
    if (!reader_.map(document, "the policy file", kFileKeys)) return false;
    if (const YamlNode* version = reader_.require(document, "version", "the policy file", "begin with `version: 1`")) {
      (void)reader_.number(*version, "`version`", 1, 1);
    }
    if (const YamlNode* stated = FieldReader::find(document, "default")) read_default(*stated);
    if (const YamlNode* rules = FieldReader::find(document, "rules")) {
      if (rules->kind == YamlNode::Kind::list) {
        for (const YamlNode& rule : rules->items) {
          if (source_.rules.size() + source_.mask_rules.size() >= kRulesMax) {
            reader_.error(rule, "more than " + std::to_string(kRulesMax) + " rules");
            break;
          }
          read_rule(rule);
        }
      } else if (rules->kind != YamlNode::Kind::null) {
        reader_.error(*rules, "`rules` has to be a list", "each rule begins with `- name: …`");
      }
    }
    return reader_.errors() == 0;
  }

 private:
  void read_default(const YamlNode& node) {
    const std::optional<size_t> word = reader_.word(node, "default effect", std::span(kDefaults));
    if (!word) return;
    const Effect effect = effect_of(*word);
    if (!source_.stated_default) {
      source_.stated_default = StatedDefault{effect, file_, node.line};
    } else if (source_.stated_default->effect != effect) {
      reader_.error(node,
                    "`default: " + std::string(to_string(effect)) + "` contradicts " + source_.stated_default->file +
                        ":" + std::to_string(source_.stated_default->line),
                    "the files of a directory are one policy: say `default` in one of them");
    }
  }

  void read_rule(const YamlNode& node) {
    Rule rule;
    rule.file = file_;
    rule.line = node.line;
    rule.column = node.column;
    bool masks = false;
    if (reader_.map(node, "the rule", kRuleKeys)) {
      read_name(node, rule);
      if (const YamlNode* then =
              reader_.require(node, "then", described(rule), "`then: allow`, `then: block` or `then: mask`")) {
        if (const auto word = reader_.word(*then, "effect", kEffects)) {
          rule.effect = effect_of(*word);
          masks = kEffects[*word].text == "mask";
          if (!masks && rule.effect == Effect::block && FieldReader::find(node, "because") == nullptr) {
            reader_.warning(node, described(rule) + " has no `because`", "it is shown to whoever is refused");
          }
        }
      }
      read_because(node, rule);
      if (const YamlNode* when = reader_.require(node, "when", described(rule), std::string(kEveryCommand)))
        read_when(*when, rule);
      if (masks) return add_mask_rule(node, std::move(rule));
      for (const std::string_view key : {"data", "style", "masked_writes", "untraceable", "numbers"}) {
        if (const YamlNode* found = FieldReader::find(node, key))
          reader_.error(*found, quoted(key) + " belongs to `then: mask`");
      }
      if (const YamlNode* found = FieldReader::find(node, "columns"))
        reader_.error(*found, "`columns` is a condition of this rule", "write `when: {columns: […]}`");
    }
    source_.rules.push_back(std::move(rule));
  }

  // About whole sessions: what one command would change in the masking of the next, nobody could follow.
  void add_mask_rule(const YamlNode& node, Rule rule) {
    if (const YamlNode* when = FieldReader::find(node, "when"); when != nullptr && when->kind == YamlNode::Kind::map) {
      for (const std::string_view key : {"statement", "tables", "functions"}) {
        if (const YamlNode* found = FieldReader::find(*when, key))
          reader_.error(*found, quoted(key) + " is no condition of a rule that masks",
                        "such a rule is about whole sessions: target, protocol, direction, identity");
      }
    }
    columns(node, rule.columns);
    MaskRule mask;
    mask.when = std::move(rule);
    read_mask_rule(node, reader_, mask);
    source_.mask_rules.push_back(std::move(mask));
  }

  static std::string described(const Rule& rule) { return rule.name.empty() ? "the rule" : "rule `" + rule.name + "`"; }

  void read_name(const YamlNode& node, Rule& rule) {
    const YamlNode* name =
        reader_.require(node, "name", "the rule", "the name is shown to whoever is refused, and recorded");
    if (name == nullptr) return;
    const std::optional<std::string> text = reader_.text(*name, "`name`", kRuleNameBytesMax);
    if (!text) return;
    const auto fits = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.'; };
    if (!std::all_of(text->begin(), text->end(), fits)) {
      reader_.error(*name, "a rule's name has letters, digits, `-`, `_` and `.`");
      return;
    }
    rule.name = *text;
  }

  // It goes into error messages: one line, whatever YAML folded.
  void read_because(const YamlNode& node, Rule& rule) {
    const YamlNode* because = FieldReader::find(node, "because");
    if (because == nullptr) return;
    const std::optional<std::string> text = reader_.text(*because, "`because`", kBecauseBytesMax);
    if (!text) return;
    for (const char c : *text) {
      const bool space = c == ' ' || c == '\n' || c == '\t' || c == '\r';
      if (!space) {
        rule.because += c;
      } else if (!rule.because.empty() && rule.because.back() != ' ') {
        rule.because += ' ';
      }
    }
    while (!rule.because.empty() && rule.because.back() == ' ') rule.because.pop_back();
  }

  void read_when(const YamlNode& when, Rule& rule) {
    if (when.kind == YamlNode::Kind::null || (when.kind == YamlNode::Kind::map && when.keys.empty())) {
      reader_.error(when, "`when` is empty", std::string(kEveryCommand));
      return;
    }
    if (!reader_.map(when, "`when`", kWhenKeys)) return;
    globs(when, "target", rule.targets);
    qualified(when, "tables", rule.tables);
    qualified(when, "functions", rule.functions);
    columns(when, rule.columns);
    words(when, "direction", "direction", kDirections,
          [&](size_t word) { rule.directions.push_back(static_cast<Direction>(word)); });
    words(when, "protocol", "protocol", kProtocols,
          [&](size_t word) { rule.protocols.push_back(Glob::literal(std::string(kProtocols[word].text))); });
    static const std::vector<Word> kinds = statement_words();
    words(when, "statement", "statement kind", kinds,
          [&](size_t word) { rule.kinds |= kind_bit(static_cast<StatementKind>(word)); });
    if (const YamlNode* identity = FieldReader::find(when, "identity")) read_identity(*identity, rule);
  }

  void read_identity(const YamlNode& node, Rule& rule) {
    if (!reader_.map(node, "`identity`", kIdentityKeys)) return;
    if (node.keys.empty()) {
      reader_.error(node, "`identity` is empty", "name at least one fact, or take it out");
      return;
    }
    IdentityCondition& identity = rule.identity;
    globs(node, "user", identity.user);
    globs(node, "group", identity.group);
    globs(node, "container", identity.container);
    globs(node, "db_user", identity.db_user);
    globs(node, "application", identity.application);
    globs(node, "exe", identity.exe, &FileParser::check_path);
    globs(node, "cgroup", identity.cgroup, &FileParser::check_path);
    globs(node, "unit", identity.unit, &FileParser::check_unit);
    globs(node, "exe_sha256", identity.exe_sha256, &FileParser::check_sha256);
    numbers(node, "uid", identity.uid);
    numbers(node, "gid", identity.gid);
  }

  // A pattern that can never match is taken for a mistake: as a block rule it would protect nothing.
  void check_path(const YamlNode& node) {
    if (node.text.front() == '/' || node.text.front() == '*' || node.text.front() == '?') return;
    reader_.error(node, "`" + node.text + "` matches no path: they begin with `/`",
                  "\"/…/" + node.text + "\" or \"*/" + node.text + "\"");
  }
  void check_unit(const YamlNode& node) {
    if (has_wildcard(node.text) || node.text.find('.') != std::string::npos) return;
    reader_.error(node, "`" + node.text + "` matches no unit: their names end in a type",
                  "did you mean `" + node.text + ".service`?");
  }
  void check_sha256(const YamlNode& node) {
    const auto hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
    if (node.text.size() == 64 && std::all_of(node.text.begin(), node.text.end(), hex)) return;
    reader_.error(node, "a SHA-256 is 64 lower-case hexadecimal digits", "sha256sum FILE");
  }

  void globs(const YamlNode& map, std::string_view key, std::vector<Glob>& out,
             void (FileParser::*check)(const YamlNode&) = nullptr) {
    for (const YamlNode* scalar : scalars(map, key)) {
      const std::optional<std::string> text = reader_.text(*scalar, quoted(key), kPatternBytesMax);
      if (!text) continue;
      if (check != nullptr) (this->*check)(*scalar);
      out.push_back(Glob::pattern(*text));
    }
  }

  void qualified(const YamlNode& map, std::string_view key, std::vector<QualifiedPattern>& out) {
    for (const YamlNode* scalar : scalars(map, key)) {
      const std::optional<std::string> text = reader_.text(*scalar, quoted(key), kPatternBytesMax);
      if (!text) continue;
      QualifiedPattern pattern;
      size_t at = 0;
      bool upper = false;
      bool good = read_name_part(*text, at, pattern.name, upper);
      if (good && at < text->size() && (*text)[at] == '.') {
        pattern.schema = std::move(pattern.name);
        good = read_name_part(*text, ++at, pattern.name, upper);
      }
      if (!good || at != text->size()) {
        reader_.error(*scalar, "`" + *text + "` is no name",
                      "`schema.name` or `name`; a part with dots or blanks in it needs double quotes");
        continue;
      }
      if (upper) {
        reader_.warning(*scalar, "`" + *text + "` matches only names that a statement writes in double quotes",
                        "the server folds others to lower case; quote the part here too if that is meant");
      }
      out.push_back(std::move(pattern));
    }
  }

  // `schema.relation.column`, `relation.column` or `column`.
  void columns(const YamlNode& map, std::vector<ColumnPattern>& out) {
    for (const YamlNode* scalar : scalars(map, "columns")) {
      const std::optional<std::string> text = reader_.text(*scalar, "`columns`", kPatternBytesMax);
      if (!text) continue;
      std::vector<Glob> parts;
      size_t at = 0;
      bool upper = false;
      bool good = true;
      while (good) {
        parts.emplace_back();
        good = read_name_part(*text, at, parts.back(), upper);
        if (at == text->size()) break;
        good = good && (*text)[at++] == '.';
      }
      if (!good || parts.size() > 3) {
        reader_.error(
            *scalar, "`" + *text + "` is no column",
            "`schema.table.column`, `table.column` or `column`; a part with dots or blanks in it needs double "
            "quotes");
        continue;
      }
      if (upper) {
        reader_.warning(*scalar, "`" + *text + "` matches only names that a statement writes in double quotes",
                        "the server folds others to lower case; quote the part here too if that is meant");
      }
      ColumnPattern pattern;
      pattern.column = std::move(parts.back());
      if (parts.size() > 1) pattern.relation = std::move(parts[parts.size() - 2]);
      if (parts.size() > 2) pattern.schema = std::move(parts[0]);
      out.push_back(std::move(pattern));
    }
  }

  void numbers(const YamlNode& map, std::string_view key, std::vector<int64_t>& out) {
    for (const YamlNode* scalar : scalars(map, key)) {
      if (const auto number = reader_.number(*scalar, quoted(key), 0, kIdMax))
        out.push_back(static_cast<int64_t>(*number));
    }
  }

  template <typename Add>
  void words(const YamlNode& map, std::string_view key, std::string_view what, std::span<const Word> known, Add add) {
    for (const YamlNode* scalar : scalars(map, key)) {
      if (const auto word = reader_.word(*scalar, what, known)) add(*word);
    }
  }

  std::vector<const YamlNode*> scalars(const YamlNode& map, std::string_view key) {
    const YamlNode* node = FieldReader::find(map, key);
    return node == nullptr ? std::vector<const YamlNode*>{} : reader_.one_or_more(*node, quoted(key));
  }

  static std::string quoted(std::string_view key) { return "`" + std::string(key) + "`"; }

  const std::string& file_;
  RuleSource& source_;
  FieldReader reader_;
};

}  // namespace

bool parse_rules(const YamlNode& document, const std::string& file, RuleSource& source, Problems& problems) {
  return FileParser(file, source, problems).parse(document);
}

}  // namespace sluice::policies
