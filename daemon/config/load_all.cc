#include "daemon/config/load_all.h"

#include <algorithm>
#include <utility>

#include "policies/rules/masking.h"

namespace sluice::config {
namespace {

using policies::Rule;

// Columns are seen through views, renames and `*` only where the target has a catalog. One warning per rule.
void warn_of_missing_catalog(const Rule& rule, const std::vector<Target>& targets, policies::Problems& problems) {
  if (rule.columns.empty()) return;
  const Target* first = nullptr;
  size_t more = 0;
  for (const Target& target : targets) {
    const auto names_it = [&target](const policies::Glob& pattern) { return pattern.matches(target.name); };
    const bool meant = rule.targets.empty() || std::any_of(rule.targets.begin(), rule.targets.end(), names_it);
    if (!meant || !target.catalog_dsn.empty()) continue;
    if (first == nullptr)
      first = &target;
    else
      ++more;
  }
  if (first == nullptr) return;
  std::string message = "rule `" + rule.name + "` names columns, and target `" + first->name + "`";
  if (more > 0) message += " (and " + std::to_string(more) + " more)";
  message += " has no `catalog`: there a column is known by its name in the statement alone, not through a view";
  problems.push_back({rule.file, rule.line, rule.column, policies::Severity::warning, std::move(message),
                      "add `catalog: {dsn: ...}` to the target"});
}

}  // namespace

Loaded load_all(const std::string& config_file, const policies::FileOpener& opener) {
  Loaded loaded;
  Reading reading = read(config_file, loaded.problems, opener);
  // Names of half-read targets would make rules look wrong that are not.
  const std::vector<std::string> names = reading.valid ? target_names(reading.config) : std::vector<std::string>{};
  loaded.policies = policies::load_policies(reading.config.policies_directory, names, loaded.problems, opener);
  if (reading.valid && loaded.policies != nullptr) {
    for (const Rule& rule : loaded.policies->rules())
      warn_of_missing_catalog(rule, reading.config.targets, loaded.problems);
    for (const policies::MaskRule& rule : loaded.policies->mask_rules())
      warn_of_missing_catalog(rule.when, reading.config.targets, loaded.problems);
  }
  if (reading.valid) loaded.config = std::move(reading.config);
  return loaded;
}

}  // namespace sluice::config
