// The capabilities of the calling thread, by the system calls themselves (capabilities(7)): which ones there are, and
// giving them up for good. Stateless; acts on the calling thread alone, so it is called before the first other thread
// starts.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "daemon/base/result.h"

namespace sluice::privilege {

class CapabilitySet {
 public:
  CapabilitySet() = default;
  CapabilitySet(std::initializer_list<int> numbers) {
    for (const int number : numbers) bits_ |= uint64_t{1} << number;
  }
  [[nodiscard]] static CapabilitySet of_bits(uint64_t bits) {
    CapabilitySet set;
    set.bits_ = bits;
    return set;
  }
  [[nodiscard]] uint64_t bits() const { return bits_; }
  [[nodiscard]] bool has(int number) const { return (bits_ >> number & 1) != 0; }
  [[nodiscard]] bool empty() const { return bits_ == 0; }
  [[nodiscard]] CapabilitySet and_also(CapabilitySet other) const { return of_bits(bits_ & other.bits_); }
  bool operator==(const CapabilitySet&) const = default;

 private:
  uint64_t bits_ = 0;
};

// "CAP_BPF CAP_SYS_PTRACE", or "none".
[[nodiscard]] std::string to_text(CapabilitySet set);

[[nodiscard]] Result<CapabilitySet> permitted_capabilities();

// What acts now; the rest stays within reach until keep_only().
[[nodiscard]] Status set_effective(CapabilitySet set);

// Gives up everything else: permitted, effective, inheritable, ambient, and the bounding set where CAP_SETPCAP allows
// it. There is no way back.
[[nodiscard]] Status keep_only(CapabilitySet set);

}  // namespace sluice::privilege
