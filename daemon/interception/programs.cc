#include "daemon/interception/programs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <steering.skel.h>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <utility>

#include "bpf/abi.h"
#include "daemon/interception/host.h"
#include "daemon/interception/kernel_broker.h"
#include "daemon/interception/pins.h"

namespace sluice::interception {
namespace {

constexpr size_t kLogBytesMax = 2048;

constexpr const char* kMapNames[kMapCount] = {"endpoints",   "settings", "listeners", "exempt",     "notes",
                                              "connections", "counters", "names",     "mptcp_names"};

// libbpf's log has one callback for the whole process and no context, hence the only mutable globals of this folder.
std::mutex log_mutex;
std::string log_text;

int keep_log(libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN) return 0;
  char line[512];
  std::vsnprintf(line, sizeof(line), format, arguments);
  std::lock_guard<std::mutex> lock(log_mutex);
  log_text += line;
  if (log_text.size() > kLogBytesMax) log_text.erase(0, log_text.size() - kLogBytesMax);
  return 0;
}

Result<bpf_link_info> link_info(int fd) {
  bpf_link_info info = {};
  uint32_t size = sizeof(info);
  if (bpf_obj_get_info_by_fd(fd, &info, &size) != 0) return fail_errno("ask for a link", errno);
  return info;
}

// Whether the pinned map is laid out as the object's own definition.
bool same_layout(int fd, const bpf_map* wanted) {
  bpf_map_info info = {};
  uint32_t size = sizeof(info);
  if (bpf_obj_get_info_by_fd(fd, &info, &size) != 0) return false;
  return info.type == bpf_map__type(wanted) && info.key_size == bpf_map__key_size(wanted) &&
         info.value_size == bpf_map__value_size(wanted) && info.max_entries == bpf_map__max_entries(wanted) &&
         info.map_flags == bpf_map__map_flags(wanted);
}

bool same_abi(int settings_fd) {
  uint32_t zero = 0;
  sluice_settings settings = {};
  return bpf_map_lookup_elem(settings_fd, &zero, &settings) == 0 && settings.abi == SLUICE_ABI;
}

std::array<bpf_map*, kMapCount> maps_of(steering_bpf* skeleton) {
  auto& maps = skeleton->maps;
  return {maps.sluice_endpoints, maps.sluice_settings, maps.sluice_listeners,
          maps.sluice_exempt,    maps.sluice_notes,    maps.sluice_connections,
          maps.sluice_counters,  maps.sluice_names,    maps.sluice_mptcp_names};
}

}  // namespace

std::string map_pin(const std::string& directory, size_t map) {
  return directory + "/map_" + kMapNames[map];
}
std::string link_pin(const std::string& directory, size_t hook) {
  return directory + "/link_" + kHooks[hook].name;
}

void capture_libbpf_log() {
  libbpf_set_print(keep_log);
}

static void forget_libbpf_log() {
  std::lock_guard<std::mutex> lock(log_mutex);
  log_text.clear();
}

std::string take_libbpf_log() {
  std::lock_guard<std::mutex> lock(log_mutex);
  std::string text = std::exchange(log_text, {});
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

Programs::Programs(std::string bpf_directory, UniqueFd cgroup)
    : directory_(std::move(bpf_directory)), cgroup_(std::move(cgroup)) {}

Programs::~Programs() {
  steering_bpf__destroy(skeleton_);
}

Result<std::unique_ptr<Programs>> Programs::load(const std::string& bpf_directory, UniqueFd cgroup,
                                                 uint32_t notes_max) {
  auto cgroup_id = cgroup_id_of(cgroup.get());
  if (!cgroup_id) return tl::unexpected(cgroup_id.error());
  std::unique_ptr<Programs> programs(new Programs(bpf_directory, std::move(cgroup)));
  programs->cgroup_id_ = *cgroup_id;
  if (Status loaded = programs->open_and_load(notes_max); !loaded) return tl::unexpected(loaded.error());
  return programs;
}

Status Programs::open_and_load(uint32_t notes_max) {
  capture_libbpf_log();
  forget_libbpf_log();
  skeleton_ = steering_bpf__open();
  if (skeleton_ == nullptr) return fail_errno("open the eBPF object: " + take_libbpf_log(), errno);
  has_set_retval_ = libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval, nullptr) == 1;
  skeleton_->rodata->has_set_retval = has_set_retval_;
  skeleton_->rodata->has_sockops_netns_cookie =
      libbpf_probe_bpf_helper(BPF_PROG_TYPE_SOCK_OPS, BPF_FUNC_get_netns_cookie, nullptr) == 1;
  if (bpf_map__set_max_entries(skeleton_->maps.sluice_notes, notes_max) != 0) return fail("set the bound on notes");
  forget_libbpf_log();
  if (Status reused = reuse_pinned_maps(); !reused) return reused;
  if (steering_bpf__load(skeleton_) != 0) {
    int why = errno;
    std::string log = take_libbpf_log();
    return fail_errno("load the eBPF programs" + (log.empty() ? "" : " (" + log + ")"), why);
  }
  return {};
}

Status Programs::reuse_pinned_maps() {
  if (access(directory_.c_str(), F_OK) != 0) {
    state_ = State::nothing_pinned;
    return {};
  }
  state_ = State::other_layout;
  auto maps = maps_of(skeleton_);
  std::array<UniqueFd, kMapCount> pinned;
  for (size_t i = 0; i < kMapCount; ++i) {
    pinned[i].reset(bpf_obj_get(map_pin(directory_, i).c_str()));
    if (!pinned[i].valid() || !same_layout(pinned[i].get(), maps[i])) return {};
  }
  if (!same_abi(pinned[static_cast<size_t>(MapId::settings)].get())) return {};
  for (size_t i = 0; i < kMapCount; ++i) {
    if (bpf_map__reuse_fd(maps[i], pinned[i].get()) != 0)
      return fail_errno("use pinned map " + map_pin(directory_, i), errno);
  }
  state_ = State::same_layout;
  maps_are_new_ = false;
  return {};
}

int Programs::map(MapId id) const {
  return bpf_map__fd(maps_of(skeleton_)[static_cast<size_t>(id)]);
}

int Programs::program(size_t hook) const {
  const auto& progs = skeleton_->progs;
  const bpf_program* const all[kHooks.size()] = {
      progs.sluice_connect4,     progs.sluice_connect6,     progs.sluice_getpeername4, progs.sluice_getpeername6,
      progs.sluice_getsockname4, progs.sluice_getsockname6, progs.sluice_sockops};
  return bpf_program__fd(all[hook]);
}

Status Programs::commit() {
  switch (state_) {
    case State::in_force:
      return {};
    case State::nothing_pinned:
      if (Status done = commit_first(); !done) return done;
      break;
    case State::same_layout:
      if (Status done = commit_over(directory_); !done) return done;
      break;
    case State::other_layout:
      if (Status done = commit_over(staging_directory(directory_)); !done) return done;
      break;
  }
  state_ = State::in_force;
  for (UniqueFd& replaced : replaced_programs_) replaced.reset();
  return {};
}

// Pins the maps into `directory`, which is made.
static Status pin_maps(const std::string& directory, const std::array<bpf_map*, kMapCount>& maps) {
  if (mkdir(directory.c_str(), 0700) != 0) return fail_errno("make " + directory, errno);
  for (size_t i = 0; i < kMapCount; ++i) {
    std::string path = map_pin(directory, i);
    if (bpf_obj_pin(bpf_map__fd(maps[i]), path.c_str()) != 0) return fail_errno("pin map " + path, errno);
  }
  return {};
}

Status Programs::commit_first() {
  std::string staged = staging_directory(directory_);
  Status done = pin_maps(staged, maps_of(skeleton_));
  for (size_t hook = 0; done && hook < kHooks.size(); ++hook) {
    done = attach_or_update(hook);
    if (done && bpf_obj_pin(links_[hook].get(), link_pin(staged, hook).c_str()) != 0) {
      done = fail_errno("pin link " + link_pin(staged, hook), errno);
    }
  }
  if (done) done = put_in_place(directory_);
  if (!done) {
    // An unpinned link detaches with its last descriptor, but some time later; what failed must leave nothing at once.
    for (UniqueFd& link : links_) {
      if (link.valid()) bpf_link_detach(link.get());
      link.reset();
    }
    int removed = 0;
    if (!remove_pins(staged, removed)) return within("also failed to remove " + staged, done.error());
  }
  return done;
}

// Switches the links in force over to our programs; links that are missing, or attached elsewhere, are made anew.
Status Programs::commit_over(const std::string& pin_into) {
  bool in_place = pin_into == directory_;
  Status done;
  if (!in_place) done = pin_maps(pin_into, maps_of(skeleton_));
  size_t hook = 0;
  std::array<bool, kHooks.size()> made = {};
  for (; done && hook < kHooks.size(); ++hook) {
    UniqueFd pinned(bpf_obj_get(link_pin(directory_, hook).c_str()));
    if (pinned.valid()) {
      auto info = link_info(pinned.get());
      bool usable = info && info->type == BPF_LINK_TYPE_CGROUP && info->cgroup.cgroup_id == cgroup_id_ &&
                    info->cgroup.attach_type == static_cast<uint32_t>(kHooks[hook].type);
      if (usable) {
        replaced_programs_[hook].reset(bpf_prog_get_fd_by_id(info->prog_id));
        links_[hook] = std::move(pinned);
      }
    }
    made[hook] = !links_[hook].valid();
    done = attach_or_update(hook);
    if (!done) break;
    std::string path = link_pin(pin_into, hook);
    if (in_place && !made[hook]) continue;
    if (in_place) unlink(path.c_str());  // of a link that is attached nowhere, or to another cgroup
    if (bpf_obj_pin(links_[hook].get(), path.c_str()) != 0) done = fail_errno("pin link " + path, errno);
  }
  if (done && !in_place) done = put_in_place(directory_);
  if (done) return done;
  for (size_t i = 0; i < kHooks.size(); ++i) {
    if (in_place && made[i] && links_[i].valid()) unlink(link_pin(directory_, i).c_str());
  }
  roll_back(hook);
  int removed = 0;
  if (!in_place && !remove_pins(pin_into, removed)) return within("also failed to remove " + pin_into, done.error());
  return done;
}

// Gives the links back the programs that they had; links made by us go.
void Programs::roll_back(size_t hooks_done) {
  for (size_t i = 0; i < kHooks.size() && i <= hooks_done; ++i) {
    if (links_[i].valid() && replaced_programs_[i].valid()) {
      // Where even this fails, our program stays: it enforces on its own maps, and check() of the next daemon sees it.
      if (bpf_link_update(links_[i].get(), replaced_programs_[i].get(), nullptr) != 0) continue;
    }
    links_[i].reset();
  }
}

Status Programs::attach_or_update(size_t hook) {
  if (links_[hook].valid()) {
    if (bpf_link_update(links_[hook].get(), program(hook), nullptr) == 0) return {};
    return fail_errno(std::string("update link ") + kHooks[hook].name, errno);
  }
  links_[hook].reset(bpf_link_create(program(hook), cgroup_.get(), kHooks[hook].type, nullptr));
  if (!links_[hook].valid()) return fail_errno(std::string("attach ") + kHooks[hook].name + " to the cgroup", errno);
  return {};
}

std::string Programs::check(const PinnedObjects& pinned) const {
  if (state_ != State::in_force) return "the programs are not attached yet";
  std::string wrong;
  auto say = [&](size_t hook, const std::string& what) {
    wrong += std::string(wrong.empty() ? "" : "; ") + kHooks[hook].name + ": " + what;
  };
  for (size_t hook = 0; hook < kHooks.size(); ++hook) {
    auto ours = link_info(links_[hook].get());
    if (!ours) {
      say(hook, ours.error().message);
      continue;
    }
    bpf_prog_info program_info = {};
    uint32_t size = sizeof(program_info);
    if (bpf_obj_get_info_by_fd(program(hook), &program_info, &size) != 0) {
      say(hook, "cannot ask for the program");
      continue;
    }
    if (ours->cgroup.cgroup_id != cgroup_id_) say(hook, "detached from the cgroup");
    if (ours->prog_id != program_info.id)
      say(hook, "another program took its place (id " + std::to_string(ours->prog_id) + ")");
    if (pinned.links[hook] != ours->id) say(hook, "the pin of its link is gone or replaced");
  }
  for (size_t i = 0; i < kMapCount; ++i) {
    if (pinned.maps[i] == 0) {
      wrong += std::string(wrong.empty() ? "" : "; ") + "the pin of map " + kMapNames[i] + " is gone";
    }
  }
  return wrong;
}

void detach_links(const std::string& directory) {
  for (size_t hook = 0; hook < kHooks.size(); ++hook) {
    UniqueFd link(bpf_obj_get(link_pin(directory, hook).c_str()));
    if (link.valid()) bpf_link_detach(link.get());
  }
}

}  // namespace sluice::interception
