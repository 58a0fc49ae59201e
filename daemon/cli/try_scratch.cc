#include "daemon/cli/try_scratch.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "daemon/interception/steering.h"

// glibc 2.36 declares these without C linkage for C++.
extern "C" {
#include <sys/pidfd.h>
}

namespace sluice::cli {
namespace {

constexpr const char* kPrefix = "sluice-try-";
constexpr int kDaemonEndMs = 5'000;
constexpr int kCgroupEmptyTries = 100;  // processes may fork while they are moved
constexpr mode_t kPassableMode = 0711;  // the daemon gives up root and has to reach its own files below

std::string read_word(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  std::getline(file, word);
  return word;
}

Status write_text(const std::string& path, const std::string& text) {
  UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return fail_errno("write " + path, errno);
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return fail_errno("write " + path, errno);
  return {};
}

// This process's own cgroup in the v2 hierarchy, so that what runs in a child of it keeps its unit.
Result<std::string> own_cgroup_directory() {
  std::string root;
  std::ifstream mounts("/proc/mounts");
  for (std::string line; root.empty() && std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device, where, type;
    if (words >> device >> where >> type && type == "cgroup2") root = where;
  }
  if (root.empty()) return fail("no cgroup v2 hierarchy is mounted (mount -t cgroup2 cgroup2 /sys/fs/cgroup)");
  std::ifstream lines("/proc/self/cgroup");
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("0::", 0) == 0) return root + (line.size() > 4 ? line.substr(3) : "");
  }
  return fail("/proc/self/cgroup has no v2 line");
}

// When a process started, in clock ticks since boot: with its pid, it is that process and no other.
std::string start_time_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  const size_t name_end = text.rfind(')');  // the name may hold anything
  if (name_end == std::string::npos) return {};
  std::istringstream words(text.substr(name_end + 1));
  constexpr int kStartTimeField = 20;  // the 22nd of all, proc(5)
  std::string word;
  for (int i = 0; i < kStartTimeField; ++i) words >> word;
  return word;
}

// Moves every process of a cgroup to its parent, then removes it.
Status remove_cgroup(const std::string& cgroup) {
  const std::string parent = std::filesystem::path(cgroup).parent_path();
  for (int attempt = 0; attempt < kCgroupEmptyTries; ++attempt) {
    if (::rmdir(cgroup.c_str()) == 0 || errno == ENOENT) return {};
    if (errno != EBUSY) return fail_errno("remove " + cgroup, errno);
    std::ifstream processes(cgroup + "/cgroup.procs");
    for (std::string pid; std::getline(processes, pid);) {
      UniqueFd into(::open((parent + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
      // A process that ended meanwhile is none to move; whatever else stays shows as EBUSY once more.
      (void)!::write(into.get(), pid.data(), pid.size());
    }
  }
  return fail("processes in " + cgroup + " cannot be moved out of it");
}

Status make_base_directory() {
  if (::mkdir(kTryDirectory, kPassableMode) != 0 && errno != EEXIST) return fail_errno(kTryDirectory, errno);
  struct stat info = {};
  if (::lstat(kTryDirectory, &info) != 0) return fail_errno(kTryDirectory, errno);
  if (!S_ISDIR(info.st_mode) || info.st_uid != ::geteuid() || (info.st_mode & 022) != 0)
    return fail(std::string(kTryDirectory) + " is not a directory of root alone");
  return {};
}

}  // namespace

std::string TryScratch::bpf_directory() const {
  return "/sys/fs/bpf/" + name_;
}

Result<TryScratch> TryScratch::make() {
  if (Status made = make_base_directory(); !made) return tl::unexpected(made.error());
  // Nobody looks for leftovers while one is being made that has no lock yet.
  UniqueFd making(::open((std::string(kTryDirectory) + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!making.valid() || ::flock(making.get(), LOCK_EX) != 0)
    return fail_errno("lock " + std::string(kTryDirectory), errno);
  if (Status removed = remove_leftovers(); !removed) return tl::unexpected(removed.error());

  uint32_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number) return fail_errno("random name", errno);
  char digits[16];
  std::snprintf(digits, sizeof digits, "%08x", number);
  TryScratch scratch;
  scratch.name_ = std::string(kPrefix) + digits;
  scratch.directory_ = std::string(kTryDirectory) + "/" + scratch.name_;
  auto parent = own_cgroup_directory();
  if (!parent) return tl::unexpected(parent.error());
  scratch.cgroup_ = *parent + "/" + scratch.name_;
  if (::mkdir(scratch.directory_.c_str(), kPassableMode) != 0) return fail_errno("make " + scratch.directory_, errno);
  scratch.lock_.reset(::open((scratch.directory_ + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!scratch.lock_.valid() || ::flock(scratch.lock_.get(), LOCK_EX | LOCK_NB) != 0)
    return fail_errno("lock " + scratch.directory_, errno);
  Status made = write_text(scratch.directory_ + "/cgroup", scratch.cgroup_ + "\n");
  if (made && ::mkdir(scratch.cgroup_.c_str(), 0755) != 0)
    made = fail_errno("make the cgroup " + scratch.cgroup_, errno);
  if (!made) {
    std::error_code ignored;  // the error that matters is known
    std::filesystem::remove_all(scratch.directory_, ignored);
    return tl::unexpected(made.error());
  }
  return scratch;
}

Status TryScratch::remove_leftovers() {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(kTryDirectory, error)) {
    const std::string name = entry.path().filename();
    if (name.rfind(kPrefix, 0) != 0) continue;
    TryScratch left;
    left.name_ = name;
    left.directory_ = entry.path();
    left.cgroup_ = read_word(left.directory_ + "/cgroup");
    const UniqueFd lock(::open((left.directory_ + "/lock").c_str(), O_RDWR | O_CLOEXEC));
    if (lock.valid() && ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) continue;  // it lives
    if (Status removed = left.remove(); !removed) return within("what an earlier `sluice try` left", removed.error());
  }
  if (error) return fail(std::string(kTryDirectory) + ": " + error.message());
  return {};
}

Status TryScratch::note_daemon(pid_t pid) const {
  return write_text(directory_ + "/daemon", std::to_string(pid) + " " + start_time_of(pid) + "\n");
}

void TryScratch::end_daemon() const {
  std::istringstream noted(read_word(directory_ + "/daemon"));
  pid_t pid = 0;
  std::string start;
  if (!(noted >> pid >> start)) return;
  const UniqueFd process(::pidfd_open(pid, 0));
  // Looked at once it is held: from here on the pid cannot become another's.
  if (!process.valid() || start_time_of(pid) != start) return;
  for (const int signal : {SIGTERM, SIGKILL}) {
    if (::pidfd_send_signal(process.get(), signal, nullptr, 0) != 0) return;
    pollfd ended = {process.get(), POLLIN, 0};
    if (::poll(&ended, 1, kDaemonEndMs) > 0) return;
  }
}

Status TryScratch::remove() const {
  Status first;
  const auto note = [&first](const Status& status) {
    if (first && !status) first = status;
  };
  end_daemon();
  interception::SteeringOptions options;
  options.bpf_directory = bpf_directory();
  options.cgroup_path = cgroup_;
  if (auto unloaded = interception::unload(options); !unloaded) note(tl::unexpected(unloaded.error()));
  const std::string cgroup_name = std::filesystem::path(cgroup_).filename();
  if (cgroup_name == name_) note(remove_cgroup(cgroup_));  // nothing else is ever removed, whatever the file says
  std::error_code error;
  std::filesystem::remove_all(directory_, error);
  if (error) note(fail("remove " + directory_ + ": " + error.message()));
  return first;
}

}  // namespace sluice::cli
