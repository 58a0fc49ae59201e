// Who the daemon is once it has given up root, and handing that account the directories it has to write. Stateless
// functions for the start, before any thread; they need root.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "daemon/base/result.h"

namespace sluice::privilege {

struct Account {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
};

inline constexpr size_t kEntriesGivenMax = 1'000'000;  // of one directory tree
inline constexpr int kDepthGivenMax = 16;

// The user of that name with its own group; nullopt where there is none. Fails where the name services do.
[[nodiscard]] Result<std::optional<Account>> find_account(const std::string& name);

// Makes `directory` (0700, its missing parents too) and gives it with all that is in it to the account. Never follows a
// symbolic link and never touches a file with a second name: whoever could write there before must not be able to get
// another file given away. Refuses a directory of somebody else that is open to others.
[[nodiscard]] Status give_directory(const std::string& directory, const Account& account);

// By which path this process reaches a directory: its own, or, where the directory is the account's but one above it is
// closed to it, through the descriptor given, which then has to stay open.
[[nodiscard]] std::string reachable_path(const std::string& directory, int directory_fd);

}  // namespace sluice::privilege
