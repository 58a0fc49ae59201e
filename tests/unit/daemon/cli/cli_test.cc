// The command line as a whole: exit statuses, help, suggestions. What needs a daemon is in tests/integration.
#include "daemon/cli/cli.h"

#include <unistd.h>

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/cli/exit_status.h"

namespace sluice::cli {
namespace {

using ::testing::HasSubstr;

class CliTest : public ::testing::Test {
 protected:
  // Runs a command line; its output is in out_ and err_ afterwards.
  int run_line(const std::vector<std::string>& arguments) {
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    const int status = run(arguments, environment_);
    out_ = ::testing::internal::GetCapturedStdout();
    err_ = ::testing::internal::GetCapturedStderr();
    return status;
  }

  Environment environment_{"/tmp/sluice-no-such-socket", true, "/usr/sbin/sluice",
                           [](const config::Config&) { return 0; }};
  std::string out_;
  std::string err_;
};

TEST_F(CliTest, UnknownCommandsGetASuggestionAndUsageStatus) {
  EXPECT_EQ(run_line({"statsu"}), kUsage);
  EXPECT_THAT(err_, HasSubstr("did you mean `status`?"));
  EXPECT_EQ(run_line({"sessions", "lst"}), kUsage);
  EXPECT_THAT(err_, HasSubstr("did you mean `list`?"));
  EXPECT_EQ(run_line({"audit", "verfiy"}), kUsage);
  EXPECT_THAT(err_, HasSubstr("did you mean `verify`?"));
  EXPECT_EQ(run_line({}), kUsage);
  EXPECT_EQ(run_line({"audit"}), kUsage);
}

TEST_F(CliTest, UnknownOptionsGetASuggestion) {
  EXPECT_EQ(run_line({"status", "--jsno"}), kUsage);
  EXPECT_THAT(err_, HasSubstr("did you mean `--json`?"));
  EXPECT_EQ(run_line({"events", "--limit", "many"}), kUsage);
  EXPECT_EQ(run_line({"events", "--limit", "-1"}), kUsage);
}

TEST_F(CliTest, EveryCommandHasHelpWithAnExample) {
  const std::vector<std::vector<std::string>> commands = {{"run"},
                                                          {"guard"},
                                                          {"unload"},
                                                          {"check"},
                                                          {"doctor"},
                                                          {"demo"},
                                                          {"version"},
                                                          {"status"},
                                                          {"reload"},
                                                          {"events"},
                                                          {"mask"},
                                                          {"scan"},
                                                          {"sessions", "list"},
                                                          {"sessions", "show"},
                                                          {"sessions", "kill"},
                                                          {"audit", "verify"}};
  for (std::vector<std::string> command : commands) {
    command.emplace_back("--help");
    EXPECT_EQ(run_line(command), kSuccess) << command[0];
    EXPECT_THAT(out_, HasSubstr("Example:")) << command[0];
    EXPECT_THAT(out_, HasSubstr("--config")) << command[0];
  }
}

TEST_F(CliTest, VersionIsPlainOrJson) {
  EXPECT_EQ(run_line({"version"}), kSuccess);
  EXPECT_THAT(out_, HasSubstr("sluice 0."));
  EXPECT_EQ(run_line({"version", "--json"}), kSuccess);
  EXPECT_THAT(out_, HasSubstr("{\"version\":\"0."));
}

TEST_F(CliTest, ADaemonThatIsNotThereIsStatusThree) {
  EXPECT_EQ(run_line({"status"}), kUnreachable);
  EXPECT_THAT(err_, HasSubstr("cannot be reached"));
  EXPECT_EQ(run_line({"sessions", "list", "--json"}), kUnreachable);
  EXPECT_EQ(run_line({"events"}), kUnreachable);
  EXPECT_THAT(err_, HasSubstr("--dir"));
  EXPECT_EQ(out_, "");
}

TEST_F(CliTest, WrongArgumentsAreUsage) {
  EXPECT_EQ(run_line({"events", "--since", "whenever"}), kUsage);
  EXPECT_EQ(run_line({"sessions", "kill", "../../x"}), kUsage);
  EXPECT_EQ(run_line({"events", "--dir", "/tmp", "--follow"}), kUsage);
}

TEST_F(CliTest, CheckPrintsProblemsWithTheirPlace) {
  char name[] = "/tmp/sluice-cli-XXXXXX";
  const int fd = ::mkstemp(name);
  ASSERT_GE(fd, 0);
  ::close(fd);
  std::ofstream(name)
      << "version: 1\ntargets:\n  - name: db\n    protocol: postgres\n    adresses: [\"10.0.0.1:5432\"]\n";
  EXPECT_EQ(run_line({"check", "--config", name}), kUsage);
  EXPECT_THAT(err_, HasSubstr(std::string(name) + ":5:"));
  EXPECT_THAT(err_, HasSubstr("addresses"));
  EXPECT_EQ(run_line({"check", "--config", name, "--json"}), kUsage);
  EXPECT_THAT(out_, HasSubstr("\"line\":5"));
  ::unlink(name);
}

TEST_F(CliTest, CheckOfAMissingFileIsUsage) {
  EXPECT_EQ(run_line({"check", "--config", "/nonexistent/sluice.yaml"}), kUsage);
  EXPECT_THAT(err_, HasSubstr("/nonexistent/sluice.yaml"));
}

}  // namespace
}  // namespace sluice::cli
