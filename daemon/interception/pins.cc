#include "daemon/interception/pins.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>
#include <vector>

namespace sluice::interception {
namespace {

constexpr int kLockAttempts = 16;  // the directory may be removed between our open and our flock

// The process that holds a flock on this inode, from /proc/locks; 0 where it is not listed.
int lock_holder(const struct stat& lock) {
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    std::string number, kind, mode, access, inode;
    int pid = 0;
    if (!(words >> number >> kind >> mode >> access >> pid >> inode) || kind != "FLOCK") continue;
    size_t colon = inode.find_last_of(':');
    if (colon != std::string::npos && inode.substr(colon + 1) == std::to_string(lock.st_ino)) return pid;
  }
  return 0;
}

}  // namespace

std::string staging_directory(const std::string& bpf_directory) {
  return bpf_directory + "-new";
}
std::string replaced_directory(const std::string& bpf_directory) {
  return bpf_directory + "-old";
}
std::string lock_directory(const std::string& bpf_directory) {
  return bpf_directory + "-lock";
}

Result<std::optional<PinLock>> PinLock::take(const std::string& bpf_directory) {
  std::string path = lock_directory(bpf_directory);
  for (int attempt = 0; attempt < kLockAttempts; ++attempt) {
    if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno("make " + path, errno);
    UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.valid()) {
      if (errno == ENOENT) continue;  // another process removed it just now
      return fail_errno("open " + path, errno);
    }
    struct stat held = {};
    if (fstat(fd.get(), &held) != 0) return fail_errno("look at " + path, errno);
    if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return fail_errno("lock " + path, errno);
      return std::nullopt;
    }
    struct stat there = {};
    if (stat(path.c_str(), &there) == 0 && there.st_ino == held.st_ino)
      return std::optional<PinLock>(PinLock(std::move(fd), path));
  }
  return fail("lock " + path + ": it keeps being removed");
}

std::string PinLock::describe_holder(const std::string& bpf_directory) {
  struct stat held = {};
  int holder = stat(lock_directory(bpf_directory).c_str(), &held) == 0 ? lock_holder(held) : 0;
  std::string who = holder > 0 ? " (process " + std::to_string(holder) + ")" : "";
  return "another Sluice daemon" + who + " is running with " + bpf_directory + "; stop it first";
}

void PinLock::release_and_remove() {
  rmdir(path_.c_str());  // while it is held: whoever opened it before sees that it is gone, and makes a new one
  fd_.reset();
}

bool remove_pins(const std::string& directory, int& removed) {
  std::unique_ptr<DIR, int (*)(DIR*)> listing(opendir(directory.c_str()), closedir);
  if (!listing) return errno == ENOENT;
  std::vector<std::string> names;
  while (const dirent* entry = readdir(listing.get())) {
    std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (names.size() >= kPinsMax) return false;
    names.push_back(std::string(directory).append("/").append(name));
  }
  for (const std::string& name : names) {
    if (unlink(name.c_str()) != 0) return false;
    ++removed;
  }
  return rmdir(directory.c_str()) == 0;
}

Status put_in_place(const std::string& bpf_directory) {
  std::string staged = staging_directory(bpf_directory);
  if (access(bpf_directory.c_str(), F_OK) != 0) {
    if (rename(staged.c_str(), bpf_directory.c_str()) != 0) return fail_errno("rename " + staged, errno);
    return {};
  }
  std::string old = replaced_directory(bpf_directory);
  if (renameat2(AT_FDCWD, staged.c_str(), AT_FDCWD, bpf_directory.c_str(), RENAME_EXCHANGE) == 0) {  // bpffs: 5.16
    old = staged;
  } else {
    if (rename(bpf_directory.c_str(), old.c_str()) != 0) return fail_errno("rename " + bpf_directory, errno);
    if (rename(staged.c_str(), bpf_directory.c_str()) != 0) {
      int why = errno;
      if (rename(old.c_str(), bpf_directory.c_str()) != 0) return fail_errno("rename " + old + " back", errno);
      return fail_errno("rename " + staged, why);
    }
  }
  int removed = 0;
  if (!remove_pins(old, removed)) return fail_errno("remove " + old, errno);
  return {};
}

}  // namespace sluice::interception
