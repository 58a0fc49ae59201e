#include "daemon/audit/filter.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "daemon/audit/pattern.h"
#include "daemon/events/event_builder.h"
#include "policies/rules/facts.h"

namespace sluice::audit {
namespace {

struct KeyWord {
  std::string_view word;
  FilterKey key;
};

// The keys of the policy language and the names of the JSON output. The first word of a key is the one errors suggest.
constexpr KeyWord kKeyWords[] = {
    {"type", FilterKey::type},
    {"target", FilterKey::target},
    {"session", FilterKey::session},
    {"outcome", FilterKey::outcome},
    {"rule", FilterKey::rule},
    {"policy_version", FilterKey::policy_version},
    {"origin", FilterKey::origin},
    {"destination", FilterKey::destination},
    {"index", FilterKey::index},
    {"rows", FilterKey::rows},
    {"bytes", FilterKey::bytes},
    {"detail", FilterKey::detail},
    {"error_code", FilterKey::error_code},
    {"identity.user", FilterKey::user},
    {"identity.uid", FilterKey::uid},
    {"identity.gid", FilterKey::gid},
    {"identity.group", FilterKey::group},
    {"identity.pid", FilterKey::pid},
    {"identity.exe", FilterKey::exe},
    {"identity.exe_sha256", FilterKey::exe_sha256},
    {"identity.unit", FilterKey::unit},
    {"identity.container", FilterKey::container},
    {"identity.cgroup", FilterKey::cgroup},
    {"identity.db_user", FilterKey::db_user},
    {"identity.database", FilterKey::database},
    {"identity.application", FilterKey::application},
    {"identity.attested.user", FilterKey::user},
    {"identity.attested.uid", FilterKey::uid},
    {"identity.attested.pid", FilterKey::pid},
    {"identity.attested.exe", FilterKey::exe},
    {"identity.attested.unit", FilterKey::unit},
    {"identity.attested.container", FilterKey::container},
    {"identity.attested.cgroup", FilterKey::cgroup},
    {"identity.claimed.user", FilterKey::db_user},
    {"identity.claimed.database", FilterKey::database},
    {"identity.claimed.application", FilterKey::application},
    {"user", FilterKey::user},
    {"uid", FilterKey::uid},
    {"gid", FilterKey::gid},
    {"group", FilterKey::group},
    {"pid", FilterKey::pid},
    {"exe", FilterKey::exe},
    {"exe_sha256", FilterKey::exe_sha256},
    {"unit", FilterKey::unit},
    {"container", FilterKey::container},
    {"cgroup", FilterKey::cgroup},
    {"db_user", FilterKey::db_user},
    {"database", FilterKey::database},
    {"application", FilterKey::application},
    {"command.text", FilterKey::text},
    {"command.id", FilterKey::command_id},
    {"command.stage", FilterKey::stage},
    {"command.kind", FilterKey::kind},
    {"command.kinds", FilterKey::kind},
    {"statement", FilterKey::kind},
    {"command.statement", FilterKey::kind},
    {"command.relation", FilterKey::relation},
    {"command.relations", FilterKey::relation},
    {"tables", FilterKey::relation},
    {"command.tables", FilterKey::relation},
    {"functions", FilterKey::function},
    {"command.functions", FilterKey::function},
    {"findings.kind", FilterKey::finding_kind},
    {"findings.brand", FilterKey::finding_brand},
    {"findings.where", FilterKey::finding_where},
};

enum class Operator : uint8_t { equal, not_equal, matches, less, less_equal, greater, greater_equal };

bool is_number_key(FilterKey key) {
  switch (key) {
    case FilterKey::index:
    case FilterKey::uid:
    case FilterKey::gid:
    case FilterKey::pid:
    case FilterKey::command_id:
    case FilterKey::rows:
    case FilterKey::bytes:
      return true;
    default:
      return false;
  }
}

std::optional<int64_t> number_of(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Number of single-byte edits between two words; for "did you mean".
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string nearest(std::string_view word, const std::vector<std::string_view>& known) {
  constexpr size_t kWordBytesMax = 64;
  constexpr size_t kEditsMax = 3;
  if (known.empty() || word.size() > kWordBytesMax) return {};
  const auto best = std::min_element(known.begin(), known.end(), [&](std::string_view a, std::string_view b) {
    return distance(word, a) < distance(word, b);
  });
  if (distance(word, *best) > kEditsMax) return {};
  return "; did you mean \"" + std::string(*best) + "\"?";
}

// The words that a key can have at all; empty: any.
std::vector<std::string_view> vocabulary(FilterKey key) {
  std::vector<std::string_view> words;
  if (key == FilterKey::type) {
    for (size_t i = 0; i < events::kEventTypeCount; ++i) words.push_back(to_string(static_cast<events::EventType>(i)));
  } else if (key == FilterKey::outcome) {
    words = {"success", "failure", "refused"};
  } else if (key == FilterKey::kind) {
    for (size_t i = 0; i < policies::kStatementKindCount; ++i)
      words.push_back(to_string(static_cast<policies::StatementKind>(i)));
  }
  return words;
}

}  // namespace

bool glob_matches(std::string_view pattern, std::string_view text) {
  size_t p = 0;
  size_t t = 0;
  size_t star = std::string_view::npos;
  size_t star_text = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_text = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++star_text;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

struct Filter::Node {
  enum class What : uint8_t { all, compare, both, either, negated };
  What what = What::all;
  std::unique_ptr<Node> left;
  std::unique_ptr<Node> right;
  FilterKey key = FilterKey::type;
  Operator op = Operator::equal;
  std::string value;
  int64_t number = 0;
  std::optional<Pattern> pattern;

  [[nodiscard]] bool matches(const FilterSubject& subject, std::vector<std::string_view>& values) const {
    switch (what) {
      case What::all:
        return true;
      case What::both:
        return left->matches(subject, values) && right->matches(subject, values);
      case What::either:
        return left->matches(subject, values) || right->matches(subject, values);
      case What::negated:
        return !left->matches(subject, values);
      case What::compare:
        break;
    }
    values.clear();
    subject.values(key, values);
    const auto one = [this](std::string_view value_there) { return compares(value_there); };
    if (op == Operator::not_equal) return std::none_of(values.begin(), values.end(), one);
    return std::any_of(values.begin(), values.end(), one);
  }

  // For != whether it is equal: none may be.
  [[nodiscard]] bool compares(std::string_view there) const {
    if (op == Operator::matches) return pattern->occurs_in(there);
    if (op == Operator::equal || op == Operator::not_equal) return glob_matches(value, there);
    const auto number_there = number_of(there);
    if (!number_there.has_value()) return false;
    switch (op) {
      case Operator::less:
        return *number_there < number;
      case Operator::less_equal:
        return *number_there <= number;
      case Operator::greater:
        return *number_there > number;
      default:
        return *number_there >= number;
    }
  }
};

// Recursive descent: either := both ("or" both)*, both := unit ("and" unit)*, unit := "not" unit | "(" either ")" |
// comparison.
class Filter::Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<std::unique_ptr<Node>> parse() {
    skip_space();
    if (at_ == text_.size()) return std::make_unique<Node>();
    auto node = either(0);
    if (!node) return node;
    skip_space();
    if (at_ != text_.size())
      return error(at_, text_[at_] == ')' ? "\")\" without \"(\"" : "expected \"and\" or \"or\"");
    return node;
  }

 private:
  using NodeResult = Result<std::unique_ptr<Node>>;

  static tl::unexpected<Error> error(size_t at, const std::string& what) {
    return fail("filter, at " + std::to_string(at + 1) + ": " + what);
  }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n')) ++at_;
  }
  static bool is_key_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
  }
  bool take_word(std::string_view word) {
    skip_space();
    if (!text_.substr(at_).starts_with(word)) return false;
    const size_t end = at_ + word.size();
    if (end < text_.size() && is_key_byte(text_[end])) return false;
    at_ = end;
    return true;
  }
  static std::unique_ptr<Node> join(Node::What what, std::unique_ptr<Node> left, std::unique_ptr<Node> right) {
    auto node = std::make_unique<Node>();
    node->what = what;
    node->left = std::move(left);
    node->right = std::move(right);
    return node;
  }

  NodeResult either(size_t depth) {
    auto left = both(depth);
    while (left && take_word("or")) {
      auto right = both(depth);
      if (!right) return right;
      left = join(Node::What::either, std::move(*left), std::move(*right));
    }
    return left;
  }

  NodeResult both(size_t depth) {
    auto left = unit(depth);
    while (left && take_word("and")) {
      auto right = unit(depth);
      if (!right) return right;
      left = join(Node::What::both, std::move(*left), std::move(*right));
    }
    return left;
  }

  NodeResult unit(size_t depth) {
    if (depth >= kDepthMax) return error(at_, "nested too deeply (at most " + std::to_string(kDepthMax) + ")");
    if (take_word("not")) {
      auto inner = unit(depth + 1);
      if (!inner) return inner;
      return join(Node::What::negated, std::move(*inner), nullptr);
    }
    skip_space();
    if (at_ < text_.size() && text_[at_] == '(') {
      const size_t opened = at_++;
      auto inner = either(depth + 1);
      if (!inner) return inner;
      skip_space();
      if (at_ == text_.size() || text_[at_] != ')') return error(opened, "\"(\" without \")\"");
      ++at_;
      return inner;
    }
    return comparison();
  }

  NodeResult comparison() {
    if (++comparisons_ > kComparisonsMax)
      return error(at_, "more than " + std::to_string(kComparisonsMax) + " comparisons");
    skip_space();
    const size_t key_at = at_;
    while (at_ < text_.size() && is_key_byte(text_[at_])) ++at_;
    const std::string_view word = text_.substr(key_at, at_ - key_at);
    if (word.empty()) return error(key_at, "expected a key such as type, target or identity.user");
    auto node = std::make_unique<Node>();
    node->what = Node::What::compare;
    const auto* known =
        std::find_if(std::begin(kKeyWords), std::end(kKeyWords), [&](const KeyWord& k) { return k.word == word; });
    if (known == std::end(kKeyWords)) {
      std::vector<std::string_view> words;
      for (const KeyWord& key : kKeyWords) words.push_back(key.word);
      return error(key_at, "unknown key \"" + std::string(word) + "\"" + nearest(word, words));
    }
    node->key = known->key;
    if (!take_operator(node->op))
      return error(at_, "expected one of = != ~ < <= > >= after \"" + std::string(word) + "\"");
    skip_space();
    const size_t value_at = at_;
    auto value = take_value();
    if (!value) return tl::unexpected(value.error());
    node->value = std::move(*value);
    return finish_comparison(std::move(node), value_at);
  }

  static NodeResult finish_comparison(std::unique_ptr<Node> node, size_t value_at) {
    if (node->value.size() > kPatternBytesMax) {
      return error(value_at, "a value has at most " + std::to_string(kPatternBytesMax) + " bytes");
    }
    switch (node->op) {
      case Operator::matches: {
        auto pattern = Pattern::compile(node->value);
        if (!pattern) return error(value_at, pattern.error().message);
        node->pattern = std::move(*pattern);
        break;
      }
      case Operator::equal:
      case Operator::not_equal: {
        const auto words = vocabulary(node->key);
        const bool plain = node->value.find('*') == std::string::npos;
        if (!words.empty() && plain && std::find(words.begin(), words.end(), node->value) == words.end()) {
          return error(value_at, "no event has \"" + node->value + "\" there" + nearest(node->value, words));
        }
        break;
      }
      default: {
        const auto number = number_of(node->value);
        if (!is_number_key(node->key) || !number.has_value()) return error(value_at, "< and > compare numbers");
        node->number = *number;
      }
    }
    return node;
  }

  bool take_operator(Operator& op) {
    skip_space();
    static constexpr std::array<std::pair<std::string_view, Operator>, 7> kOperators = {{
        {"!=", Operator::not_equal},
        {"<=", Operator::less_equal},
        {">=", Operator::greater_equal},
        {"=", Operator::equal},
        {"~", Operator::matches},
        {"<", Operator::less},
        {">", Operator::greater},
    }};
    for (const auto& [word, which] : kOperators) {
      if (!text_.substr(at_).starts_with(word)) continue;
      at_ += word.size();
      op = which;
      return true;
    }
    return false;
  }

  // A word up to a space or parenthesis, or anything in double or single quotes with \ before the quote and before \.
  Result<std::string> take_value() {
    std::string value;
    if (at_ < text_.size() && (text_[at_] == '"' || text_[at_] == '\'')) {
      const size_t opened = at_;
      const char quote = text_[at_++];
      while (at_ < text_.size() && text_[at_] != quote) {
        const bool escaped =
            text_[at_] == '\\' && at_ + 1 < text_.size() && (text_[at_ + 1] == quote || text_[at_ + 1] == '\\');
        if (escaped) ++at_;
        value.push_back(text_[at_++]);
      }
      if (at_ == text_.size()) return error(opened, "a quoted value that does not end");
      ++at_;
      return value;
    }
    while (at_ < text_.size() && std::string_view(" \t\n()").find(text_[at_]) == std::string_view::npos)
      value.push_back(text_[at_++]);
    if (value.empty()) return error(at_, "expected a value (\"\" for an empty one)");
    return value;
  }

  std::string_view text_;
  size_t at_ = 0;
  size_t comparisons_ = 0;
};

Filter::Filter() = default;
Filter::~Filter() = default;
Filter::Filter(Filter&&) noexcept = default;
Filter& Filter::operator=(Filter&&) noexcept = default;

Result<Filter> Filter::parse(std::string_view text) {
  if (text.size() > kBytesMax) return fail("filter: longer than " + std::to_string(kBytesMax) + " bytes");
  auto root = Parser(text).parse();
  if (!root) return tl::unexpected(root.error());
  Filter filter;
  filter.root_ = std::move(*root);
  return filter;
}

bool Filter::matches(const FilterSubject& subject) const {
  std::vector<std::string_view> values;
  return root_->matches(subject, values);
}

}  // namespace sluice::audit
