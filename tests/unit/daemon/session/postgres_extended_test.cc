// Prepared statements, portals, pipelines.
#include <gmock/gmock.h>

#include "tests/unit/daemon/session/postgres_harness.h"

namespace sluice::session::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class PostgresExtended : public AnySplit {
 protected:
  void SetUp() override { session.start(); }
  void prepare(const std::string& name, const std::string& text) {
    session.client(fe::parse(name, text) + fe::sync());
    session.server(be::parse_complete() + be::ready());
    session.forget();
  }
};
INSTANTIATE_TEST_SUITE_P(Splits, PostgresExtended, ::testing::Values(0, 1, 7));

TEST_P(PostgresExtended, ParseBindDescribeExecute) {
  const std::string asked =
      fe::parse("", "SELECT $1", {20}) + fe::bind("", "", {"5"}) + fe::describe('P', "") + fe::execute("") + fe::sync();
  session.client(asked);
  EXPECT_EQ(session.to_server, asked) << "nothing is injected where the client asks itself";
  ASSERT_EQ(gate.submitted.size(), 3u);
  EXPECT_EQ(gate.submitted[1].stage, Stage::bind);
  EXPECT_EQ(gate.submitted[1].values.at(0).type, policies::ValueType::integer);
  EXPECT_EQ(gate.submitted[2].stage, Stage::execute);
  EXPECT_FALSE(gate.submitted[2].record_intent) << "the Bind's event stands for its first execution";
  EXPECT_TRUE(gate.submitted[2].has_statement);
  const std::string answer = be::parse_complete() + be::bind_complete() + be::row_description({{"n", 20}}) +
                             be::row({"some value here"}) + be::complete("SELECT 1") + be::ready();
  session.server(answer);
  EXPECT_EQ(session.to_client, answer);
  EXPECT_EQ(gate.completed.size(), 2u);
  EXPECT_EQ(gate.completed.at(2).rows, 1u);
}

TEST_P(PostgresExtended, ColumnsAreAskedForWhereTheClientDoesNot) {
  prepare("s", "SELECT n");
  const std::string asked = fe::bind("", "s", {}, fe::Format::binary) + fe::execute("") + fe::sync();
  session.client(asked);
  EXPECT_EQ(session.to_server,
            fe::bind("", "s", {}, fe::Format::binary) + fe::describe('P', "") + fe::execute("") + fe::sync());
  session.server(be::bind_complete() + be::row_description({{"n", 20, 1}}) + be::row({int8(kPanNumber)}) +
                 be::complete("SELECT 1") + be::ready());
  EXPECT_EQ(session.to_client,
            be::bind_complete() + be::row({int8(kMaskedNumber)}) + be::complete("SELECT 1") + be::ready());
  session.forget();
  session.client(asked);
  EXPECT_EQ(session.to_server, asked) << "now they are known";
  session.server(be::bind_complete() + be::row({int8(kPanNumber)}) + be::complete("SELECT 1") + be::ready());
  EXPECT_EQ(session.to_client,
            be::bind_complete() + be::row({int8(kMaskedNumber)}) + be::complete("SELECT 1") + be::ready());
}

TEST_P(PostgresExtended, ADescribedStatementServesEveryFormat) {
  session.client(fe::parse("s", "SELECT n") + fe::describe('S', "s") + fe::sync());
  const std::string described =
      be::parse_complete() + be::parameter_description({}) + be::row_description({{"n", 20}}) + be::ready();
  session.server(described);
  EXPECT_EQ(session.to_client, described);
  session.forget();
  session.client(fe::bind("", "s", {}, fe::Format::binary) + fe::execute("") + fe::bind("", "s") + fe::execute("") +
                 fe::sync());
  EXPECT_THAT(session.to_server, Not(HasSubstr(fe::describe('P', ""))));
  session.server(be::bind_complete() + be::row({int8(kPanNumber)}) + be::complete("SELECT 1") + be::bind_complete() +
                 be::row({std::string(kPan)}) + be::complete("SELECT 1") + be::ready());
  EXPECT_THAT(session.to_client, HasSubstr(int8(kMaskedNumber)));
  EXPECT_THAT(session.to_client, HasSubstr(std::string(kMasked)));
  EXPECT_THAT(session.to_client, Not(HasSubstr(std::string(kPan))));
}

TEST_P(PostgresExtended, AStatementWithoutRowsIsAskedOnce) {
  prepare("s", "INSERT");
  session.client(fe::bind("", "s") + fe::execute("") + fe::sync());
  session.server(be::bind_complete() + be::no_data() + be::complete("INSERT 0 3") + be::ready());
  EXPECT_EQ(session.to_client, be::bind_complete() + be::complete("INSERT 0 3") + be::ready());
  EXPECT_EQ(gate.completed.at(2).rows, 3u);
  session.forget();
  session.client(fe::bind("", "s") + fe::execute("") + fe::sync());
  EXPECT_EQ(session.to_server, fe::bind("", "s") + fe::execute("") + fe::sync());
}

TEST_P(PostgresExtended, RowLimitsRunAPortalInParts) {
  session.client(fe::parse("", "SELECT") + fe::bind("c", "") + fe::describe('P', "c") + fe::execute("c", 1) +
                 fe::sync());
  session.server(be::parse_complete() + be::bind_complete() + be::row_description({{"a"}}) +
                 be::row({std::string(kPan)}) + be::suspended() + be::ready('T'));
  EXPECT_EQ(gate.completed.at(2).rows, 1u);
  session.forget();
  session.client(fe::execute("c", 1) + fe::sync());
  EXPECT_EQ(session.to_server, fe::execute("c", 1) + fe::sync());
  EXPECT_TRUE(gate.submitted.back().record_intent) << "a later execution has an event of its own";
  session.server(be::row({std::string(kPan)}) + be::complete("SELECT 1") + be::ready('T'));
  EXPECT_THAT(session.to_client, HasSubstr(std::string(kMasked)));
  EXPECT_EQ(gate.completed.at(3).rows, 1u);
}

TEST_P(PostgresExtended, APortalThatSqlMayHaveReplacedIsDescribedAgain) {
  session.client(fe::parse("", "SELECT") + fe::bind("c", "") + fe::describe('P', "c") + fe::execute("c", 1) +
                 fe::sync());
  session.server(be::parse_complete() + be::bind_complete() + be::row_description({{"a"}}) + be::row({"x"}) +
                 be::suspended() + be::ready('T'));
  session.client(fe::query("CLOSE c; DECLARE c CURSOR FOR SELECT n FROM cards"));
  session.server(be::complete("CLOSE CURSOR") + be::complete("DECLARE CURSOR") + be::ready('T'));
  session.forget();
  session.client(fe::execute("c") + fe::sync());
  EXPECT_EQ(session.to_server, fe::describe('P', "c") + fe::execute("c") + fe::sync());
}

TEST_P(PostgresExtended, ACursorOfSqlIsUnknownAndDescribed) {
  session.client(fe::execute("cursor") + fe::sync());
  EXPECT_FALSE(gate.submitted.at(0).has_statement);
  EXPECT_TRUE(gate.submitted.at(0).record_intent);
  EXPECT_THAT(session.to_server, HasSubstr(fe::describe('P', "cursor") + fe::execute("cursor")));
}

TEST_P(PostgresExtended, AnErrorSkipsToSync) {
  session.client(fe::parse("s", "SELECT 1") + fe::bind("", "s") + fe::describe('P', "") + fe::execute("") +
                 fe::bind("", "s") + fe::execute("") + fe::sync() + fe::query("SELECT 2"));
  const std::string answer =
      be::parse_complete() + be::error("22P02", "bad value") + be::ready() + be::complete("SELECT 0") + be::ready();
  session.server(answer);
  EXPECT_EQ(session.to_client, answer);
  EXPECT_EQ(gate.completed.size(), 4u);
  EXPECT_EQ(gate.completed.at(1).outcome, Outcome::success);
  EXPECT_EQ(gate.completed.at(2).error_code, "22P02");
  EXPECT_EQ(gate.completed.at(3).outcome, Outcome::failure) << "skipped";
  EXPECT_EQ(gate.completed.at(4).outcome, Outcome::success);
}

TEST_P(PostgresExtended, AfterAnErrorNothingIsSentUntilSync) {
  session.client(fe::parse("s", "bad") + fe::flush());
  session.server(be::error("42601", "syntax"));
  session.forget();
  session.client(fe::bind("", "s") + fe::execute("") + fe::query("also ignored"));
  EXPECT_EQ(session.to_server, "");
  session.client(fe::sync() + fe::query("SELECT 1"));
  EXPECT_EQ(session.to_server, fe::sync() + fe::query("SELECT 1"));
  session.server(be::ready() + be::complete("SELECT 0") + be::ready());
  EXPECT_EQ(session.closed, CloseReason::none);
}

TEST_P(PostgresExtended, ABoundPortalThatIsNeverExecutedCompletesAtReadyForQuery) {
  session.client(fe::parse("s", "SELECT") + fe::bind("", "s") + fe::sync());
  session.server(be::parse_complete() + be::bind_complete());
  EXPECT_EQ(gate.completed.count(2), 0u);
  session.server(be::ready());
  EXPECT_EQ(gate.completed.at(2).outcome, Outcome::success);
}

TEST_P(PostgresExtended, ManySegmentsInFlight) {
  std::string asked, answer;
  prepare("s", "SELECT");
  for (int i = 0; i < 50; ++i) {
    asked += fe::bind("", "s") + fe::describe('P', "") + fe::execute("") + fe::sync();
    answer += be::bind_complete() + be::row_description({{"a"}}) + be::row({"row " + std::to_string(i)}) +
              be::complete("SELECT 1") + be::ready();
  }
  session.client(asked);
  EXPECT_EQ(session.to_server, asked);
  session.server(answer);
  EXPECT_EQ(session.to_client, answer);
  EXPECT_EQ(gate.completed.size(), 51u);
}

TEST_P(PostgresExtended, ANameThatAnEarlierSegmentDecidesWaits) {
  session.client(fe::parse("s", "SELECT 1") + fe::sync() + fe::bind("", "s") + fe::execute("") + fe::sync());
  EXPECT_TRUE(session.machine->parked());
  EXPECT_EQ(gate.submitted.size(), 1u);
  EXPECT_EQ(session.to_server, fe::parse("s", "SELECT 1") + fe::sync());
  session.server(be::parse_complete() + be::ready());
  EXPECT_FALSE(session.machine->parked());
  ASSERT_EQ(gate.submitted.size(), 3u);
  EXPECT_EQ(gate.submitted[1].text, "SELECT 1");
}

TEST_P(PostgresExtended, AFailedParseLeavesTheOldMeaning) {
  prepare("s", "SELECT 1");
  session.client(fe::parse("s", "SELECT 2") + fe::sync());
  session.server(be::error("42P05", "prepared statement \"s\" already exists") + be::ready());
  session.client(fe::bind("", "s"));
  EXPECT_EQ(gate.submitted.back().text, "SELECT 1");
}

TEST_P(PostgresExtended, AFailedParseOfTheUnnamedStatementTakesItAway) {
  prepare("", "SELECT 1");
  session.client(fe::parse("", "SELECT 2") + fe::sync());
  session.server(be::error("42601", "syntax error") + be::ready());
  session.client(fe::bind("", ""));
  EXPECT_FALSE(gate.submitted.back().has_statement);
}

TEST_P(PostgresExtended, ACloseTakesTheNameAway) {
  prepare("s", "SELECT 1");
  session.client(fe::close('S', "s") + fe::parse("s", "SELECT 2") + fe::bind("", "s") + fe::sync());
  EXPECT_EQ(gate.submitted.back().text, "SELECT 2");
  session.server(be::close_complete() + be::parse_complete() + be::bind_complete() + be::ready());
  session.client(fe::close('S', "s") + fe::sync());
  session.server(be::close_complete() + be::ready());
  session.client(fe::bind("", "s"));
  EXPECT_FALSE(gate.submitted.back().has_statement);
}

TEST_P(PostgresExtended, NamesThatSqlMakesAreUnknown) {
  prepare("s", "SELECT 1");
  const std::string text = "DEALLOCATE s; PREPARE s AS DELETE FROM t";
  gate.shape[text] = [](Statement& s) {
    s.deallocates = {"s"};
    s.prepares = {"s"};
  };
  session.client(fe::query(text) + fe::bind("", "s"));
  EXPECT_TRUE(session.machine->parked()) << "an earlier segment decides what s is";
  session.server(be::complete("DEALLOCATE") + be::complete("PREPARE") + be::ready());
  EXPECT_EQ(gate.submitted.back().stage, Stage::bind);
  EXPECT_FALSE(gate.submitted.back().has_statement);
}

TEST_P(PostgresExtended, DeallocateAllTakesAllNames) {
  prepare("s", "SELECT 1");
  gate.shape["DISCARD ALL"] = [](Statement& s) { s.deallocates = {"*"}; };
  session.client(fe::query("DISCARD ALL"));
  session.server(be::complete("DISCARD ALL") + be::ready());
  session.client(fe::bind("", "s"));
  EXPECT_FALSE(gate.submitted.back().has_statement);
}

TEST_P(PostgresExtended, PortalsEndWithTheirTransaction) {
  session.client(fe::parse("s", "SELECT 1") + fe::bind("p", "s") + fe::sync());
  session.server(be::parse_complete() + be::bind_complete() + be::ready('I'));
  session.client(fe::execute("p") + fe::sync());
  EXPECT_FALSE(gate.submitted.back().has_statement);
}

TEST_P(PostgresExtended, ParkedStagesOfOnePipeline) {
  gate.park["SELECT 1"] = 3;
  const std::string asked =
      fe::parse("", "SELECT 1") + fe::bind("", "") + fe::describe('P', "") + fe::execute("") + fe::sync();
  session.client(asked);
  while (session.machine->parked()) session.resume();
  EXPECT_EQ(session.to_server, asked);
  EXPECT_EQ(gate.submitted.size(), 3u);
}

TEST_P(PostgresExtended, UndeclaredBinaryIntegersAreReadAsSuch) {
  prepare("s", "SELECT $1, $2");
  session.client(fe::bind("", "s", {int8(kPanNumber), std::nullopt}, fe::Format::text, fe::Format::binary));
  const auto& values = gate.submitted.back().values;
  ASSERT_EQ(values.size(), 2u);
  EXPECT_EQ(values[0].type, policies::ValueType::integer);
  EXPECT_EQ(values[0].bytes_total, 8u);
  EXPECT_TRUE(values[1].is_null);
}

TEST_P(PostgresExtended, AnErrorAtSyncBelongsToSync) {
  session.client(fe::parse("", "INSERT") + fe::bind("", "") + fe::describe('P', "") + fe::execute("") + fe::sync() +
                 fe::query("SELECT 1"));
  const std::string answer = be::parse_complete() + be::bind_complete() + be::no_data() + be::complete("INSERT 0 1") +
                             be::error("23503", "deferred constraint") + be::ready() + be::complete("SELECT 0") +
                             be::ready();
  session.server(answer);
  EXPECT_EQ(session.to_client, answer);
  EXPECT_EQ(session.closed, CloseReason::none);
}

}  // namespace
}  // namespace sluice::session::testing
