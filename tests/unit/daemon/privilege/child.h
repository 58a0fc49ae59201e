// Runs a body in a child process and tells how it ended: what gives up privileges cannot be taken back, so no test does
// it to itself. For tests only; the body returns the exit status.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>

namespace sluice::privilege {

struct Ending {
  int status = -1;  // exit status, or -1
  int signal = 0;   // that killed it, or 0
};

inline Ending in_child(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) return {-1, WTERMSIG(status)};
  return {WEXITSTATUS(status), 0};
}

// What a test process may not be asked to do without root.
#define SLUICE_NEEDS_ROOT() \
  if (geteuid() != 0) GTEST_SKIP() << "needs root: privileges can only be given up where they are"

}  // namespace sluice::privilege
