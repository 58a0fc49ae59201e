// What the kernel noted about the process that called connect(), as identity wants it: numbers that cannot lie.
// identity does not know interception; the service copies the note into this.
#pragma once

#include <cstdint>

namespace sluice::identity {

struct ProcessFacts {
  int64_t pid = -1;  // thread group id in the initial pid namespace
  int64_t uid = -1;
  int64_t gid = -1;
  uint64_t cgroup_id = 0;
  uint64_t start_boottime_ns = 0;  // of the thread group leader
  uint64_t exe_inode = 0;          // 0: not noted
  uint64_t exe_device = 0;         // as stat(2) shows it
};

}  // namespace sluice::identity
