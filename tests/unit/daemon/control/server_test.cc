// The control server against its own client over a real Unix socket, with operations that answer from a script.
#include "daemon/control/server.h"

#include <grp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/control/client.h"
#include "daemon/control/socket_stream.h"
#include "daemon/control/views.h"

namespace sluice::control {
namespace {

using ::testing::HasSubstr;

class ScriptedOperations final : public Operations {
 public:
  StatusView status() override {
    StatusView view;
    view.state = DaemonState::running;
    view.version = "0.1.0";
    view.targets.push_back(
        {"payments-db", "protected", "postgres", 2, 0, {10, 7, 1, 2, 0}, "on", "both ways", "asked for"});
    view.acceleration.checks.push_back({"splice", "guarded", false, "sees nothing", "readers see nothing"});
    view.acceleration.both_ways_percent = 54;
    view.policy_version = "abc";
    return view;
  }
  std::string metrics() override { return "# HELP sluice_one One.\n# TYPE sluice_one gauge\nsluice_one 1\n"; }
  std::vector<SessionView> sessions() override { return {*session("00000000000000aa"), *session("00000000000000bb")}; }
  std::optional<SessionView> session(std::string_view id) override {
    if (id != "00000000000000aa" && id != "00000000000000bb") return std::nullopt;
    SessionView view;
    view.id = id;
    view.target = "payments-db";
    view.state = "idle";
    view.attested.pid = 42;
    view.attested.exe = "/usr/bin/psql";
    view.claimed.db_user = "not \xff utf-8";
    view.bytes_to_client = 3;
    view.bytes_to_server = 4;
    return view;
  }
  KillResult kill(std::string_view id, const Caller& caller) override {
    killed_by = caller;
    return session(id) ? KillResult::killed : KillResult::not_found;
  }
  Result<std::vector<UncoveredView>> uncovered() override {
    UncoveredView view;
    view.id = "4711";
    view.target = "payments-db";
    return std::vector<UncoveredView>{view};
  }
  Result<EndResult> end_uncovered(const EndRequest& wanted, const Caller&) override {
    end_wanted = wanted;
    return EndResult{{{uncovered()->front(), ""}}};
  }
  ReloadResult reload(const Caller&) override {
    return {false,
            "abc",
            {{"sluice.yaml", 3, 5, policies::Severity::error, "unknown key `adresses`", "did you mean `addresses`?"}}};
  }
  std::string audit_directory() const override { return audit; }
  Status record_log_read(const Caller&, std::string_view what) override {
    log_reads.emplace_back(what);
    if (!log_error.empty()) return fail(log_error);
    return {};
  }

  std::string audit = "/nonexistent";
  std::string log_error;
  std::vector<std::string> log_reads;
  Caller killed_by;
  EndRequest end_wanted;
};

class ControlServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/sluice-control-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
    options_.socket_path = directory_ + "/run/control.sock";
  }
  void TearDown() override {
    server_.reset();
    std::filesystem::remove_all(directory_);
  }
  void start() {
    auto started = ControlServer::start(options_, operations_);
    ASSERT_TRUE(started.has_value()) << started.error().message;
    server_ = std::move(*started);
  }
  ClientReply call(std::string_view method, std::string_view target) {
    const auto reply = ControlClient(options_.socket_path).call(method, target);
    EXPECT_TRUE(reply.has_value()) << reply.error().message;
    return reply.value_or(ClientReply{});
  }
  UniqueFd raw_connection() {
    auto socket = connect_unix(options_.socket_path);
    EXPECT_TRUE(socket.has_value());
    return std::move(*socket);
  }
  static void send_raw(const UniqueFd& socket, std::string_view bytes) {
    ASSERT_EQ(::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  static std::string read_all(const UniqueFd& socket) {
    std::string all;
    char piece[4096];
    for (;;) {
      pollfd polled = {socket.get(), POLLIN, 0};
      if (::poll(&polled, 1, 10'000) <= 0) break;
      const ssize_t got = ::recv(socket.get(), piece, sizeof piece, 0);
      if (got <= 0) break;
      all.append(piece, static_cast<size_t>(got));
    }
    return all;
  }

  ServerOptions options_;
  ScriptedOperations operations_;
  std::unique_ptr<ControlServer> server_;
  std::string directory_;
};

TEST_F(ControlServerTest, StatusIsOneObjectWithTheDocumentedFields) {
  start();
  const ClientReply reply = call("GET", "/v1/status");
  EXPECT_EQ(reply.status, 200u);
  const Json json = Json::parse(reply.body);
  EXPECT_EQ(json["state"], "running");
  EXPECT_EQ(json["policy_version"], "abc");
  EXPECT_TRUE(json["sinks"].is_array());
  const Json& target = json["targets"][0];
  EXPECT_EQ(target["name"], "payments-db");
  EXPECT_EQ(target["sessions"], 2);
  EXPECT_EQ(target["coverage"]["connects"], 10);
  EXPECT_EQ(target["coverage"]["redirected"], 7);
  EXPECT_EQ(target["coverage"]["refused"], 1);
  EXPECT_EQ(target["coverage"]["exempt"], 2);
  EXPECT_EQ(target["coverage"]["uncovered"], 0);
  EXPECT_EQ(target["accelerate"]["configured"], "on");
  EXPECT_EQ(target["accelerate"]["taken"], "both ways");
  EXPECT_EQ(target["accelerate"]["why"], "asked for");
  EXPECT_EQ(json["acceleration"]["checks"][0]["name"], "splice");
  EXPECT_EQ(json["acceleration"]["checks"][0]["passed"], false);
  EXPECT_EQ(json["acceleration"]["both_ways_percent"], 54);
  EXPECT_TRUE(json["acceleration"]["into_daemon_percent"].is_null()) << "not measured";
}

TEST_F(ControlServerTest, SessionsComeOnePerLineAndNamesMayHoldAnyBytes) {
  start();
  const ClientReply reply = call("GET", "/v1/sessions");
  EXPECT_EQ(reply.status, 200u);
  const size_t newline = reply.body.find('\n');
  ASSERT_NE(newline, std::string::npos);
  const Json first = Json::parse(reply.body.substr(0, newline));
  EXPECT_EQ(first["id"], "00000000000000aa");
  EXPECT_EQ(first["bytes"], 7);
  EXPECT_EQ(first["identity"]["attested"]["exe"], "/usr/bin/psql");
  EXPECT_TRUE(first["identity"]["attested"]["unit"].is_null());
  EXPECT_EQ(first["identity"]["claimed"]["user"], "not \xef\xbf\xbd utf-8");
  EXPECT_EQ(std::count(reply.body.begin(), reply.body.end(), '\n'), 2);
}

TEST_F(ControlServerTest, OneSessionOrNotFound) {
  start();
  EXPECT_EQ(Json::parse(call("GET", "/v1/sessions/00000000000000bb").body)["id"], "00000000000000bb");
  EXPECT_EQ(call("GET", "/v1/sessions/ffff").status, 404u);
}

TEST_F(ControlServerTest, KillCarriesTheCallersPeerCredentials) {
  start();
  EXPECT_EQ(call("POST", "/v1/sessions/00000000000000aa/kill").status, 200u);
  EXPECT_EQ(operations_.killed_by.pid, ::getpid());
  EXPECT_EQ(operations_.killed_by.uid, static_cast<int64_t>(::getuid()));
  EXPECT_FALSE(operations_.killed_by.exe.empty());
  EXPECT_EQ(call("POST", "/v1/sessions/ffff/kill").status, 404u);
  EXPECT_EQ(call("GET", "/v1/sessions/00000000000000aa/kill").status, 405u);
}

TEST_F(ControlServerTest, ACallerWhoIsNeitherRootNorAdminChangesNothing) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
  start();
  // As if the socket had been opened to everybody by mistake: whoever reaches it is still asked who they are.
  ASSERT_EQ(::chmod(directory_.c_str(), 0755), 0);
  ASSERT_EQ(::chmod((directory_ + "/run").c_str(), 0755), 0);
  ASSERT_EQ(::chmod(options_.socket_path.c_str(), 0666), 0);
  constexpr uid_t kNobody = 65534;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (::setgroups(0, nullptr) != 0 || ::setgid(kNobody) != 0 || ::setuid(kNobody) != 0) ::_exit(10);
    const ControlClient client(options_.socket_path);
    const auto status = client.call("GET", "/v1/status");
    if (!status || status->status != 200) ::_exit(11);
    const auto killed = client.call("POST", "/v1/sessions/00000000000000aa/kill");
    if (!killed || killed->status != 403) ::_exit(12);
    const auto reloaded = client.call("POST", "/v1/reload");
    ::_exit(reloaded && reloaded->status == 403 ? 0 : 13);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(operations_.killed_by.pid, -1);
}

TEST_F(ControlServerTest, ReloadShowsProblemsWithTheirPlace) {
  start();
  const Json json = Json::parse(call("POST", "/v1/reload").body);
  EXPECT_EQ(json["accepted"], false);
  EXPECT_EQ(json["problems"][0]["line"], 3);
  EXPECT_EQ(json["problems"][0]["column"], 5);
}

TEST_F(ControlServerTest, UnknownPathsAndMethodsAreRefused) {
  start();
  EXPECT_EQ(call("GET", "/").status, 404u);
  EXPECT_EQ(call("GET", "/v1/sessions/").status, 404u);
  EXPECT_EQ(call("GET", "/v1/sessions/a/b").status, 404u);
  EXPECT_EQ(call("DELETE", "/v1/status").status, 405u);
  EXPECT_EQ(call("POST", "/v1/events").status, 405u);
  EXPECT_EQ(call("GET", "/v1/status?a=%zz").status, 400u);
}

TEST_F(ControlServerTest, EventsAreNotShownWhereReadingCannotBeRecorded) {
  operations_.log_error = "the log cannot be written";
  start();
  const auto reply = ControlClient(options_.socket_path).stream("/v1/events", [](std::string_view) { return true; });
  ASSERT_TRUE(reply.has_value()) << reply.error().message;
  EXPECT_EQ(reply->status, 503u);
  EXPECT_THAT(reply->body, HasSubstr("the log cannot be written"));
  EXPECT_EQ(operations_.log_reads.size(), 1u);
}

TEST_F(ControlServerTest, EventsWithWrongParametersAreRefusedBeforeAnythingIsRead) {
  start();
  for (const char* target :
       {"/v1/events?limit=x", "/v1/events?limit=-1", "/v1/events?since_ns=1.5", "/v1/events?colour=red"}) {
    const auto reply = ControlClient(options_.socket_path).stream(target, [](std::string_view) { return true; });
    ASSERT_TRUE(reply.has_value()) << target << ": " << reply.error().message;
    EXPECT_EQ(reply->status, 400u) << target;
  }
  EXPECT_TRUE(operations_.log_reads.empty());
}

TEST_F(ControlServerTest, AMissingLogIsAnErrorWithItsReason) {
  start();
  const auto reply = ControlClient(options_.socket_path).stream("/v1/events", [](std::string_view) { return true; });
  ASSERT_TRUE(reply.has_value()) << reply.error().message;
  EXPECT_EQ(reply->status, 400u);
  EXPECT_THAT(reply->body, HasSubstr("/nonexistent"));
}

TEST_F(ControlServerTest, ASlowClientHoldsUpNobody) {
  start();
  std::vector<UniqueFd> slow;
  for (int i = 0; i < 10; ++i) {
    slow.push_back(raw_connection());
    send_raw(slow.back(), "GET /v1/sta");
  }
  EXPECT_EQ(call("GET", "/v1/status").status, 200u);
}

TEST_F(ControlServerTest, ARequestThatDoesNotArriveInTimeIsEnded) {
  options_.request_timeout = std::chrono::milliseconds(50);
  start();
  const UniqueFd slow = raw_connection();
  send_raw(slow, "GET /v1/sta");
  EXPECT_THAT(read_all(slow), HasSubstr("408"));
}

TEST_F(ControlServerTest, MoreClientsThanTheBoundAreToldSo) {
  options_.clients_max = 2;
  start();
  const UniqueFd first = raw_connection();
  const UniqueFd second = raw_connection();
  send_raw(first, "GET");
  send_raw(second, "GET");
  const UniqueFd third = raw_connection();
  EXPECT_THAT(read_all(third), HasSubstr("503"));
}

TEST_F(ControlServerTest, OversizeAndGarbageRequestsAreRefused) {
  start();
  const UniqueFd long_header = raw_connection();
  send_raw(long_header, "GET /v1/status HTTP/1.1\r\nX: " + std::string(kRequestHeaderBytesMax, 'x'));
  EXPECT_THAT(read_all(long_header), HasSubstr("400"));

  const UniqueFd large_body = raw_connection();
  send_raw(large_body, "POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n");
  EXPECT_THAT(read_all(large_body), HasSubstr("400"));

  const UniqueFd garbage = raw_connection();
  send_raw(garbage, std::string("\x16\x03\x01\x00\x00", 5) + "\r\n\r\n");
  EXPECT_THAT(read_all(garbage), HasSubstr("400"));
  EXPECT_EQ(call("GET", "/v1/status").status, 200u);
}

TEST_F(ControlServerTest, StoppingEndsWaitingConnectionsAtOnce) {
  start();
  const UniqueFd waiting = raw_connection();
  send_raw(waiting, "GET");
  server_.reset();
  EXPECT_EQ(read_all(waiting), "");
  EXPECT_FALSE(std::filesystem::exists(options_.socket_path));
}

TEST_F(ControlServerTest, SocketIsForOwnerAndGroupOnly) {
  start();
  struct stat found = {};
  ASSERT_EQ(::stat(options_.socket_path.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0660u);
  struct stat directory = {};
  ASSERT_EQ(::stat((directory_ + "/run").c_str(), &directory), 0);
  EXPECT_EQ(directory.st_mode & 0007, 0u);
}

TEST_F(ControlServerTest, AStaleSocketIsReplacedAnAnsweredOneIsNot) {
  start();
  ScriptedOperations others;
  const auto second = ControlServer::start(options_, others);
  ASSERT_FALSE(second.has_value());
  EXPECT_THAT(second.error().message, HasSubstr("another process answers"));
  EXPECT_EQ(call("GET", "/v1/status").status, 200u);

  server_.reset();
  {
    UniqueFd stale(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    options_.socket_path.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(stale.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  start();
  EXPECT_EQ(call("GET", "/v1/status").status, 200u);
}

TEST_F(ControlServerTest, AFileThatIsNoSocketIsLeftAlone) {
  std::filesystem::create_directories(directory_ + "/run");
  std::ofstream(options_.socket_path) << "precious";
  const auto started = ControlServer::start(options_, operations_);
  ASSERT_FALSE(started.has_value());
  EXPECT_TRUE(std::filesystem::exists(options_.socket_path));
}

TEST_F(ControlServerTest, APathThatDoesNotFitIsRefused) {
  options_.socket_path = "/tmp/" + std::string(120, 'x');
  const auto started = ControlServer::start(options_, operations_);
  ASSERT_FALSE(started.has_value());
  EXPECT_THAT(started.error().message, HasSubstr("longer than 107 bytes"));
  const auto reply = ControlClient(options_.socket_path).call("GET", "/v1/status");
  ASSERT_FALSE(reply.has_value());
  EXPECT_EQ(reply.error().kind, ClientError::Kind::unreachable);
}

TEST(ControlClient, SaysWhenNobodyAnswers) {
  const auto reply = ControlClient("/tmp/sluice-no-such-socket").call("GET", "/v1/status");
  ASSERT_FALSE(reply.has_value());
  EXPECT_EQ(reply.error().kind, ClientError::Kind::unreachable);
}

}  // namespace
}  // namespace sluice::control
