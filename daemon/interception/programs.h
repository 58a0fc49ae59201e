// The eBPF programs and maps as one unit: load, attach, pin, take over, detach.
//
// load() makes the programs ready and opens or makes the maps; commit() puts the programs in force and pins everything.
// Each is a transaction: what a failure leaves is what was there before.
//   nothing pinned      → attach, pin in a staging directory, rename
//   pinned, same layout → the maps are used on; each link gets its new program by link update, so no connect is missed
//   pinned, other layout→ new maps; needs_filling() says that they must be filled before commit() switches the links
//   over
// Lifetime: destruction closes descriptors and leaves everything pinned. Control thread only, but the map descriptors
// may be used by any thread.
#pragma once

#include <linux/bpf.h>

#include <array>
#include <cstddef>
#include <memory>
#include <string>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

struct steering_bpf;  // the generated skeleton

namespace sluice::interception {

struct Hook {
  const char* name;  // of the pin: link_NAME
  bpf_attach_type type;
};
inline constexpr std::array<Hook, 7> kHooks = {{
    {"connect4", BPF_CGROUP_INET4_CONNECT},
    {"connect6", BPF_CGROUP_INET6_CONNECT},
    {"getpeername4", BPF_CGROUP_INET4_GETPEERNAME},
    {"getpeername6", BPF_CGROUP_INET6_GETPEERNAME},
    {"getsockname4", BPF_CGROUP_INET4_GETSOCKNAME},
    {"getsockname6", BPF_CGROUP_INET6_GETSOCKNAME},
    {"sockops", BPF_CGROUP_SOCK_OPS},
}};

enum class MapId : size_t { endpoints, settings, listeners, exempt, notes, connections, counters, names, mptcp_names };
inline constexpr size_t kMapCount = 9;

struct PinnedObjects;

// Where things are pinned.
[[nodiscard]] std::string map_pin(const std::string& directory, size_t map);
[[nodiscard]] std::string link_pin(const std::string& directory, size_t hook);

class Programs {
 public:
  // Loads, without any effect on connections yet. notes_max bounds the map of notes.
  [[nodiscard]] static Result<std::unique_ptr<Programs>> load(const std::string& bpf_directory, UniqueFd cgroup,
                                                              uint32_t notes_max);
  ~Programs();
  Programs(const Programs&) = delete;
  Programs& operator=(const Programs&) = delete;

  [[nodiscard]] int map(MapId id) const;
  [[nodiscard]] int cgroup() const { return cgroup_.get(); }  // that the programs are attached to
  // True where the maps are new but programs of another layout are in force: fill the maps, then commit().
  [[nodiscard]] bool needs_filling() const { return state_ == State::other_layout; }
  // True where the maps are new and empty.
  [[nodiscard]] bool maps_are_new() const { return maps_are_new_; }
  [[nodiscard]] bool committed() const { return state_ == State::in_force; }
  [[nodiscard]] Status commit();
  // Empty where every link is attached with our program and pinned; else what is wrong. `pinned`: what stands in the
  // pin directory now.
  [[nodiscard]] std::string check(const PinnedObjects& pinned) const;
  // True where refused connects get ECONNREFUSED rather than EPERM.
  [[nodiscard]] bool refuses_cleanly() const { return has_set_retval_; }

 private:
  enum class State { nothing_pinned, same_layout, other_layout, in_force };
  Programs(std::string bpf_directory, UniqueFd cgroup);
  Status open_and_load(uint32_t notes_max);
  Status reuse_pinned_maps();
  Status commit_first();
  Status commit_over(const std::string& pin_into);
  Status attach_or_update(size_t hook);
  void roll_back(size_t hooks_done);
  int program(size_t hook) const;

  std::string directory_;
  UniqueFd cgroup_;
  uint64_t cgroup_id_ = 0;
  steering_bpf* skeleton_ = nullptr;
  State state_ = State::nothing_pinned;
  bool maps_are_new_ = true;
  bool has_set_retval_ = false;
  std::array<UniqueFd, kHooks.size()> links_;
  std::array<UniqueFd, kHooks.size()> replaced_programs_;  // for a roll back
};

// What libbpf said last (it only has a global log), for error messages. Bounded; safe from any thread.
void capture_libbpf_log();
[[nodiscard]] std::string take_libbpf_log();

// Detaches every link pinned in `directory` at once, also where another process still holds it open.
void detach_links(const std::string& directory);

}  // namespace sluice::interception
