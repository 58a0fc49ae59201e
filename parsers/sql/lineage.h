// Which columns a text mentions, and which of them feed which column of its results. Made from the text alone: names
// are as written (folded), and where the text leaves open which relation an unqualified column belongs to, all that it
// may belong to are listed. Everything that stands in the expression of an output counts as feeding it, subqueries with
// their conditions included. What cannot be told (a function that is not PostgreSQL's own, too much of everything) is
// untraceable. What a view holds is not in the text; whoever knows the catalog looks there (daemon/command/columns.h).
// Plain data; immutable once made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sluice::sql {

struct ColumnName {
  std::string schema;  // empty where not qualified
  std::string relation;
  std::string column;  // empty: the whole row, any column
  bool operator==(const ColumnName&) const = default;
};

// One mention of a column.
struct ColumnReference {
  std::vector<uint32_t> any_of;  // into Lineage::names: it is one of these
  bool optional = false;         // or none of them, for something else in the text has that name
  bool operator==(const ColumnReference&) const = default;
};

struct OutputColumn {
  enum class Form : uint8_t {
    value,   // one column
    star,    // any number of columns, which keep the names that they have in the relation
    spread,  // any number of columns, whatever they are called
  };
  std::string name;  // of a value; empty where only the server knows
  Form form = Form::value;
  bool untraceable = false;
  std::vector<uint32_t> references;  // into Lineage::references; sorted
};

// What rows a statement gives back.
struct StatementOutput {
  enum class Source : uint8_t {
    none,      // none, or such that hold no column of a relation (SHOW, EXPLAIN)
    columns,   // `columns`, in order
    executed,  // those of the prepared statement `name`
    fetched,   // those of the cursor `name`
    unknown,   // CALL
  };
  Source source = Source::none;
  std::string name;
  std::vector<OutputColumn> columns;
  bool is_copy = false;  // as COPY data
};

// How the rows of COPY … TO stand in its data (PostgreSQL documentation, "COPY", file formats).
struct CopyFormat {
  enum class Kind : uint8_t { text, csv, binary } kind = Kind::text;
  char delimiter = '\t';  // of CSV a comma where nothing is said
  char quote = '"';
  char escape = '"';
  bool certain = true;  // every option was understood
  bool operator==(const CopyFormat&) const = default;
};

// A query that the text gives a name to: PREPARE or DECLARE.
struct NamedOutput {
  enum class What : uint8_t { prepared, cursor } what = What::prepared;
  std::string name;
  StatementOutput output;
};

struct Lineage {
  std::vector<ColumnName> names;
  std::vector<ColumnReference> references;  // all that the text mentions
  std::vector<uint32_t> written;            // into `names`: columns that it writes, those of COPY FROM included
  std::vector<StatementOutput> outputs;     // by statement of the text
  std::vector<NamedOutput> named;
  CopyFormat copy;
  bool changes_names = true;  // of relations or columns, or what a view stands for; CREATE INDEX does not
  bool complete = false;      // nothing that it reads or writes is hidden in what could not be followed
};

}  // namespace sluice::sql
