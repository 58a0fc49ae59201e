#include "daemon/privilege/identity_change.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "tests/unit/daemon/privilege/child.h"

namespace sluice::privilege {
namespace {

Account daemon_account() {  // user "daemon" is on every Debian
  const auto found = find_account("daemon");
  return found && *found ? **found : Account{};
}

std::string status_line(const std::string& key) {
  std::ifstream lines("/proc/self/status");
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(key + ":")) return line.substr(key.size() + 2);
  }
  return {};
}

TEST(Account, KnowsWhoIsThereAndWhoIsNot) {
  const auto found = find_account("daemon");
  ASSERT_TRUE(found && *found);
  EXPECT_NE((*found)->uid, 0u);
  const auto missing = find_account("sluice-no-such-user");
  ASSERT_TRUE(missing);
  EXPECT_FALSE(missing->has_value());
}

TEST(IdentityChange, LeavesNoWayBackToRoot) {
  SLUICE_NEEDS_ROOT();
  const Account account = daemon_account();
  EXPECT_EQ(in_child([&] { return become(account, {}) ? 0 : 1; }).status, 0);
  EXPECT_EQ(in_child([&] {
              if (!become(account, {})) return 1;
              if (setuid(0) == 0 || seteuid(0) == 0 || setgid(0) == 0) return 2;
              if (getuid() != account.uid || getgid() != account.gid) return 3;
              return permitted_capabilities()->empty() ? 0 : 4;
            }).status,
            0);
}

TEST(IdentityChange, KeepsTheNamedCapabilitiesAlone) {
  SLUICE_NEEDS_ROOT();
  const Account account = daemon_account();
  EXPECT_EQ(in_child([&] {
              if (!become(account, {CAP_NET_ADMIN})) return 1;
              return *permitted_capabilities() == CapabilitySet{CAP_NET_ADMIN} ? 0 : 2;
            }).status,
            0);
}

TEST(IdentityChange, RootWithoutCapabilitiesIsAlsoOne) {
  SLUICE_NEEDS_ROOT();
  EXPECT_EQ(in_child([] {
              if (!become({"root", 0, 0}, {})) return 1;
              // Another user's file is closed to it.
              return chown("/tmp", 1, 1) == 0 ? 2 : permitted_capabilities()->empty() ? 0 : 3;
            }).status,
            0);
}

TEST(IdentityChange, SaysSoInProc) {
  SLUICE_NEEDS_ROOT();
  const Account account = daemon_account();
  EXPECT_EQ(in_child([&] {
              if (!become(account, {})) return 1;
              if (status_line("NoNewPrivs") != "1") return 2;
              if (status_line("CapEff") != "0000000000000000" || status_line("CapPrm") != "0000000000000000") return 3;
              if (status_line("CapBnd") != "0000000000000000") return 4;
              return 0;
            }).status,
            0);
}

TEST(IdentityChange, LeavesNoMemoryImage) {
  EXPECT_EQ(in_child([] {
              if (!forbid_memory_images()) return 1;
              rlimit core{1, 1};
              getrlimit(RLIMIT_CORE, &core);
              return core.rlim_max == 0 && prctl(PR_GET_DUMPABLE) == 0 ? 0 : 2;
            }).status,
            0);
}

TEST(IdentityChange, CannotReadWhatOnlyRootMay) {
  SLUICE_NEEDS_ROOT();
  const Account account = daemon_account();
  EXPECT_EQ(in_child([&] {
              if (!become(account, {})) return 1;
              return open("/etc/shadow", O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES ? 0 : 2;
            }).status,
            0);
}

class GiveDirectory : public testing::Test {
 protected:
  void SetUp() override {
    SLUICE_NEEDS_ROOT();
    std::string name = testing::TempDir() + "/give-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    top_ = name;
  }
  void TearDown() override {
    if (!top_.empty()) std::filesystem::remove_all(top_);
  }
  uid_t owner(const std::string& path) {
    struct stat status {};
    EXPECT_EQ(lstat(path.c_str(), &status), 0) << path;
    return status.st_uid;
  }
  std::string top_;
};

TEST_F(GiveDirectory, MakesItAndGivesWhatIsInIt) {
  const Account account = daemon_account();
  std::filesystem::create_directories(top_ + "/state/audit");
  chmod((top_ + "/state").c_str(), 0700);
  std::ofstream(top_ + "/state/audit/segment") << "x";
  ASSERT_TRUE(give_directory(top_ + "/state", account));
  for (const char* const path : {"/state", "/state/audit", "/state/audit/segment"})
    EXPECT_EQ(owner(top_ + path), account.uid) << path;
  ASSERT_TRUE(give_directory(top_ + "/new", account));
  struct stat status {};
  ASSERT_EQ(stat((top_ + "/new").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  EXPECT_EQ(status.st_uid, account.uid);
}

TEST_F(GiveDirectory, FollowsNoLink) {
  std::ofstream(top_ + "/secret") << "x";
  mkdir((top_ + "/state").c_str(), 0700);
  ASSERT_EQ(symlink("../secret", (top_ + "/state/link").c_str()), 0);
  ASSERT_TRUE(give_directory(top_ + "/state", daemon_account()));
  EXPECT_EQ(owner(top_ + "/secret"), 0u);
  EXPECT_EQ(owner(top_ + "/state/link"), 0u);
}

TEST_F(GiveDirectory, GivesNoFileWithASecondName) {
  std::ofstream(top_ + "/secret") << "x";
  mkdir((top_ + "/state").c_str(), 0700);
  ASSERT_EQ(link((top_ + "/secret").c_str(), (top_ + "/state/planted").c_str()), 0);
  const Status given = give_directory(top_ + "/state", daemon_account());
  ASSERT_FALSE(given);
  EXPECT_NE(given.error().message.find("second name"), std::string::npos) << given.error().message;
  EXPECT_EQ(owner(top_ + "/secret"), 0u);
}

TEST_F(GiveDirectory, RefusesADirectoryThatIsOpenToOthers) {
  mkdir((top_ + "/shared").c_str(), 0700);
  chmod((top_ + "/shared").c_str(), 0755);
  const Status given = give_directory(top_ + "/shared", daemon_account());
  ASSERT_FALSE(given);
  EXPECT_NE(given.error().message.find("chown -R daemon:"), std::string::npos) << given.error().message;
  EXPECT_EQ(owner(top_ + "/shared"), 0u);
}

TEST_F(GiveDirectory, AClosedParentIsPassedThroughTheDescriptor) {
  const Account account = daemon_account();
  const std::string state = top_ + "/closed/state";
  ASSERT_TRUE(give_directory(state, account));
  chmod((top_ + "/closed").c_str(), 0700);
  const int fd = open(state.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  EXPECT_EQ(reachable_path(state, fd), state);  // to root everything is
  EXPECT_EQ(in_child([&] {
              if (!become(account, {})) return 1;
              const std::string path = reachable_path(state, fd);
              if (path == state) return 2;
              const int made = open((path + "/file").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
              return made >= 0 ? 0 : 3;
            }).status,
            0);
  EXPECT_EQ(owner(state + "/file"), account.uid);
  close(fd);
}

}  // namespace
}  // namespace sluice::privilege
