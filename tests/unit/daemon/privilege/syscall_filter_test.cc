#include "daemon/privilege/syscall_filter.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <thread>

#include <gtest/gtest.h>

#include "tests/unit/daemon/privilege/child.h"

namespace sluice::privilege {
namespace {

constexpr int kFilterFailed = 99;

// What `attempt` comes to under the filter: 0 where it worked, else its errno.
template <typename Attempt>
Ending under_filter(FilteredProcess process, Attempt attempt) {
  return in_child([&] {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return kFilterFailed;
    if (const Status filtered = filter_system_calls(process); !filtered) {
      std::fprintf(stderr, "%s\n", filtered.error().message.c_str());
      return kFilterFailed;
    }
    errno = 0;
    return attempt() < 0 ? errno : 0;
  });
}

TEST(SyscallFilter, IsBuiltIntoThisBinary) {
  ASSERT_TRUE(filters_system_calls());
}

TEST(SyscallFilter, KillsWhoeverRunsAnotherProgram) {
  for (const FilteredProcess process : {FilteredProcess::daemon, FilteredProcess::helper}) {
    const Ending ending = under_filter(process, [] {
      char program[] = "/bin/true";
      char* const words[] = {program, nullptr};
      char* const none[] = {nullptr};
      return execve(program, words, none);
    });
    EXPECT_EQ(ending.signal, SIGSYS);
  }
}

TEST(SyscallFilter, KillsWhoeverReachesForAnotherProcess) {
  const Ending traced =
      under_filter(FilteredProcess::daemon, [] { return ptrace(PTRACE_ATTACH, getppid(), nullptr, nullptr); });
  EXPECT_EQ(traced.signal, SIGSYS);
  const Ending read = under_filter(FilteredProcess::daemon, [] {
    char byte = 0;
    iovec own{&byte, 1}, other{&byte, 1};
    return process_vm_readv(getppid(), &own, 1, &other, 1, 0);
  });
  EXPECT_EQ(read.signal, SIGSYS);
}

TEST(SyscallFilter, KillsWhoeverLeavesItsNamespaces) {
  EXPECT_EQ(under_filter(FilteredProcess::daemon, [] { return unshare(CLONE_NEWUSER); }).signal, SIGSYS);
  EXPECT_EQ(under_filter(FilteredProcess::helper, [] { return unshare(CLONE_NEWNS); }).signal, SIGSYS);
}

TEST(SyscallFilter, TheDaemonStartsThreadsButNoProcess) {
  EXPECT_EQ(under_filter(FilteredProcess::daemon,
                         [] {
                           std::thread([] {}).join();
                           return 0;
                         })
                .status,
            0);
  EXPECT_EQ(under_filter(FilteredProcess::daemon, [] { return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }).status,
            EPERM);
}

TEST(SyscallFilter, HoldsForThreadsThatRanBefore) {
  // The filter is put on by another thread; the one that was there must be under it too.
  const Ending ending = in_child([] {
    std::array<int, 2> go{};
    if (pipe(go.data()) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return kFilterFailed;
    int seen = -1;
    std::thread earlier([&] {
      char byte = 0;
      if (read(go[0], &byte, 1) != 1) return;
      seen = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) < 0 ? errno : 0;
    });
    if (!filter_system_calls(FilteredProcess::daemon)) return kFilterFailed;
    const bool told = write(go[1], "x", 1) == 1;
    earlier.join();
    return told ? seen : kFilterFailed;
  });
  EXPECT_EQ(ending.status, EPERM);
}

TEST(SyscallFilter, LoadsNoPrograms) {
  const auto command = [](int number) {
    return [number] {
      bpf_attr attributes;
      std::memset(&attributes, 0, sizeof attributes);
      return syscall(SYS_bpf, number, &attributes, sizeof attributes);
    };
  };
  for (const int refused : {BPF_PROG_LOAD, BPF_LINK_CREATE, BPF_PROG_GET_FD_BY_ID, BPF_MAP_GET_FD_BY_ID, BPF_OBJ_PIN}) {
    EXPECT_EQ(under_filter(FilteredProcess::daemon, command(refused)).status, EPERM) << refused;
    EXPECT_EQ(under_filter(FilteredProcess::helper, command(refused)).status, EPERM) << refused;
  }
  EXPECT_EQ(under_filter(FilteredProcess::daemon, command(BPF_MAP_CREATE)).status, EPERM);
  EXPECT_EQ(under_filter(FilteredProcess::helper, command(BPF_MAP_UPDATE_ELEM)).status, EPERM);
  // What is let through meets the kernel's own answer to such nonsense.
  EXPECT_NE(under_filter(FilteredProcess::daemon, command(BPF_MAP_LOOKUP_ELEM)).status, EPERM);
}

TEST(SyscallFilter, MakesNoCode) {
  const auto map = [](int protection) {
    return [protection] {
      return mmap(nullptr, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0;
    };
  };
  EXPECT_EQ(under_filter(FilteredProcess::daemon, map(PROT_READ | PROT_WRITE)).status, 0);
  EXPECT_EQ(under_filter(FilteredProcess::daemon, map(PROT_WRITE | PROT_EXEC)).status, EPERM);
  EXPECT_EQ(under_filter(FilteredProcess::daemon,
                         [] {
                           void* const page =
                               mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                           return mprotect(page, 4096, PROT_READ | PROT_EXEC);
                         })
                .status,
            EPERM);
}

TEST(SyscallFilter, OpensOnlySocketsThatAreNeeded) {
  for (const int family : {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}) {
    EXPECT_EQ(under_filter(FilteredProcess::daemon, [=] { return socket(family, SOCK_DGRAM, 0); }).status, 0) << family;
  }
  EXPECT_EQ(under_filter(FilteredProcess::daemon, [] { return socket(AF_PACKET, SOCK_RAW, 0); }).status, EPERM);
  EXPECT_EQ(under_filter(FilteredProcess::daemon, [] { return socket(AF_VSOCK, SOCK_STREAM, 0); }).status, EPERM);
  EXPECT_EQ(under_filter(FilteredProcess::helper, [] { return socket(AF_INET, SOCK_STREAM, 0); }).status, EPERM);
}

TEST(SyscallFilter, TheHelperWritesNoFile) {
  EXPECT_EQ(under_filter(FilteredProcess::helper, [] { return open("/dev/null", O_RDONLY | O_CLOEXEC); }).status, 0);
  EXPECT_EQ(under_filter(FilteredProcess::helper, [] { return open("/dev/null", O_RDWR | O_CLOEXEC); }).status, EPERM);
  EXPECT_EQ(under_filter(FilteredProcess::helper, [] { return open("/tmp/x", O_CREAT | O_RDONLY, 0600); }).status,
            EPERM);
  EXPECT_EQ(under_filter(FilteredProcess::helper, [] { return unlink("/tmp/sluice-no-such-file"); }).status, EPERM);
  EXPECT_EQ(under_filter(FilteredProcess::helper, [] { return rename("/tmp/a", "/tmp/b"); }).status, EPERM);
}

TEST(SyscallFilter, SignalsNobodyElse) {
  EXPECT_EQ(under_filter(FilteredProcess::daemon, [] { return kill(getppid(), 0); }).status, EPERM);
  EXPECT_EQ(under_filter(FilteredProcess::daemon, [] { return kill(getpid(), 0); }).status, 0);
}

TEST(SyscallFilter, CannotBeTakenOffByChangingUser) {
  SLUICE_NEEDS_ROOT();
  EXPECT_EQ(under_filter(FilteredProcess::daemon, [] { return syscall(SYS_setresuid, 0, 0, 0); }).status, EPERM);
}

}  // namespace
}  // namespace sluice::privilege
