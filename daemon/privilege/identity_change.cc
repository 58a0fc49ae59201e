#include "daemon/privilege/identity_change.h"

#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>

namespace sluice::privilege {
namespace {

Status change_user(const Account& account) {
  // Its groups may be what lets it read a key; root's must not stay.
  if (account.uid != 0 && initgroups(account.name.c_str(), account.gid) != 0)
    return fail_errno("take the groups of user " + account.name, errno);
  if (account.uid == 0 && setgroups(0, nullptr) != 0) return fail_errno("give up supplementary groups", errno);
  if (setresgid(account.gid, account.gid, account.gid) != 0)
    return fail_errno("become group of " + account.name, errno);
  if (setresuid(account.uid, account.uid, account.uid) != 0) return fail_errno("become user " + account.name, errno);
  return {};
}

// Believe nothing: what was given up must not come back.
Status verify(const Account& account, CapabilitySet keep) {
  uid_t real = 0, effective = 0, saved = 0;
  if (getresuid(&real, &effective, &saved) != 0) return fail_errno("ask who we are", errno);
  if (account.uid != real || account.uid != effective || account.uid != saved)
    return fail("the process is still user " + std::to_string(effective));
  if (account.uid != 0 && setresuid(0, 0, 0) == 0) return fail("root could be taken back");
  const auto left = permitted_capabilities();
  if (!left) return tl::unexpected(left.error());
  if (!(*left == keep)) return fail("other capabilities are left than wanted: " + to_text(*left));
  return {};
}

}  // namespace

Status forbid_memory_images() {
  const rlimit no_core{0, 0};
  if (setrlimit(RLIMIT_CORE, &no_core) != 0) return fail_errno("forbid core dumps", errno);
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return fail_errno("forbid memory images", errno);
  return {};
}

Status become(const Account& account, CapabilitySet keep) {
  const auto permitted = permitted_capabilities();
  if (!permitted) return tl::unexpected(permitted.error());
  keep = keep.and_also(*permitted);
  Account as = account;
  if (geteuid() == 0) {
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return fail_errno("keep capabilities over the change", errno);
    if (Status changed = change_user(account); !changed) return changed;
    if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) != 0) return fail_errno("keep capabilities no longer", errno);
  } else {
    as.uid = geteuid();
  }
  if (Status kept = keep_only(keep); !kept) return kept;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno("forbid new privileges", errno);
  // A change of user makes the kernel forget this setting.
  if (Status forbidden = forbid_memory_images(); !forbidden) return forbidden;
  return verify(as, keep);
}

}  // namespace sluice::privilege
