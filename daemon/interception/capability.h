// What `sluice doctor` says about a host, one row per fact: found, missing, or not to be told, what a gap means, and
// how to close it. Rows are data (capability_checks.h); whoever has rows of another kind (the command line adds the
// host's configuration) makes values of the same type.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::interception {

enum class Finding : uint8_t {
  found,
  missing,
  unknown,  // cannot be tried here; the detail says why
  limit,    // true of every kernel: nothing to find, but to be known
};

enum class Need : uint8_t {
  required,  // without it targets are not protected
  optional,  // without it something is less good; the meaning says what
  unused,    // for what this version does not do
};

struct Capability {
  std::string group;
  std::string name;
  Need need = Need::required;
  Finding finding = Finding::missing;
  std::string detail;   // what was found, or which error came back
  std::string meaning;  // what a gap means
  std::string remedy;   // how to close it; empty where nobody can
};

struct SteeringOptions;

// What this kernel and host can do for steering; loads and attaches in a private cgroup only, and leaves nothing.
[[nodiscard]] std::vector<Capability> probe_capabilities(const SteeringOptions& options);

}  // namespace sluice::interception
