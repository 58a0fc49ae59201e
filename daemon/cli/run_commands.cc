// Commands that act on this host: run, guard, unload, demo; and version.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "daemon/base/version.h"
#include "daemon/cli/commands.h"
#include "daemon/interception/steering.h"

namespace sluice::cli {
namespace {

interception::SteeringOptions steering_options(const config::Config& config) {
  interception::SteeringOptions options;
  options.bpf_directory = config.bpf_directory;
  options.cgroup_path = config.cgroup_path;
  return options;
}

std::vector<interception::SteeredTarget> steered_targets(const config::Config& config) {
  std::vector<interception::SteeredTarget> steered;
  for (const config::Target& target : config.targets) {
    interception::SteeredTarget entry;
    entry.name = target.name;
    entry.when_down =
        target.when_down == config::WhenDown::deny ? interception::WhenDown::deny : interception::WhenDown::allow;
    for (const config::Endpoint& address : target.addresses) {
      interception::SteeredEndpoint endpoint;
      endpoint.family = address.family == config::Endpoint::Family::ipv4 ? AF_INET : AF_INET6;
      std::memcpy(endpoint.address, address.bytes, sizeof endpoint.address);
      endpoint.prefix_bits = address.prefix_bits;
      endpoint.port = address.port;
      entry.endpoints.push_back(endpoint);
    }
    steered.push_back(std::move(entry));
  }
  return steered;
}

}  // namespace

ExitStatus run_command(const Context& context) {
  const std::optional<config::Config> config = context.configuration(Context::Warnings::show);
  if (!config) return kUsage;
  const int status = context.environment().run_daemon(*config);
  return status == 0 ? kSuccess : static_cast<ExitStatus>(status);
}

ExitStatus guard_command(const Context& context) {
  const std::optional<config::Config> config = context.configuration(Context::Warnings::show);
  if (!config) return kUsage;
  const std::vector<interception::SteeredTarget> targets = steered_targets(*config);
  if (const Status attached = interception::attach_guard(steering_options(*config), targets); !attached) {
    complain("the guard could not be attached: " + attached.error().message);
    return kUsage;
  }
  std::printf("guarding %zu targets until the daemon starts: what connects gets what when_down says\n", targets.size());
  return kSuccess;
}

ExitStatus unload_command(const Context& context) {
  // Without a configuration file the defaults are right: whoever wants Sluice gone must not have to mend a file first.
  interception::SteeringOptions options;
  if (!context.config_file.empty() || ::access(config::kDefaultConfigFile, F_OK) == 0) {
    const std::optional<config::Config> config = context.configuration();
    if (!config) return kUsage;
    options = steering_options(*config);
  }
  const Result<interception::Unloaded> unloaded = interception::unload(options);
  if (!unloaded) {
    complain("unload: " + unloaded.error().message);
    return kUsage;
  }
  if (context.json) {
    print_line(to_line(Json{{"removed", unloaded->removed}, {"daemon_lives", unloaded->daemon_lives}}));
  } else if (unloaded->removed == 0) {
    std::printf("nothing was loaded; targets are not covered by Sluice\n");
  } else {
    std::printf(
        "removed %d links and maps; from now on targets are UNCOVERED: connections to them go straight through, "
        "unseen\n",
        unloaded->removed);
  }
  if (unloaded->daemon_lives)
    complain("unload: a daemon still runs, without effect; stop it, then unload once more to remove its lock");
  return kSuccess;
}

ExitStatus demo_command(const Context& context, const std::vector<std::string>& arguments) {
  // build/sluice stands beside scripts/; an installed one has it under share/.
  const std::filesystem::path own = context.environment().own_path;
  const std::filesystem::path candidates[] = {own.parent_path() / "../scripts/demo",
                                              own.parent_path() / "../share/sluice/scripts/demo"};
  std::error_code error;
  for (const std::filesystem::path& script : candidates) {
    if (!std::filesystem::exists(script, error)) continue;
    std::vector<std::string> words = {script.string(), "--binary", own.string()};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    complain("run " + script.string() + ": " + std::error_code(errno, std::generic_category()).message());
    return kUsage;
  }
  complain("the demo script was not found; looked for " + candidates[0].string() + " and " + candidates[1].string());
  return kUsage;
}

ExitStatus version_command(const Context& context) {
  if (context.json) {
    print_line(to_line(Json{{"version", kVersion}}));
  } else {
    std::printf("sluice %s\n", kVersion);
  }
  return kSuccess;
}

}  // namespace sluice::cli
