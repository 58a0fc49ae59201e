#include <algorithm>
#include <cstdio>

#include "daemon/cli/commands.h"
#include "daemon/config/load_all.h"
#include "daemon/config/problem_format.h"

namespace sluice::cli {

ExitStatus check_command(const Context& context) {
  const std::string file = context.config_file.empty() ? config::kDefaultConfigFile : context.config_file;
  const config::Loaded loaded = config::load_all(file);
  const size_t errors =
      static_cast<size_t>(std::count_if(loaded.problems.begin(), loaded.problems.end(), [](const auto& problem) {
        return problem.severity == policies::Severity::error;
      }));
  const bool valid = loaded.usable() && errors == 0;
  if (context.json) {
    std::fputs(config::format_json(loaded.problems).c_str(), stdout);
    return valid ? kSuccess : kUsage;
  }
  std::fputs(config::format_text(loaded.problems).c_str(), stderr);
  if (valid) {
    std::printf("%s: valid; %zu targets, %zu rules, policy %s\n", file.c_str(), loaded.config->targets.size(),
                loaded.policies->rule_count(), loaded.policies->version().c_str());
  } else {
    std::fprintf(stderr, "%s: not valid; %zu errors, %zu warnings\n", file.c_str(), errors,
                 loaded.problems.size() - errors);
  }
  return valid ? kSuccess : kUsage;
}

}  // namespace sluice::cli
