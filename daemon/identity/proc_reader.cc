#include "daemon/identity/proc_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstring>

namespace sluice::identity {
namespace {

constexpr size_t kStatBytesMax = 1024;     // /proc/PID/stat: 52 numbers and a name of at most 64 bytes
constexpr size_t kCgroupBytesMax = 8192;   // /proc/PID/cgroup: one line per hierarchy
constexpr uint64_t kTicksPerSecond = 100;  // USER_HZ, the same on every architecture that we run on
constexpr size_t kContainerDigits = 64;
constexpr int kFileHandleKernfs = 0xfe;  // FILEID_KERNFS, linux/exportfs.h: the handle of a cgroup is its 64-bit id

bool read_small(int directory, const std::string& name, size_t bytes_max, std::string& out) {
  const UniqueFd file(openat(directory, name.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return false;
  out.resize(bytes_max);
  size_t size = 0;
  while (size < out.size()) {
    const ssize_t got = ::read(file.get(), out.data() + size, out.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return false;
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  out.resize(size);
  return true;
}

int64_t to_ns(const timespec& t) {
  return static_cast<int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

bool is_lower_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

// Calls `visit` with each component of a path, innermost first, until it says true.
template <typename Visit>
void for_each_component(std::string_view path, Visit&& visit) {
  while (!path.empty()) {
    const size_t slash = path.rfind('/');
    const std::string_view component = slash == std::string_view::npos ? path : path.substr(slash + 1);
    if (!component.empty() && visit(component)) return;
    if (slash == std::string_view::npos) return;
    path = path.substr(0, slash);
  }
}

}  // namespace

Result<ProcReader> ProcReader::open(const std::string& proc, const std::string& cgroup_mount) {
  UniqueFd proc_fd(::open(proc.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!proc_fd.valid()) return fail_errno("open " + proc, errno);
  UniqueFd cgroup_fd;
  if (!cgroup_mount.empty()) {
    cgroup_fd.reset(::open(cgroup_mount.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!cgroup_fd.valid()) return fail_errno("open " + cgroup_mount, errno);
  }
  return ProcReader(std::move(proc_fd), std::move(cgroup_fd), cgroup_mount);
}

std::optional<ProcessLook> ProcReader::look(const ProcessFacts& facts, CgroupPath cgroup) {
  return ProcessLook{executable(facts), cgroup == CgroupPath::wanted ? cgroup_path(facts) : std::string()};
}

bool ProcReader::same_process(const ProcessFacts& facts) const {
  if (facts.pid <= 0) return false;
  std::string stat;
  if (!read_small(proc_.get(), std::to_string(facts.pid) + "/stat", kStatBytesMax, stat)) return false;
  const auto ticks = start_ticks_of(stat);
  return ticks.has_value() && *ticks == facts.start_boottime_ns / (1'000'000'000 / kTicksPerSecond);
}

std::optional<Executable> ProcReader::executable(const ProcessFacts& facts) const {
  if (!same_process(facts)) return std::nullopt;
  const std::string link = std::to_string(facts.pid) + "/exe";
  Executable exe;
  exe.file.reset(
      openat(proc_.get(), link.c_str(), O_RDONLY | O_CLOEXEC));  // opens the file that runs, even where it is deleted
  struct stat status {};
  if (exe.file.valid() ? fstat(exe.file.get(), &status) != 0 : fstatat(proc_.get(), link.c_str(), &status, 0) != 0)
    return std::nullopt;
  if (facts.exe_inode != 0 && (status.st_ino != facts.exe_inode || status.st_dev != facts.exe_device))
    return std::nullopt;
  exe.stamp = {status.st_dev, status.st_ino, static_cast<uint64_t>(status.st_size), to_ns(status.st_mtim),
               to_ns(status.st_ctim)};
  std::array<char, PATH_MAX> path;
  const ssize_t length = readlinkat(proc_.get(), link.c_str(), path.data(), path.size());
  if (length <= 0) return std::nullopt;
  if (status.st_nlink > 0) exe.path.assign(path.data(), static_cast<size_t>(length));
  if (!same_process(facts)) return std::nullopt;  // whoever was read in between was somebody else
  return exe;
}

std::string ProcReader::cgroup_path(const ProcessFacts& facts) const {
  std::string path = path_of_cgroup_id(facts.cgroup_id);
  return path.empty() ? path_from_proc(facts) : path;
}

// By the id itself, which needs no living process (and CAP_DAC_READ_SEARCH): open_by_handle_at(2).
std::string ProcReader::path_of_cgroup_id(uint64_t id) const {
  if (!cgroup_.valid() || id == 0) return {};
  alignas(file_handle) std::array<unsigned char, sizeof(file_handle) + sizeof id> storage{};
  auto* const handle = reinterpret_cast<file_handle*>(storage.data());
  handle->handle_bytes = sizeof id;
  handle->handle_type = kFileHandleKernfs;
  std::memcpy(handle->f_handle, &id, sizeof id);
  const UniqueFd directory(open_by_handle_at(cgroup_.get(), handle, O_PATH | O_CLOEXEC | O_DIRECTORY));
  if (!directory.valid()) return {};
  std::array<char, PATH_MAX> path;
  const std::string link = "self/fd/" + std::to_string(directory.get());
  const ssize_t length = readlinkat(proc_.get(), link.c_str(), path.data(), path.size());
  if (length <= 0) return {};
  std::string_view full(path.data(), static_cast<size_t>(length));
  if (full.size() < cgroup_mount_.size() || full.substr(0, cgroup_mount_.size()) != cgroup_mount_) return {};
  full.remove_prefix(cgroup_mount_.size());
  return full.empty() ? "/" : std::string(full);
}

std::string ProcReader::path_from_proc(const ProcessFacts& facts) const {
  std::string text;
  if (!same_process(facts)) return {};
  if (!read_small(proc_.get(), std::to_string(facts.pid) + "/cgroup", kCgroupBytesMax, text)) return {};
  // cgroups(7): the line of cgroup v2 is "0::PATH".
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = std::string_view(text).substr(at, end - at);
    if (line.substr(0, 3) == "0::") {
      std::string path(line.substr(3));
      if (!cgroup_.valid()) return path;
      // The process may have been moved since it connected.
      struct stat status {};
      const std::string full = cgroup_mount_ + path;
      if (stat(full.c_str(), &status) != 0 || (facts.cgroup_id != 0 && status.st_ino != facts.cgroup_id)) return {};
      return path;
    }
    at = end + 1;
  }
  return {};
}

std::string find_cgroup_mount(std::string_view mounts) {
  for (size_t at = 0; at < mounts.size();) {
    const size_t end = std::min(mounts.find('\n', at), mounts.size());
    const std::string_view line = mounts.substr(at, end - at);
    const size_t first = line.find(' ');
    const size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
    if (second != std::string_view::npos && line.substr(second + 1, 8) == "cgroup2 ") {
      return std::string(line.substr(first + 1, second - first - 1));
    }
    at = end + 1;
  }
  return {};
}

std::string unit_of(std::string_view cgroup_path) {
  std::string unit;
  for_each_component(cgroup_path, [&](std::string_view component) {
    for (const std::string_view suffix : {".service", ".scope", ".socket", ".mount", ".swap"}) {
      if (component.size() > suffix.size() && component.substr(component.size() - suffix.size()) == suffix) {
        unit = component;
        return true;
      }
    }
    return false;
  });
  return unit;
}

std::string container_of(std::string_view cgroup_path) {
  std::string id;
  for_each_component(cgroup_path, [&](std::string_view component) {
    // "docker-ID.scope", "cri-containerd-ID.scope", "crio-ID", "libpod-ID.scope", or the id alone.
    if (component.size() > 6 && component.substr(component.size() - 6) == ".scope") component.remove_suffix(6);
    if (const size_t dash = component.rfind('-'); dash != std::string_view::npos) component.remove_prefix(dash + 1);
    if (component.size() != kContainerDigits || !is_lower_hex(component)) return false;
    id = component;
    return true;
  });
  return id;
}

std::optional<uint64_t> start_ticks_of(std::string_view stat) {
  // proc(5): "PID (COMM) S …", where COMM may hold spaces and parentheses: the last ')' ends it. starttime is field 22.
  const size_t close = stat.rfind(')');
  if (close == std::string_view::npos) return std::nullopt;
  size_t at = close + 1;
  for (int field = 3; field <= 22; ++field) {
    if (at >= stat.size() || stat[at] != ' ') return std::nullopt;
    const size_t begin = at + 1;
    at = std::min(stat.find(' ', begin), stat.size());
    if (field < 22) continue;
    uint64_t ticks = 0;
    const auto [end, error] = std::from_chars(stat.data() + begin, stat.data() + at, ticks);
    if (error != std::errc() || end == stat.data() + begin) return std::nullopt;
    return ticks;
  }
  return std::nullopt;
}

}  // namespace sluice::identity
