// The helper's side as an attacker would try it who has taken over the daemon: what does not fit, and paths that were
// not configured, are refused. Without a process of its own: the handler is a function.
#include "daemon/privileged_work.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include <gtest/gtest.h>

#include "daemon/identity/proc_reader.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

class HelperSide : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "/work-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    top_ = name;
    fs::create_directories(top_ + "/policies/deeper");
    for (const char* const file : {"/sluice.yaml", "/policies/10-a.yaml", "/policies/.hidden.yaml",
                                   "/policies/notes.txt", "/policies/deeper/b.yaml", "/policies-of-others.yaml"}) {
      std::ofstream(top_ + file) << "version: 1\n";
    }
    mkfifo((top_ + "/policies/fifo.yaml").c_str(), 0600);
    config_.file = top_ + "/sluice.yaml";
    config_.policies_directory = top_ + "/policies";
    handler_ = make_helper_handler(config_);
  }
  void TearDown() override { fs::remove_all(top_); }

  privilege::Message ask(HelperRequest request, std::string_view payload) {
    return handler_(static_cast<uint32_t>(request), payload);
  }
  int open_error(const std::string& path) {
    const auto answer = ask(HelperRequest::open_file, path);
    EXPECT_EQ(answer.word == 0, answer.fd.valid()) << path;
    return static_cast<int>(answer.word);
  }

  std::string top_;
  config::Config config_;
  privilege::HelperHandler handler_;
};

TEST_F(HelperSide, OpensWhatWasConfigured) {
  EXPECT_EQ(open_error(top_ + "/sluice.yaml"), 0);
  EXPECT_EQ(open_error(top_ + "/policies"), 0);
  EXPECT_EQ(open_error(top_ + "/policies/10-a.yaml"), 0);
  EXPECT_EQ(open_error(top_ + "/policies/gone.yaml"), ENOENT);
}

TEST_F(HelperSide, OpensToReadOnly) {
  const auto answer = ask(HelperRequest::open_file, top_ + "/sluice.yaml");
  EXPECT_EQ(fcntl(answer.fd.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
}

TEST_F(HelperSide, OpensNothingElse) {
  for (const std::string& path :
       {std::string("/etc/shadow"), std::string(), std::string("/"), top_, top_ + "/sluice.yam", top_ + "/sluice.yaml/",
        top_ + "/policies/", top_ + "/policies/.hidden.yaml", top_ + "/policies/notes.txt",
        top_ + "/policies/deeper/b.yaml", top_ + "/policies/../policies-of-others.yaml",
        top_ + "/policies-of-others.yaml", top_ + "/policies/.yaml", top_ + "//policies/10-a.yaml",
        top_ + "/policies/fifo.yaml", top_ + std::string("/policies/10-a.yaml\0x", 21)}) {
    EXPECT_EQ(open_error(path), EACCES) << path;
  }
}

TEST_F(HelperSide, WithoutPoliciesOnlyTheConfiguration) {
  config_.policies_directory.clear();
  handler_ = make_helper_handler(config_);
  EXPECT_EQ(open_error("/etc/passwd"), EACCES);
  EXPECT_EQ(open_error("/x.yaml"), EACCES);
  EXPECT_EQ(open_error(config_.file), 0);
}

TEST_F(HelperSide, RefusesWhatDoesNotFit) {
  for (uint32_t request = 0; request < 64; ++request) {
    for (const size_t size : {size_t{1}, size_t{3}, size_t{100}, privilege::kPayloadBytesMax}) {
      const auto answer = handler_(request, std::string(size, '\xff'));
      EXPECT_NE(answer.word, 0u) << request << " with " << size << " bytes";
      EXPECT_FALSE(answer.fd.valid());
    }
  }
  ProcessQuestion nobody;
  for (const int64_t pid : {int64_t{0}, int64_t{-1}, INT64_MIN}) {
    nobody.facts.pid = pid;
    const std::string bytes(reinterpret_cast<const char*>(&nobody), sizeof nobody);
    EXPECT_EQ(ask(HelperRequest::look_at_process, bytes).word, static_cast<uint32_t>(EINVAL));
  }
}

TEST_F(HelperSide, LooksAtAProcessThatIsGone) {
  ProcessQuestion question;
  question.facts.pid = INT32_MAX;
  const auto answer = ask(HelperRequest::look_at_process, {reinterpret_cast<const char*>(&question), sizeof question});
  ASSERT_EQ(answer.word, 0u);
  ASSERT_EQ(answer.payload.size(), sizeof(ProcessAnswer));
  ProcessAnswer numbers;
  std::memcpy(&numbers, answer.payload.data(), sizeof numbers);
  EXPECT_EQ(numbers.has_executable, 0u);
  EXPECT_FALSE(answer.fd.valid());
}

template <typename Value>
std::string_view bytes_of(const Value& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

constexpr uint16_t kTargetPort = 5432;

class EndingConnections : public HelperSide {
 protected:
  void SetUp() override {
    HelperSide::SetUp();
    config::Target target;
    target.addresses.emplace_back();
    target.addresses.back().port = kTargetPort;
    config_.targets.push_back(target);
    handler_ = make_helper_handler(config_);
    question_.remote.port = kTargetPort;
    question_.local.port = 40'000;
    question_.cookie = 0x1234'5678'9abc;
  }
  uint32_t end() { return ask(HelperRequest::end_connection, bytes_of(question_)).word; }
  EndQuestion question_;
};

TEST_F(EndingConnections, OneThatIsNotThereIsNotFound) {
  EXPECT_EQ(end(), static_cast<uint32_t>(ENOENT));
}

TEST_F(EndingConnections, NoOtherPortThanATargets) {
  for (const uint16_t port : {uint16_t{0}, uint16_t{22}, uint16_t{5431}, uint16_t{65535}}) {
    question_.remote.port = port;
    EXPECT_EQ(end(), static_cast<uint32_t>(EACCES)) << port;
  }
}

TEST_F(EndingConnections, WhatMakesNoSenseIsRefused) {
  const EndQuestion good = question_;
  const auto refused = [&](const char* what) {
    EXPECT_EQ(end(), static_cast<uint32_t>(EINVAL)) << what;
    question_ = good;
  };
  question_.remote.family = AF_UNIX, refused("a family that TCP does not have");
  question_.remote.family = -1, refused("no family at all");
  question_.local.family = AF_INET6, refused("two families");
  question_.mapped = 2, refused("a flag that is neither");
  question_.mapped = UINT32_MAX, refused("a flag of garbage");
  question_.local.family = question_.remote.family = AF_INET6, question_.mapped = 1, refused("mapped from IPv6");
  question_.cookie = 0, refused("which socket is not said");
  question_.cookie = UINT64_MAX, refused("any socket");
}

TEST_F(EndingConnections, EverySizeButTheRightOneIsRefused) {
  for (size_t size = 0; size <= 2 * sizeof(EndQuestion); ++size) {
    if (size == sizeof(EndQuestion)) continue;
    EXPECT_EQ(ask(HelperRequest::end_connection, std::string(size, '\0')).word, static_cast<uint32_t>(EINVAL)) << size;
  }
}

// The kernel falls back to whoever listens at the local end, and would end that.
TEST_F(EndingConnections, AListenerIsNoConnection) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root: ending a socket takes CAP_NET_ADMIN";
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  ASSERT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
  socklen_t cookie_length = sizeof question_.cookie;
  ASSERT_EQ(getsockopt(listener.get(), SOL_SOCKET, SO_COOKIE, &question_.cookie, &cookie_length), 0);
  question_.local.port = ntohs(address.sin_port);
  for (const uint32_t source : {INADDR_LOOPBACK, INADDR_ANY}) {
    const uint32_t in_order = htonl(source);
    std::memcpy(question_.local.address, &in_order, sizeof in_order);
    std::memcpy(question_.remote.address, &in_order, sizeof in_order);
    EXPECT_NE(end(), 0u);
    int listens = 0;
    length = sizeof listens;
    ASSERT_EQ(getsockopt(listener.get(), SOL_SOCKET, SO_ACCEPTCONN, &listens, &length), 0);
    EXPECT_EQ(listens, 1) << "it still listens";
  }
}

TEST_F(HelperSide, GarbageOfTheRightSizesDoesNoHarm) {
  std::mt19937_64 random(7);  // NOLINT(bugprone-random-generator-seed): the same bytes in every run
  for (int round = 0; round < 2'000; ++round) {
    for (const size_t size : {sizeof(EndQuestion), sizeof(ProcessQuestion), sizeof(pid_t), sizeof(uint64_t)}) {
      std::string bytes(size, '\0');
      for (char& c : bytes) c = static_cast<char>(random());
      for (const HelperRequest request : {HelperRequest::end_connection, HelperRequest::open_file,
                                          HelperRequest::make_endpoint_map, HelperRequest::namespace_members}) {
        EXPECT_NE(ask(request, bytes).word, 0u);
      }
      if (round < 20) (void)ask(HelperRequest::look_at_process, bytes);
      if (round < 20) (void)ask(HelperRequest::executable_path, bytes);
    }
  }
}

TEST_F(HelperSide, HoldersAreAskedForInBoundedLists) {
  const auto ask_for = [&](size_t bytes) { return ask(HelperRequest::socket_holders, std::string(bytes, '\x7f')); };
  for (const size_t bytes : {size_t{1}, size_t{7}, size_t{9}, interception::kHoldersAskedMax * sizeof(uint64_t) + 1,
                             (interception::kHoldersAskedMax + 1) * sizeof(uint64_t), privilege::kPayloadBytesMax}) {
    EXPECT_EQ(ask_for(bytes).word, static_cast<uint32_t>(EINVAL)) << bytes;
  }
  EXPECT_EQ(ask_for(0).payload.size(), 0u);
  const auto most = ask_for(interception::kHoldersAskedMax * sizeof(uint64_t));
  EXPECT_EQ(most.word, 0u);
  EXPECT_EQ(most.payload, std::string(interception::kHoldersAskedMax * sizeof(int32_t), '\0')) << "nobody holds them";
  EXPECT_LE(most.payload.size(), privilege::kPayloadBytesMax);
  EXPECT_LE(interception::kNamespacesMax * sizeof(int32_t), privilege::kPayloadBytesMax);
}

class WithHelper : public HelperSide {
 protected:
  void SetUp() override {
    HelperSide::SetUp();
    if (geteuid() != 0) GTEST_SKIP() << "needs root: the helper keeps capabilities";
    auto work = PrivilegedWork::start(config_);
    ASSERT_TRUE(work) << work.error().message;
    work_ = std::move(*work);
  }
  std::unique_ptr<PrivilegedWork> work_;
};

TEST_F(WithHelper, IdentifiesAProcessAsTheReaderWould) {
  identity::ProcessFacts facts;
  facts.pid = getpid();
  std::ifstream file("/proc/self/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  facts.start_boottime_ns = identity::start_ticks_of(text).value_or(0) * 10'000'000;
  const auto look = work_->process_lookup()->look(facts, identity::CgroupPath::wanted);
  ASSERT_TRUE(look.has_value());
  ASSERT_TRUE(look->executable.has_value());
  EXPECT_EQ(look->executable->path, fs::read_symlink("/proc/self/exe").string());
  EXPECT_TRUE(look->executable->file.valid());
  EXPECT_FALSE(look->cgroup.empty());
  EXPECT_EQ(work_->executable_path(getpid()), look->executable->path);
  facts.start_boottime_ns -= 1'000'000'000;
  const auto other = work_->process_lookup()->look(facts, identity::CgroupPath::known);
  ASSERT_TRUE(other.has_value());
  EXPECT_FALSE(other->executable.has_value());
  EXPECT_EQ(other->cgroup, "");
}

TEST_F(WithHelper, AProcessWithoutANumberIsNobodyAndTheHelperLivesOn) {
  const auto look = work_->process_lookup()->look({}, identity::CgroupPath::wanted);
  ASSERT_TRUE(look.has_value());
  EXPECT_FALSE(look->executable.has_value());
  EXPECT_FALSE(work_->helper().is_broken());
}

TEST_F(WithHelper, WithoutItNobodyIsIdentified) {
  kill(work_->helper().pid(), SIGKILL);
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(work_->helper().pid()), &info, WEXITED | WNOWAIT), 0);
  identity::ProcessFacts facts;
  facts.pid = getpid();
  EXPECT_FALSE(work_->process_lookup()->look(facts, identity::CgroupPath::wanted).has_value());
  EXPECT_EQ(work_->executable_path(getpid()), "");
  EXPECT_FALSE(work_->make_endpoint_map());
  EXPECT_FALSE(work_->look_at_pins());
  EXPECT_TRUE(work_->helper().is_broken());
}

TEST_F(WithHelper, MakesAnEndpointMap) {
  const auto map = work_->make_endpoint_map();
  ASSERT_TRUE(map) << map.error().message;
  EXPECT_TRUE(map->valid());
}

TEST_F(WithHelper, SeesThatNothingIsPinned) {
  const auto pinned = work_->look_at_pins();
  ASSERT_TRUE(pinned) << pinned.error().message;
  for (const uint32_t id : pinned->links) EXPECT_EQ(id, 0u);
  for (const uint32_t there : pinned->maps) EXPECT_EQ(there, 0u);
}

}  // namespace
}  // namespace sluice
