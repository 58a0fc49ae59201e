#include "daemon/privilege/account.h"

#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <vector>

#include "daemon/base/unique_fd.h"

namespace sluice::privilege {
namespace {

constexpr size_t kNameServiceBytes = 64 * 1024;

struct Giving {
  const Account& account;
  size_t entries = 0;
};

// A file that has a second name might be anybody's; a directory cannot have one.
Status give_one(int fd, const std::string& path, const Account& account) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return fail_errno("look at " + path, errno);
  if (status.st_uid == account.uid && status.st_gid == account.gid) return {};
  if (!S_ISDIR(status.st_mode) && status.st_nlink != 1) return fail(path + " has a second name; it is not given away");
  if (::fchownat(fd, "", account.uid, account.gid, AT_EMPTY_PATH) != 0)
    return fail_errno("give " + path + " to user " + account.name, errno);
  return {};
}

Status give_tree(UniqueFd directory, const std::string& path, Giving& giving, int depth) {
  if (depth > kDepthGivenMax) return fail(path + " is nested too deeply");
  if (Status given = give_one(directory.get(), path, giving.account); !given) return given;
  const int fd = directory.get();
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(::fdopendir(directory.release()), ::closedir);
  if (listing == nullptr) {
    ::close(fd);
    return fail_errno("read " + path, errno);
  }
  for (const dirent* entry = ::readdir(listing.get()); entry != nullptr; entry = ::readdir(listing.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (++giving.entries > kEntriesGivenMax) return fail(path + " has too many entries");
    const std::string inner = std::string(path).append("/").append(name);
    UniqueFd held(::openat(fd, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!held.valid()) {
      if (errno == ENOENT) continue;  // removed meanwhile
      return fail_errno("open " + inner, errno);
    }
    struct stat status {};
    if (::fstat(held.get(), &status) != 0) return fail_errno("look at " + inner, errno);
    Status given;
    if (S_ISDIR(status.st_mode)) {
      UniqueFd open(::openat(held.get(), ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      given = open.valid() ? give_tree(std::move(open), inner, giving, depth + 1) : fail_errno("open " + inner, errno);
    } else if (S_ISREG(status.st_mode)) {
      given = give_one(held.get(), inner, giving.account);
    }  // links, sockets and the like are nothing that the daemon keeps there
    if (!given) return given;
  }
  return {};
}

}  // namespace

Result<std::optional<Account>> find_account(const std::string& name) {
  std::vector<char> memory(kNameServiceBytes);
  passwd entry = {};
  passwd* found = nullptr;
  const int error = ::getpwnam_r(name.c_str(), &entry, memory.data(), memory.size(), &found);
  if (found != nullptr) return std::optional<Account>(Account{name, found->pw_uid, found->pw_gid});
  // getpwnam_r(3): these are different ways to say "no such user".
  if (error == 0 || error == ENOENT || error == ESRCH) return std::optional<Account>();
  return fail_errno("look up user " + name, error);
}

Status give_directory(const std::string& directory, const Account& account) {
  std::error_code error;
  const mode_t before = ::umask(0077);  // parents too
  std::filesystem::create_directories(directory, error);
  ::umask(before);
  if (error) return fail("create " + directory + ": " + error.message());
  UniqueFd open(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!open.valid()) return fail_errno("open " + directory, errno);
  struct stat status {};
  if (::fstat(open.get(), &status) != 0) return fail_errno("look at " + directory, errno);
  // What the daemon made is closed to everybody else. Anything else may be a slip of the configuration (/var/lib,
  // /tmp).
  if (status.st_uid != account.uid && (status.st_mode & 0077) != 0) {
    return fail(directory + " is open to others and belongs to somebody else than user " + account.name +
                "; if it is the daemon's: chown -R " + account.name + ": " + directory);
  }
  Giving giving{account};
  return give_tree(std::move(open), directory, giving, 0);
}

std::string reachable_path(const std::string& directory, int directory_fd) {
  struct stat by_path {
  }, by_fd{};
  if (::access(directory.c_str(), R_OK | W_OK | X_OK) == 0 && ::stat(directory.c_str(), &by_path) == 0 &&
      ::fstat(directory_fd, &by_fd) == 0 && by_path.st_ino == by_fd.st_ino && by_path.st_dev == by_fd.st_dev)
    return directory;
  return "/proc/self/fd/" + std::to_string(directory_fd);
}

}  // namespace sluice::privilege
