// What policy decides about: the facts of one command. Plain data; whoever makes it (daemon/command) says not only what
// it saw but also how sure it is, because `unknown` is a value: it is never taken for harmless (docs/policy.md).
// Threading: a StatementFacts is immutable once built and shared between sessions; the rest is built per decision.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::policies {

enum class StatementKind : uint8_t {
  select,
  insert,
  update,
  delete_,
  merge,
  truncate,
  copy,
  create,
  alter,
  drop,
  grant,
  revoke,
  call,
  do_,
  explain,
  prepare,
  execute,
  declare,
  fetch,
  set,
  show,
  begin,
  commit,
  rollback,
  savepoint,
  lock,
  vacuum,
  analyze,
  comment,
  listen,
  notify,
  other,
  unknown,
};
inline constexpr size_t kStatementKindCount = static_cast<size_t>(StatementKind::unknown) + 1;

// The word of the policy language ("delete", "do"); and back. nullopt-like: `unknown_word` false return.
[[nodiscard]] std::string_view to_string(StatementKind kind);
[[nodiscard]] bool parse_statement_kind(std::string_view word, StatementKind& kind);

enum class Access : uint8_t { read, write, read_write };

// A relation as the text names it, folded as the server folds identifiers. An empty schema means unqualified: which
// schema it is depends on the search_path, so a rule about `public.cards` *may* mean it (three-valued matching).
struct Relation {
  std::string schema;
  std::string name;
  Access access = Access::read;
  bool operator==(const Relation&) const = default;
};

// A column that the text reads or writes. `certain` is false where it may be one of several, or one that only an
// unresolved name suggests. An empty column is any of the relation's (`*`, a whole row, all that DELETE takes away).
struct ColumnUse {
  std::string schema;
  std::string relation;
  std::string column;
  Access access = Access::read;
  bool certain = true;
  bool operator==(const ColumnUse&) const = default;
};

// What the text of a statement says. Lists are complete only where the flag beside them says so; an incomplete list
// means "these, and perhaps others".
struct StatementFacts {
  std::vector<StatementKind> kinds;  // every kind the text contains, nested ones included, without repeats
  std::vector<Relation> relations;
  std::vector<std::string> functions;  // as named, schema-qualified where the text says so
  std::vector<ColumnUse> columns;
  bool kinds_complete = false;
  bool relations_complete = false;
  bool functions_complete = false;
  bool columns_complete = false;
  std::string
      why_unknown;  // for the event and `policy explain`: why something above is incomplete; empty where nothing is
};

// Kernel-attested facts about the process that connected. Empty or -1: could not be resolved, which is never a match
// for an allow rule.
struct AttestedIdentity {
  int64_t pid = -1;
  int64_t uid = -1;
  int64_t gid = -1;
  std::string user;
  std::string group;
  std::string exe;         // path of the executable; empty where it is deleted or could not be read
  std::string exe_sha256;  // lower-case hex; empty where not computed
  std::string unit;        // systemd unit
  std::string container;   // container id
  std::string cgroup;      // path below the cgroup v2 root, "/system.slice/x.service"
};

// What the client says about itself in the protocol.
struct ClaimedIdentity {
  std::string db_user;
  std::string database;
  std::string application;
};

enum class Direction : uint8_t { outbound, inbound, listen };

// One command, ready to be decided. Borrowed references; lives on the stack of the caller.
struct Command {
  std::string_view target;
  Direction direction = Direction::outbound;
  std::string_view protocol;
  const AttestedIdentity& attested;
  const ClaimedIdentity& claimed;
  const StatementFacts& facts;
};

}  // namespace sluice::policies
