// COPY in binary format, both ways. What is in a field is found wherever the borders of messages and reads are.
#include <gmock/gmock.h>

#include "tests/unit/daemon/session/postgres_harness.h"

namespace sluice::session::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

const std::string kPanText(kPan);
const std::string kMaskedText(kMasked);
const std::string kEnd = be::copy_done() + be::complete("COPY 2") + be::ready();

class PostgresBinaryCopy : public AnySplit {
 protected:
  void SetUp() override {
    session.start();
    gate.shape["COPY t FROM STDIN"] = [](Statement& s) { s.copies_in = true; };
  }
  void begin_out(uint16_t columns) {
    session.client(fe::query("COPY t TO STDOUT"));
    session.server(be::binary_copy_response('H', columns));
    session.forget();
  }
  void begin_in(uint16_t columns) {
    session.client(fe::query("COPY t FROM STDIN"));
    session.server(be::binary_copy_response('G', columns));
    session.forget();
  }
};
INSTANTIATE_TEST_SUITE_P(Splits, PostgresBinaryCopy, ::testing::Values(0, 1, 7, 4099));
class PostgresLargeBinaryCopy : public PostgresBinaryCopy {};
INSTANTIATE_TEST_SUITE_P(Splits, PostgresLargeBinaryCopy, ::testing::Values(0, 997, 4099, 40'000));

// As PostgreSQL sends it: the header goes with the first row, the trailer alone.
std::string as_sent(const std::string& pan) {
  return be::copy_data(binary_copy::header() + binary_copy::row({int8(7), "a " + pan, std::nullopt})) +
         be::copy_data(binary_copy::row({int8(8), "", pan})) + be::copy_data(binary_copy::trailer()) + kEnd;
}

TEST_P(PostgresBinaryCopy, OutIsMaskedAndNothingElseChanges) {
  begin_out(3);
  session.server(as_sent(kPanText));
  EXPECT_EQ(session.to_client, as_sent(kMaskedText));
  EXPECT_THAT(gate.completed.at(1).findings, ElementsAre(Pair("copy", 2)));
  EXPECT_EQ(gate.completed.at(1).rows, 2u);
  EXPECT_EQ(session.machine->phase(), Phase::idle);
}

TEST_P(PostgresBinaryCopy, MessagesMayCutTheStreamAnywhere) {
  const auto stream = [](const std::string& pan) {
    return binary_copy::header() + binary_copy::row({"1", pan}) + binary_copy::row({std::nullopt, "x" + pan}) +
           binary_copy::trailer();
  };
  const std::string sent = stream(kPanText), expected = stream(kMaskedText);
  for (size_t cut = 1; cut < sent.size(); ++cut) {
    Session fresh{GetParam()};
    fresh.start();
    fresh.client(fe::query("COPY t TO STDOUT"));
    const auto messages = [cut](const std::string& bytes) {
      return be::binary_copy_response('H', 2) + be::copy_data(bytes.substr(0, cut)) + be::copy_data("") +
             be::copy_data(bytes.substr(cut)) + kEnd;
    };
    fresh.server(messages(sent));
    ASSERT_EQ(fresh.to_client, messages(expected)) << "cut at " << cut;
  }
}

TEST_P(PostgresBinaryCopy, OneByteMessages) {
  begin_out(1);
  std::string sent, expected;
  for (const char c : binary_copy::header() + binary_copy::row({kPanText}) + binary_copy::trailer())
    sent += be::copy_data(std::string(1, c));
  for (const char c : binary_copy::header() + binary_copy::row({kMaskedText}) + binary_copy::trailer())
    expected += be::copy_data(std::string(1, c));
  session.server(sent + kEnd);
  EXPECT_EQ(session.to_client, expected + kEnd);
}

TEST_P(PostgresBinaryCopy, AMessageBetweenThePartsOfAFieldKeepsItsPlace) {
  begin_out(1);
  const auto stream = [](const std::string& pan) {
    return be::copy_data(binary_copy::header() + binary_copy::row({pan}).substr(0, 14)) +
           be::report('N', {{'S', "NOTICE"}, {'M', "in between " + pan}}) + be::notification("c", "paid " + pan) +
           be::copy_data(binary_copy::row({pan}).substr(14)) + be::copy_data(binary_copy::trailer()) + kEnd;
  };
  session.server(stream(kPanText));
  EXPECT_EQ(session.to_client, stream(kMaskedText));
}

TEST_P(PostgresBinaryCopy, AnErrorEndsTheStream) {
  begin_out(1);
  const std::string answer = be::copy_data(binary_copy::header() + binary_copy::row({"half a row"}).substr(0, 9)) +
                             be::error("22012", "division by zero") + be::ready();
  session.server(answer);
  EXPECT_EQ(session.to_client, answer);
  EXPECT_EQ(session.closed, CloseReason::none);
  session.client(fe::query("COPY t TO STDOUT"));
  session.server(be::binary_copy_response('H', 3) + as_sent(kPanText));
  EXPECT_TRUE(session.to_client.ends_with(as_sent(kMaskedText))) << "the next COPY starts afresh";
}

TEST_P(PostgresBinaryCopy, ThroughTheExtendedProtocol) {
  session.client(fe::parse("", "COPY t TO STDOUT") + fe::bind("", "") + fe::execute("") + fe::sync());
  session.server(be::parse_complete() + be::bind_complete() + be::no_data() + be::binary_copy_response('H', 3));
  session.forget();
  const std::string stream = as_sent(kPanText);
  session.server(stream);
  EXPECT_EQ(session.to_client, as_sent(kMaskedText));
}

TEST_P(PostgresBinaryCopy, MalformedDataOfTheServerEndsTheSession) {
  for (const std::string& bad : {std::string("1\ttext\n"), binary_copy::header() + binary_copy::row({"1", kPanText}),
                                 binary_copy::header() + binary_copy::trailer() + kPanText,
                                 binary_copy::header(kPanText) + binary_copy::row({"1"}) + binary_copy::trailer()}) {
    Session fresh{GetParam()};
    fresh.start();
    fresh.client(fe::query("COPY t TO STDOUT"));
    fresh.server(be::binary_copy_response('H', 1) + be::copy_data(bad) + kEnd);
    EXPECT_EQ(fresh.closed, CloseReason::protocol_violation);
    EXPECT_THAT(fresh.gate.notes, Contains(SessionNote::protocol_violation));
    EXPECT_THAT(fresh.to_client, Not(HasSubstr(kPanText)));
    EXPECT_THAT(fresh.to_client, Not(HasSubstr("FATAL"))) << "an error within a message would be read as its contents";
  }
}

TEST_P(PostgresBinaryCopy, AStreamWithoutItsTrailerEndsTheSession) {
  begin_out(1);
  session.server(be::copy_data(binary_copy::header() + binary_copy::row({"1"})) + kEnd);
  EXPECT_EQ(session.closed, CloseReason::protocol_violation);
}

TEST_P(PostgresBinaryCopy, FormatsThatDisagreeEndTheSession) {
  session.client(fe::query("COPY t TO STDOUT"));
  session.server(message('H', W().u8(0).u16(2).u16(0).u16(1)));
  EXPECT_EQ(session.closed, CloseReason::protocol_violation);
}

TEST_P(PostgresLargeBinaryCopy, FieldsOfAnySizeStream) {
  begin_out(2);
  const auto stream = [](const std::string& pan) {
    std::string bytes = binary_copy::header();
    for (const size_t size : {1'000u, 30'000u, 33'000u, 200'000u}) {
      const std::string filler(size, 'f');
      bytes += binary_copy::row({filler + pan + filler + pan, pan});
    }
    bytes += binary_copy::trailer();
    std::string sent;
    for (size_t at = 0, size = 1; at < bytes.size(); at += size, size = size * 3 % 150'001) {
      size = std::min(size, bytes.size() - at);
      sent += be::copy_data(bytes.substr(at, size));
    }
    return sent + kEnd;
  };
  session.server(stream(kPanText));
  EXPECT_TRUE(session.to_client == stream(kMaskedText));
  EXPECT_THAT(gate.completed.at(1).findings, ElementsAre(Pair("copy", 12)));
}

TEST_P(PostgresLargeBinaryCopy, WhatIsHeldIsBounded) {
  begin_out(1);
  std::string sent = be::copy_data(binary_copy::header() + binary_copy::row({std::string(30'000, 'x')}).substr(0, 100));
  const std::string notice = be::report('N', {{'S', "NOTICE"}, {'M', std::string(20'000, 'n')}});
  for (int i = 0; i < 20; ++i) sent += notice;
  session.server(sent);
  EXPECT_EQ(session.closed, CloseReason::limit_exceeded);
}

// --- from the client

TEST_P(PostgresBinaryCopy, InGoesByAsItIs) {
  begin_in(2);
  const std::string data = fe::copy_data(binary_copy::header() + binary_copy::row({kPanText, std::nullopt})) +
                           fe::copy_data("") + fe::copy_data(binary_copy::row({"x", int8(kPanNumber)}).substr(0, 9)) +
                           fe::copy_data(binary_copy::row({"x", int8(kPanNumber)}).substr(9)) +
                           fe::copy_data(binary_copy::trailer()) + fe::copy_done();
  session.client(data);
  EXPECT_EQ(session.to_server, data);
  session.server(be::complete("COPY 2") + be::ready());
  EXPECT_EQ(gate.completed.at(1).rows, 2u);
  EXPECT_EQ(session.machine->phase(), Phase::idle);
}

TEST_P(PostgresBinaryCopy, InWithoutItsTrailerIsTheServersToJudge) {
  begin_in(1);
  session.client(fe::copy_data(binary_copy::header()) + fe::copy_done());
  EXPECT_EQ(session.to_server, fe::copy_data(binary_copy::header()) + fe::copy_done());
}

TEST_P(PostgresBinaryCopy, MalformedInFailsTheCopyAlone) {
  for (const std::string& bad : {std::string("1\ttext\n"), binary_copy::header() + binary_copy::row({"a", "b"}),
                                 binary_copy::header() + binary_copy::trailer() + "more"}) {
    Session fresh{GetParam()};
    fresh.start();
    fresh.gate.shape["COPY t FROM STDIN"] = [](Statement& s) { s.copies_in = true; };
    fresh.client(fe::query("COPY t FROM STDIN"));
    fresh.server(be::binary_copy_response('G', 1));
    fresh.forget();
    fresh.client(fe::copy_data(bad) + fe::copy_data(kPanText) + fe::copy_done());
    ASSERT_GT(fresh.to_server.size(), 5u);
    EXPECT_EQ(fresh.to_server[0], 'f') << "CopyFail, and nothing else";
    const std::string token = fresh.to_server.substr(5, fresh.to_server.size() - 6);
    EXPECT_THAT(fresh.gate.notes, ElementsAre(SessionNote::authenticated, SessionNote::protocol_violation));
    fresh.server(be::error("57014", "COPY from stdin failed: " + token) + be::ready());
    EXPECT_THAT(fresh.to_client, HasSubstr("22P04"));
    EXPECT_THAT(fresh.to_client, Not(HasSubstr(token)));
    EXPECT_EQ(fresh.gate.completed.at(1).error_code, "22P04");
    EXPECT_EQ(fresh.machine->phase(), Phase::idle);
    fresh.forget();
    fresh.client(fe::query("SELECT 1"));
    EXPECT_EQ(fresh.to_server, fe::query("SELECT 1")) << "the session lives on";
  }
}

TEST_P(PostgresBinaryCopy, TheNextCopyBehindAMalformedOneIsWaitedFor) {
  begin_in(1);
  session.client(fe::copy_data("nonsense!!!!") + fe::query("COPY t FROM STDIN"));
  ASSERT_TRUE(session.to_server.ends_with(fe::query("COPY t FROM STDIN")));
  session.forget();
  session.client(fe::query("SELECT 1"));
  session.server(be::error("57014", "COPY from stdin failed: x"));
  EXPECT_EQ(session.to_server, "") << "the second COPY is undecided, whatever became of the first";
  session.server(be::ready() + be::error("42P01", "no such table") + be::ready());
  EXPECT_EQ(session.to_server, fe::query("SELECT 1"));
}

TEST_P(PostgresBinaryCopy, MalformedInThroughTheExtendedProtocol) {
  session.client(fe::parse("", "COPY t FROM STDIN") + fe::bind("", "") + fe::execute("") + fe::sync());
  session.server(be::parse_complete() + be::bind_complete() + be::no_data() + be::binary_copy_response('G', 1));
  session.forget();
  session.client(fe::copy_data("nonsense") + fe::copy_done() + fe::sync());
  EXPECT_EQ(session.to_server[0], 'f');
  EXPECT_TRUE(session.to_server.ends_with(fe::sync()));
  const std::string token = session.to_server.substr(5, session.to_server.size() - 6 - fe::sync().size());
  session.server(be::error("57014", "COPY from stdin failed: " + token) + be::ready());
  EXPECT_THAT(session.to_client, HasSubstr("22P04"));
  EXPECT_EQ(session.machine->phase(), Phase::idle);
}

TEST_P(PostgresLargeBinaryCopy, LargeInStreamsInMessagesOfItsOwn) {
  begin_in(1);
  const std::string stream =
      binary_copy::header() + binary_copy::row({std::string(300'000, 'v')}) + binary_copy::row({kPanText});
  session.client(fe::copy_data(stream) + fe::copy_data(binary_copy::trailer()) + fe::copy_done());
  std::string joined;
  size_t at = 0;
  while (session.to_server[at] == 'd') {
    const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<uint8_t>(session.to_server[at + i])); };
    const size_t size = (byte(1) << 24 | byte(2) << 16 | byte(3) << 8 | byte(4)) - 4;
    joined += session.to_server.substr(at + 5, size);
    at += 5 + size;
  }
  EXPECT_TRUE(joined == stream + binary_copy::trailer());
  EXPECT_EQ(session.to_server.substr(at), fe::copy_done());
  session.server(be::complete("COPY 2") + be::ready());
  EXPECT_EQ(gate.completed.at(1).bytes, stream.size() + 2);
}

TEST_P(PostgresLargeBinaryCopy, LargeInThatTurnsOutMalformedFailsTheCopyAlone) {
  begin_in(1);
  const std::string stream = binary_copy::header() + binary_copy::row({std::string(100'000, 'v')}) +
                             binary_copy::row({"a", "b"}) + std::string(100'000, 'w');
  session.client(fe::copy_data(stream) + fe::copy_done() + fe::query("SELECT 1"));
  EXPECT_THAT(session.to_server, Not(HasSubstr("www")));
  EXPECT_TRUE(session.to_server.ends_with(fe::query("SELECT 1")));
  session.server(be::error("57014", "COPY from stdin failed: x") + be::ready() + be::complete("SELECT 0") +
                 be::ready());
  EXPECT_THAT(session.to_client, HasSubstr("22P04"));
  EXPECT_EQ(session.closed, CloseReason::none);
  EXPECT_EQ(session.machine->phase(), Phase::idle);
}

TEST_P(PostgresLargeBinaryCopy, LargeInAfterTheServersErrorIsDropped) {
  begin_in(1);
  const std::string large = fe::copy_data(binary_copy::header() + binary_copy::row({std::string(200'000, 'v')}));
  session.client(large.substr(0, 70'000));
  session.server(be::error("22P03", "incorrect binary data format") + be::ready());
  session.forget();
  session.client(large.substr(70'000) + fe::copy_done() + fe::query("SELECT 1"));
  EXPECT_EQ(session.to_server, fe::query("SELECT 1"));
}

}  // namespace
}  // namespace sluice::session::testing
