// Configuration and policies together, as `run`, `check` and a reload need them: every problem of both at once.
//
//   config::Loaded loaded = config::load_all(file);
//   if (!loaded.usable()) return report(config::format_text(loaded.problems));   // what runs stays as it is
//   use(*loaded.config, loaded.policies);
//
// Lifetime: plain values. Threading: none.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "daemon/config/config.h"
#include "policies/rules/policy_set.h"
#include "policies/rules/problem.h"

namespace sluice::config {

struct Loaded {
  std::optional<Config> config;                         // nullopt after an error in it
  std::shared_ptr<const policies::PolicySet> policies;  // null after an error in them
  policies::Problems problems;                          // errors and warnings, of the configuration first

  [[nodiscard]] bool usable() const { return config.has_value() && policies != nullptr; }
};

// Policies are read even where the configuration has errors, as far as it says where they are.
[[nodiscard]] Loaded load_all(const std::string& config_file,
                              const policies::FileOpener& opener = policies::open_to_read);

}  // namespace sluice::config
