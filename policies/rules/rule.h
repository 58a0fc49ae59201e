// One rule, compiled, and how each of its conditions matches. Matching is three-valued (docs/policy.md): a block rule
// applies on maybe, an allow rule on yes alone. Lifetime: rules live in their PolicySet. Threading: immutable. Limits:
// names of facts are at most kFactBytesMax; one decision makes at most kComparisonsMax comparisons. Past either,
// evaluation fails, which blocks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policies/rules/columns.h"
#include "policies/rules/decision.h"
#include "policies/rules/facts.h"
#include "policies/rules/glob.h"

namespace sluice::policies {

inline constexpr size_t kFactBytesMax = 4'096;
inline constexpr uint64_t kComparisonsMax = 4'000'000;

// Bit `kind` stands for StatementKind `kind`.
using KindMask = uint64_t;
static_assert(kStatementKindCount <= 64);
[[nodiscard]] constexpr KindMask kind_bit(StatementKind kind) {
  return KindMask{1} << static_cast<unsigned>(kind);
}

// `schema.name` or `name` (any schema) of a relation or function.
struct QualifiedPattern {
  Glob schema;  // everything where the pattern names none
  Glob name;

  // `schema` empty: the text did not say which.
  [[nodiscard]] Match match(std::string_view in_schema, std::string_view in_name) const;
  // "schema.name" or "name"; where dots leave several readings open, the answer holds for all of them (else maybe).
  [[nodiscard]] Match match_dotted(std::string_view function) const;
  [[nodiscard]] bool covers(const QualifiedPattern& other) const;
};

// A condition that the rule does not have is empty. Each list is "any of".
struct IdentityCondition {
  std::vector<Glob> user, group, exe, exe_sha256, unit, container, cgroup, db_user, application;
  std::vector<int64_t> uid, gid;

  [[nodiscard]] Match match(const AttestedIdentity& attested, const ClaimedIdentity& claimed) const;
  [[nodiscard]] bool covers(const IdentityCondition& other) const;
};

// Who and where: what stays the same for all commands of a session.
struct Subject {
  std::string_view target;
  Direction direction = Direction::outbound;
  std::string_view protocol;
  const AttestedIdentity& attested;
  const ClaimedIdentity& claimed;
};

struct Rule {
  KindMask kinds = 0;  // 0: no condition
  Effect effect = Effect::block;
  std::string name;
  std::string because;
  std::vector<Glob> targets;
  std::vector<Direction> directions;
  std::vector<Glob> protocols;
  std::vector<QualifiedPattern> tables;
  std::vector<QualifiedPattern> functions;
  std::vector<ColumnPattern> columns;  // of a rule that masks: what it masks
  IdentityCondition identity;
  std::string file;  // where it stands
  uint32_t line = 0;
  uint32_t column = 0;

  [[nodiscard]] Match match_subject(const Subject& subject) const;
  // True only where every command that `other` matches is matched by this rule for certain.
  [[nodiscard]] bool covers(const Rule& other) const;
};

// The facts of one command with what all rules need of them, and the budget of comparisons.
class StatementMatcher {
 public:
  explicit StatementMatcher(const StatementFacts& facts);

  // Why the facts cannot be evaluated; empty where they can.
  [[nodiscard]] const std::string& error() const { return error_; }
  // Exactly transaction ends, and certainly nothing else.
  [[nodiscard]] bool is_transaction_end() const;
  [[nodiscard]] Match match(const Rule& rule);

 private:
  [[nodiscard]] Match match_kinds(const Rule& rule) const;
  template <typename Patterns, typename Items, typename Test>
  [[nodiscard]] Match match_names(const Rule& rule, const Patterns& patterns, const Items& items, bool complete,
                                  Test test);

  const StatementFacts& facts_;
  KindMask kinds_ = 0;
  uint64_t comparisons_ = 0;
  std::string error_;
};

}  // namespace sluice::policies
