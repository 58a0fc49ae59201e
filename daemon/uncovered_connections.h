// The connections to targets that are open now and go past Sluice: looked for once when the daemon begins to enforce
// (what was open before it came), then every kLookMs, and on request. New ones are events; ending one is an event with
// the caller as actor. A thread of its own looks, because a look at a host with very many descriptors may take longer
// than the heartbeat can wait. Threading: any thread; one look at a time. Lifetime: what is passed in outlives it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/thread.h"
#include "daemon/control/operations.h"
#include "daemon/interception/steering.h"
#include "daemon/interception/uncovered.h"
#include "daemon/recorder.h"
#include "daemon/target_table.h"

namespace sluice {

class UncoveredConnections {
 public:
  static constexpr uint64_t kLookMs = 10'000;
  // Connections named in events of one look; the rest is in the event's count.
  static constexpr size_t kNamedMax = 16;

  UncoveredConnections(interception::Steering& steering, const TargetTable& targets, Recorder& recorder,
                       interception::SocketBroker& broker, std::string cgroup_path)
      : steering_(steering),
        targets_(targets),
        recorder_(recorder),
        broker_(broker),
        cgroup_path_(std::move(cgroup_path)) {}

  ~UncoveredConnections() { stop(); }
  [[nodiscard]] Status start();
  void stop();

  // Looks, and records what it had not seen.
  [[nodiscard]] Result<std::vector<control::UncoveredView>> look();
  // By target, in the order of the last look; for the metrics.
  [[nodiscard]] std::vector<std::pair<std::string, uint64_t>> counts() const;
  // Ends those that `wanted` names.
  [[nodiscard]] Result<control::EndResult> end(const control::EndRequest& wanted, const events::Actor& caller);
  // Why the last look failed; empty where it did not.
  [[nodiscard]] std::string problem() const;

 private:
  struct Found {
    interception::UncoveredConnection connection;
    std::string target;
  };
  [[nodiscard]] Result<std::vector<Found>> find();
  void run();
  void record_new(const std::vector<Found>& found);

  interception::Steering& steering_;
  const TargetTable& targets_;
  Recorder& recorder_;
  interception::SocketBroker& broker_;
  const std::string cgroup_path_;
  mutable std::mutex mutex_;
  std::set<uint64_t> seen_;                                 // inodes of those that were open at the last look
  std::map<uint64_t, interception::SocketHolder> holders_;  // of the last look, by inode
  bool looked_ = false;
  std::vector<std::pair<std::string, uint64_t>> counts_;
  std::string problem_;
  std::mutex wake_mutex_;  // guards stopping_
  std::condition_variable wake_;
  bool stopping_ = false;
  Thread thread_;
};

}  // namespace sluice
