#include "parsers/sql/plpgsql.h"

#include <nlohmann/json.hpp>

#include "parsers/sql/grammar.h"

namespace sluice::sql {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kCaseVariable =
    "\"__Case__Variable_";  // what CASE compares with; its IN (…) is the grammar's own

// The members whose expression is a whole SQL statement, by the node that has them.
bool is_statement_member(std::string_view node, std::string_view member) {
  return (node == "PLpgSQL_stmt_execsql" && member == "sqlstmt") || (node == "PLpgSQL_stmt_call" && member == "expr") ||
         (node == "PLpgSQL_stmt_perform" && member == "expr") || (node == "PLpgSQL_stmt_fors" && member == "query") ||
         (node == "PLpgSQL_stmt_return_query" && member == "query") ||
         (node == "PLpgSQL_stmt_open" && member == "query") ||
         (node == "PLpgSQL_var" && member == "cursor_explicit_expr");
}

class Reader {
 public:
  explicit Reader(Block& block) : block_(block) {}

  // `node` is the name of the nearest enclosing node, `member` the member in which `json` stands.
  void read(const Json& json, std::string_view node, std::string_view member) {
    if (json.is_array()) {
      for (const Json& item : json) read(item, node, member);
      return;
    }
    if (!json.is_object()) return;
    for (const auto& [key, value] : json.items()) {
      if (key == "PLpgSQL_expr") {
        expression(value, node, member);
      } else if (key.starts_with("PLpgSQL_")) {
        block_.commits = block_.commits || key == "PLpgSQL_stmt_commit";
        block_.rolls_back = block_.rolls_back || key == "PLpgSQL_stmt_rollback";
        read(value, key, {});
      } else {
        read(value, node, key);
      }
    }
  }

  [[nodiscard]] bool understood() const { return understood_; }

 private:
  void expression(const Json& value, std::string_view node, std::string_view member) {
    const auto query = value.find("query");
    if (query == value.end() || !query->is_string()) {
      understood_ = false;
      return;
    }
    const auto& text = query->get_ref<const std::string&>();
    if (is_statement_member(node, member)) {
      block_.texts.push_back({text, BlockText::Form::statement});
    } else if (node == "PLpgSQL_stmt_assign") {
      assignment(text);
    } else {
      block_.texts.push_back({text, BlockText::Form::expression});
    }
  }

  // "target := expression": both sides are read as expressions, so a subscript's function call is seen too.
  void assignment(const std::string& text) {
    size_t depth = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      const char c = text[i];
      if (c == '[' || c == '(') ++depth;
      if ((c == ']' || c == ')') && depth > 0) --depth;
      if (depth > 0) continue;
      const bool colon = c == ':' && i + 1 < text.size() && text[i + 1] == '=';
      if (c != '=' && !colon) continue;
      block_.texts.push_back({text.substr(0, i), BlockText::Form::expression});
      block_.texts.push_back({text.substr(i + (colon ? 2 : 1)), BlockText::Form::expression});
      return;
    }
    understood_ = false;
  }

  Block& block_;
  bool understood_ = true;
};

size_t index_of(std::string_view word) {
  for (size_t i = 0; i < kCountedWordCount; ++i) {
    if (kCountedWords[i] == word) return i;
  }
  return kCountedWordCount;
}

// Is every counted word of the body in one of the texts?
bool all_accounted_for(std::string_view body, Conforming conforming, const Block& block) {
  WordCounts in_body, in_texts;
  count_words(body, conforming, in_body);
  for (const BlockText& one : block.texts) {
    count_words(one.text, conforming, in_texts);
    if (one.text.starts_with(kCaseVariable) && in_texts.parentheses > 0) --in_texts.parentheses;
  }
  in_body.words[index_of("select")] += in_body.words[index_of("perform")];  // PERFORM x is handed on as SELECT x
  in_body.words[index_of("perform")] = 0;
  if (in_body.words[index_of("execute")] > 0) return false;  // SQL made at run time
  for (size_t i = 0; i < kCountedWordCount; ++i) {
    if (in_body.words[i] > in_texts.words[i]) return false;
  }
  return in_body.parentheses <= in_texts.parentheses;
}

// DO with the body in a dollar quote whose tag does not occur in it.
std::string do_statement(std::string_view body) {
  std::string tag = "$b$";
  while (body.find(tag) != std::string_view::npos) tag.insert(tag.size() - 1, "b");
  std::string text = "DO ";
  text.append(tag).append(body).append(tag);
  return text;
}

}  // namespace

bool read_block(std::string_view body, Conforming conforming, Block& block) {
  std::string text;
  if (!parse_plpgsql(do_statement(body), conforming, text)) return false;
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return false;
  Reader reader(block);
  reader.read(json, {}, {});
  block.whole = reader.understood() && all_accounted_for(body, conforming, block);
  return true;
}

}  // namespace sluice::sql
