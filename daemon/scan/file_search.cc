#include "daemon/scan/file_search.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <vector>

#include "daemon/base/unique_fd.h"
#include "daemon/scan/limits.h"
#include "daemon/scan/packing.h"

namespace sluice::scan {
namespace {

std::string inside(const std::string& member, const std::string& name) {
  return member.empty() ? name : member + "!" + name;
}

std::string error_text(int error_number) {
  return std::generic_category().message(error_number);
}

int open_flags(Named named) {
  int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY;
  // A pipe that has taken the place of a file must not be waited for.
  if (named != Named::by_person) flags |= O_NONBLOCK;
  if (named == Named::in_tree) flags |= O_NOFOLLOW;
  return flags;
}

}  // namespace

FileCounts FileSearch::file(const std::string& path, Named named, const std::optional<struct stat>& output,
                            FileReport& report) {
  counts_ = {};
  const UniqueFd opened(::open(path.c_str(), open_flags(named)));
  struct stat before = {};
  if (!opened.valid() || ::fstat(opened.get(), &before) != 0) {
    report.problem("", error_text(errno));
    return counts_;
  }
  const bool regular = S_ISREG(before.st_mode);
  if (S_ISDIR(before.st_mode)) {
    report.problem("", "became a directory meanwhile");
    return counts_;
  }
  if (named != Named::by_person && !regular) {
    report.note("not a regular file; not looked at");
    return counts_;
  }
  if (output && output->st_dev == before.st_dev && output->st_ino == before.st_ino) {
    report.note("the output of this search; not looked at");
    return counts_;
  }
  if (regular && static_cast<uint64_t>(before.st_size) > options_.file_bytes_max) {
    report.note("larger than --max-file-size; not looked at");
    return counts_;
  }
  if (static_cast<size_t>(before.st_size) > kWindowBytes)
    (void)::posix_fadvise(opened.get(), 0, 0, POSIX_FADV_SEQUENTIAL);  // advice; nothing depends on it
  counts_.searched = true;
  unpacked_ = false;
  budget_.emplace(options_.expanded_bytes_max);
  DescriptorSource source(opened.get(), monitor_);
  stream(source, regular ? opened.get() : -1, "", 0, report);
  struct stat after = {};
  const bool shrank = regular && !unpacked_ && counts_.bytes < static_cast<uint64_t>(before.st_size) &&
                      ::fstat(opened.get(), &after) == 0 && after.st_size < before.st_size;
  if (shrank) {
    report.problem("", "was cut short while it was read; " + std::to_string(counts_.bytes) + " of " +
                           std::to_string(before.st_size) + " bytes were looked at");
  }
  return counts_;
}

FileCounts FileSearch::descriptor(int fd, FileReport& report) {
  counts_ = {};
  counts_.searched = true;
  budget_.emplace(options_.expanded_bytes_max);
  DescriptorSource source(fd, monitor_);
  stream(source, -1, "", 0, report);
  return counts_;
}

void FileSearch::run_text(ByteSource& source, const std::string& member, FileReport& report) {
  const Status read = text_.run(
      source, [&](const TextHit& hit) { report.hit(member, hit); }, counts_.bytes);
  if (!read) report.problem(member, read.error().message);
}

void FileSearch::stream(ByteSource& source, int seekable_fd, const std::string& member, size_t depth,
                        FileReport& report) {
  const Result<std::span<const uint8_t>> first = text_.begin(source);
  if (!first) return report.problem(member, first.error().message);
  const Packing packing = options_.unpacking == Unpacking::on ? packing_of(*first) : Packing{};
  if (packing.kind == Packing::Kind::none) return run_text(source, member, report);
  unpacked_ = true;
  if (packing.kind == Packing::Kind::foreign) {
    return report.problem(member, "a " + std::string(packing.name) + " archive, which cannot be looked into");
  }
  if (depth >= kNestingMax) {
    return report.problem(member,
                          "more than " + std::to_string(kNestingMax) + " archives within each other; not looked into");
  }
  PackedInput input{source, {}, -1, depth == 0};
  if (seekable_fd >= 0 && ::lseek(seekable_fd, 0, SEEK_SET) == 0) {
    input.seekable_fd = seekable_fd;
  } else {
    input.begun.assign(first->begin(), first->end());
  }
  packed(input, member, depth, report);
}

void FileSearch::packed(PackedInput& input, const std::string& member, size_t depth, FileReport& report) {
  const Status unpacked = unpack(
      input, *budget_,
      [&](const Member& found, ByteSource& bytes) {
        if (!found.single) ++counts_.members;
        const std::string path = found.single ? member : inside(member, found.name);
        if (!found.as_is) return stream(bytes, -1, path, depth + 1, report);
        // The signature was chance: a text like any other.
        if (const auto first = text_.begin(bytes); !first) return report.problem(path, first.error().message);
        run_text(bytes, path, report);
      },
      [&](const std::string& name, const std::string& what) { report.problem(inside(member, name), what); });
  if (!unpacked) report.problem(member, unpacked.error().message);
}

}  // namespace sluice::scan
