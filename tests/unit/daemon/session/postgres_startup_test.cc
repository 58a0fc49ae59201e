#include <gmock/gmock.h>

#include "parsers/postgres/protocol.h"
#include "tests/unit/daemon/session/postgres_harness.h"

namespace sluice::session::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PostgresStartup : public AnySplit {};
INSTANTIATE_TEST_SUITE_P(Splits, PostgresStartup, ::testing::Values(0, 1, 7));

TEST_P(PostgresStartup, GoesByUntouched) {
  const std::string hello = fe::startup({{"user", "alice"}, {"application_name", "psql"}});
  session.client(hello);
  EXPECT_EQ(session.to_server, hello);
  ASSERT_EQ(gate.claims.size(), 1u);
  EXPECT_EQ(gate.claims[0].db_user, "alice");
  EXPECT_EQ(gate.claims[0].database, "alice") << "the database defaults to the user";
  EXPECT_EQ(gate.claims[0].application, "psql");
  EXPECT_EQ(session.machine->phase(), Phase::authentication);
  const std::string answer =
      be::authentication(0) + be::parameter("client_encoding", "UTF8") + be::key_data() + be::ready();
  session.server(answer);
  EXPECT_EQ(session.to_client, answer);
  EXPECT_THAT(gate.notes, ElementsAre(SessionNote::authenticated));
  EXPECT_EQ(session.machine->phase(), Phase::idle);
}

TEST_P(PostgresStartup, EncryptionIsDeclinedOnceEach) {
  session.client(fe::request(postgres::kGssEncRequestCode));
  session.client(fe::request(postgres::kSslRequestCode));
  EXPECT_EQ(session.to_client, "NN");
  EXPECT_EQ(session.to_server, "");
  session.client(fe::request(postgres::kSslRequestCode));
  EXPECT_EQ(session.closed, CloseReason::protocol_violation);
}

TEST_P(PostgresStartup, EncryptionMayBeAskedForAheadOfTheStartup) {
  const std::string hello = fe::startup({{"user", "u"}});
  session.client(fe::request(postgres::kSslRequestCode) + hello);
  EXPECT_EQ(session.to_client, "N");
  EXPECT_EQ(session.to_server, hello);
}

TEST_P(PostgresStartup, AuthenticationExchangesAreRelayedStepByStep) {
  session.client(fe::startup({{"user", "u"}}));
  session.forget();
  const std::string sasl = be::authentication(10, std::string("SCRAM-SHA-256\0\0", 15));
  session.server(sasl);
  session.client(fe::password("client-first"));
  session.server(be::authentication(11, "server-first"));
  session.client(fe::password("client-final"));
  session.server(be::authentication(12, "server-final") + be::authentication(0) + be::ready());
  EXPECT_EQ(session.to_server, fe::password("client-first") + fe::password("client-final"));
  EXPECT_EQ(session.machine->phase(), Phase::idle);
}

TEST_P(PostgresStartup, APasswordWaitsUntilItIsAskedFor) {
  session.client(fe::startup({{"user", "u"}}));
  session.forget();
  session.client(fe::password("early"));
  EXPECT_EQ(session.to_server, "");
  session.server(be::authentication(3));
  EXPECT_EQ(session.to_server, fe::password("early"));
}

TEST_P(PostgresStartup, FailedAuthenticationIsNoted) {
  session.client(fe::startup({{"user", "u"}}));
  const std::string error = be::fatal("28P01", "password authentication failed");
  session.server(error);
  session.end(Side::server);
  EXPECT_EQ(session.to_client, error);
  EXPECT_THAT(gate.notes, ElementsAre(SessionNote::authentication_failed));
  EXPECT_EQ(session.closed, CloseReason::server_left);
}

TEST_P(PostgresStartup, ReplicationIsRefused) {
  session.client(fe::startup({{"user", "u"}, {"replication", "database"}}));
  EXPECT_EQ(session.to_server, "");
  EXPECT_THAT(session.to_client, HasSubstr("FATAL"));
  EXPECT_THAT(gate.notes, ElementsAre(SessionNote::refused_replication));
  EXPECT_EQ(session.closed, CloseReason::refused);
}

TEST_P(PostgresStartup, ReplicationThatIsTurnedOffIsNone) {
  session.client(fe::startup({{"user", "u"}, {"replication", "false"}}));
  EXPECT_NE(session.to_server, "");
}

TEST_P(PostgresStartup, ACancelRequestIsDecidedAndForwarded) {
  const std::string cancel = fe::request(postgres::kCancelRequestCode, "\1\2\3\4longer key of 3.2");
  session.client(cancel);
  EXPECT_EQ(session.to_server, cancel);
  ASSERT_EQ(gate.submitted.size(), 1u);
  EXPECT_EQ(gate.submitted[0].stage, Stage::cancel);
  session.end(Side::client);
  session.end(Side::server);
  EXPECT_EQ(session.closed, CloseReason::finished);
  EXPECT_EQ(gate.completed.count(1), 1u);
  EXPECT_EQ(session.to_client, "");
}

TEST_P(PostgresStartup, ARefusedCancelRequestGoesNowhere) {
  gate.refuse_stages[Stage::cancel] = 1;
  session.client(fe::request(postgres::kCancelRequestCode, "12345678"));
  EXPECT_EQ(session.to_server, "");
  EXPECT_EQ(session.closed, CloseReason::refused);
}

TEST_P(PostgresStartup, AParkedCancelRequestWaits) {
  gate.park[""] = 1;
  session.client(fe::request(postgres::kCancelRequestCode, "12345678"));
  EXPECT_TRUE(session.machine->parked());
  EXPECT_EQ(session.to_server, "");
  session.resume();
  EXPECT_NE(session.to_server, "");
}

TEST_P(PostgresStartup, NonsenseEndsTheSession) {
  for (const std::string& nonsense :
       {std::string("GET / HTTP/1.1\r\n"), std::string("\x16\x03\x01\x02\x00", 5), std::string("\0\0\0\3", 4),
        as_text(W().u32(10001).bytes()), fe::request(0x00020000)}) {
    Session fresh{GetParam()};
    fresh.client(nonsense);
    EXPECT_EQ(fresh.closed, CloseReason::protocol_violation);
    EXPECT_EQ(fresh.to_server, "");
  }
}

TEST_P(PostgresStartup, AClientMaySendAheadOfReadyForQuery) {
  session.client(fe::startup({{"user", "u"}}) + fe::query("SELECT 1"));
  EXPECT_EQ(gate.submitted.size(), 0u);
  session.server(be::authentication(0) + be::ready());
  EXPECT_EQ(gate.submitted.size(), 1u);
  EXPECT_THAT(session.to_server, HasSubstr("SELECT 1"));
}

std::string negotiated(uint16_t minor, std::initializer_list<std::string_view> options = {}) {
  W body;
  body.u16(3).u16(minor).u32(static_cast<uint32_t>(options.size()));
  for (const std::string_view option : options) body.cstring(option);
  return message('v', body);
}

TEST_P(PostgresStartup, VersionThreePointTwoAndItsLongKeys) {
  const std::string hello = fe::startup({{"user", "u"}}, 2);
  session.client(hello);
  EXPECT_EQ(session.to_server, hello);
  for (const size_t size : {4u, 32u, 256u}) {
    Session fresh{GetParam()};
    const std::string key = std::string("\0\0\0\x7", 4) + std::string(size, 'k');
    const std::string answer = be::authentication(0) + message('K', W().text(key)) + be::ready();
    fresh.client(hello);
    fresh.server(answer);
    EXPECT_EQ(fresh.to_client, answer) << size;
    EXPECT_EQ(fresh.machine->phase(), Phase::idle);
    EXPECT_EQ(fresh.gate.cancel_keys, std::vector<std::string>{key});
    EXPECT_TRUE(fresh.machine->cancel_request().empty()) << "nothing runs there";
    fresh.client(fe::query("SELECT 1"));
    EXPECT_EQ(as_text(fresh.machine->cancel_request()), fe::request(80877102, key));
  }
}

TEST_P(PostgresStartup, KeysOfOtherLengthsEndTheSession) {
  for (const size_t size : {0u, 3u, 257u}) {
    Session fresh{GetParam()};
    fresh.client(fe::startup({{"user", "u"}}, 2));
    fresh.server(be::authentication(0) + message('K', W().u32(7).text(std::string(size, 'k'))));
    EXPECT_EQ(fresh.closed, CloseReason::protocol_violation) << size;
  }
  Session twice{GetParam()};
  twice.client(fe::startup({{"user", "u"}}));
  twice.server(be::authentication(0) + be::key_data() + be::key_data());
  EXPECT_EQ(twice.closed, CloseReason::protocol_violation);
}

TEST_P(PostgresStartup, AServerThatSpeaksAnOlderVersionSaysSo) {
  session.client(fe::startup({{"user", "u"}}, 2));
  const std::string answer = negotiated(0) + be::authentication(0) + be::ready();
  session.server(answer);
  EXPECT_EQ(session.to_client, answer);
  EXPECT_EQ(session.machine->phase(), Phase::idle);
}

TEST_P(PostgresStartup, AServerCannotNegotiateUpwardsNorTwiceNorLate) {
  for (const std::string& answer : {negotiated(2), negotiated(3), negotiated(0, {"_pq_.never_asked_for"}),
                                    negotiated(0) + negotiated(0), be::authentication(0) + negotiated(0)}) {
    Session fresh{GetParam()};
    fresh.client(fe::startup({{"user", "u"}}, 2));
    fresh.server(answer);
    EXPECT_EQ(fresh.closed, CloseReason::protocol_violation);
  }
}

TEST_P(PostgresStartup, ANewerMinorVersionIsNegotiatedDown) {
  session.client(fe::startup({{"user", "u"}, {"database", "d"}}, 9999));
  EXPECT_EQ(session.to_server, fe::startup({{"user", "u"}, {"database", "d"}}, 2));
  session.server(be::authentication(0) + be::ready());
  EXPECT_EQ(session.to_client, negotiated(2) + be::authentication(0) + be::ready());
  Session older{GetParam()};
  older.client(fe::startup({{"user", "u"}}, 9999));
  older.server(negotiated(0) + be::authentication(0) + be::ready());
  EXPECT_EQ(older.to_client, negotiated(0) + be::authentication(0) + be::ready());
  EXPECT_EQ(older.machine->phase(), Phase::idle);
}

// What an option would change about the protocol is not known, so a server is never asked for one.
TEST_P(PostgresStartup, OptionsOfTheProtocolAreDeclined) {
  session.client(fe::startup({{"_pq_.a", "1"}, {"user", "u"}, {"_pq_.b", "x"}, {"application_name", "y"}}));
  EXPECT_EQ(session.to_server, fe::startup({{"user", "u"}, {"application_name", "y"}}));
  session.server(be::authentication(0) + be::ready());
  EXPECT_EQ(session.to_client, negotiated(0, {"_pq_.a", "_pq_.b"}) + be::authentication(0) + be::ready());
  Session older{GetParam()};
  older.client(fe::startup({{"user", "u"}, {"_pq_.a", "1"}}, 2));
  older.server(negotiated(0) + be::authentication(0) + be::ready());
  EXPECT_EQ(older.to_client, negotiated(0, {"_pq_.a"}) + be::authentication(0) + be::ready());
  Session failing{GetParam()};
  failing.client(fe::startup({{"user", "u"}, {"_pq_.a", "1"}}));
  failing.server(be::fatal("28000", "no entry"));
  EXPECT_EQ(failing.to_client, be::fatal("28000", "no entry"));
}

TEST_P(PostgresStartup, ACancelRequestNamesItsKey) {
  const std::string key = std::string("\0\0\0\x7", 4) + std::string(256, 'k');
  session.client(fe::request(80877102, key));
  EXPECT_EQ(session.gate.cancel_keys, std::vector<std::string>{key});
  EXPECT_EQ(session.to_server, fe::request(80877102, key)) << "nobody waits here: it is the server's";
  Session delivered{GetParam()};
  delivered.gate.delivers_cancels = true;
  delivered.client(fe::request(80877102, key));
  EXPECT_EQ(delivered.to_server, "");
  EXPECT_EQ(delivered.closed, CloseReason::finished);
  EXPECT_EQ(delivered.gate.completed.at(1).outcome, Outcome::success);
}

std::string told(const Actions& actions) {
  std::string all;
  for (const Actions::Piece& piece : actions.client())
    all.append(reinterpret_cast<const char*>(piece.data), piece.size);
  return all;
}

TEST_P(PostgresStartup, FailuresAreToldInTheProtocol) {
  Actions actions;
  session.machine->on_failure(Failure::shutdown, "now", actions);
  EXPECT_THAT(told(actions), HasSubstr("FATAL"));
  EXPECT_THAT(told(actions), HasSubstr("57P01"));
  EXPECT_EQ(actions.close_reason(), CloseReason::shutdown);
  EXPECT_EQ(session.machine->phase(), Phase::closing);
}

TEST_P(PostgresStartup, AServerThatIsDownIsToldInAnswerToTheStartUpMessage) {
  Actions actions;
  session.machine->on_failure(Failure::upstream_unreachable, "connection refused", actions);
  EXPECT_EQ(told(actions), "");
  EXPECT_EQ(actions.close_reason(), CloseReason::none);
  EXPECT_TRUE(session.machine->refusing());
  session.client(fe::request(postgres::kGssEncRequestCode));
  session.client(fe::request(postgres::kSslRequestCode));
  EXPECT_EQ(session.to_client, "NN") << "an error here would be taken for an attack";
  session.client(fe::startup({{"user", "u"}}));
  EXPECT_THAT(session.to_client, HasSubstr("FATAL"));
  EXPECT_THAT(session.to_client, HasSubstr("57P03"));
  EXPECT_EQ(session.closed, CloseReason::server_left);
}

TEST_P(PostgresStartup, ACancelRequestForAServerThatIsDownEndsWithoutAWord) {
  Actions actions;
  session.machine->on_failure(Failure::upstream_unreachable, "connection refused", actions);
  session.client(fe::request(postgres::kCancelRequestCode, "\1\2\3\4keys"));
  EXPECT_EQ(session.to_client, "");
  EXPECT_TRUE(gate.submitted.empty());
  EXPECT_EQ(session.closed, CloseReason::server_left);
}

TEST_P(PostgresStartup, ASecondFailureDoesNotWaitForTheClient) {
  Actions actions;
  session.machine->on_failure(Failure::upstream_unreachable, "connection refused", actions);
  session.machine->on_failure(Failure::startup_timeout, "late", actions);
  EXPECT_THAT(told(actions), HasSubstr("57P03")) << "why it did not start";
  EXPECT_EQ(actions.close_reason(), CloseReason::server_left);
}

TEST_P(PostgresStartup, AClientThatLeavesAServerThatIsDownIsNoClientThatLeft) {
  Actions actions;
  session.machine->on_failure(Failure::upstream_unreachable, "connection refused", actions);
  session.machine->on_end(Side::client, actions);
  EXPECT_EQ(actions.close_reason(), CloseReason::server_left);
}

}  // namespace
}  // namespace sluice::session::testing
