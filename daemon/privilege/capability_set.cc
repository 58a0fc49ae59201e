#include "daemon/privilege/capability_set.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace sluice::privilege {
namespace {

// Words of two 32-bit halves, low first (capget(2), version 3).
using Halves = std::array<__user_cap_data_struct, 2>;

Result<Halves> read_halves() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  Halves halves = {};
  if (syscall(SYS_capget, &header, halves.data()) != 0) return fail_errno("read capabilities", errno);
  return halves;
}

Status write_halves(const Halves& halves) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  if (syscall(SYS_capset, &header, halves.data()) != 0) return fail_errno("set capabilities", errno);
  return {};
}

uint32_t low(CapabilitySet set) {
  return static_cast<uint32_t>(set.bits());
}
uint32_t high(CapabilitySet set) {
  return static_cast<uint32_t>(set.bits() >> 32);
}

// Those that we name somewhere; others are shown by number.
struct Name {
  int number;
  const char* text;
};
constexpr Name kNames[] = {
    {CAP_CHOWN, "CAP_CHOWN"},
    {CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"},
    {CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"},
    {CAP_SETGID, "CAP_SETGID"},
    {CAP_SETUID, "CAP_SETUID"},
    {CAP_SETPCAP, "CAP_SETPCAP"},
    {CAP_NET_ADMIN, "CAP_NET_ADMIN"},
    {CAP_NET_RAW, "CAP_NET_RAW"},
    {CAP_SYS_PTRACE, "CAP_SYS_PTRACE"},
    {CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},
    {CAP_SYS_RESOURCE, "CAP_SYS_RESOURCE"},
    {CAP_PERFMON, "CAP_PERFMON"},
    {CAP_BPF, "CAP_BPF"},
};

}  // namespace

std::string to_text(CapabilitySet set) {
  std::string text;
  for (int number = 0; number < 64; ++number) {
    if (!set.has(number)) continue;
    const char* name = nullptr;
    for (const Name& known : kNames) {
      if (known.number == number) name = known.text;
    }
    text += (text.empty() ? "" : " ") + (name != nullptr ? std::string(name) : "capability " + std::to_string(number));
  }
  return text.empty() ? "none" : text;
}

Result<CapabilitySet> permitted_capabilities() {
  const auto halves = read_halves();
  if (!halves) return tl::unexpected(halves.error());
  return CapabilitySet::of_bits(uint64_t{(*halves)[0].permitted} | uint64_t{(*halves)[1].permitted} << 32);
}

Status set_effective(CapabilitySet set) {
  auto halves = read_halves();
  if (!halves) return tl::unexpected(halves.error());
  (*halves)[0].effective = low(set);
  (*halves)[1].effective = high(set);
  return write_halves(*halves);
}

Status keep_only(CapabilitySet set) {
  const auto permitted = permitted_capabilities();
  if (!permitted) return tl::unexpected(permitted.error());
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
    return fail_errno("clear ambient capabilities", errno);
  // The bounding set limits what an exec could bring back. Where it cannot be lowered, no_new_privs and the system call
  // filter, which have no exec, still stand.
  if (permitted->has(CAP_SETPCAP)) {
    if (Status raised = set_effective(*permitted); !raised) return raised;
    for (int number = 0; prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0; ++number) {
      if (!set.has(number) && prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0)
        return fail_errno("lower the capability bounding set", errno);
    }
  }
  Halves halves = {};
  halves[0].permitted = halves[0].effective = low(set);
  halves[1].permitted = halves[1].effective = high(set);
  return write_halves(halves);
}

}  // namespace sluice::privilege
