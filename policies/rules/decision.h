// Decisions and permits. A Permit is the only thing that lets bytes of a client go to the server; only policies/ can make one,
// so code that forwards without a decision does not compile.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "policies/rules/facts.h"

namespace sluice::policies {

enum class Effect : uint8_t { allow, block };
[[nodiscard]] std::string_view to_string(Effect effect);

class PolicySet;
struct Decision;

// Messages that carry no command: never blocked, because blocking one would strand the session (protocols: ROLLBACK is a
// command and is decided; Sync, Terminate, Close, Flush and the authentication exchange are not).
enum class Upkeep : uint8_t {
  startup, authentication, sync, flush, close, terminate, describe, copy_data, copy_end, cancel, stand_in,
};

class Permit {
 public:
  // For protocol upkeep. Every call site names which message it is for.
  [[nodiscard]] static Permit for_upkeep(Upkeep kind);
  [[nodiscard]] bool is_upkeep() const { return upkeep_; }

 private:
  explicit Permit(bool upkeep) : upkeep_(upkeep) {}
  friend Decision evaluate(const Command& command, const PolicySet& policies);
  bool upkeep_;
};

struct Decision {
  Effect effect = Effect::block;
  std::string_view rule;     // name of the rule that determined it; empty: `default`. Lives as long as the PolicySet
  std::string_view because;  // shown to whoever is refused; may be empty. Lives as long as the PolicySet
  std::string error;         // why evaluation itself failed (then the effect is block); empty otherwise
  std::optional<Permit> permit;  // there exactly when the effect is allow
};

// Pure and total: no clock, no I/O, no log. Block beats allow; nothing matched → the set's `default`; an error → block.
[[nodiscard]] Decision evaluate(const Command& command, const PolicySet& policies);

}  // namespace sluice::policies
