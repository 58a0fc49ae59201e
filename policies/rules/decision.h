// Decisions and permits. A Permit is the only thing that lets bytes of a client go to the server; only policies/ can
// make one, so code that forwards without a decision does not compile.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "policies/rules/facts.h"

namespace sluice::policies {

enum class Effect : uint8_t { allow, block };
[[nodiscard]] std::string_view to_string(Effect effect);

// How sure a condition is. A block rule applies on maybe, an allow rule on yes alone.
enum class Match : uint8_t { no, maybe, yes };

class PolicySet;
struct Decision;

// Messages that carry no command: never blocked, because blocking one would strand the session (protocols: ROLLBACK is
// a command and is decided; Sync, Terminate, Close, Flush and the authentication exchange are not).
enum class Upkeep : uint8_t {
  startup,
  authentication,
  sync,
  flush,
  close,
  terminate,
  describe,
  copy_data,
  copy_end,
  cancel,
  stand_in,
};

class Permit {
 public:
  // For protocol upkeep. Every call site names which message it is for.
  [[nodiscard]] static Permit for_upkeep(Upkeep kind);
  [[nodiscard]] bool is_upkeep() const { return upkeep_; }

 private:
  explicit Permit(bool upkeep) : upkeep_(upkeep) {}
  friend class Verdict;  // policies/rules/verdict.h: what evaluation found
  bool upkeep_;
};

struct Decision {
  Effect effect = Effect::block;
  std::string_view rule;     // name of the rule that determined it; empty: `default`. Lives as long as the PolicySet
  std::string_view because;  // shown to whoever is refused; may be empty. Lives as long as the PolicySet
  std::string error;         // why evaluation itself failed (then the effect is block); empty otherwise
  std::optional<Permit> permit;  // there exactly when the effect is allow
  Match match =
      Match::yes;  // maybe: a block rule that could not be ruled out (StatementFacts::why_unknown may say why)
  std::string_view
      almost;  // blocked by default: the first allow rule that may match but not for certain. Lives as `rule`
};

// Pure and total: no clock, no I/O, no log. Block beats allow; nothing matched → the set's `default`; an error → block.
//
// For a block rule one statement kind, relation or function that matches is enough, and "maybe" counts. For an allow
// rule every kind, relation and function of the command has to match, for certain, and the lists have to be complete; a
// text that could not be read matches no allow rule that does not name `unknown`. A command that is certainly nothing
// but COMMIT and ROLLBACK is allowed whatever the rules say (rule is empty then): blocking it would strand the session
// in its transaction. For many commands of one session, SessionPolicy (session_policy.h) gives the same answers faster.
[[nodiscard]] Decision evaluate(const Command& command, const PolicySet& policies);

// One sentence for whoever is refused: names the rule and its reason. REQUIRES: decision.effect is block.
[[nodiscard]] std::string refusal_text(const Decision& decision, const StatementFacts& facts);

}  // namespace sluice::policies
