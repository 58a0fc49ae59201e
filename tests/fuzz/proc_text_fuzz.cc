// Texts of /proc and names of cgroups, which other users of the host have a hand in. The first byte chooses the reader.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "daemon/identity/proc_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 4) {
    case 0:
      (void)sluice::identity::start_ticks_of(text);
      break;
    case 1: {
      const std::string mount = sluice::identity::find_cgroup_mount(text);
      if (mount.find(' ') != std::string::npos) std::abort();  // a field of the line, never more
      break;
    }
    case 2: {
      const std::string unit = sluice::identity::unit_of(text);
      if (unit.find('/') != std::string::npos) std::abort();  // one component, never a path
      break;
    }
    default: {
      const std::string id = sluice::identity::container_of(text);
      if (!id.empty() && id.size() != 64) std::abort();
      break;
    }
  }
  return 0;
}
