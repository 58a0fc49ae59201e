// A cancel request that comes while a command waits for the gate ends that command, as the server would have done.
#include <gmock/gmock.h>

#include "parsers/postgres/frontend.h"
#include "tests/unit/daemon/session/postgres_harness.h"

namespace sluice::session::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const std::string kCanceled = "canceling statement due to user request";
// What the server says to the stand-in.
const std::string kStandInError = be::error("42883", "function does not exist");

class PostgresCancel : public AnySplit {
 protected:
  void SetUp() override { session.start(); }
  void expect_canceled() const {
    EXPECT_THAT(session.to_client, HasSubstr("57014"));
    EXPECT_THAT(session.to_client, HasSubstr(kCanceled));
    EXPECT_EQ(session.gate.withdrawn, 1);
  }
};
INSTANTIATE_TEST_SUITE_P(Splits, PostgresCancel, ::testing::Values(0, 1, 7));

TEST_P(PostgresCancel, AParkedQuery) {
  gate.park["SELECT slow"] = 5;
  session.client(fe::query("SELECT slow"));
  ASSERT_TRUE(session.machine->cancellable());
  EXPECT_EQ(session.cancel(), Machine::Cancelled::here);
  EXPECT_FALSE(session.machine->parked());
  EXPECT_THAT(session.to_server, Not(HasSubstr("slow")));
  session.server(kStandInError + be::ready());
  expect_canceled();
  EXPECT_EQ(session.machine->phase(), Phase::idle);
  session.forget();
  session.client(fe::query("SELECT 1"));
  EXPECT_EQ(session.to_server, fe::query("SELECT 1")) << "only the one that waited is cancelled";
  EXPECT_EQ(gate.withdrawn, 1);
}

TEST_P(PostgresCancel, WithinATransactionItIsAborted) {
  session.client(fe::query("BEGIN"));
  session.server(be::complete("BEGIN") + be::ready('T'));
  session.forget();
  gate.park["SELECT slow"] = 5;
  session.client(fe::query("SELECT slow"));
  EXPECT_EQ(session.cancel(), Machine::Cancelled::here);
  session.server(kStandInError + be::ready('E'));
  expect_canceled();
  EXPECT_TRUE(session.to_client.ends_with(be::ready('E')));
}

TEST_P(PostgresCancel, AParkedParseFailsItsPipeline) {
  gate.park["SELECT slow"] = 5;
  session.client(fe::parse("s", "SELECT slow") + fe::bind("", "s") + fe::execute("") + fe::sync() +
                 fe::query("SELECT 1"));
  EXPECT_EQ(session.cancel(), Machine::Cancelled::here);
  EXPECT_THAT(session.to_server, HasSubstr(fe::sync() + fe::query("SELECT 1")));
  session.server(kStandInError + be::ready() + be::complete("SELECT 1") + be::ready());
  expect_canceled();
  EXPECT_EQ(session.machine->phase(), Phase::idle);
}

TEST_P(PostgresCancel, AParkedExecuteBehindABindThatIsUnanswered) {
  session.client(fe::parse("s", "SELECT slow") + fe::sync());
  session.server(be::parse_complete() + be::ready());
  session.forget();
  session.client(fe::bind("", "s"));
  gate.park["SELECT slow"] = 5;
  session.client(fe::execute("") + fe::sync());
  ASSERT_TRUE(session.machine->cancellable());
  EXPECT_EQ(session.cancel(), Machine::Cancelled::here) << "a Bind does not run for long";
  session.server(be::bind_complete() + be::error("34000", "portal does not exist") + be::ready());
  expect_canceled();
  EXPECT_EQ(gate.completed.at(2).error_code, "57014");
  EXPECT_EQ(session.machine->phase(), Phase::idle);
}

TEST_P(PostgresCancel, WhatRunsInTheSameSegmentIsTheServersToCancelAsWell) {
  gate.park["SELECT second"] = 5;
  session.client(fe::parse("", "SELECT first") + fe::bind("", "") + fe::execute("") + fe::flush() +
                 fe::parse("", "SELECT second") + fe::sync());
  EXPECT_EQ(session.cancel(), Machine::Cancelled::both);
  // The server was at the first: one error for both.
  session.server(be::parse_complete() + be::bind_complete() + be::error("57014", kCanceled) + be::ready());
  EXPECT_EQ(session.machine->phase(), Phase::idle);
}

TEST_P(PostgresCancel, WhatRunsInAnEarlierSegmentIsTheServersToCancelAlone) {
  gate.park["SELECT second"] = 5;
  session.client(fe::query("SELECT first") + fe::query("SELECT second"));
  EXPECT_FALSE(session.machine->cancellable());
  EXPECT_EQ(session.cancel(), Machine::Cancelled::at_server);
  EXPECT_TRUE(session.machine->parked());
  session.server(be::error("57014", kCanceled) + be::ready());
  for (int i = 0; i < 5; ++i) session.resume();
  EXPECT_THAT(session.to_server, HasSubstr("SELECT second"));
  EXPECT_EQ(gate.withdrawn, 0);
}

TEST_P(PostgresCancel, NothingWaits) {
  EXPECT_FALSE(session.machine->cancellable());
  EXPECT_EQ(session.cancel(), Machine::Cancelled::at_server);
  session.client(fe::query("SELECT 1"));
  EXPECT_EQ(session.to_server, fe::query("SELECT 1"));
}

TEST_P(PostgresCancel, AMessageThatIsSkippedAnywayTakesTheCancelWithIt) {
  gate.park["SELECT second"] = 5;
  session.client(fe::parse("", "SELECT first") + fe::flush() + fe::parse("", "SELECT second"));
  session.server(be::error("42601", "syntax error"));
  EXPECT_TRUE(session.machine->parked());
  EXPECT_EQ(session.cancel(), Machine::Cancelled::here);
  session.client(fe::sync());
  session.server(be::ready());
  session.forget();
  session.client(fe::query("SELECT 1"));
  EXPECT_EQ(session.to_server, fe::query("SELECT 1"));
  EXPECT_EQ(gate.withdrawn, 0);
}

TEST_P(PostgresCancel, AParkedFunctionCall) {
  gate.park[""] = 5;
  session.client(fe::function_call(1234, {"x"}, fe::Format::text));
  EXPECT_EQ(session.cancel(), Machine::Cancelled::here);
  EXPECT_THAT(session.to_server, Not(HasSubstr("x")));
  session.server(kStandInError + be::ready());
  expect_canceled();
}

}  // namespace
}  // namespace sluice::session::testing
