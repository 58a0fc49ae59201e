// Every bound of a search through files (docs/masking.md, "Searching files"). A bound that is met is reported, never
// silent.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::scan {

// What is looked at in one piece: large enough that system calls do not count, small enough for a second-level cache.
inline constexpr size_t kWindowBytes = size_t{256} * 1024;

inline constexpr unsigned kWorkersMax = 256;
// Files that wait for their turn in the output, and what one of them may have to say before it waits for the files
// before it.
inline constexpr size_t kFilesAheadMax = 1024;
inline constexpr size_t kReportAheadBytesMax = size_t{32} * 1024;

// Directories within each other; each holds its list of names in memory.
inline constexpr size_t kDirectoryDepthMax = 512;

// Archives within archives.
inline constexpr size_t kNestingMax = 8;
inline constexpr uint64_t kMembersMax = 4'000'000;
// What a file may expand to: this much for nothing, and beyond it so many times the compressed bytes read so far.
inline constexpr uint64_t kExpandedFreeBytes = uint64_t{1} << 30;
inline constexpr uint64_t kExpansionRatioMax = 250;
inline constexpr size_t kMemberNameBytesMax = 4096;

}  // namespace sluice::scan
