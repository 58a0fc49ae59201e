// Names and life of what is pinned on the BPF file system: DIR (links and maps in force), DIR-new (being prepared),
// DIR-old (just replaced), DIR-lock (an empty directory that a living daemon holds with flock).
//
// The lock is a directory on the BPF file system itself because it then has the very scope of the pins: another network
// or mount namespace cannot miss it, as it would an abstract socket or a file under its own /run; it needs no other
// path to be writable; and the kernel drops it with the process. (Names on bpffs must not contain dots.) Used by the
// control thread only.
#pragma once

#include <optional>
#include <string>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace sluice::interception {

inline constexpr int kPinsMax = 64;  // entries of one pin directory; more are not ours

[[nodiscard]] std::string staging_directory(const std::string& bpf_directory);
[[nodiscard]] std::string replaced_directory(const std::string& bpf_directory);
[[nodiscard]] std::string lock_directory(const std::string& bpf_directory);

class PinLock {
 public:
  // Takes the lock; empty where another process has it.
  [[nodiscard]] static Result<std::optional<PinLock>> take(const std::string& bpf_directory);
  // Says who has it, for a message.
  [[nodiscard]] static std::string describe_holder(const std::string& bpf_directory);
  // Removes the lock's directory as well; for when nothing is left pinned.
  void release_and_remove();

 private:
  PinLock(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  UniqueFd fd_;
  std::string path_;
};

// Removes a pin directory and its entries; true where it is gone (or never was). `removed` grows by the entries.
[[nodiscard]] bool remove_pins(const std::string& directory, int& removed);

// Puts the prepared directory in place of `bpf_directory`, in one step where something is there already, and removes
// that.
[[nodiscard]] Status put_in_place(const std::string& bpf_directory);

}  // namespace sluice::interception
