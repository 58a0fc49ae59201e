// The version of this program: in `sluice version`, in status, in daemon_started events. CMakeLists.txt names the same
// one.
#pragma once

namespace sluice {

inline constexpr const char* kVersion = "0.1.0";

}  // namespace sluice
