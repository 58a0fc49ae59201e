#include "daemon/privilege/syscall_filter.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

namespace sluice::privilege {
namespace {

// What any process of ours needs to go on: memory, threads' waits, time, signals, its end.
constexpr std::string_view kBoth[] = {
    "brk",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "close",
    "exit",
    "exit_group",
    "fcntl",
    "fstat",
    "fstatfs",
    "futex",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "getppid",
    "getrandom",
    "gettid",
    "gettimeofday",
    "getuid",
    "lseek",
    "madvise",
    "mremap",
    "munmap",
    "nanosleep",
    "newfstatat",
    "poll",
    "ppoll",
    "read",
    "readlink",
    "readlinkat",
    "recvmsg",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "sendmsg",
    "set_robust_list",
    "sigaltstack",
    "stat",
    "statfs",
    "statx",
    "time",
    "uname",
    "write",
    "writev",
    "lstat",
    "access",
    "faccessat",
    "faccessat2",
    "capget",
};

// Sessions, the log, the control socket, name services. What is allowed only with some arguments stands in add_limited.
constexpr std::string_view kDaemonOnly[] = {
    "accept",
    "accept4",
    "bind",
    "chdir",
    "connect",
    "dup",
    "dup2",
    "dup3",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd2",
    "fallocate",
    "fchmod",
    "fchmodat",
    "chmod",
    "fdatasync",
    "flock",
    "fsync",
    "ftruncate",
    "futex_waitv",
    "getcpu",
    "getcwd",
    "getdents64",
    "getgroups",
    "getpeername",
    "getpriority",
    "getresgid",
    "getresuid",
    "getrlimit",
    "getrusage",
    "getsockname",
    "getsockopt",
    "inotify_add_watch",
    "inotify_init1",
    "inotify_rm_watch",
    "listen",
    "membarrier",
    "mkdir",
    "mkdirat",
    "mlock",
    "mlock2",
    "msync",
    "munlock",
    "open",
    "openat",
    "pipe2",
    "pread64",
    "preadv",
    "pselect6",
    "pwrite64",
    "pwritev",
    "readv",
    "recvfrom",
    "recvmmsg",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "rt_sigtimedwait",
    "rt_sigsuspend",
    "sched_getaffinity",
    "sched_getparam",
    "sched_getscheduler",
    "select",
    "sendfile",
    "sendmmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    "socketpair",
    "splice",
    "sync_file_range",
    "sysinfo",
    "times",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    "umask",
    "unlink",
    "unlinkat",
    "wait4",
    "waitid",
};

// Reads, and nothing else: it opens files, but never to write (add_limited).
constexpr std::string_view kHelperOnly[] = {"getdents64", "open_by_handle_at"};

// Only somebody who has taken the process over calls these.
constexpr const char* kKills[] = {
    "execve",        "execveat",        "ptrace",      "process_vm_readv", "process_vm_writev",
    "pidfd_getfd",   "pidfd_open",      "init_module", "finit_module",     "delete_module",
    "kexec_load",    "kexec_file_load", "mount",       "umount2",          "pivot_root",
    "chroot",        "setns",           "unshare",     "open_tree",        "move_mount",
    "fsopen",        "fsmount",         "userfaultfd", "perf_event_open",  "add_key",
    "request_key",   "keyctl",          "swapon",      "swapoff",          "reboot",
    "iopl",          "ioperm",          "acct",        "quotactl",         "settimeofday",
    "clock_settime",
};

constexpr uint64_t kDaemonBpfCommands[] = {BPF_MAP_LOOKUP_ELEM,    BPF_MAP_UPDATE_ELEM,
                                           BPF_MAP_DELETE_ELEM,    BPF_MAP_GET_NEXT_KEY,
                                           BPF_OBJ_GET_INFO_BY_FD, BPF_MAP_LOOKUP_AND_DELETE_ELEM};
constexpr uint64_t kHelperBpfCommands[] = {BPF_MAP_CREATE, BPF_OBJ_GET, BPF_OBJ_GET_INFO_BY_FD};
constexpr uint64_t kFamilies[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
constexpr uint64_t kIoctls[] = {TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, SIOCOUTQ};
constexpr uint64_t kPrctls[] = {PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_SET_TIMERSLACK};

scmp_arg_cmp equal(unsigned argument, uint64_t value) {
  return {argument, SCMP_CMP_EQ, value, 0};
}

scmp_arg_cmp masked(unsigned argument, uint64_t mask, uint64_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}

class Filter {
 public:
  Filter() : context_(seccomp_init(SCMP_ACT_ERRNO(EPERM)), seccomp_release) {
    if (context_ == nullptr) error_ = ENOMEM;
  }

  void rule(uint32_t action, const char* name, std::vector<scmp_arg_cmp> conditions = {}) {
    if (error_ != 0) return;
    const int number = seccomp_syscall_resolve_name(name);
    // Calls of other architectures have pseudo numbers, which the library leaves out.
    const int failed = number == __NR_SCMP_ERROR
                           ? -ENOSYS
                           : seccomp_rule_add_array(context_.get(), action, number,
                                                    static_cast<unsigned>(conditions.size()), conditions.data());
    if (failed == 0) return;
    error_ = -failed;
    at_ = name;
  }
  void allow(const char* name, std::vector<scmp_arg_cmp> conditions = {}) {
    rule(SCMP_ACT_ALLOW, name, std::move(conditions));
  }
  void allow_all(std::span<const std::string_view> names) {
    for (const std::string_view name : names) allow(std::string(name).c_str());
  }
  void allow_where(const char* name, unsigned argument, std::span<const uint64_t> values) {
    for (const uint64_t value : values) allow(name, {equal(argument, value)});
  }
  void set(scmp_filter_attr attribute, uint32_t value) {
    if (error_ == 0) error_ = -seccomp_attr_set(context_.get(), attribute, value);
  }
  Status load() {
    if (error_ == 0) error_ = -seccomp_load(context_.get());
    if (error_ != 0) return fail_errno("filter system calls" + (at_.empty() ? "" : " (" + at_ + ")"), error_);
    return {};
  }

 private:
  std::unique_ptr<void, decltype(&seccomp_release)> context_;
  int error_ = 0;
  std::string at_;
};

// Memory is either written or run: code cannot be made.
void add_memory(Filter& filter) {
  filter.allow("mmap", {masked(2, PROT_EXEC, 0)});
  filter.allow("mmap", {masked(2, PROT_EXEC | PROT_WRITE, PROT_EXEC)});  // a name service's library
  filter.allow("mprotect", {masked(2, PROT_EXEC, 0)});
}

void add_limited_daemon(Filter& filter) {
  // Threads, never processes. clone3 hides its flags behind a pointer: "no such call" makes the C library use clone.
  filter.allow("clone", {masked(0, CLONE_VM | CLONE_THREAD | CLONE_NEWUSER, CLONE_VM | CLONE_THREAD)});
  filter.rule(SCMP_ACT_ERRNO(ENOSYS), "clone3");
  filter.allow_where("socket", 0, kFamilies);
  filter.allow_where("bpf", 0, kDaemonBpfCommands);
  filter.allow_where("ioctl", 1, kIoctls);
  filter.allow_where("prctl", 0, kPrctls);
  // Its own threads alone; and its own limits, to look at.
  const uint64_t self = static_cast<uint64_t>(getpid());
  filter.allow("tgkill", {equal(0, self)});
  filter.allow("kill", {equal(0, self)});
  filter.allow("prlimit64", {equal(0, 0), equal(2, 0)});
}

void add_limited_helper(Filter& filter) {
  filter.allow("openat", {masked(2, O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND, O_RDONLY)});
  filter.allow_where("bpf", 0, kHelperBpfCommands);
  filter.allow("tgkill", {equal(0, static_cast<uint64_t>(getpid()))});  // abort()
}

template <size_t A, size_t B>
std::vector<std::string_view> joined(const std::string_view (&one)[A], const std::string_view (&other)[B]) {
  std::vector<std::string_view> all(one, one + A);
  all.insert(all.end(), other, other + B);
  return all;
}

}  // namespace

std::span<const std::string_view> allowed_system_calls(FilteredProcess process) {
  static const std::vector<std::string_view> of_daemon = joined(kBoth, kDaemonOnly);
  static const std::vector<std::string_view> of_helper = joined(kBoth, kHelperOnly);
  return process == FilteredProcess::daemon ? of_daemon : of_helper;
}

bool filters_system_calls() {
#ifdef SLUICE_WITHOUT_SYSCALL_FILTER
  return false;
#else
  return true;
#endif
}

Status filter_system_calls(FilteredProcess process) {
  if (!filters_system_calls()) return {};
  Filter filter;
  filter.set(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  filter.set(SCMP_FLTATR_CTL_TSYNC, 1);
  filter.set(SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a binary tree: calls whose arguments count are decided in few steps
  // No code of others runs in here that could be kept from speculating; the mitigation would cost the data path.
  filter.set(SCMP_FLTATR_CTL_SSB, 1);
  for (const char* const name : kKills) filter.rule(SCMP_ACT_KILL_PROCESS, name);
  filter.allow_all(allowed_system_calls(process));
  add_memory(filter);
  if (process == FilteredProcess::daemon) {
    add_limited_daemon(filter);
  } else {
    add_limited_helper(filter);
  }
  return filter.load();
}

}  // namespace sluice::privilege
