#include "daemon/identity/proc_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

namespace sluice::identity {
namespace {

std::string slurp(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

ProcessFacts own_facts() {
  ProcessFacts facts;
  facts.pid = getpid();
  facts.uid = getuid();
  facts.gid = getgid();
  facts.start_boottime_ns =
      start_ticks_of(slurp("/proc/self/stat")).value_or(0) * 10'000'000 + 1'234;  // the kernel knows it finer
  struct stat status {};
  EXPECT_EQ(stat("/proc/self/exe", &status), 0);
  facts.exe_inode = status.st_ino;
  facts.exe_device = status.st_dev;
  return facts;
}

ProcReader reader() {
  auto opened = ProcReader::open("/proc", find_cgroup_mount(slurp("/proc/mounts")));
  EXPECT_TRUE(opened.has_value());
  return std::move(*opened);
}

TEST(ProcReader, KnowsTheProcessThatWasNoted) {
  const ProcReader proc = reader();
  const ProcessFacts facts = own_facts();
  EXPECT_TRUE(proc.same_process(facts));
  const auto exe = proc.executable(facts);
  ASSERT_TRUE(exe.has_value());
  EXPECT_NE(exe->path.find("unit_daemon_identity"), std::string::npos);
  EXPECT_TRUE(exe->file.valid());
}

TEST(ProcReader, AnotherProcessUnderTheSameNumberIsNotTakenForIt) {
  const ProcReader proc = reader();
  ProcessFacts facts = own_facts();
  facts.start_boottime_ns -= 50'000'000;  // the number was somebody else's 50 ms earlier
  EXPECT_FALSE(proc.same_process(facts));
  EXPECT_FALSE(proc.executable(facts).has_value());
  EXPECT_EQ(proc.cgroup_path(facts), "");
}

TEST(ProcReader, AProcessThatIsGoneIsNobody) {
  const ProcReader proc = reader();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) _exit(0);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  ProcessFacts facts = own_facts();
  facts.pid = child;
  EXPECT_FALSE(proc.executable(facts).has_value());
}

TEST(ProcReader, AnExecSinceTheConnectIsNoticed) {
  const ProcReader proc = reader();
  ProcessFacts facts = own_facts();
  facts.exe_inode += 1;
  EXPECT_FALSE(proc.executable(facts).has_value());
}

TEST(ProcReader, ADeletedExecutableHasNoPath) {
  const ProcReader proc = reader();
  const std::string copy = ::testing::TempDir() + "/sleeper-" + std::to_string(getpid());
  {
    std::ifstream from("/bin/sleep", std::ios::binary);
    std::ofstream to(copy, std::ios::binary);
    to << from.rdbuf();
  }
  ASSERT_EQ(chmod(copy.c_str(), 0755), 0);
  int started[2];
  ASSERT_EQ(pipe2(started, O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    execl(copy.c_str(), "sleeper", "30", static_cast<char*>(nullptr));
    _exit(1);
  }
  close(started[1]);
  char c;
  ASSERT_EQ(read(started[0], &c, 1), 0) << "the pipe closes when exec happened";
  close(started[0]);
  ASSERT_EQ(unlink(copy.c_str()), 0);
  ProcessFacts facts;
  facts.pid = child;
  facts.start_boottime_ns = start_ticks_of(slurp("/proc/" + std::to_string(child) + "/stat")).value_or(0) * 10'000'000;
  const auto exe = proc.executable(facts);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  ASSERT_TRUE(exe.has_value());
  EXPECT_EQ(exe->path, "");
  EXPECT_TRUE(exe->file.valid()) << "it can still be hashed";
}

TEST(ProcReader, FindsACgroupByItsId) {
  const std::string mount = find_cgroup_mount(slurp("/proc/mounts"));
  const std::string folder = mount + "/sluice-unit-" + std::to_string(getpid());
  if (mount.empty() || mkdir(folder.c_str(), 0755) != 0) GTEST_SKIP() << "no cgroup v2 that this user may change";
  struct stat status {};
  ASSERT_EQ(stat(folder.c_str(), &status), 0);
  ProcessFacts facts;  // no process at all: the id is enough
  facts.cgroup_id = status.st_ino;
  const std::string found = reader().cgroup_path(facts);
  rmdir(folder.c_str());
  EXPECT_EQ(found, folder.substr(mount.size()));
}

TEST(ProcText, StartTimeComesAfterTheLastParenthesis) {
  EXPECT_EQ(start_ticks_of("7 (a) R 1 2) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20"), 4242u);
  EXPECT_EQ(start_ticks_of("7 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242"), 4242u);
  EXPECT_FALSE(start_ticks_of("").has_value());
  EXPECT_FALSE(start_ticks_of("7 (x) S 1 2").has_value());
  EXPECT_FALSE(start_ticks_of("7 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 oops 20").has_value());
}

TEST(ProcText, CgroupMountIsFoundWhereverItIs) {
  EXPECT_EQ(find_cgroup_mount("proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"), "/sys/fs/cgroup");
  EXPECT_EQ(find_cgroup_mount("cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0"),
            "/sys/fs/cgroup/unified");
  EXPECT_EQ(find_cgroup_mount("cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n"), "");
  EXPECT_EQ(find_cgroup_mount("\n\nx\nx y"), "");
}

TEST(ProcText, UnitIsTheInnermost) {
  EXPECT_EQ(unit_of("/system.slice/fraud-engine.service"), "fraud-engine.service");
  EXPECT_EQ(unit_of("/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope"), "run-1.scope");
  EXPECT_EQ(unit_of("/system.slice/php-fpm.service/pool-a"), "php-fpm.service");
  EXPECT_EQ(unit_of("/"), "");
  EXPECT_EQ(unit_of("/.service"), "");
}

TEST(ProcText, ContainerIdsAsRuntimesWriteThem) {
  const std::string id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
  EXPECT_EQ(container_of("/system.slice/docker-" + id + ".scope"), id);
  EXPECT_EQ(container_of("/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope"), id);
  EXPECT_EQ(container_of("/docker/" + id), id);
  EXPECT_EQ(container_of("/machine.slice/libpod-" + id + ".scope/container"), id);
  EXPECT_EQ(container_of("/system.slice/ssh.service"), "");
}

}  // namespace
}  // namespace sluice::identity
