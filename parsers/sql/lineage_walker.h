// Follows columns through the statements of one parse tree (lineage.h). A second walk beside Walker's: that one sees
// every node and forgets scopes, this one knows which FROM an expression stands in. An expression is walked whole, so
// that a column mentioned in a place nobody thought of still feeds its output.
// Lifetime: one per analysed text; borrows the trees until the call returns. Single thread; recurses with the tree.
// Limits: kWorkMax references copied, kColumnsMax columns of one output; past them the rest is untraceable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "parsers/sql/lineage.h"
#include "parsers/sql/tree.h"

namespace sluice::sql {

class LineageWalker {
 public:
  explicit LineageWalker(Lineage& out) : out_(out) {
    out_.complete = true;
    out_.changes_names = false;
  }

  // One statement of the text, in order (what a RawStmt holds).
  void statement(const tree::Message& node);
  // The same for what a text inside the text runs (DO): mentioned, but nothing comes back.
  void inner_statement(const tree::Message& node);

 private:
  using Columns = std::vector<OutputColumn>;
  struct Feed {  // what an expression mentions
    std::vector<uint32_t> references;
    bool untraceable = false;
  };
  struct Range {  // an entry of FROM
    std::string_view alias, schema, relation;
    bool derived = false;      // `columns` are known; else it is a relation
    bool renamed = false;      // a relation whose columns have aliases
    bool untraceable = false;  // what it gives cannot be told
    Columns columns;
  };
  struct Scope {
    std::vector<Range> ranges;
    const Scope* outer = nullptr;
    bool merges = false;  // NATURAL or USING: `*` is in another order
  };
  struct Cte {
    std::string_view name;
    Columns columns;
  };
  enum class Found : bool { no, yes };

  static constexpr size_t kWorkMax = 200'000;
  static constexpr size_t kColumnsMax = 1'700;  // PostgreSQL: 1664 in a target list

  // lineage_walker.cc: names, expressions, FROM
  [[nodiscard]] uint32_t name_of(std::string_view schema, std::string_view relation, std::string_view column);
  [[nodiscard]] uint32_t reference_of(ColumnReference reference);
  void mention(uint32_t reference);
  void mention(const OutputColumn& column);
  void mention_whole(const Range& range);
  void mention_untraceable();
  void column_ref(const tree::Message& node, const Scope& scope);
  void qualified(std::string_view schema, std::string_view relation, std::string_view column, const Scope& scope);
  void unqualified(std::string_view column, const Scope& scope);
  [[nodiscard]] Found column_of(const Range& range, std::string_view column, ColumnReference& open);
  void expression(const tree::Message& node, const Scope& scope);
  void parts(const tree::Message& node, const Scope& scope, uint32_t except_a = 0, uint32_t except_b = 0);
  [[nodiscard]] Feed gather(const tree::Message& node, const Scope& scope);
  [[nodiscard]] const Range* range_named(std::string_view schema, std::string_view name, const Scope& scope) const;
  void from_item(const tree::Message& node, Scope& scope);
  void relation(const tree::Message& node, Scope& scope);
  void written_relation(const tree::Message& node, Scope& scope);  // never a CTE
  void derived(Columns columns, const tree::Message& alias, Scope& scope);
  void function(const tree::Message& node, const tree::Message& alias, Scope& scope);
  void join(const tree::Message& node, Scope& scope);

  // lineage_statements.cc: queries and statements
  [[nodiscard]] Columns query(const tree::Message& node, const Scope* outer);
  [[nodiscard]] Columns select(const tree::Message& node, const Scope* outer);
  [[nodiscard]] Columns values(const tree::Message& node, const Scope& scope);
  [[nodiscard]] Columns set_operation(const tree::Message& node, const Scope* outer);
  [[nodiscard]] Columns insert(const tree::Message& node, const Scope* outer);
  [[nodiscard]] Columns update_or_delete(const tree::Message& node, const Scope* outer);
  void merge(const tree::Message& node, const Scope* outer);
  void copy(const tree::Message& node, StatementOutput& output);
  void targets(const tree::Message& node, uint32_t field, const Scope& scope, Columns& columns);
  void star(const Scope& scope, Columns& columns);
  void star_of(const Range& range, Columns& columns);
  void assigned(const tree::Message& node, uint32_t field, const tree::Message& target, const Scope& scope);
  void write(const tree::Message& target, std::string_view column);
  void write_all(const tree::Message& target);
  size_t enter_with(const tree::Message& with, const Scope* outer);
  [[nodiscard]] StatementOutput output_of(const tree::Message& node);
  // Everything as one column: any of the outputs may be fed by any of it.
  [[nodiscard]] static Columns blurred(const Columns& columns);
  [[nodiscard]] bool spend(size_t work);

  Lineage& out_;
  Feed* feed_ = nullptr;  // of the expression that is being walked
  std::vector<Cte> ctes_;
  std::map<std::string, uint32_t> name_index_;
  std::map<std::vector<uint32_t>, uint32_t> reference_index_;
  size_t work_ = 0;
};

}  // namespace sluice::sql
