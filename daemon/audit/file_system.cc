#include "daemon/audit/file_system.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace sluice::audit {
namespace {

constexpr mode_t kFileMode = 0600;

class RealFileSystem final : public FileSystem {
 public:
  Result<UniqueFd> open_file(const std::string& path, int flags) override {
    UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC, kFileMode));
    if (!fd.valid()) return fail_errno("open " + path, errno);
    return fd;
  }

  Status write_at(int fd, std::string_view bytes, uint64_t offset) override {
    while (!bytes.empty()) {
      const ssize_t written = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (written < 0) {
        if (errno == EINTR) continue;
        return fail_errno("write", errno);
      }
      if (written == 0) return fail_errno("write", ENOSPC);
      bytes.remove_prefix(static_cast<size_t>(written));
      offset += static_cast<uint64_t>(written);
    }
    return {};
  }

  Status sync_data(int fd) override {
    // Not repeated on any error: after a failed fdatasync the pages count as clean, and a second call would lie.
    if (::fdatasync(fd) != 0) return fail_errno("fdatasync", errno);
    return {};
  }

  Status sync_directory(int fd) override {
    if (::fsync(fd) != 0) return fail_errno("fsync of the directory", errno);
    return {};
  }

  Status allocate(int fd, uint64_t bytes) override {
    int error = 0;
    do {
      error =
          ::posix_fallocate(fd, 0, static_cast<off_t>(bytes));  // writes zeros where the file system cannot allocate
    } while (error == EINTR);
    if (error != 0) return fail_errno("allocate " + std::to_string(bytes) + " bytes", error);
    return {};
  }

  Status truncate(int fd, uint64_t bytes) override {
    if (::ftruncate(fd, static_cast<off_t>(bytes)) != 0) return fail_errno("truncate", errno);
    return {};
  }

  Status rename_file(const std::string& from, const std::string& to) override {
    // The target never exists; RENAME_NOREPLACE makes that a fact rather than a hope where the file system knows it.
    if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return {};
    if (errno == EINVAL && ::access(to.c_str(), F_OK) != 0 && ::rename(from.c_str(), to.c_str()) == 0) return {};
    return fail_errno("rename " + from + " to " + to, errno);
  }

  Status remove_file(const std::string& path) override {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno("remove " + path, errno);
    return {};
  }
};

}  // namespace

FileSystem& real_file_system() {
  static RealFileSystem file_system;
  return file_system;
}

}  // namespace sluice::audit
