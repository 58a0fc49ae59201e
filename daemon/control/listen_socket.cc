#include "daemon/control/listen_socket.h"

#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <vector>

#include "daemon/control/peer.h"
#include "daemon/control/socket_stream.h"

namespace sluice::control {
namespace {

constexpr mode_t kSocketMode = 0660;

std::optional<gid_t> admin_group() {
  std::vector<char> memory(64 * 1024);
  group entry = {};
  group* found = nullptr;
  if (::getgrnam_r(kAdminGroup, &entry, memory.data(), memory.size(), &found) != 0 || found == nullptr)
    return std::nullopt;
  return found->gr_gid;
}

// Missing directories are made for the daemon alone; the last one lets the admin group through, where there is one.
Status make_directory(const std::filesystem::path& directory, uid_t owner, std::optional<gid_t> admins) {
  std::error_code error;
  if (directory.empty() || std::filesystem::is_directory(directory, error)) return {};
  if (Status parent = make_directory(directory.parent_path(), static_cast<uid_t>(-1), std::nullopt); !parent)
    return parent;
  if (::mkdir(directory.c_str(), 0700) < 0 && errno != EEXIST) return fail_errno("make " + directory.string(), errno);
  // In this order: what is somebody else's takes CAP_FOWNER.
  if ((admins && ::chmod(directory.c_str(), 0710) < 0) ||
      ::chown(directory.c_str(), owner, admins.value_or(static_cast<gid_t>(-1))) < 0) {
    return fail_errno("give " + directory.string() + " to the daemon's user and the group " + kAdminGroup, errno);
  }
  return {};
}

// Removes what a dead daemon left. Fails where somebody answers, or where the path is no socket.
Status remove_stale(const std::string& path) {
  struct stat found = {};
  if (::lstat(path.c_str(), &found) < 0) {
    if (errno == ENOENT) return {};
    return fail_errno(path, errno);
  }
  if (!S_ISSOCK(found.st_mode)) return fail(path + ": exists and is not a socket");
  if (connect_unix(path))
    return fail(path + ": another process answers on this socket; is a Sluice daemon running already?");
  if (::unlink(path.c_str()) < 0 && errno != ENOENT) return fail_errno("remove the old socket " + path, errno);
  return {};
}

}  // namespace

Result<UniqueFd> bind_unix(const std::string& path, uid_t owner) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path[0] != '/') return fail("control socket '" + path + "': not an absolute path");
  if (path.size() >= sizeof address.sun_path) {
    return fail("control socket " + path + ": the path is longer than " + std::to_string(sizeof address.sun_path - 1) +
                " bytes");
  }
  std::memcpy(address.sun_path, path.data(), path.size());

  const std::optional<gid_t> admins = admin_group();
  if (const Status made = make_directory(std::filesystem::path(path).parent_path(), owner, admins); !made) {
    return within("control socket", made.error());
  }
  if (const Status removed = remove_stale(path); !removed) return within("control socket", removed.error());

  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return fail_errno("control socket", errno);
  // Until then nobody else may open it; bind() makes the file under the umask of the process, which is
  // process-wide, but no other thread exists yet.
  const mode_t before = ::umask(0177);
  const int bound = ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int bind_error = errno;
  ::umask(before);
  if (bound < 0) return fail_errno("bind " + path, bind_error);
  // Nobody can connect before it listens. The mode first: what is somebody else's takes CAP_FOWNER.
  if (::chmod(path.c_str(), kSocketMode) < 0) return fail_errno("chmod " + path, errno);
  if (::chown(path.c_str(), owner, admins.value_or(static_cast<gid_t>(-1))) < 0)
    return fail_errno("give " + path + " to the daemon's user and the group " + kAdminGroup, errno);
  return socket;
}

}  // namespace sluice::control
