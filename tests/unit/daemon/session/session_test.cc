#include "daemon/session/session.h"

#include <sys/ioctl.h>

#include <gtest/gtest.h>

#include "fakes.h"

namespace sluice::session {
namespace {

using testing::Rig;

TEST(Session, RelaysBothWaysWithOneReadAndOneWritePerBatch) {
  Rig rig;
  rig.client_calls = rig.server_calls = {};
  rig.client_says("select 1\nselect 2\n");
  EXPECT_EQ(rig.server_hears(), "select 1\nselect 2\n");
  EXPECT_EQ(rig.client_calls.reads, 1);
  EXPECT_EQ(rig.server_calls.writes, 1);
  rig.server_says("row\ndone\n");
  EXPECT_EQ(rig.client_hears(), "ROW\nDONE\n");
  EXPECT_EQ(rig.server_calls.reads, 1);
  EXPECT_EQ(rig.client_calls.writes, 1);
}

TEST(Session, KeepsWhatTheMachineLeavesOverAndHoldsNothingWhenIdle) {
  Rig rig;
  rig.client_says("sel");
  EXPECT_EQ(rig.server_hears(), "");
  EXPECT_GT(rig.session->buffered_bytes(), 0u);
  rig.client_says("ect 1\n");
  EXPECT_EQ(rig.server_hears(), "select 1\n");
  EXPECT_EQ(rig.session->buffered_bytes(), 0u);
}

TEST(Session, AByteAtATimeArrivesWhole) {
  Rig rig;
  for (const char c : std::string_view("abc\ndef\n")) rig.client_says({&c, 1});
  EXPECT_EQ(rig.server_hears(), "abc\ndef\n");
}

TEST(Session, ASlowClientStopsTheServerSide) {
  Rig rig;
  const std::string line = std::string(1023, 'x') + "\n";
  size_t sent = 0;
  for (;;) {
    const ssize_t n = ::send(rig.server.get(), line.data(), line.size(), MSG_NOSIGNAL);
    if (n < 0) break;
    ASSERT_EQ(n, static_cast<ssize_t>(line.size())) << "a line is sent whole or not at all on this socket";
    sent += line.size();
    rig.host.settle();
    ASSERT_LT(sent, 64u << 20) << "the server was never stopped";
  }
  // What the session itself holds is the output of at most one read.
  EXPECT_LE(rig.session->buffered_bytes(), 2 * kReadBufferBytes);
  size_t received = 0;
  for (int i = 0; i < 10'000 && received < sent; ++i) {
    received += rig.client_hears().size();
    rig.host.settle();
  }
  EXPECT_EQ(received, sent);
  EXPECT_EQ(rig.session->buffered_bytes(), 0u);
}

TEST(Session, ASlowServerStopsTheClientSideAndNothingIsLost) {
  Rig rig;
  const std::string line = std::string(2047, 'y') + "\n";
  size_t sent = 0;
  while (::send(rig.client.get(), line.data(), line.size(), MSG_NOSIGNAL) > 0) {
    sent += line.size();
    rig.host.settle();
    ASSERT_LT(sent, 64u << 20);
  }
  std::string received;
  for (int i = 0; i < 10'000 && received.size() < sent; ++i) {
    received += rig.server_hears();
    rig.host.settle();
  }
  ASSERT_EQ(received.size(), sent);
  for (size_t i = 0; i < sent; i += line.size()) ASSERT_EQ(received.compare(i, line.size(), line), 0);
}

// Edge-triggered readiness comes once: what one output lets go must be taken up in the same turn.
TEST(Session, RoomAtTheServerIsUsedInTheSameTurn) {
  Rig rig;
  const std::string line = std::string(2047, 'y') + "\n";
  size_t sent = 0;
  const auto fill = [&] {
    while (::send(rig.client.get(), line.data(), line.size(), MSG_NOSIGNAL) > 0) sent += line.size();
  };
  fill();
  rig.host.settle();
  fill();
  size_t received = 0;
  while (received < sent) {
    const size_t more = rig.server_hears().size();
    ASSERT_GT(more, 0u) << "stalled with " << sent - received << " bytes on the way";
    received += more;
    rig.host.settle();
    int unread = 0;
    ASSERT_EQ(ioctl(rig.session->transport(Side::client).fd(), FIONREAD, &unread), 0);
    EXPECT_TRUE(unread == 0 || rig.session->buffered_bytes() > 0)
        << "the client's bytes lie unread though the server's side is free";
  }
}

TEST(Session, BytesNeverReachTheServerBeforeTheirIntentIsDurable) {
  Rig rig;
  rig.client_says("!one\n");
  EXPECT_EQ(rig.server_hears(), "");
  ASSERT_EQ(rig.host.waiting.size(), 1u);
  EXPECT_EQ(rig.host.waiting[0].first, 1u);
  rig.client_says("sync\n");
  EXPECT_EQ(rig.server_hears(), "") << "later bytes queue behind";
  rig.client_says("!two\n");
  rig.host.make_durable(1);
  EXPECT_EQ(rig.server_hears(), "!one\nsync\n");
  rig.host.make_durable(2);
  EXPECT_EQ(rig.server_hears(), "!two\n");
  rig.client_says("free\n");
  EXPECT_EQ(rig.server_hears(), "free\n") << "what depends on nothing new goes at once";
}

TEST(Session, RepliesFlowWhileACommandWaitsForTheLog) {
  Rig rig;
  rig.client_says("!one\n");
  rig.server_says("notice\n");
  EXPECT_EQ(rig.client_hears(), "NOTICE\n");
  EXPECT_EQ(rig.server_hears(), "");
}

TEST(Session, AClientThatPipelinesIntoTheBarrierIsStoppedAtTheBound) {
  Rig rig;
  rig.client_says("!first\n");
  const std::string line = std::string(1023, 'p') + "\n";
  size_t sent = 0;
  while (::send(rig.client.get(), line.data(), line.size(), MSG_NOSIGNAL) > 0) {
    sent += line.size();
    rig.host.settle();
    ASSERT_LT(sent, 64u << 20);
  }
  EXPECT_LE(rig.session->buffered_bytes(), kPendingBytesMax + kReadBufferBytes);
  EXPECT_EQ(rig.server_hears(), "");
  std::string received;
  rig.host.make_durable(1);
  for (int i = 0; i < 10'000 && received.size() < sent + 7; ++i) {
    received += rig.server_hears();
    rig.host.settle();
  }
  EXPECT_EQ(received.size(), sent + 7);
}

TEST(Session, WhenTheLogFailsHeldBytesAreDroppedAndTheClientIsTold) {
  Rig rig;
  rig.client_says("!one\n");
  rig.session->log_failed();
  rig.host.settle();
  ASSERT_EQ(rig.machine->failures.size(), 1u);
  EXPECT_EQ(rig.machine->failures[0], Failure::log_unavailable);
  EXPECT_EQ(rig.client_hears(), "FATAL\n");
  rig.host.make_durable(5);
  EXPECT_EQ(rig.server_hears(), "") << "a command ran without its record";
  rig.client.reset();
  rig.server.reset();
  rig.host.settle();
  ASSERT_TRUE(rig.ended.has_value());
  EXPECT_EQ(rig.ended->reason, CloseReason::log_unavailable);
}

TEST(Session, ASessionWithNothingHeldOutlivesAFailingLog) {
  Rig rig;
  rig.session->log_failed();
  rig.client_says("hello\n");
  EXPECT_EQ(rig.server_hears(), "hello\n");
}

TEST(Session, AParkedCommandStopsTheClientUntilItIsResumed) {
  Rig rig;
  rig.client_says("?held\nnext\n");
  EXPECT_EQ(rig.server_hears(), "");
  rig.client_says("more\n");
  EXPECT_EQ(rig.server_hears(), "");
  rig.server_says("async\n");
  EXPECT_EQ(rig.client_hears(), "ASYNC\n");
  rig.session->resume();
  rig.host.settle();
  EXPECT_EQ(rig.server_hears(), "?held\nnext\nmore\n");
}

TEST(Session, ABufferFullOfParkedInputIsPresentedAgainWhole) {
  Rig rig;
  std::string burst = "?held\n";
  while (burst.size() < 100'000) burst += "0123456789\n";
  for (size_t at = 0; at < burst.size();) {
    const ssize_t n = ::send(rig.client.get(), burst.data() + at, burst.size() - at, MSG_NOSIGNAL);
    ASSERT_GT(n, 0) << "the socket should take this burst";
    at += static_cast<size_t>(n);
  }
  rig.host.settle();
  rig.session->resume();
  std::string got;
  for (int i = 0; i < 1000 && got.size() < burst.size(); ++i) {
    rig.host.settle();
    got += rig.server_hears();
  }
  EXPECT_EQ(got, burst);
}

TEST(Session, AStepOfTheServerThatUnparksLetsTheClientGoOn) {
  Rig rig;
  rig.machine->unpark_on_server_bytes = true;
  rig.client_says("?needs the setting\nnext\n");
  EXPECT_EQ(rig.server_hears(), "");
  rig.server_says("setting\n");
  EXPECT_EQ(rig.server_hears(), "?needs the setting\nnext\n");
}

TEST(Session, NothingIsReadWhileEventsWaitForRoom) {
  Rig rig;
  rig.host.is_congested = true;
  rig.client_says("one\n");
  rig.server_says("two\n");
  EXPECT_EQ(rig.server_hears() + rig.client_hears(), "");
  rig.host.is_congested = false;
  rig.session->run();
  EXPECT_EQ(rig.server_hears(), "one\n");
  EXPECT_EQ(rig.client_hears(), "TWO\n");
}

TEST(Session, HalfCloseIsPassedOnOnceEverythingIsDelivered) {
  Rig rig;
  rig.machine->close_on_end = false;
  rig.client_says("!last\n");
  ::shutdown(rig.client.get(), SHUT_WR);
  rig.host.settle();
  EXPECT_FALSE(Rig::at_end(rig.server));
  rig.host.make_durable(1);
  EXPECT_EQ(rig.server_hears(), "!last\n");
  EXPECT_TRUE(Rig::at_end(rig.server));
  rig.server_says("answer\n");
  EXPECT_EQ(rig.client_hears(), "ANSWER\n");
  rig.server.reset();
  rig.host.settle();
  ASSERT_TRUE(rig.ended.has_value());
  EXPECT_EQ(rig.ended->reason, CloseReason::finished);
  EXPECT_EQ(rig.ended->totals.bytes_to_server, 6u);
  EXPECT_EQ(rig.ended->totals.bytes_to_client, 7u);
}

TEST(Session, CloseDeliversWhatStandsBeforeItAndWaitsForThePeer) {
  Rig rig;
  rig.client_says("=bye\nquit\n");
  EXPECT_EQ(rig.client_hears(), "=bye\n");
  EXPECT_EQ(rig.server_hears(), "quit\n");
  EXPECT_TRUE(Rig::at_end(rig.client));
  EXPECT_FALSE(rig.ended.has_value()) << "the peers have not closed yet";
  rig.client.reset();
  rig.server.reset();
  rig.host.settle();
  ASSERT_TRUE(rig.ended.has_value());
  EXPECT_EQ(rig.ended->reason, CloseReason::finished);
  EXPECT_EQ(rig.host.finished_count, 1);
}

TEST(Session, APeerThatNeverClosesIsResetAfterTheLingerTimeout) {
  Rig rig;
  rig.client_says("quit\n");
  rig.host.pass_time(rig.limits.linger_timeout_ms - 1);
  EXPECT_FALSE(rig.ended.has_value());
  rig.host.pass_time(1);
  ASSERT_TRUE(rig.ended.has_value());
  EXPECT_EQ(rig.client_calls.resets, 1);
}

TEST(Session, ClientLeavingIsTheReason) {
  Rig rig;
  rig.client.reset();
  rig.host.settle();
  EXPECT_TRUE(Rig::at_end(rig.server));
  rig.server.reset();
  rig.host.settle();
  ASSERT_TRUE(rig.ended.has_value());
  EXPECT_EQ(rig.ended->reason, CloseReason::client_left);
}

TEST(Session, AClientThatIsGoneTakesTheServerWithIt) {
  Rig rig;
  rig.client_says("one\n");
  rig.server_says("a row that nobody reads\n");
  rig.client.reset();  // with unread input: a reset, not an orderly end
  rig.host.settle();
  ASSERT_TRUE(rig.ended.has_value()) << "what the server still has to say is not waited for";
  EXPECT_EQ(rig.ended->reason, CloseReason::client_left);
  EXPECT_EQ(rig.server_calls.resets, 1);
}

TEST(Session, AClientThatIsGoneLeavesTheServerWhatItSent) {
  Rig rig;
  rig.client_says("!last\n");  // waits for the log
  rig.server_says("a row that nobody reads\n");
  rig.client.reset();
  rig.host.settle();
  EXPECT_FALSE(rig.ended.has_value());
  EXPECT_EQ(rig.server_calls.resets, 0);
  rig.host.make_durable(1);
  EXPECT_EQ(rig.server_hears(), "!last\n");
  ASSERT_TRUE(rig.ended.has_value());
  EXPECT_EQ(rig.server_calls.resets, 1);
}

TEST(Session, ServerLeavingIsTheReasonAndItsLastWordsAreDelivered) {
  Rig rig;
  rig.server_says("goodbye\n");
  rig.server.reset();
  rig.host.settle();
  EXPECT_EQ(rig.client_hears(), "GOODBYE\n");
  EXPECT_TRUE(Rig::at_end(rig.client));
  rig.client.reset();
  rig.host.settle();
  ASSERT_TRUE(rig.ended.has_value());
  EXPECT_EQ(rig.ended->reason, CloseReason::server_left);
}

TEST(Session, KillTellsTheClientAndSendsNothingMoreToTheServer) {
  Rig rig;
  rig.client_says("!waiting\n");
  rig.session->fail(Failure::killed, "by an administrator");
  rig.host.make_durable(9);
  EXPECT_EQ(rig.client_hears(), "FATAL\n");
  EXPECT_EQ(rig.server_hears(), "");
  rig.client.reset();
  rig.server.reset();
  rig.host.settle();
  ASSERT_TRUE(rig.ended.has_value());
  EXPECT_EQ(rig.ended->reason, CloseReason::killed);
  EXPECT_EQ(rig.ended->detail, "by an administrator");
}

TEST(Session, StartupHasATimeout) {
  Rig rig({}, Phase::authentication);
  rig.host.pass_time(rig.limits.startup_timeout_ms - 1);
  EXPECT_TRUE(rig.machine->failures.empty());
  rig.host.pass_time(1);
  ASSERT_EQ(rig.machine->failures.size(), 1u);
  EXPECT_EQ(rig.machine->failures[0], Failure::startup_timeout);
}

TEST(Session, IdleTimeoutCountsFromTheLastBytes) {
  SessionLimits limits;
  limits.idle_timeout_ms = 10'000;
  limits.startup_timeout_ms = 1'000'000;
  Rig rig(limits);
  rig.host.pass_time(9'000);
  rig.client_says("still here\n");
  rig.host.pass_time(9'000);
  EXPECT_FALSE(Rig::at_end(rig.client));
  rig.host.pass_time(1'000);
  EXPECT_TRUE(Rig::at_end(rig.client));
  rig.client.reset();
  rig.server.reset();
  rig.host.settle();
  ASSERT_TRUE(rig.ended.has_value());
  EXPECT_EQ(rig.ended->reason, CloseReason::timeout);
}

TEST(Session, APeerThatTakesNothingForTooLongEndsTheSession) {
  SessionLimits limits;
  limits.write_stall_timeout_ms = 5'000;
  Rig rig(limits);
  const std::string line = std::string(4095, 'z') + "\n";
  while (::send(rig.server.get(), line.data(), line.size(), MSG_NOSIGNAL) > 0) rig.host.settle();
  rig.host.pass_time(5'000);
  rig.host.pass_time(limits.linger_timeout_ms);
  ASSERT_TRUE(rig.ended.has_value());
  EXPECT_EQ(rig.ended->reason, CloseReason::timeout);
}

// What is handed to a peer past TCP knows no back-pressure of its own, and no event says when the peer has caught up.
TEST(Session, APeerThatLagsIsLookedAtAgain) {
  Rig rig;
  rig.client_calls.peer_lags = true;
  rig.server_says("row\n");
  EXPECT_EQ(rig.client_hears(), "");
  rig.client_calls.writes = 0;
  for (int i = 0; i < 1'000; ++i) rig.host.pass_time(1);
  EXPECT_EQ(rig.client_hears(), "");
  EXPECT_GT(rig.client_calls.writes, 10);
  EXPECT_LT(rig.client_calls.writes, 40) << "it looks less and less often";
  rig.client_calls.peer_lags = false;
  rig.host.pass_time(kLookAgainMostMs);
  EXPECT_EQ(rig.client_hears(), "ROW\n");
  rig.server_says("next\n");
  EXPECT_EQ(rig.client_hears(), "NEXT\n");
}

TEST(Session, LookingAgainIsNotActivity) {
  SessionLimits limits;
  limits.write_stall_timeout_ms = 5'000;
  limits.linger_timeout_ms = 100;
  Rig rig(limits);
  rig.client_calls.peer_lags = true;
  rig.server_says("row\n");
  for (int i = 0; i < 499; ++i) rig.host.pass_time(10);
  EXPECT_FALSE(rig.session->finished());
  for (int i = 0; i < 20; ++i) rig.host.pass_time(10);
  EXPECT_TRUE(rig.session->finished()) << "the stall and the linger are over";
}

TEST(Session, DrainEndsIdleSessionsAtOnceAndBusyOnesWhenTheyAreDone) {
  Rig idle;
  idle.session->drain();
  idle.host.settle();
  ASSERT_EQ(idle.machine->failures.size(), 1u);
  EXPECT_EQ(idle.machine->failures[0], Failure::shutdown);

  Rig busy({}, Phase::busy);
  busy.session->drain();
  EXPECT_TRUE(busy.machine->failures.empty());
  busy.client_says("work\n");
  EXPECT_EQ(busy.server_hears(), "work\n");
  busy.machine->phase_value = Phase::idle;
  busy.server_says("result\n");
  EXPECT_EQ(busy.client_hears(), "RESULT\nFATAL\n");
}

TEST(Session, FairnessGivesTheTurnBackAfterTheBudget) {
  Rig rig;
  const std::string burst(kReadBufferBytes, '\n');
  // More than one turn's worth lies in the socket; the session asks for another turn instead of emptying it in one go.
  size_t in_socket = 0;
  for (;;) {
    const ssize_t n = ::send(rig.client.get(), burst.data(), burst.size(), MSG_NOSIGNAL);
    if (n <= 0) break;
    in_socket += static_cast<size_t>(n);
  }
  std::string got;
  for (int i = 0; i < 1000 && got.size() < in_socket; ++i) {
    rig.host.settle();
    got += rig.server_hears();
  }
  EXPECT_EQ(got.size(), in_socket);
}

TEST(Session, MoreLeftOverThanAWindowEndsTheSession) {
  Rig rig;
  const std::string endless(2 * kWindowBytes, 'a');  // no newline: this machine takes nothing
  rig.client_says(endless);
  rig.client.reset();
  rig.server.reset();
  rig.host.settle();
  ASSERT_TRUE(rig.ended.has_value());
  EXPECT_EQ(rig.ended->reason, CloseReason::internal_error);
}

TEST(Session, ACancelEndsTheCommandThatIsParked) {
  Rig rig;
  rig.client_says("?slow\nnext\n");
  EXPECT_EQ(rig.gate->waiting, std::vector<bool>{true});
  rig.cancel();
  EXPECT_EQ(rig.client_hears(), "cancelled\n");
  EXPECT_EQ(rig.server_hears(), "next\n") << "what comes behind it goes on";
  EXPECT_FALSE(rig.gate->cancel_handed_over);
  EXPECT_TRUE(rig.host.cancelled_at_server.empty());
  rig.client_says("?again\n");
  EXPECT_TRUE(rig.gate->waiting.back());
}

TEST(Session, ACancelFollowsTheCommandThatWaitsForTheLog) {
  Rig rig;
  rig.client_says("!slow\n");
  EXPECT_EQ(rig.server_hears(), "");
  EXPECT_EQ(rig.gate->waiting, std::vector<bool>{true});
  rig.cancel();
  EXPECT_TRUE(rig.host.cancelled_at_server.empty()) << "the server would ignore it";
  rig.host.make_durable(1);
  EXPECT_EQ(rig.server_hears(), "!slow\n");
  EXPECT_EQ(rig.host.cancelled_at_server.size(), 1u);
  EXPECT_FALSE(rig.gate->waiting.back());
  rig.client_says("more\n");
  EXPECT_EQ(rig.server_hears(), "") << "the cancel is on its way, and not about this one";
  rig.session->cancel_delivered();
  rig.host.settle();
  EXPECT_EQ(rig.server_hears(), "more\n");
  EXPECT_EQ(rig.host.cancelled_at_server.size(), 1u) << "once";
}

TEST(Session, ACancelThatComesTooLateGoesToTheServer) {
  Rig rig;
  rig.client_says("quick\n");
  rig.cancel();
  EXPECT_EQ(rig.host.cancelled_at_server.size(), 1u);
  EXPECT_EQ(rig.server_hears(), "quick\n");
}

TEST(Session, WhatComesBehindACancelForTheServerWaitsUntilTheServerHasIt) {
  Rig rig;
  rig.machine->cancelled = Machine::Cancelled::both;
  rig.client_says("first\n?parked\nnext\n");
  EXPECT_EQ(rig.server_hears(), "first\n");
  rig.cancel();
  EXPECT_EQ(rig.host.cancelled_at_server.size(), 1u);
  rig.server_says("answer to the first\n");
  rig.session->resume();
  rig.host.settle();
  EXPECT_EQ(rig.server_hears(), "") << "the next command must not be the one that the request meets";
  EXPECT_EQ(rig.client_hears(), "ANSWER TO THE FIRST\n");
  rig.session->cancel_delivered();
  rig.host.settle();
  EXPECT_EQ(rig.client_hears(), "cancelled\n");
  EXPECT_EQ(rig.server_hears(), "next\n");
}

TEST(Session, AServerThatCannotBeAskedHoldsNothingUp) {
  Rig rig;
  rig.host.server_takes_cancels = false;
  rig.machine->cancelled = Machine::Cancelled::both;
  rig.client_says("first\n?parked\nnext\n");
  rig.cancel();
  EXPECT_EQ(rig.client_hears(), "cancelled\n");
  EXPECT_EQ(rig.server_hears(), "first\nnext\n");
}

// The letter may come after the command has left: what is read from the client then is behind the cancel all the same.
TEST(Session, ACancelIsSeenBeforeWhatTheClientSaysNext) {
  Rig rig;
  rig.client_says("!slow\n");
  rig.gate->cancel_handed_over = true;
  Rig::say(rig.client, "next\n");
  rig.host.make_durable(1);
  EXPECT_EQ(rig.server_hears(), "!slow\n");
  EXPECT_EQ(rig.host.cancelled_at_server.size(), 1u);
  rig.session->cancel_command();
  rig.session->cancel_delivered();
  rig.host.settle();
  EXPECT_EQ(rig.host.cancelled_at_server.size(), 1u);
  EXPECT_EQ(rig.server_hears(), "next\n");
}

}  // namespace
}  // namespace sluice::session
