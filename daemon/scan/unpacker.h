// Unpacks compressed files and archives as streams, by libarchive: nothing is written anywhere, and nothing but one
// block per level is held (what a decompressor itself needs is its window: up to 128 MiB for zstd, up to 1 GiB for xz).
// What an archive may cost is bounded by an ExpansionBudget, which all levels of one file share. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/scan/byte_source.h"

namespace sluice::scan {

// Against bombs: what a file may expand to, in relation to what of it was read, and how many members it may have.
class ExpansionBudget {
 public:
  // `bytes_max` 0: kExpandedFreeBytes, and beyond it kExpansionRatioMax times the packed bytes.
  explicit ExpansionBudget(uint64_t bytes_max) : bytes_max_(bytes_max) {}

  void read_packed(uint64_t bytes) { packed_ += bytes; }
  [[nodiscard]] Status take_expanded(uint64_t bytes);
  [[nodiscard]] Status take_member();
  [[nodiscard]] bool exhausted() const { return exhausted_; }

 private:
  uint64_t bytes_max_;
  uint64_t packed_ = 0, expanded_ = 0, members_ = 0;
  bool exhausted_ = false;
};

// A packed text: what was read of it already, and the rest. With a descriptor that can seek (then nothing counts as
// read), a zip file's directory is used.
struct PackedInput {
  ByteSource& source;
  std::vector<uint8_t> begun;
  int seekable_fd = -1;
  bool outermost = true;  // what is read of it counts as packed bytes
};

struct Member {
  std::string name;     // as stored; empty where the input is one compressed text
  bool as_is = false;   // the input turned out not to be packed at all
  bool single = false;  // the input is one text, compressed or not, and no archive
};

using OnMember = std::function<void(const Member& member, ByteSource& bytes)>;
using OnMemberProblem = std::function<void(const std::string& member, const std::string& what)>;

// Presents every member that is a file, in order. What cannot be read of one is for on_problem, and the next follows;
// the status is an error where nothing can follow. Without a descriptor a zip file is read in the order of its members.
[[nodiscard]] Status unpack(PackedInput& input, ExpansionBudget& budget, const OnMember& on_member,
                            const OnMemberProblem& on_problem);

}  // namespace sluice::scan
