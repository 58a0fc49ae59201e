// COPY in both directions, and values and messages larger than the window.
#include <gmock/gmock.h>

#include "tests/unit/daemon/session/postgres_harness.h"

namespace sluice::session::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

const std::string kPanText(kPan);
const std::string kMaskedText(kMasked);

class PostgresCopy : public AnySplit {
 protected:
  void SetUp() override {
    session.start();
    gate.shape["COPY t FROM STDIN"] = [](Statement& s) { s.copies_in = true; };
  }
  // The rows of a COPY are cut at these places into messages.
  std::string copy_out(const std::vector<std::string>& pieces) {
    session.client(fe::query("COPY t TO STDOUT"));
    std::string sent = be::copy_response('H');
    for (const std::string& piece : pieces) sent += be::copy_data(piece);
    session.server(sent + be::copy_done() + be::complete("COPY 1") + be::ready());
    return session.to_client;
  }
};
INSTANTIATE_TEST_SUITE_P(Splits, PostgresCopy, ::testing::Values(0, 1, 7, 4099));

// Larger than the window: not byte by byte, which would only take long.
class PostgresLarge : public PostgresCopy {};
INSTANTIATE_TEST_SUITE_P(Splits, PostgresLarge, ::testing::Values(0, 997, 4099, 40'000));

TEST_P(PostgresCopy, OutWithoutCardDataIsTheServers) {
  const std::string answer = be::copy_response('H') + be::copy_data("1\tsome text in a row\n") +
                             be::copy_data("2\t\\N\n") + be::copy_done() + be::complete("COPY 2") + be::ready();
  session.client(fe::query("COPY t TO STDOUT"));
  session.server(answer);
  EXPECT_EQ(session.to_client, answer);
  EXPECT_EQ(gate.completed.at(1).rows, 2u);
}

TEST_P(PostgresCopy, OutIsMasked) {
  const std::string answer = copy_out({"1\t" + kPanText + "\tx\n", kPanText + "\n"});
  EXPECT_EQ(answer, be::copy_response('H') + be::copy_data("1\t" + kMaskedText + "\tx\n") +
                        be::copy_data(kMaskedText + "\n") + be::copy_done() + be::complete("COPY 1") + be::ready());
  EXPECT_THAT(gate.completed.at(1).findings, ElementsAre(Pair("copy", 2)));
}

// COPY … HEADER: the first row names the columns.
TEST_P(PostgresCopy, CodesAreKnownByTheHeader) {
  const std::string answer =
      copy_out({"id\tpan\tcvv\tnote\n", "123\t" + kPanText + "\t456\tx\n", "2\t\\N\t\\N\t789\n"});
  EXPECT_EQ(answer, be::copy_response('H') + be::copy_data("id\tpan\tcvv\tnote\n") +
                        be::copy_data("123\t" + kMaskedText + "\t***\tx\n") + be::copy_data("2\t\\N\t\\N\t789\n") +
                        be::copy_done() + be::complete("COPY 1") + be::ready());
  EXPECT_THAT(gate.completed.at(1).findings, ElementsAre(Pair("copy", 2)));
}

TEST_P(PostgresCopy, CodesAreKnownByTheHeaderOfCsv) {
  const std::string answer =
      copy_out({"\"name, first\",cid,exp_date\n", "\"Doe, Jane\",\"123\",12/28\n", "x,12345,1\n"});
  EXPECT_EQ(answer, be::copy_response('H') + be::copy_data("\"name, first\",cid,exp_date\n") +
                        be::copy_data("\"Doe, Jane\",\"***\",12/28\n") + be::copy_data("x,12345,1\n") +
                        be::copy_done() + be::complete("COPY 1") + be::ready());
}

TEST_P(PostgresCopy, WithoutAHeaderColumnsHaveNoName) {
  const std::string answer = copy_out({"123\tcvv\n", "456\t123\n"});
  EXPECT_EQ(answer, be::copy_response('H') + be::copy_data("123\tcvv\n") + be::copy_data("456\t123\n") +
                        be::copy_done() + be::complete("COPY 1") + be::ready());
}

TEST_P(PostgresCopy, ACardNumberAcrossMessagesIsFound) {
  const std::string row = "1\t" + kPanText + "\tx\n";
  const std::string masked = "1\t" + kMaskedText + "\tx\n";
  for (size_t cut = 1; cut < row.size(); ++cut) {
    Session fresh{GetParam()};
    fresh.start();
    fresh.client(fe::query("COPY t TO STDOUT"));
    const std::string end = be::copy_done() + be::complete("COPY 1") + be::ready();
    fresh.server(be::copy_response('H') + be::copy_data(row.substr(0, cut)) + be::copy_data("") +
                 be::copy_data(row.substr(cut)) + end);
    EXPECT_EQ(fresh.to_client, be::copy_response('H') + be::copy_data(masked.substr(0, cut)) + be::copy_data("") +
                                   be::copy_data(masked.substr(cut)) + end)
        << "cut at " << cut;
  }
}

TEST_P(PostgresCopy, OneByteMessagesAreStillOneRow) {
  std::string sent = be::copy_response('H'), expected = sent;
  for (const char c : "7\t" + kPanText + "\n") sent += be::copy_data(std::string(1, c));
  for (const char c : "7\t" + kMaskedText + "\n") expected += be::copy_data(std::string(1, c));
  const std::string end = be::copy_done() + be::complete("COPY 1") + be::ready();
  session.client(fe::query("COPY t TO STDOUT"));
  session.server(sent + end);
  EXPECT_EQ(session.to_client, expected + end);
}

TEST_P(PostgresCopy, ANoticeBetweenThePartsOfARowKeepsItsPlace) {
  session.client(fe::query("COPY t TO STDOUT"));
  const auto stream = [](const std::string& pan) {
    return be::copy_response('H') + be::copy_data(pan.substr(0, 8)) +
           be::report('N', {{'S', "NOTICE"}, {'M', "in between"}}) + be::copy_data(pan.substr(8) + "\n") +
           be::copy_done() + be::complete("COPY 1") + be::ready();
  };
  session.server(stream(kPanText));
  EXPECT_EQ(session.to_client, stream(kMaskedText));
}

TEST_P(PostgresCopy, ARowThatNeverEndsIsReleasedAtTheEnd) {
  const std::string answer = copy_out({"no line feed " + kPanText});
  EXPECT_THAT(answer, HasSubstr(be::copy_data("no line feed " + kMaskedText)));
}

TEST_P(PostgresCopy, AnErrorEndsTheStream) {
  session.client(fe::query("COPY t TO STDOUT"));
  const std::string answer =
      be::copy_response('H') + be::copy_data("half a row") + be::error("22012", "division by zero") + be::ready();
  session.server(answer);
  EXPECT_EQ(session.to_client, answer);
}

TEST_P(PostgresLarge, ARowLargerThanTheWindowStreams) {
  const std::string filler(100'000, 'f');
  const auto stream = [&filler](const std::string& pan) {
    return be::copy_response('H') + be::copy_data(filler + pan + filler + "\t" + pan + "\n") + be::copy_done() +
           be::complete("COPY 1") + be::ready();
  };
  session.client(fe::query("COPY t TO STDOUT"));
  session.server(stream(kPanText));
  EXPECT_TRUE(session.to_client == stream(kMaskedText));
  EXPECT_EQ(gate.completed.at(1).bytes, 2 * filler.size() + 2 * kPan.size() + 2);
}

TEST_P(PostgresCopy, InGoesByAsItIs) {
  session.client(fe::query("COPY t FROM STDIN") + fe::copy_data("1\tx\n"));
  EXPECT_EQ(session.to_server, fe::query("COPY t FROM STDIN")) << "what follows depends on the server's answer";
  session.server(be::copy_response('G'));
  session.client(fe::copy_data(kPanText + "\n") + fe::copy_done());
  EXPECT_EQ(session.to_server, fe::query("COPY t FROM STDIN") + fe::copy_data("1\tx\n") +
                                   fe::copy_data(kPanText + "\n") + fe::copy_done());
  session.server(be::complete("COPY 2") + be::ready());
  EXPECT_EQ(gate.completed.at(1).rows, 2u);
  EXPECT_EQ(gate.completed.at(1).bytes, 4 + kPan.size() + 1);
  EXPECT_EQ(session.machine->phase(), Phase::idle);
}

TEST_P(PostgresCopy, InThroughTheExtendedProtocol) {
  // As libpq does it: a Sync right behind Execute, which the COPY swallows, and another one behind CopyDone.
  session.client(fe::parse("", "COPY t FROM STDIN") + fe::bind("", "") + fe::describe('P', "") + fe::execute("") +
                 fe::sync());
  EXPECT_TRUE(session.machine->parked());
  session.server(be::parse_complete() + be::bind_complete() + be::no_data() + be::copy_response('G'));
  session.forget();
  session.client(fe::copy_data("1\n") + fe::copy_done() + fe::sync());
  EXPECT_EQ(session.to_server, fe::copy_data("1\n") + fe::copy_done() + fe::sync());
  session.server(be::complete("COPY 1") + be::ready());
  EXPECT_EQ(session.machine->phase(), Phase::idle);
  EXPECT_EQ(session.closed, CloseReason::none);
}

TEST_P(PostgresCopy, InThatFailsBeforeItBegins) {
  session.client(fe::parse("", "COPY t FROM STDIN") + fe::bind("", "") + fe::describe('P', "") + fe::execute("") +
                 fe::sync());
  session.server(be::parse_complete() + be::bind_complete() + be::no_data() + be::error("42P01", "no table"));
  EXPECT_TRUE(session.to_server.ends_with(fe::flush() + fe::sync())) << session.to_server;
  session.server(be::ready());
  EXPECT_EQ(session.machine->phase(), Phase::idle);
  session.client(fe::query("SELECT 1"));
  EXPECT_THAT(session.to_server, HasSubstr("SELECT 1"));
}

// The error of the first is answered by the second before the ReadyForQuery of the first has come.
TEST_P(PostgresCopy, AnotherOneIsUndecidedUntilItsOwnAnswer) {
  session.client(fe::query("COPY t FROM STDIN") + fe::query("COPY t FROM STDIN") + fe::sync());
  session.server(be::error("42P01", "no table"));
  EXPECT_EQ(session.to_server, fe::query("COPY t FROM STDIN") + fe::query("COPY t FROM STDIN"));
  session.server(be::ready());
  EXPECT_TRUE(session.machine->parked()) << "a Sync means nothing to a COPY, and something to the main loop";
  session.forget();
  session.server(be::copy_response('G'));
  session.client(fe::copy_done());
  EXPECT_EQ(session.to_server, fe::copy_done());
  session.server(be::complete("COPY 0") + be::ready());
  EXPECT_EQ(session.machine->phase(), Phase::idle);
}

TEST_P(PostgresCopy, InThatFailsMidway) {
  session.client(fe::query("COPY t FROM STDIN"));
  session.server(be::copy_response('G'));
  session.client(fe::copy_data("bad\n"));
  session.server(be::error("22P02", "invalid input") + be::ready());
  session.forget();
  session.client(fe::copy_data("more\n") + fe::copy_done() + fe::query("SELECT 1"));
  EXPECT_EQ(session.to_server, fe::query("SELECT 1")) << "what is left over of the COPY means nothing any more";
  EXPECT_EQ(gate.completed.at(1).error_code, "22P02");
}

TEST_P(PostgresCopy, SeveralCopiesInOneText) {
  session.client(fe::query("COPY t FROM STDIN"));
  session.server(be::copy_response('G'));
  session.client(fe::copy_data("1\n") + fe::copy_done() + fe::copy_data("2\n") + fe::copy_fail("enough"));
  EXPECT_THAT(session.to_server, Not(HasSubstr("2\n")));
  session.server(be::complete("COPY 1") + be::copy_response('G'));
  EXPECT_THAT(session.to_server, HasSubstr(fe::copy_data("2\n") + fe::copy_fail("enough")));
  session.server(be::error("57014", "COPY from stdin failed: enough") + be::ready());
  EXPECT_EQ(session.machine->phase(), Phase::idle);
}

TEST_P(PostgresCopy, InThatNobodySawComingEndsTheSession) {
  session.client(fe::query("SELECT 1"));
  session.server(be::copy_response('G'));
  EXPECT_EQ(session.closed, CloseReason::protocol_violation);
}

TEST_P(PostgresCopy, CommandsWithinACopyEndTheSession) {
  session.client(fe::query("COPY t FROM STDIN"));
  session.server(be::copy_response('G'));
  session.forget();
  session.client(fe::query("DROP TABLE t"));
  EXPECT_EQ(session.closed, CloseReason::protocol_violation);
  EXPECT_EQ(session.to_server, "");
}

TEST_P(PostgresLarge, LargeCopyDataOfTheClientStreams) {
  const std::string large(200'000, 'x');
  session.client(fe::query("COPY t FROM STDIN"));
  session.server(be::copy_response('G'));
  session.forget();
  session.client(fe::copy_data(large) + fe::copy_done());
  // A message larger than the window goes on as several, which mean the same.
  std::string sent;
  size_t at = 0;
  while (at + 5 <= session.to_server.size() && session.to_server[at] == 'd') {
    uint32_t size = 0;
    for (size_t i = 1; i <= 4; ++i) size = size << 8 | static_cast<uint8_t>(session.to_server[at + i]);
    sent += session.to_server.substr(at + 5, size - 4);
    at += 1 + size;
  }
  EXPECT_TRUE(sent == large);
  EXPECT_EQ(session.to_server.substr(at), fe::copy_done());
  session.server(be::complete("COPY 1") + be::ready());
  EXPECT_EQ(gate.completed.at(1).bytes, large.size());
}

// --- values and messages larger than the window

TEST_P(PostgresLarge, ValuesOfAnySizeStream) {
  const std::string filler(90'000, 'f');
  const auto answer = [&filler](const std::string& pan) {
    return be::row_description({{"a"}, {"b"}, {"c", 20, 1}, {"d"}}) +
           be::row({filler + pan + filler, pan, int8(pan == kPan ? kPanNumber : kMaskedNumber), filler + pan}) +
           be::complete("SELECT 1") + be::ready();
  };
  session.client(fe::query("SELECT"));
  session.server(answer(kPanText));
  EXPECT_TRUE(session.to_client == answer(kMaskedText));
  EXPECT_THAT(gate.completed.at(1).findings,
              ElementsAre(Pair("column:0", 1), Pair("column:1", 1), Pair("column:2", 1), Pair("column:3", 1)));
}

TEST_P(PostgresLarge, ALargeRowThatDoesNotAddUpEndsTheSession) {
  session.client(fe::query("SELECT"));
  std::string row = be::row({std::string(200'000, 'x')});
  row[7] = '\x7f';  // the value is longer than its row
  session.server(be::row_description({{"a"}}) + row);
  EXPECT_EQ(session.closed, CloseReason::protocol_violation);
  EXPECT_THAT(session.to_client, Not(HasSubstr("FATAL"))) << "an error within a message would be read as its contents";
}

TEST_P(PostgresLarge, LargeErrorsAreHeldAndMasked) {
  const std::string filler(70'000, 'f');
  const auto answer = [&filler](const std::string& pan) { return be::error("P0001", filler + pan) + be::ready(); };
  session.client(fe::query("SELECT"));
  session.server(answer(kPanText));
  EXPECT_TRUE(session.to_client == answer(kMaskedText));
}

TEST_P(PostgresLarge, LargeStatementsAreDecidedWhole) {
  const std::string text = "/*" + std::string(100'000, 'c') + "*/ DROP TABLE customers";
  session.client(fe::query(text) + fe::query("SELECT 1"));
  ASSERT_EQ(gate.submitted.size(), 2u);
  EXPECT_TRUE(gate.submitted[0].text == text);
  EXPECT_TRUE(session.to_server == fe::query(text) + fe::query("SELECT 1"));
}

TEST_P(PostgresLarge, ALargeStatementMayBeParked) {
  const std::string text = "SELECT '" + std::string(100'000, 'c') + "'";
  gate.park[text] = 1;
  session.client(fe::query(text));
  EXPECT_TRUE(session.machine->parked());
  EXPECT_EQ(session.to_server, "");
  session.resume();
  EXPECT_TRUE(session.to_server == fe::query(text));
}

TEST_P(PostgresLarge, LargeBindValuesStream) {
  session.client(fe::parse("s", "INSERT") + fe::sync());
  session.server(be::parse_complete() + be::ready());
  session.forget();
  const std::string large(700'000, 'v');
  const std::string asked = fe::bind("", "s", {"small", large, "late"}) + fe::execute("") + fe::sync();
  session.client(asked);
  const auto& bind = gate.submitted.at(1);
  ASSERT_EQ(bind.values.size(), 3u);
  EXPECT_EQ(bind.value_bytes[0], "small");
  EXPECT_EQ(bind.values[1].bytes_total, large.size());
  EXPECT_LT(bind.value_bytes[1].size(), large.size());
  EXPECT_GT(bind.value_bytes[1].size(), 200'000u);
  EXPECT_EQ(bind.values[2].bytes_total, kBytesTotalUnknown);
  EXPECT_TRUE(session.to_server ==
              fe::bind("", "s", {"small", large, "late"}) + fe::describe('P', "") + fe::execute("") + fe::sync());
}

TEST_P(PostgresLarge, ARefusedLargeBindIsDropped) {
  session.client(fe::parse("s", "INSERT") + fe::sync());
  session.server(be::parse_complete() + be::ready());
  session.forget();
  gate.refuse_stages[Stage::bind] = 1;
  session.client(fe::bind("", "s", {std::string(700'000, 'v')}) + fe::execute("") + fe::sync());
  EXPECT_LT(session.to_server.size(), 200u);
  EXPECT_THAT(session.to_server, HasSubstr(fe::sync()));
}

}  // namespace
}  // namespace sluice::session::testing
