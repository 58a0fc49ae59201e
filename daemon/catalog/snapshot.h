// What a server's relations and columns are called, and whose data their columns hold: read from its catalog, then
// immutable. A column is known under its own name, under every name that it had while this process watched, under those
// of the tables that it is inherited from or is a partition of, and, of a view, under those of the columns that feed it
// (by analysis of the view's definition). So a rename takes nothing out of a rule's sight, and a view hides nothing.
// Lifetime: shared by all who resolve with it. Threading: immutable. Limits: kRelationsMax, kColumnsMax; past them the
// reader takes the catalog for unreadable.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace sluice::catalog {

inline constexpr size_t kRelationsMax = 200'000;
inline constexpr size_t kColumnsMax = 2'000'000;
// Objects below belong to the server itself (FirstNormalObjectId, access/transam.h).
inline constexpr uint32_t kFirstUserOid = 16'384;

// A name under which the values of a column are known.
struct Origin {
  std::string schema, relation, column;
  auto operator<=>(const Origin&) const = default;
};

struct Column {
  std::string name;
  uint16_t attribute = 0;
  bool generated = false;    // not in COPY of the table
  bool untraceable = false;  // of a view: what feeds it cannot be told
  std::vector<Origin> origins;
};

struct Relation {
  uint32_t oid = 0;
  std::string schema, name;
  bool own = true;              // false: the server's own, whose columns are not read
  std::vector<Column> columns;  // by attribute number, without those that were dropped
  [[nodiscard]] const Column* column(std::string_view name) const;
  [[nodiscard]] const Column* attribute(uint16_t number) const;
};

// As the catalog tables have it.
struct Rows {
  struct RelationRow {
    uint32_t oid = 0;
    std::string schema, name;
    char kind = 'r';         // pg_class.relkind
    std::string definition;  // of a view
    bool operator==(const RelationRow&) const = default;
  };
  struct ColumnRow {
    uint32_t relation = 0;
    uint16_t attribute = 0;
    std::string name;
    bool generated = false;
    bool operator==(const ColumnRow&) const = default;
  };
  std::vector<RelationRow> relations;
  std::vector<ColumnRow> columns;
  std::vector<std::pair<uint32_t, uint32_t>> inherits;  // child, parent
  bool operator==(const Rows&) const = default;
};

// Names that columns had, by relation and attribute number. Kept by the reader from one snapshot to the next.
using FormerNames = std::map<std::pair<uint32_t, uint16_t>, std::vector<Origin>>;

class Snapshot {
 public:
  // REQUIRES: a stack of sql::kAnalysisStackBytes, for the definitions of views are analysed. `former` is brought up to
  // date.
  [[nodiscard]] static std::shared_ptr<const Snapshot> build(const Rows& rows, FormerNames& former);

  [[nodiscard]] const Relation* by_oid(uint32_t oid) const;
  // All that have the name, in any schema.
  [[nodiscard]] std::span<const Relation* const> by_name(std::string_view name) const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  friend class SnapshotBuilder;
  std::vector<Relation> relations_;
  std::unordered_map<uint32_t, const Relation*> oids_;
  std::unordered_map<std::string, std::vector<const Relation*>, Hash, std::equal_to<>> names_;
};

}  // namespace sluice::catalog
