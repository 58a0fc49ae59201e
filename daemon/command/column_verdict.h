// Which columns of a result hold values of protected columns: what the text says (sql::Lineage), what the server says
// of each result column (table and attribute number), and what the catalog knows, against the patterns of the policy.
//
// A result column with a table and attribute number is exactly that column; with a catalog the number alone decides.
// Any other is what the text says its expression mentions. Without a catalog names are all there is. What cannot be
// resolved is untraceable, and never clear. Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "daemon/catalog/snapshot.h"
#include "parsers/sql/lineage.h"
#include "policies/rules/columns.h"
#include "policies/rules/facts.h"

namespace sluice::command {

enum class ColumnVerdict : uint8_t { clear, untraceable, masked };

// A column of a result as the server describes it; all zero and nameless where it does not (COPY).
struct ResultColumn {
  uint32_t table_oid = 0;
  uint16_t attribute = 0;
  std::string name;
};

// What is known of names at this moment.
struct NameKnowledge {
  const catalog::Snapshot* snapshot = nullptr;
  bool has_catalog = false;   // configured: without a snapshot nothing can be resolved
  bool names_trusted = true;  // false: names in texts may mean something else by now (DDL under way)
};

// What the `count` columns of an output are called, in order; an empty name where only the server knows it. Nothing
// where they cannot be told, or are of another number. `snapshot` may be null.
[[nodiscard]] std::optional<std::vector<std::string>> output_names(const sql::Lineage& lineage,
                                                                   const sql::StatementOutput& output,
                                                                   const catalog::Snapshot* snapshot, size_t count);

class ColumnResolver {
 public:
  ColumnResolver(const policies::ColumnMasks& masks, const NameKnowledge& known) : masks_(masks), known_(known) {}

  // One verdict per column. `output` null: nothing is known of what the text gives back.
  [[nodiscard]] std::vector<ColumnVerdict> resolve(const sql::Lineage& lineage, const sql::StatementOutput* output,
                                                   std::span<const ResultColumn> columns) const;
  // Whether an output of the text is untraceable, as far as that can be told before it runs.
  [[nodiscard]] bool untraceable(const sql::Lineage& lineage) const;
  // May one of the relation's columns be protected? For messages that may quote any of them.
  [[nodiscard]] bool may_hold(const policies::Relation& relation) const;

 private:
  struct Item {
    ColumnVerdict verdict = ColumnVerdict::clear;
    bool known = false;
  };
  using Columns = std::vector<sql::OutputColumn>;

  [[nodiscard]] ColumnVerdict of_number(const ResultColumn& column) const;
  [[nodiscard]] ColumnVerdict of_column(const catalog::Column& column) const;
  [[nodiscard]] ColumnVerdict of_output(const sql::Lineage& lineage, const sql::OutputColumn& output,
                                        const std::string& name) const;
  [[nodiscard]] Item of_name(const sql::ColumnName& name, const std::string& column) const;
  [[nodiscard]] Item of_relation(const catalog::Relation& relation, const std::string& column) const;
  [[nodiscard]] ColumnVerdict of_place(const sql::Lineage& lineage, const Columns& outputs, size_t place, size_t places,
                                       const std::string& name) const;
  // Stars of tables that the catalog knows, as the columns that they stand for.
  [[nodiscard]] Columns expanded(const sql::Lineage& lineage, const sql::StatementOutput& output) const;

  const policies::ColumnMasks& masks_;
  const NameKnowledge& known_;
};

// The facts of a statement with what the catalog knows of the columns that it names: under which other names they are
// known, what the views among them are made of. For `when: columns`.
[[nodiscard]] policies::StatementFacts with_known_columns(const policies::StatementFacts& facts,
                                                          const NameKnowledge& known);

}  // namespace sluice::command
