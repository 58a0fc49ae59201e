#include "daemon/privilege/helper.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "tests/unit/daemon/privilege/child.h"

namespace sluice::privilege {
namespace {

constexpr uint32_t kEcho = 1, kOpen = 2, kDie = 3, kHang = 4, kRun = 5, kWhoAmI = 6;

Message handle(uint32_t request, std::string_view payload) {
  Message answer;
  switch (request) {
    case kEcho:
      answer.payload = payload;
      return answer;
    case kOpen:
      answer.fd.reset(open(std::string(payload).c_str(), O_RDONLY | O_CLOEXEC));
      answer.word = answer.fd.valid() ? 0 : static_cast<uint32_t>(errno);
      return answer;
    case kDie:
      _exit(3);
    case kHang:
      poll(nullptr, 0, -1);
      return answer;
    case kRun: {
      char program[] = "/bin/true";
      char* const words[] = {program, nullptr};
      execv(program, words);
      return answer;
    }
    case kWhoAmI:
      answer.payload = to_text(permitted_capabilities().value_or(CapabilitySet{CAP_CHOWN}));
      return answer;
    default:
      answer.word = EINVAL;
      return answer;
  }
}

std::unique_ptr<Helper> start(CapabilitySet keep = {}) {
  auto helper = Helper::start(handle, keep);
  EXPECT_TRUE(helper) << (helper ? "" : helper.error().message);
  return helper ? std::move(*helper) : nullptr;
}

TEST(Helper, AnswersAndPassesADescriptor) {
  SLUICE_NEEDS_ROOT();
  const auto helper = start();
  const auto echo = helper->call(kEcho, "hello");
  ASSERT_TRUE(echo);
  EXPECT_EQ(echo->word, 0u);
  EXPECT_EQ(echo->payload, "hello");
  EXPECT_FALSE(echo->fd.valid());
  const auto opened = helper->call(kOpen, "/proc/self/stat");
  ASSERT_TRUE(opened);
  ASSERT_TRUE(opened->fd.valid());
  EXPECT_NE(fcntl(opened->fd.get(), F_GETFD) & FD_CLOEXEC, 0);
  const auto missing = helper->call(kOpen, "/no/such/file");
  ASSERT_TRUE(missing);
  EXPECT_EQ(missing->word, static_cast<uint32_t>(ENOENT));
  EXPECT_FALSE(missing->fd.valid());
}

TEST(Helper, HasOnlyTheCapabilitiesItWasGiven) {
  SLUICE_NEEDS_ROOT();
  EXPECT_EQ(start({CAP_SYS_PTRACE})->call(kWhoAmI, {})->payload, "CAP_SYS_PTRACE");
  EXPECT_EQ(start()->call(kWhoAmI, {})->payload, "none");
}

TEST(Helper, IsGivenUpWhenItDies) {
  SLUICE_NEEDS_ROOT();
  const auto helper = start();
  int told = 0;
  helper->on_broken([&told] { ++told; });
  EXPECT_FALSE(helper->call(kDie, {}));
  EXPECT_TRUE(helper->is_broken());
  EXPECT_FALSE(helper->call(kEcho, "again"));
  EXPECT_EQ(told, 1);
  EXPECT_FALSE(helper->failure().empty());
}

TEST(Helper, IsGivenUpWhenItDoesNotAnswerInTime) {
  SLUICE_NEEDS_ROOT();
  const auto helper = start();
  EXPECT_FALSE(helper->call(kHang, {}));
  EXPECT_NE(helper->failure().find("no answer"), std::string::npos);
  kill(helper->pid(), SIGKILL);  // so that the end of this test need not wait for it
}

TEST(Helper, ItsDeathIsSeenWithoutARequest) {
  SLUICE_NEEDS_ROOT();
  const auto helper = start();
  kill(helper->pid(), SIGKILL);
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(helper->pid()), &info, WEXITED | WNOWAIT), 0);
  helper->look_after_child();
  EXPECT_TRUE(helper->is_broken());
  EXPECT_NE(helper->failure().find("signal 9"), std::string::npos) << helper->failure();
}

TEST(Helper, IsKilledWhereItRunsAnotherProgram) {
  SLUICE_NEEDS_ROOT();
  const auto helper = start();
  EXPECT_FALSE(helper->call(kRun, {}));
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(helper->pid()), &info, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(info.si_status, SIGSYS);
}

TEST(Helper, DiesWithTheDaemon) {
  SLUICE_NEEDS_ROOT();
  int told[2];
  ASSERT_EQ(pipe(told), 0);
  const Ending ending = in_child([&] {
    auto helper = Helper::start(handle, {});
    if (!helper) return 1;
    const pid_t pid = (*helper)->pid();
    if (write(told[1], &pid, sizeof pid) != sizeof pid) return 1;
    raise(SIGKILL);
    return 1;
  });
  EXPECT_EQ(ending.signal, SIGKILL);
  pid_t helper = 0;
  ASSERT_EQ(read(told[0], &helper, sizeof helper), static_cast<ssize_t>(sizeof helper));
  // It is nobody's child here: look until it is gone. The write end that it inherited closes with it.
  close(told[1]);
  pollfd ended{told[0], POLLIN, 0};
  ASSERT_EQ(poll(&ended, 1, 5'000), 1) << "the helper outlives its daemon";
  char rest = 0;
  EXPECT_EQ(read(told[0], &rest, 1), 0);
  close(told[0]);
}

TEST(Channel, RefusesWhatIsTooLargeOrMalformed) {
  auto ends = make_channel();
  ASSERT_TRUE(ends);
  EXPECT_FALSE(send_message(ends->first.get(), 1, std::string(kPayloadBytesMax + 1, 'x'), -1));
  ASSERT_TRUE(send_message(ends->first.get(), 1, std::string(kPayloadBytesMax, 'x'), -1));
  EXPECT_EQ(receive_message(ends->second.get(), 1000)->payload.size(), kPayloadBytesMax);
  // Shorter than a header; a length that lies; longer than there is room for.
  const struct { uint32_t word, bytes; } lie{1, 77};
  const std::string huge(kPayloadBytesMax + 100, 'x');
  ASSERT_EQ(send(ends->first.get(), "abc", 3, 0), 3);
  EXPECT_FALSE(receive_message(ends->second.get(), 1000));
  ASSERT_EQ(send(ends->first.get(), &lie, sizeof lie, 0), static_cast<ssize_t>(sizeof lie));
  EXPECT_FALSE(receive_message(ends->second.get(), 1000));
  ASSERT_EQ(send(ends->first.get(), huge.data(), huge.size(), 0), static_cast<ssize_t>(huge.size()));
  EXPECT_FALSE(receive_message(ends->second.get(), 1000));
  ends->first.reset();
  EXPECT_FALSE(receive_message(ends->second.get(), 1000));
}

TEST(Channel, ManyDescriptorsAtOnceAreRefusedAndClosed) {
  auto ends = make_channel();
  ASSERT_TRUE(ends);
  struct {
    uint32_t word = 1, bytes = 0;
  } header;
  iovec piece{&header, sizeof header};
  alignas(cmsghdr) char room[CMSG_SPACE(3 * sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = room;
  message.msg_controllen = sizeof room;
  cmsghdr* const control = CMSG_FIRSTHDR(&message);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(3 * sizeof(int));
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  const int fds[3] = {pipes[1], pipes[1], pipes[1]};
  std::memcpy(CMSG_DATA(control), fds, sizeof fds);
  ASSERT_GT(sendmsg(ends->first.get(), &message, 0), 0);
  EXPECT_FALSE(receive_message(ends->second.get(), 1000));
  close(pipes[1]);
  char byte = 0;
  EXPECT_EQ(read(pipes[0], &byte, 1), 0) << "a descriptor of the refused message stayed open";
  close(pipes[0]);
}

}  // namespace
}  // namespace sluice::privilege
