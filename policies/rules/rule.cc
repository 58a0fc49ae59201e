#include "policies/rules/rule.h"

#include <algorithm>

namespace sluice::policies {
namespace {

constexpr KindMask kTransactionEnds = kind_bit(StatementKind::commit) | kind_bit(StatementKind::rollback);
constexpr KindMask kUnknownKind = kind_bit(StatementKind::unknown);

Match certain(bool value) {
  return value ? Match::yes : Match::no;
}

bool any_matches(const std::vector<Glob>& patterns, std::string_view text) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const Glob& glob) { return glob.matches(text); });
}

// A fact that could not be resolved may be anything.
Match match_fact(const std::vector<Glob>& patterns, std::string_view fact, bool resolved) {
  if (patterns.empty()) return Match::yes;
  if (!resolved) return Match::maybe;
  return certain(any_matches(patterns, fact));
}

Match match_number(const std::vector<int64_t>& numbers, int64_t fact) {
  if (numbers.empty()) return Match::yes;
  if (fact < 0) return Match::maybe;
  return certain(std::find(numbers.begin(), numbers.end(), fact) != numbers.end());
}

// Condition `wide` holds wherever condition `narrow` does (empty: no condition).
template <typename T, typename Covers>
bool list_covers(const std::vector<T>& wide, const std::vector<T>& narrow, Covers covers) {
  if (wide.empty()) return true;
  if (narrow.empty()) return false;
  return std::all_of(narrow.begin(), narrow.end(), [&](const T& inner) {
    return std::any_of(wide.begin(), wide.end(), [&](const T& outer) { return covers(outer, inner); });
  });
}

bool globs_cover(const std::vector<Glob>& wide, const std::vector<Glob>& narrow) {
  return list_covers(wide, narrow, [](const Glob& a, const Glob& b) { return a.covers(b); });
}

template <typename T>
bool values_cover(const std::vector<T>& wide, const std::vector<T>& narrow) {
  return list_covers(wide, narrow, [](const T& a, const T& b) { return a == b; });
}

bool qualified_cover(const std::vector<QualifiedPattern>& wide, const std::vector<QualifiedPattern>& narrow) {
  return list_covers(wide, narrow, [](const QualifiedPattern& a, const QualifiedPattern& b) { return a.covers(b); });
}

}  // namespace

Match QualifiedPattern::match(std::string_view in_schema, std::string_view in_name) const {
  if (!name.matches(in_name)) return Match::no;
  if (schema.matches_everything()) return Match::yes;
  if (in_schema.empty()) return Match::maybe;  // the search_path decides, and it is not known here
  return certain(schema.matches(in_schema));
}

Match QualifiedPattern::match_dotted(std::string_view function) const {
  size_t dot = function.find('.');
  if (dot == std::string_view::npos) return match({}, function);
  Match least = Match::yes;
  Match most = Match::no;
  for (; dot != std::string_view::npos; dot = function.find('.', dot + 1)) {
    const Match reading = match(function.substr(0, dot), function.substr(dot + 1));
    least = std::min(least, reading);
    most = std::max(most, reading);
  }
  return least == most ? least : Match::maybe;
}

bool QualifiedPattern::covers(const QualifiedPattern& other) const {
  return name.covers(other.name) && schema.covers(other.schema);
}

Match IdentityCondition::match(const AttestedIdentity& attested, const ClaimedIdentity& claimed) const {
  // Unit and container are read off the cgroup path: where that is known, an empty one means that there is none.
  const bool placed = !attested.cgroup.empty();
  Match all = Match::yes;
  const auto also = [&](Match match) { all = std::min(all, match); };
  also(match_number(uid, attested.uid));
  also(match_number(gid, attested.gid));
  also(match_fact(user, attested.user, !attested.user.empty()));
  also(match_fact(group, attested.group, !attested.group.empty()));
  also(match_fact(exe, attested.exe, !attested.exe.empty()));
  also(match_fact(exe_sha256, attested.exe_sha256, !attested.exe_sha256.empty()));
  also(match_fact(unit, attested.unit, placed || !attested.unit.empty()));
  also(match_fact(container, attested.container, placed || !attested.container.empty()));
  also(match_fact(cgroup, attested.cgroup, placed));
  also(match_fact(db_user, claimed.db_user, !claimed.db_user.empty()));
  also(match_fact(application, claimed.application, true));  // no application_name: that is what the client claims
  return all;
}

bool IdentityCondition::covers(const IdentityCondition& other) const {
  return globs_cover(user, other.user) && globs_cover(group, other.group) && globs_cover(exe, other.exe) &&
         globs_cover(exe_sha256, other.exe_sha256) && globs_cover(unit, other.unit) &&
         globs_cover(container, other.container) && globs_cover(cgroup, other.cgroup) &&
         globs_cover(db_user, other.db_user) && globs_cover(application, other.application) &&
         values_cover(uid, other.uid) && values_cover(gid, other.gid);
}

Match Rule::match_subject(const Subject& subject) const {
  if (!targets.empty() && !any_matches(targets, subject.target)) return Match::no;
  if (!protocols.empty() && !any_matches(protocols, subject.protocol)) return Match::no;
  if (!directions.empty() && std::find(directions.begin(), directions.end(), subject.direction) == directions.end()) {
    return Match::no;
  }
  return identity.match(subject.attested, subject.claimed);
}

bool Rule::covers(const Rule& other) const {
  const bool kinds_covered = kinds == 0 || (other.kinds != 0 && (other.kinds & ~kinds) == 0);
  return kinds_covered && globs_cover(targets, other.targets) && globs_cover(protocols, other.protocols) &&
         values_cover(directions, other.directions) && qualified_cover(tables, other.tables) &&
         qualified_cover(functions, other.functions) &&
         list_covers(columns, other.columns,
                     [](const ColumnPattern& a, const ColumnPattern& b) { return a.covers(b); }) &&
         identity.covers(other.identity);
}

StatementMatcher::StatementMatcher(const StatementFacts& facts) : facts_(facts) {
  for (const StatementKind kind : facts.kinds) {
    if (static_cast<size_t>(kind) >= kStatementKindCount) {
      error_ = "statement kind " + std::to_string(static_cast<unsigned>(kind)) + " is not one that policy knows";
      return;
    }
    kinds_ |= kind_bit(kind);
  }
  const auto too_long = [](const std::string& name) { return name.size() > kFactBytesMax; };
  const bool long_relation = std::any_of(facts.relations.begin(), facts.relations.end(),
                                         [&](const Relation& r) { return too_long(r.schema) || too_long(r.name); });
  const bool long_column = std::any_of(facts.columns.begin(), facts.columns.end(), [&](const ColumnUse& use) {
    return too_long(use.schema) || too_long(use.relation) || too_long(use.column);
  });
  if (long_relation || long_column || std::any_of(facts.functions.begin(), facts.functions.end(), too_long)) {
    error_ = "a name is longer than " + std::to_string(kFactBytesMax) + " bytes";
  }
}

bool StatementMatcher::is_transaction_end() const {
  return error_.empty() && facts_.kinds_complete && kinds_ != 0 && (kinds_ & ~kTransactionEnds) == 0 &&
         facts_.relations.empty() && facts_.functions.empty();
}

Match StatementMatcher::match(const Rule& rule) {
  Match match = match_kinds(rule);
  if (match != Match::no && !rule.tables.empty()) {
    match = std::min(match, match_names(rule, rule.tables, facts_.relations, facts_.relations_complete,
                                        [](const QualifiedPattern& pattern, const Relation& relation) {
                                          return pattern.match(relation.schema, relation.name);
                                        }));
  }
  if (match != Match::no && !rule.functions.empty()) {
    match = std::min(match, match_names(rule, rule.functions, facts_.functions, facts_.functions_complete,
                                        [](const QualifiedPattern& pattern, const std::string& function) {
                                          return pattern.match_dotted(function);
                                        }));
  }
  if (match != Match::no && !rule.columns.empty()) {
    match = std::min(match, match_names(rule, rule.columns, facts_.columns, facts_.columns_complete,
                                        [](const ColumnPattern& pattern, const ColumnUse& use) {
                                          const Match found = pattern.match(use.schema, use.relation, use.column);
                                          return use.certain ? found : std::min(found, Match::maybe);
                                        }));
  }
  return match;
}

// Block: one of the kinds is enough. Allow: all of them have to be in the list, or `select 1; drop table x` would pass
// as a select.
Match StatementMatcher::match_kinds(const Rule& rule) const {
  const bool unreadable = (kinds_ & kUnknownKind) != 0 || (kinds_ == 0 && !facts_.kinds_complete);
  if (rule.effect == Effect::block) {
    if (rule.kinds == 0 || (kinds_ & rule.kinds) != 0) return Match::yes;
    return unreadable || !facts_.kinds_complete ? Match::maybe : Match::no;
  }
  const bool names_unknown = (rule.kinds & kUnknownKind) != 0;
  if (rule.kinds == 0) return unreadable ? Match::maybe : Match::yes;
  if (kinds_ == 0 && facts_.kinds_complete) return Match::no;  // an empty text is none of them
  if ((kinds_ & ~(rule.kinds | kUnknownKind)) != 0) return Match::no;
  return (unreadable || !facts_.kinds_complete) && !names_unknown ? Match::maybe : Match::yes;
}

// Block: one name that matches is enough. Allow: there is one, and every one matches.
template <typename Patterns, typename Items, typename Test>
Match StatementMatcher::match_names(const Rule& rule, const Patterns& patterns, const Items& items, bool complete,
                                    Test test) {
  const bool any = rule.effect == Effect::block;
  if (!any && items.empty()) return complete ? Match::no : Match::maybe;
  Match all = any ? Match::no : Match::yes;
  for (const auto& item : items) {
    comparisons_ += patterns.size();
    if (comparisons_ > kComparisonsMax) {
      error_ = "the command names too much to be compared with every rule";
      return Match::maybe;
    }
    Match best = Match::no;
    for (const auto& pattern : patterns) {
      best = std::max(best, test(pattern, item));
      if (best == Match::yes) break;
    }
    all = any ? std::max(all, best) : std::min(all, best);
    if (all == (any ? Match::yes : Match::no)) return all;
  }
  if (complete) return all;
  return any ? std::max(all, Match::maybe) : std::min(all, Match::maybe);
}

}  // namespace sluice::policies
