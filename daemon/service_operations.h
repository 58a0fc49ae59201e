// What the control socket can ask of the running daemon (control/operations.h), answered from the parts that the
// service wired together. Threading: any control thread; workers are asked by letter, with a bound on the wait.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/acceptor.h"
#include "daemon/audit/audit_log.h"
#include "daemon/catalogs.h"
#include "daemon/command/analysis_pool.h"
#include "daemon/config/config.h"
#include "daemon/control/operations.h"
#include "daemon/interception/steering.h"
#include "daemon/privileged_work.h"
#include "daemon/recorder.h"
#include "daemon/session/policy_source.h"
#include "daemon/session/worker.h"
#include "daemon/target_table.h"
#include "daemon/uncovered_connections.h"
#include "daemon/watcher.h"

namespace sluice {

struct ServiceParts {
  const config::Config& config;
  interception::Steering& steering;
  TargetTable& targets;
  session::PolicySource& policies;
  audit::AuditLog& log;
  Recorder& recorder;
  Acceptor& acceptor;
  Watcher& watcher;
  const command::AnalysisPool& analysis;
  UncoveredConnections& uncovered;
  PrivilegedWork& privileged;
  Catalogs& catalogs;
  std::string audit_path;  // as the daemon's user reaches it
  std::vector<session::Worker*> workers;
  int64_t started_ns = 0;
};

class ServiceOperations final : public control::Operations {
 public:
  explicit ServiceOperations(ServiceParts parts) : parts_(std::move(parts)) {}

  control::StatusView status() override;
  std::string metrics() override;
  std::vector<control::SessionView> sessions() override;
  std::optional<control::SessionView> session(std::string_view id) override;
  control::KillResult kill(std::string_view id, const control::Caller& caller) override;
  Result<std::vector<control::UncoveredView>> uncovered() override { return parts_.uncovered.look(); }
  Result<control::EndResult> end_uncovered(const control::EndRequest& wanted, const control::Caller& caller) override;
  control::ReloadResult reload(const control::Caller& caller) override;
  std::string audit_directory() const override { return parts_.audit_path; }
  Status record_log_read(const control::Caller& caller, std::string_view what) override;

  void set_draining() { draining_.store(true, std::memory_order_relaxed); }

 private:
  [[nodiscard]] std::vector<session::SessionRow> rows();

  ServiceParts parts_;
  std::mutex reload_mutex_;  // one reload at a time
  std::atomic<bool> draining_{false};
};

}  // namespace sluice
