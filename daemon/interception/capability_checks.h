// The rows of `sluice doctor` as data: what is looked for, how, what a gap means and how to close it. Every feature is
// found by trying it, in a cgroup made for the purpose; never by comparing version numbers: distributions carry
// features back. One table per concern; capabilities.cc runs them in this order. Lifetime: a TrialHost lives for one
// run, on one thread, and removes its cgroup at the end.
#pragma once

#include <span>
#include <string>

#include "daemon/base/unique_fd.h"
#include "daemon/interception/capability.h"
#include "daemon/interception/steering.h"

namespace sluice::interception {

// A cgroup that exists for the trials alone; removed at the end.
class TrialHost {
 public:
  explicit TrialHost(SteeringOptions options);
  ~TrialHost();
  TrialHost(const TrialHost&) = delete;
  TrialHost& operator=(const TrialHost&) = delete;

  [[nodiscard]] const SteeringOptions& options() const { return options_; }
  // Empty where there is none; then why_not() says so.
  [[nodiscard]] const std::string& cgroup() const { return cgroup_; }
  [[nodiscard]] std::string why_not() const;
  // For pins of the trials' own.
  [[nodiscard]] std::string pin_directory() const;

 private:
  SteeringOptions options_;
  std::string cgroup_;
  int error_ = 0;
};

struct Verdict {
  Finding finding = Finding::missing;
  std::string detail;
};

struct Check {
  const char* name;
  Need need;
  const char* meaning;
  const char* remedy;
  Verdict (*look)(TrialHost& host);
};

struct CheckGroup {
  const char* name;
  std::span<const Check> checks;
};

[[nodiscard]] CheckGroup host_checks();      // mounts, namespaces, what the kernel was told
[[nodiscard]] CheckGroup kernel_checks();    // programs, maps, helpers, hooks
[[nodiscard]] CheckGroup steering_checks();  // the whole way, by each kind of socket
[[nodiscard]] CheckGroup identity_checks();  // what is known about who connects
[[nodiscard]] CheckGroup beyond_checks();  // around it: other namespaces, connections from before, ways past the hooks

[[nodiscard]] inline Verdict found(std::string detail) {
  return {Finding::found, std::move(detail)};
}
[[nodiscard]] inline Verdict missing(std::string detail) {
  return {Finding::missing, std::move(detail)};
}
[[nodiscard]] inline Verdict unknown(std::string detail) {
  return {Finding::unknown, std::move(detail)};
}
[[nodiscard]] std::string error_text(int error_number);

}  // namespace sluice::interception
