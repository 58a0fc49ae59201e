// Walks one parse tree and fills in an Analysis: kinds of every statement in it, relations with how they are used,
// functions, and what it cannot know. Every node is visited; node types that need no special treatment are walked
// through, so that a RangeVar or a FuncCall in a place nobody thought of is still seen. The rules for single statements
// are in statement_rules.cc. Lifetime: one per analysed text; borrows the trees it walks until the call returns. Single
// thread; recurses with the tree.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "parsers/sql/analysis.h"
#include "parsers/sql/tree.h"

namespace sluice::sql {

// A DO block or a body holds SQL as text, which only the analysis itself can take further.
class TextAnalyzer {
 public:
  // Merges what `body` in `language` runs into the analysis under way; false: it could not be read.
  virtual bool body(std::string_view language, std::string_view text) = 0;

 protected:
  ~TextAnalyzer() = default;
};

class Walker {
 public:
  // REQUIRES: `out` complete in all three flags to begin with; the walk takes them away.
  Walker(Analysis& out, TextAnalyzer& texts, bool names_exact) : out_(out), texts_(texts), names_exact_(names_exact) {}

  // Walks one statement (what a RawStmt holds) with no CTE in scope.
  void statement(const tree::Message& node);
  // Walks the one expression of a "SELECT …" that only stands around it (PL/pgSQL): the SELECT is not counted.
  void expression(const tree::Message& select);

  enum class Open : uint8_t { all, relations };
  // Notes that something cannot be known, with the first reason kept.
  void leave_open(Open what, std::string_view why);
  void add_kind(Kind kind);
  void add_function(std::string_view name);
  // Did the tree's bytes make sense throughout?
  [[nodiscard]] bool damaged() const { return damaged_; }

 private:
  struct Use {
    bool reads = false;
    bool writes = false;
  };
  enum class Cte : bool { no, may_be };  // may an unqualified name be a CTE here?
  static constexpr Use kReads{true, false};
  static constexpr Use kWrites{false, true};
  static constexpr Use kBoth{true, true};

  // walker.cc: the general walk
  void visit(const tree::Message& node);
  void children(const tree::Message& node, std::initializer_list<uint32_t> except = {});
  // Children of a utility statement: its own RangeVars are what it changes.
  void utility(const tree::Message& node, std::initializer_list<uint32_t> except = {});
  void range_var(const tree::Message& node, Use use, Cte cte);
  void add_relation(std::string_view schema, std::string_view name, Use use);
  void function_call(const tree::Message& node);
  void function_named(const tree::Message& node, uint32_t field);
  void operator_named(const tree::Message& node, uint32_t field);
  size_t enter_with(const tree::Message& with);
  void leave_with(size_t mark) { ctes_.resize(mark); }

  // statement_rules.cc: what single statements mean. True: handled, with all that is inside.
  bool special(const tree::Message& node);
  bool special_utility(const tree::Message& node);
  void select(const tree::Message& node);
  void insert(const tree::Message& node);
  void update_or_delete(const tree::Message& node);
  void merge(const tree::Message& node);
  void copy(const tree::Message& node);
  void drop(const tree::Message& node);
  void truncate(const tree::Message& node);
  void rename(const tree::Message& node);
  void set_schema(const tree::Message& node);
  void commented(const tree::Message& node);
  void grant(const tree::Message& node);
  void vacuum(const tree::Message& node);
  void transaction(const tree::Message& node);
  void set_variable(const tree::Message& node);
  void prepared(const tree::Message& node);
  void cursor(const tree::Message& node);
  void do_block(const tree::Message& node);
  void create_function(const tree::Message& node);
  // The relation that a list of names stands for, without its last `dropped` parts.
  void named_relation(const tree::Message& list, size_t dropped, Use use);
  void relations_in(const tree::Message& node, uint32_t field, Use use);

  Analysis& out_;
  TextAnalyzer& texts_;
  const bool names_exact_;
  bool damaged_ = false;
  bool open_otherwise_ = false;  // something is open besides EXECUTE
  bool uncounted_select_ = false;
  std::vector<std::string_view> ctes_;                      // names in scope, innermost last
  std::unordered_map<std::string, size_t> relation_index_;  // "schema\0name" → place in out_.relations
  std::unordered_map<std::string, bool> function_index_;
};

// The kind of a statement node; Kind::unknown where the type is no statement of its own.
[[nodiscard]] Kind kind_of(tree::Type type);

}  // namespace sluice::sql
