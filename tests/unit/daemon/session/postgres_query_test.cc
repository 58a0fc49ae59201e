// Simple queries, function calls, and what the server says unasked.
#include <gmock/gmock.h>

#include "tests/unit/daemon/session/postgres_harness.h"

namespace sluice::session::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

class PostgresQuery : public AnySplit {
 protected:
  void SetUp() override { session.start(); }
};
INSTANTIATE_TEST_SUITE_P(Splits, PostgresQuery, ::testing::Values(0, 1, 7));

TEST_P(PostgresQuery, WithoutCardDataEveryByteIsTheServers) {
  session.client(fe::query("SELECT a, b FROM t"));
  EXPECT_EQ(session.to_server, fe::query("SELECT a, b FROM t"));
  EXPECT_EQ(session.machine->phase(), Phase::busy);
  const std::string answer = be::row_description({{"a"}, {"b", 23}}) + be::row({"some longer text", "1"}) +
                             be::row({std::nullopt, "2"}) + be::complete("SELECT 2") + be::ready();
  session.server(answer);
  EXPECT_EQ(session.to_client, answer);
  EXPECT_EQ(gate.completed.at(1).rows, 2u);
  EXPECT_EQ(gate.completed.at(1).outcome, Outcome::success);
  EXPECT_THAT(gate.completed.at(1).findings, ElementsAre());
  EXPECT_EQ(session.machine->phase(), Phase::idle);
}

TEST_P(PostgresQuery, ValuesAreMaskedWhereTheyStand) {
  const auto answer = [](std::string_view pan, uint64_t number) {
    return be::row_description({{"id", 23}, {"pan"}, {"n", 20, 1}}) +
           be::row({"1", "card " + std::string(pan) + ".", int8(number)}) + be::complete("SELECT 1") + be::ready();
  };
  session.client(fe::query("SELECT"));
  session.server(answer(kPan, kPanNumber));
  EXPECT_EQ(session.to_client, answer(kMasked, kMaskedNumber));
  EXPECT_THAT(gate.completed.at(1).findings, ElementsAre(Pair("column:1", 1), Pair("column:2", 1)));
}

// Columns are known by their names, and an alias hides nothing.
TEST_P(PostgresQuery, ColumnsAreKnownByTheirNames) {
  const auto answer = [](std::string_view code, std::string_view small, std::string_view cid, std::string_view pan) {
    return be::row_description({{"order_id"}, {"cvv2"}, {"n_cvc", 21, 1}, {"cid"}, {"pinned"}}) +
           be::row({std::string(pan), std::string(code), std::string(small), std::string(cid), "1234"}) +
           be::complete("SELECT 1") + be::ready();
  };
  session.client(fe::query("SELECT"));
  session.server(answer("123", std::string_view("\0\x7b", 2), "1234", kPan));
  EXPECT_EQ(session.to_client, answer("***", "**", "****", kMasked));
  EXPECT_THAT(gate.completed.at(1).findings,
              ElementsAre(Pair("column:0", 1), Pair("column:1", 1), Pair("column:2", 1), Pair("column:3", 1)));
}

TEST_P(PostgresQuery, NamesThatMeanOtherThingsNeedACardBesideThem) {
  const std::string answer = be::row_description({{"cid"}, {"pincode"}, {"cvv_result"}}) +
                             be::row({"1234", "110001", "123"}) + be::complete("SELECT 1") + be::ready();
  session.client(fe::query("SELECT"));
  session.server(answer);
  EXPECT_EQ(session.to_client, answer);
}

TEST_P(PostgresQuery, ErrorsAndNoticesAreMaskedInEveryField) {
  const auto answer = [](std::string_view pan) {
    const std::string key = "Key (pan)=(" + std::string(pan) + ") already exists.";
    return be::report('N', {{'S', "NOTICE"}, {'C', "00000"}, {'M', std::string(pan)}}) +
           be::report('E', {{'S', "ERROR"}, {'C', "23505"}, {'M', "duplicate"}, {'D', key}, {'W', key}}) + be::ready();
  };
  session.client(fe::query("INSERT"));
  session.server(answer(kPan));
  EXPECT_EQ(session.to_client, answer(kMasked));
  EXPECT_EQ(gate.completed.at(1).outcome, Outcome::failure);
  EXPECT_EQ(gate.completed.at(1).error_code, "23505");
  EXPECT_THAT(gate.completed.at(1).findings, ElementsAre(Pair("error:D", 1), Pair("error:W", 1), Pair("notice:M", 1)));
}

TEST_P(PostgresQuery, WhatComesUnaskedIsMaskedAndReportedWithoutACommand) {
  session.server(be::notification("channel", kPan) + be::parameter("application_name", kPan));
  EXPECT_EQ(session.to_client, be::notification("channel", kMasked) + be::parameter("application_name", kMasked));
  EXPECT_EQ(
      gate.completed.at(0).findings.count("notification") + gate.completed.at(0).findings.count("parameter_status"),
      2u);
}

TEST_P(PostgresQuery, ColumnNamesAreMasked) {
  session.client(fe::query("SELECT"));
  session.server(be::row_description({{kPan}}) + be::complete("SELECT 0") + be::ready());
  EXPECT_THAT(session.to_client, Not(HasSubstr(std::string(kPan))));
  EXPECT_THAT(gate.completed.at(1).findings, ElementsAre(Pair("column_name:0", 1)));
}

TEST_P(PostgresQuery, SeveralStatementsInOneText) {
  session.client(fe::query("SELECT 1; INSERT; SELECT 2"));
  const std::string answer = be::row_description({{"a"}}) + be::row({"1"}) + be::complete("SELECT 1") +
                             be::complete("INSERT 0 5") + be::row_description({{"a"}, {"b"}}) + be::row({"1", "2"}) +
                             be::complete("SELECT 1") + be::ready();
  session.server(answer);
  EXPECT_EQ(session.to_client, answer);
  EXPECT_EQ(gate.completed.at(1).rows, 7u);
}

TEST_P(PostgresQuery, AnEmptyQueryAndPipelinedQueries) {
  session.client(fe::query("") + fe::query("SELECT 1") + fe::query("SELECT 2"));
  const std::string answer = be::empty_query() + be::ready() + be::row_description({{"a"}}) + be::row({"1"}) +
                             be::complete("SELECT 1") + be::ready() + be::error("42P01", "no") + be::ready();
  session.server(answer);
  EXPECT_EQ(session.to_client, answer);
  EXPECT_EQ(gate.completed.size(), 3u);
  EXPECT_EQ(gate.completed.at(3).outcome, Outcome::failure);
}

TEST_P(PostgresQuery, AParkedQueryWaitsAndHoldsUpWhatIsBehind) {
  gate.park["SELECT 1"] = 2;
  session.client(fe::query("SELECT 1") + fe::query("SELECT 2"));
  EXPECT_TRUE(session.machine->parked());
  EXPECT_EQ(session.to_server, "");
  session.resume();
  EXPECT_TRUE(session.machine->parked());
  EXPECT_EQ(session.to_server, "");
  session.resume();
  EXPECT_EQ(session.to_server, fe::query("SELECT 1") + fe::query("SELECT 2"));
  EXPECT_EQ(gate.submitted.size(), 2u);
}

TEST_P(PostgresQuery, FunctionCalls) {
  session.client(fe::function_call(1598, {int8(5)}, fe::Format::binary));
  ASSERT_EQ(gate.submitted.size(), 1u);
  EXPECT_EQ(gate.submitted[0].stage, Stage::function_call);
  EXPECT_EQ(gate.submitted[0].value_bytes, std::vector<std::string>{int8(5)});
  session.server(be::function_result(int8(kPanNumber)) + be::ready());
  EXPECT_EQ(session.to_client, be::function_result(int8(kMaskedNumber)) + be::ready());
  EXPECT_EQ(gate.completed.at(1).findings.at("function_result"), 1u);
}

TEST_P(PostgresQuery, MalformedMessagesOfTheClientEndTheSession) {
  const std::string no_end = message('Q', W().text("SELECT 1"));
  const std::string two_texts = message('Q', W().cstring("SELECT 1").cstring("DROP TABLE t"));
  const std::string unknown = "?\0\0\0\4";
  for (const std::string& bad :
       {no_end, two_texts, unknown, message('Q', W()), message('P', W().cstring("").cstring("")),
        message('D', W().u8('Z').cstring("")), fe::password("again"), std::string("Q\x7f\xff\xff\xff", 5)}) {
    Session fresh{GetParam()};
    fresh.start();
    fresh.client(bad);
    EXPECT_EQ(fresh.closed, CloseReason::protocol_violation) << bad;
    EXPECT_EQ(fresh.to_server, "");
    EXPECT_THAT(fresh.to_client, HasSubstr("08P01"));
    EXPECT_THAT(fresh.gate.notes, ElementsAre(SessionNote::authenticated, SessionNote::protocol_violation));
  }
}

TEST_P(PostgresQuery, WhatTheServerMayNotSayEndsTheSession) {
  const std::string short_row = message('D', W().u16(2).i32(1).text("x"));
  const std::string long_row = message('D', W().u16(1).i32(1).text("xy"));
  const std::string columns = be::row_description({{"a"}});
  for (const std::string& bad :
       {be::row({"no description"}), columns + short_row, columns + long_row, columns + be::row({"1", "2"}),
        be::parse_complete(), be::copy_data("x\n"), be::copy_response('W'), columns + columns, std::string("!"),
        be::function_result("x"), be::suspended(), message('E', W().u8('S').text("x"))}) {
    Session fresh{GetParam()};
    fresh.start();
    fresh.client(fe::query("SELECT"));
    fresh.server(bad);
    EXPECT_NE(fresh.closed, CloseReason::none) << bad;
    EXPECT_THAT(fresh.to_client, HasSubstr("FATAL"));
  }
  session.server(be::ready());
  EXPECT_EQ(session.closed, CloseReason::protocol_violation) << "nothing was asked";
}

TEST_P(PostgresQuery, AViolationPassesNothingOfTheBadMessageOn) {
  session.client(fe::query("SELECT"));
  session.server(be::row_description({{"a"}}) + be::row({"good row here"}) +
                 message('D', W().u16(1).i32(40).text(kPan)));
  EXPECT_THAT(session.to_client, HasSubstr("good row here"));
  EXPECT_THAT(session.to_client, Not(HasSubstr("4111")));
}

TEST_P(PostgresQuery, TerminateEndsAnIdleSessionAndLetsABusyOneFinish) {
  session.client(fe::query("SELECT 1") + fe::terminate() + fe::query("never"));
  EXPECT_EQ(session.to_server, fe::query("SELECT 1") + fe::terminate());
  EXPECT_EQ(session.closed, CloseReason::none);
  session.server(be::complete("SELECT 0") + be::ready());
  session.end(Side::server);
  EXPECT_EQ(session.closed, CloseReason::finished);
  Session idle{GetParam()};
  idle.start();
  idle.client(fe::terminate());
  EXPECT_EQ(idle.to_server, fe::terminate());
  EXPECT_EQ(idle.closed, CloseReason::finished);
}

TEST_P(PostgresQuery, AClientThatOnlySendsNoMoreGetsItsAnswers) {
  session.client(fe::query("SELECT 1"));
  session.end(Side::client);
  EXPECT_EQ(session.closed, CloseReason::none);
  session.server(be::complete("SELECT 0") + be::ready());
  EXPECT_EQ(session.to_client, be::complete("SELECT 0") + be::ready());
  EXPECT_EQ(session.closed, CloseReason::client_left);
}

TEST_P(PostgresQuery, AClientThatLeavesWithdrawsWhatIsParked) {
  gate.park["SELECT 1"] = 1;
  session.client(fe::query("SELECT 1"));
  session.end(Side::client);
  EXPECT_EQ(session.closed, CloseReason::client_left);
  EXPECT_EQ(session.to_server, "");
}

TEST_P(PostgresQuery, AServerThatGoesAwaySaysSoItself) {
  const std::string goodbye = be::fatal("57P01", "terminating connection due to administrator command");
  session.server(goodbye);
  session.end(Side::server);
  EXPECT_EQ(session.to_client, goodbye);
  EXPECT_EQ(session.closed, CloseReason::server_left);
}

// --- what the meaning of a text depends on

TEST_P(PostgresQuery, ATextThatDependsOnSettingsWaitsForThoseInFlight) {
  gate.shape["SET standard_conforming_strings = off"] = [](Statement& s) { s.may_change_settings = true; };
  const std::string depends = "SELECT 'a\\''; DROP TABLE customers; --'";
  session.client(fe::query("SET standard_conforming_strings = off") + fe::query(depends));
  EXPECT_EQ(gate.submitted.size(), 1u);
  EXPECT_TRUE(session.machine->parked());
  session.server(be::complete("SET") + be::parameter("standard_conforming_strings", "off") +
                 be::parameter("client_encoding", "SJIS") + be::ready());
  ASSERT_EQ(gate.submitted.size(), 2u);
  EXPECT_TRUE(gate.submitted[1].certain);
  EXPECT_EQ(gate.submitted[1].encoding, "SJIS");
  EXPECT_EQ(session.to_server, fe::query("SET standard_conforming_strings = off") + fe::query(depends));
}

TEST_P(PostgresQuery, ATextThatDependsOnNothingDoesNotWait) {
  gate.shape["SET x"] = [](Statement& s) { s.may_change_settings = true; };
  session.client(fe::query("SET x") + fe::query("SELECT 1"));
  EXPECT_EQ(gate.submitted.size(), 2u);
}

TEST_P(PostgresQuery, WithinASegmentTheReadingIsUncertain) {
  gate.shape["SET x"] = [](Statement& s) { s.may_change_settings = true; };
  session.client(fe::parse("", "SET x") + fe::bind("", "") + fe::execute("") + fe::parse("", "SELECT '\\'") +
                 fe::sync());
  ASSERT_EQ(gate.submitted.size(), 4u);
  EXPECT_FALSE(gate.submitted[3].certain) << "the setting is reported with ReadyForQuery only";
}

TEST_P(PostgresQuery, AFailureMayTakeASettingBack) {
  gate.shape["SET x"] = [](Statement& s) { s.may_change_settings = true; };
  session.client(fe::query("SET x"));
  session.server(be::complete("SET") + be::ready('T'));
  session.client(fe::query("SELECT 1/0") + fe::query("SELECT '\\'"));
  EXPECT_EQ(gate.submitted.size(), 2u) << "the failure of the first would roll the setting back";
  session.server(be::error("22012", "division by zero") + be::ready('E'));
  EXPECT_EQ(gate.submitted.size(), 3u);
}

TEST_P(PostgresQuery, SettingsThatWereNeverReportedAreUncertain) {
  Session silent{GetParam()};
  silent.client(fe::startup({{"user", "u"}}));
  silent.server(be::authentication(0) + be::ready());
  silent.client(fe::query("SELECT '\\'"));
  ASSERT_EQ(silent.gate.submitted.size(), 1u);
  EXPECT_FALSE(silent.gate.submitted[0].certain);
}

}  // namespace
}  // namespace sluice::session::testing
