#include "daemon/interception/host.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/magic.h>
#include <netinet/in.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace sluice::interception {
namespace {

constexpr const char* kBpfMountPoint = "/sys/fs/bpf";

// The directory above `path`, without a trailing slash.
std::string parent_of(const std::string& path) {
  size_t slash = path.find_last_of('/');
  return slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash);
}

bool is_on_bpf_file_system(const std::string& path) {
  struct statfs info = {};
  return statfs(path.c_str(), &info) == 0 && info.f_type == static_cast<decltype(info.f_type)>(BPF_FS_MAGIC);
}

Status make_directories(const std::string& path) {
  for (size_t at = 1; at != std::string::npos;) {
    at = path.find('/', at);
    std::string step = path.substr(0, at);
    if (mkdir(step.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno("make directory " + step, errno);
    if (at != std::string::npos) ++at;
  }
  return {};
}

}  // namespace

std::string find_cgroup_root() {
  std::ifstream mounts("/proc/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device, where, type;
    if (words >> device >> where >> type && type == "cgroup2") return where;
  }
  return {};
}

Result<UniqueFd> open_cgroup(const std::string& path) {
  std::string where = path.empty() ? find_cgroup_root() : path;
  if (where.empty()) {
    where = kCgroupMountPoint;
    if (mkdir(where.c_str(), 0755) != 0 && errno != EEXIST) return fail_errno("make directory " + where, errno);
    if (mount("cgroup2", where.c_str(), "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) {
      return fail_errno("mount the cgroup v2 hierarchy at " + where, errno);
    }
  }
  UniqueFd fd(open(where.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno("open cgroup " + where, errno);
  struct statfs info = {};
  if (fstatfs(fd.get(), &info) != 0) return fail_errno("look at " + where, errno);
  if (info.f_type != static_cast<decltype(info.f_type)>(CGROUP2_SUPER_MAGIC))
    return fail(where + " is not a cgroup v2 directory");
  return fd;
}

Result<uint64_t> cgroup_id_of(int cgroup_fd) {
  struct stat info = {};
  if (fstat(cgroup_fd, &info) != 0) return fail_errno("look at the cgroup", errno);
  return static_cast<uint64_t>(info.st_ino);
}

Result<uint64_t> own_cgroup_id() {
  std::ifstream lines("/proc/self/cgroup");
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("0::", 0) != 0) continue;
    std::string root = find_cgroup_root();
    if (root.empty()) return fail("find own cgroup: the v2 hierarchy is not mounted");
    std::string path = root + line.substr(3);
    struct stat info = {};
    if (stat(path.c_str(), &info) != 0) return fail_errno("find own cgroup: look at " + path, errno);
    return static_cast<uint64_t>(info.st_ino);
  }
  return fail("find own cgroup: /proc/self/cgroup has no v2 line");
}

Status ensure_bpf_file_system(const std::string& bpf_directory) {
  std::string parent = parent_of(bpf_directory);
  if (!is_on_bpf_file_system(kBpfMountPoint) && (parent + "/").rfind(std::string(kBpfMountPoint) + "/", 0) == 0) {
    if (mount("bpf", kBpfMountPoint, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0) {
      return fail_errno("mount the BPF file system at /sys/fs/bpf", errno);
    }
  }
  if (Status made = make_directories(parent); !made) return made;
  if (!is_on_bpf_file_system(parent))
    return fail(parent + " is not on a BPF file system (mount -t bpf bpf " + kBpfMountPoint + ")");
  return {};
}

Result<uint64_t> own_netns_cookie() {
  UniqueFd probe(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!probe.valid()) return fail_errno("open a socket", errno);
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  if (getsockopt(probe.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) {
    return fail_errno("read the network namespace's cookie (needs Linux 5.14)", errno);
  }
  return cookie;
}

Result<std::vector<SteeredEndpoint>> local_addresses() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return fail_errno("list local addresses", errno);
  std::vector<SteeredEndpoint> found;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    SteeredEndpoint address;
    address.family = entry->ifa_addr->sa_family;
    if (address.family == AF_INET) {
      address.prefix_bits = 32;
      std::memcpy(address.address, &reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr, 4);
    } else if (address.family == AF_INET6) {
      address.prefix_bits = 128;
      std::memcpy(address.address, &reinterpret_cast<const sockaddr_in6*>(entry->ifa_addr)->sin6_addr, 16);
    } else {
      continue;
    }
    found.push_back(address);
  }
  freeifaddrs(list);
  return found;
}

bool source_address_for(const SteeredEndpoint& destination, uint8_t source[16]) {
  UniqueFd probe(socket(destination.family, SOCK_DGRAM | SOCK_CLOEXEC, 0));  // a UDP connect only looks up the route
  if (!probe.valid()) return false;
  sockaddr_storage own = {};
  socklen_t size = sizeof(own);
  if (destination.family == AF_INET) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(destination.port);
    std::memcpy(&address.sin_addr, destination.address, 4);
    if (connect(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return false;
    if (getsockname(probe.get(), reinterpret_cast<sockaddr*>(&own), &size) != 0) return false;
    std::memcpy(source, &reinterpret_cast<sockaddr_in*>(&own)->sin_addr, 4);
    return true;
  }
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(destination.port);
  std::memcpy(&address.sin6_addr, destination.address, 16);
  if (connect(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return false;
  if (getsockname(probe.get(), reinterpret_cast<sockaddr*>(&own), &size) != 0) return false;
  std::memcpy(source, &reinterpret_cast<sockaddr_in6*>(&own)->sin6_addr, 16);
  return true;
}

}  // namespace sluice::interception
