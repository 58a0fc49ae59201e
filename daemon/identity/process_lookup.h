// Who can be asked about a process of another user: this process itself where it may (ProcReader), or the privileged
// helper once the daemon has given up root. Threading: as the implementation says; the resolver asks from one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "daemon/base/unique_fd.h"
#include "daemon/identity/process_facts.h"

namespace sluice::identity {

// What identifies the content of an executable file for a cache of hashes.
struct FileStamp {
  uint64_t device = 0, inode = 0, size = 0;
  int64_t modified_ns = 0, changed_ns = 0;
  bool operator==(const FileStamp&) const = default;
};

struct Executable {
  std::string path;  // empty where the file is deleted
  FileStamp stamp;
  UniqueFd file;  // the very file that runs, whatever its path leads to now
};

enum class CgroupPath : uint8_t { wanted, known };

struct ProcessLook {
  std::optional<Executable> executable;  // empty where it cannot be told for certain (it is gone, or has called exec)
  std::string cgroup;                    // below the cgroup v2 root; empty where it cannot be told, or is known
};

class ProcessLookup {
 public:
  virtual ~ProcessLookup() = default;
  // Empty where nobody can be asked: whoever wants to know has to refuse.
  [[nodiscard]] virtual std::optional<ProcessLook> look(const ProcessFacts& facts, CgroupPath cgroup) = 0;
};

}  // namespace sluice::identity
