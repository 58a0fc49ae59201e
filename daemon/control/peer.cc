#include "daemon/control/peer.h"

#include <grp.h>
#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <vector>

namespace sluice::control {
namespace {

constexpr size_t kNameServiceBytes = 64 * 1024;
constexpr int kGroupsMax = 1024;

std::string user_name(uid_t uid) {
  std::vector<char> memory(kNameServiceBytes);
  passwd entry = {};
  passwd* found = nullptr;
  if (::getpwuid_r(uid, &entry, memory.data(), memory.size(), &found) != 0 || found == nullptr) return {};
  return found->pw_name;
}

}  // namespace

std::string executable_path(pid_t pid) {
  char target[PATH_MAX];
  const std::string link = "/proc/" + std::to_string(pid) + "/exe";
  const ssize_t length = ::readlink(link.c_str(), target, sizeof target);
  return length > 0 ? std::string(target, static_cast<size_t>(length)) : std::string();
}

Result<Caller> identify_peer(int fd, const ExecutablePath& executable_path) {
  ucred credentials = {};
  socklen_t size = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0) return fail_errno("peer credentials", errno);
  Caller caller;
  caller.pid = credentials.pid;
  caller.uid = credentials.uid;
  caller.gid = credentials.gid;
  caller.user = user_name(credentials.uid);
  caller.exe = executable_path(credentials.pid);
  return caller;
}

bool may_change(const Caller& caller) {
  if (caller.uid == 0 || caller.uid == static_cast<int64_t>(::geteuid())) return true;
  std::vector<char> memory(kNameServiceBytes);
  group entry = {};
  group* admins = nullptr;
  if (::getgrnam_r(kAdminGroup, &entry, memory.data(), memory.size(), &admins) != 0 || admins == nullptr) return false;
  const gid_t admin_gid = admins->gr_gid;
  if (caller.gid == static_cast<int64_t>(admin_gid)) return true;
  if (caller.user.empty()) return false;
  std::vector<gid_t> groups(kGroupsMax);
  int count = kGroupsMax;
  if (::getgrouplist(caller.user.c_str(), static_cast<gid_t>(caller.gid), groups.data(), &count) < 0) return false;
  return std::find(groups.begin(), groups.begin() + count, admin_gid) != groups.begin() + count;
}

}  // namespace sluice::control
