// The system calls by which the log is written, behind one interface, so that tests can make any of them fail.
// Reading goes past it: a reader takes files as they are. Errors name the call and the path.
// Thread safe as the calls themselves are: several threads may use one FileSystem on different files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace sluice::audit {

// How a new segment gets its space. `zeroed`: really written with zeros, so that later commits need not touch the file
// system's metadata (about half the time of a commit [measured: 94-114 against 170-230 µs]). `reserved`: allocated
// only.
enum class Preallocation : uint8_t { reserved, zeroed };

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  // `flags` as for open(2); close-on-exec is added, new files are 0600.
  [[nodiscard]] virtual Result<UniqueFd> open_file(const std::string& path, int flags) = 0;
  // Writes all of `bytes`.
  [[nodiscard]] virtual Status write_at(int fd, std::string_view bytes, uint64_t offset) = 0;
  [[nodiscard]] virtual Status sync_data(int fd) = 0;
  [[nodiscard]] virtual Status sync_directory(int fd) = 0;
  [[nodiscard]] virtual Status allocate(int fd, uint64_t bytes) = 0;
  [[nodiscard]] virtual Status truncate(int fd, uint64_t bytes) = 0;
  [[nodiscard]] virtual Status rename_file(const std::string& from, const std::string& to) = 0;
  // Success also where there is no such file.
  [[nodiscard]] virtual Status remove_file(const std::string& path) = 0;
};

// The real one. Lives for the whole process and has no state.
[[nodiscard]] FileSystem& real_file_system();

}  // namespace sluice::audit
