#include "daemon/session/command_gate.h"

#include <gtest/gtest.h>

#include "gate_rig.h"

namespace sluice::session {
namespace {

using testing::GateRig;
using testing::is_parked;
using testing::passed;
using testing::refused;

constexpr std::string_view kNoDrop = R"(version: 1
rules:
  - name: no-drop
    when: {target: payments-db, statement: [drop]}
    then: block
    because: Schema changes go through migrations.
)";
constexpr std::string_view kOnlySelect = R"(version: 1
default: block
rules:
  - name: readers
    when: {target: payments-db, statement: [select]}
    then: allow
)";

BindValue text_value(std::string_view text) {
  BindValue value;
  value.bytes = {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
  value.bytes_total = text.size();
  value.type = policies::ValueType::text;
  return value;
}

TEST(CommandGate, RecordsTheStartAndTheEndOfTheSession) {
  GateRig rig;
  rig.gate->ended(CloseReason::finished, "", {10, 20});
  const auto events = rig.take_events();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].type(), sluice::events::SESSION_STARTED);
  EXPECT_EQ(events[0].session(), 0xaau);
  EXPECT_EQ(events[0].attested().user(), "alice");
  EXPECT_EQ(events[0].resource(), "payments-db");
  EXPECT_EQ(events[1].type(), sluice::events::SESSION_ENDED);
  EXPECT_EQ(events[1].detail(), "finished");
}

TEST(CommandGate, AnAllowedQueryIsRecordedBeforeItIsLetGo) {
  GateRig rig;
  const Answer answer = rig.query("SELECT * FROM public.cards");
  ASSERT_NE(passed(answer), nullptr);
  EXPECT_EQ(passed(answer)->command, 1u);
  EXPECT_EQ(rig.gate->barrier(), 2u) << "the session's start is the first event, the intent the second";
  const auto events = rig.take_events(sluice::events::COMMAND_RECEIVED);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].command(), 1u);
  EXPECT_EQ(events[0].stage(), "query");
  ASSERT_EQ(events[0].kinds_size(), 1);
  EXPECT_EQ(events[0].kinds(0), "select");
  ASSERT_EQ(events[0].relations_size(), 1);
  EXPECT_EQ(events[0].relations(0).name(), "cards");
  EXPECT_EQ(events[0].policy_version(), rig.policies.current()->version());
  EXPECT_EQ(rig.texts, std::vector<std::string>{"SELECT * FROM public.cards"});
}

TEST(CommandGate, RelaxedDurabilityHoldsNothingBack) {
  GateRig rig("version: 1\n", Durability::relaxed);
  ASSERT_NE(passed(rig.query("SELECT 1")), nullptr);
  EXPECT_EQ(rig.gate->barrier(), 0u);
}

TEST(CommandGate, ABlockedQueryNamesTheRuleAndIsRecorded) {
  GateRig rig(kNoDrop);
  const Answer answer = rig.query("DROP TABLE cards");
  ASSERT_NE(refused(answer), nullptr);
  EXPECT_EQ(refused(answer)->sqlstate, "42501");
  EXPECT_NE(refused(answer)->message.find("no-drop"), std::string::npos);
  EXPECT_NE(refused(answer)->message.find("Schema changes go through migrations."), std::string::npos);
  EXPECT_EQ(rig.gate->barrier(), 0u) << "nothing was let go";
  const auto events = rig.take_events(sluice::events::COMMAND_BLOCKED);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].rule(), "no-drop");
  EXPECT_EQ(events[0].outcome(), sluice::events::REFUSED);
  EXPECT_EQ(events[0].error_code(), "42501");
  EXPECT_EQ(rig.gate->gate_totals().blocked, 1u);
}

TEST(CommandGate, NoRawCardNumberIsEverRecorded) {
  GateRig rig;
  const Answer parsed = rig.query("INSERT INTO cards VALUES ('4111 1111 1111 1111', '5500-0000-0000-0004')");
  ASSERT_NE(passed(parsed), nullptr);
  const std::string long_value = std::string(245, '.') + " 4111111111111111 and more";
  BindValue integer = text_value(std::string_view("\x00\x0e\x9a\xd0\x80\x9d\x71\xc7", 8));  // 4111111111111111 as int8
  integer.type = policies::ValueType::integer;
  integer.format = policies::ValueFormat::binary;
  const BindValue values[] = {text_value("pay 4111111111111111 now"), text_value(long_value), integer};
  ASSERT_NE(passed(rig.bind(passed(parsed)->statement, values)), nullptr);
  const auto events = rig.take_events(sluice::events::COMMAND_RECEIVED);
  for (const char* raw : {"4111111111111111", "4111 1111 1111 1111", "5500-0000-0000-0004", "41111111111"}) {
    EXPECT_EQ(rig.everything.find(raw), std::string::npos) << raw;
  }
  ASSERT_EQ(events.size(), 2u);
  ASSERT_EQ(events[1].bind_values_size(), 3);
  EXPECT_EQ(events[1].bind_values(0).masked(), "pay 411111******1111 now");
  EXPECT_EQ(events[1].bind_values(1).bytes_total(), long_value.size());
  EXPECT_EQ(events[1].bind_values(1).masked().size(), BindExcerpt::kKeptBytes);
  EXPECT_EQ(rig.counters.self_findings.load(), 0u) << "the last scan found what the first should have";
}

TEST(CommandGate, AMaskedNumberIsNotWrittenBack) {
  GateRig rig;
  const auto refusal = [](const Answer& answer) {
    const auto* refused = std::get_if<Refused>(&answer);
    return refused != nullptr ? refused->sqlstate : std::string();
  };
  for (const char* text : {"insert into cards values ('411111******1111')", "update cards set pan = '************1111'",
                           "with x as (update cards set pan = '4111 11** **** 1111' returning 1) select 1",
                           "call save('411111******1111')", "do $$ begin perform 1; -- 411111******1111\n end $$"}) {
    EXPECT_EQ(refusal(rig.query(text)), "22023") << text;
  }
  for (const char* text :
       {"select * from cards where pan = '411111******1111'", "delete from cards where pan = '411111******1111'",
        "insert into cards values ('4111111111111111')", "insert into cards values ('****')"}) {
    EXPECT_NE(passed(rig.query(text)), nullptr) << text;
  }
  const std::string masked = "411111******1111";
  BindValue value;
  value.bytes = {reinterpret_cast<const uint8_t*>(masked.data()), masked.size()};
  value.bytes_total = masked.size();
  const Answer insert = rig.query("insert into cards values ($1)");
  EXPECT_EQ(refusal(rig.bind(passed(insert)->statement, {&value, 1})), "22023");
  const Answer select = rig.query("select $1");
  EXPECT_NE(passed(rig.bind(passed(select)->statement, {&value, 1})), nullptr);
  const auto blocked = rig.take_events(sluice::events::COMMAND_BLOCKED);
  ASSERT_EQ(blocked.size(), 6U);
  EXPECT_NE(blocked[0].detail().find("a masked card number"), std::string::npos);
}

TEST(CommandGate, ARuleMayLetMaskedNumbersBeWritten) {
  GateRig rig("version: 1\nrules:\n  - {name: a, when: {target: \"*\"}, then: mask, masked_writes: allow}\n");
  EXPECT_NE(passed(rig.query("insert into cards values ('411111******1111')")), nullptr);
}

TEST(CommandGate, MaskingIsThatOfThePolicyInForce) {
  GateRig rig;
  EXPECT_EQ(rig.gate->masking().style, policies::MaskStyle::bin6_last4);
  EXPECT_EQ(rig.gate->masking().scanner, rig.scanner.get());
  rig.policies.replace(GateRig::load(
      "version: 1\nrules:\n  - {name: a, when: {target: \"*\"}, then: mask, data: [pan, email], style: full}\n"));
  EXPECT_EQ(rig.gate->masking().style, policies::MaskStyle::full);
  EXPECT_NE(rig.gate->masking().scanner, rig.scanner.get());
  EXPECT_TRUE(rig.gate->masking().short_values);
}

TEST(CommandGate, ABindValueThatIsNotWholeKeepsOnlyWhatIsSettled) {
  GateRig rig;
  const Answer parsed = rig.query("SELECT $1");
  BindValue partial = text_value("reference 411111111111");  // the rest of the number has not arrived
  partial.bytes_total = 4'000;
  ASSERT_NE(passed(rig.bind(passed(parsed)->statement, {&partial, 1})), nullptr);
  const auto events = rig.take_events(sluice::events::COMMAND_RECEIVED);
  ASSERT_EQ(events.back().bind_values_size(), 1);
  EXPECT_EQ(events.back().bind_values(0).bytes_total(), 4'000u);
  EXPECT_EQ(rig.everything.find("411111111111"), std::string::npos);
}

TEST(CommandGate, NullAndIntegerValuesAreShownForPeople) {
  GateRig rig;
  const Answer parsed = rig.query("SELECT $1, $2");
  BindValue null;
  null.is_null = true;
  BindValue integer = text_value(std::string_view("\xff\xff\xff\xfe", 4));
  integer.type = policies::ValueType::integer;
  integer.format = policies::ValueFormat::binary;
  const BindValue values[] = {null, integer};
  ASSERT_NE(passed(rig.bind(passed(parsed)->statement, values)), nullptr);
  const auto events = rig.take_events(sluice::events::COMMAND_RECEIVED);
  ASSERT_EQ(events.back().bind_values_size(), 2);
  EXPECT_FALSE(events.back().bind_values(0).has_masked());
  EXPECT_EQ(events.back().bind_values(1).masked(), "-2");
}

TEST(CommandGate, ATextIsAnalysedOnceAndParksUntilItIs) {
  GateRig rig;
  rig.analyst.later = true;
  EXPECT_TRUE(is_parked(rig.query("SELECT 1")));
  EXPECT_TRUE(is_parked(rig.query("SELECT 1"))) << "a needless resume changes nothing";
  ASSERT_EQ(rig.analyst.jobs.size(), 1u);
  EXPECT_EQ(rig.analyst.jobs[0].ticket, 0xaau);
  rig.take_events();
  rig.answer("SELECT 1");
  ASSERT_NE(passed(rig.query("SELECT 1")), nullptr);
  EXPECT_EQ(rig.take_events(sluice::events::COMMAND_RECEIVED).size(), 1u) << "recorded once, whatever was parked";
  ASSERT_NE(passed(rig.query("SELECT 1")), nullptr);
  EXPECT_EQ(rig.analyst.asked, 1) << "the second time it comes from the cache";
}

TEST(CommandGate, AnAnswerForAnotherTextIsNotTakenForThisOne) {
  GateRig rig(kNoDrop);
  rig.analyst.later = true;
  EXPECT_TRUE(is_parked(rig.query("SELECT 1")));
  rig.answer("SELECT 1");
  EXPECT_TRUE(is_parked(rig.query("DROP TABLE cards"))) << "it must be analysed for itself";
  rig.answer("DROP TABLE cards");
  EXPECT_NE(refused(rig.query("DROP TABLE cards")), nullptr);
}

TEST(CommandGate, AStatementIsDecidedAgainUnderTheNewPolicy) {
  GateRig rig;
  const Answer parsed = rig.query("DROP TABLE cards");
  ASSERT_NE(passed(parsed), nullptr);
  const StatementRef statement = passed(parsed)->statement;
  ASSERT_NE(passed(rig.bind(statement)), nullptr);
  rig.policies.replace(GateRig::load(kNoDrop));
  EXPECT_NE(refused(rig.bind(statement)), nullptr);
  CommandRequest execute;
  execute.stage = Stage::execute;
  execute.statement = statement;
  execute.record_intent = false;
  EXPECT_NE(refused(rig.gate->submit(execute)), nullptr) << "deciding again does not depend on recording";
  EXPECT_EQ(rig.take_events(sluice::events::COMMAND_BLOCKED).size(), 2u);
}

TEST(CommandGate, WhatEventsSayOfAStatementIsThatStatementsAndOfTheDecisionNow) {
  GateRig rig("version: 1\nrules: [{name: first, when: {statement: select}, then: allow}]\n");
  const auto described = [&](std::string_view text) {
    (void)rig.take_events();
    EXPECT_TRUE(std::holds_alternative<Passed>(rig.query(text)));
    const auto events = rig.take_events();
    EXPECT_EQ(events.size(), 1u);
    return events.front().relations(0).name() + "/" + events.front().rule();
  };
  for (int again = 0; again < 3; ++again) {
    EXPECT_EQ(described("select * from a"), "a/first");
    EXPECT_EQ(described("select * from b"), "b/first");
  }
  rig.policies.replace(GateRig::load("version: 1\nrules: [{name: second, when: {statement: select}, then: allow}]\n"));
  EXPECT_EQ(described("select * from a"), "a/second");
  for (int i = 0; i < 600; ++i) {  // more than are kept
    const std::string table = "t" + std::to_string(i);
    EXPECT_EQ(described("select * from " + table), table + "/second");
  }
  EXPECT_EQ(described("select * from b"), "b/second");
}

TEST(CommandGate, TheSameStatementUnderAnotherRuleSaysSo) {
  GateRig rig(
      "version: 1\nrules:\n  - {name: first, when: {statement: select, identity: {db_user: alice}}, then: allow}\n"
      "  - {name: second, when: {statement: select, identity: {db_user: bob}}, then: allow}\n");
  for (const char* const user : {"alice", "bob", "alice"}) {
    rig.gate->claimed({user, "payments", "psql"});
    (void)rig.take_events();
    ASSERT_NE(passed(rig.query("select * from a")), nullptr);
    EXPECT_EQ(rig.take_events().front().rule(), user == std::string("alice") ? "first" : "second");
  }
}

TEST(CommandGate, DecidingAgainWithoutARecordRecordsNothing) {
  GateRig rig;
  const Answer parsed = rig.query("SELECT 1");
  rig.take_events();
  CommandRequest execute;
  execute.stage = Stage::execute;
  execute.statement = passed(parsed)->statement;
  execute.record_intent = false;
  const Answer answer = rig.gate->submit(execute);
  ASSERT_NE(passed(answer), nullptr);
  EXPECT_EQ(passed(answer)->command, 0u);
  EXPECT_TRUE(rig.take_events().empty());
}

TEST(CommandGate, AnUnknownPreparedStatementMeetsEveryBlockRuleAndNoAllowRule) {
  GateRig blocking(kNoDrop);
  const Answer answer = blocking.bind(nullptr);
  ASSERT_NE(refused(answer), nullptr);
  EXPECT_EQ(refused(answer)->sqlstate, "26000") << "so that a driver prepares it again";
  GateRig allowing(kOnlySelect);
  EXPECT_NE(refused(allowing.bind(nullptr)), nullptr);
  GateRig open;
  EXPECT_NE(passed(open.bind(nullptr)), nullptr);
}

TEST(CommandGate, SqlExecuteMeansWhatWasPrepared) {
  GateRig rig(kNoDrop);
  ASSERT_NE(passed(rig.query("PREPARE harmless AS SELECT 1")), nullptr);
  EXPECT_NE(passed(rig.query("EXECUTE harmless")), nullptr);
  EXPECT_NE(refused(rig.query("EXECUTE never_seen")), nullptr) << "an unknown name is not harmless";
  // Prepared while the policy allowed it, executed when it no longer does.
  rig.policies.replace(GateRig::load("version: 1\n"));
  CommandRequest parse;
  parse.stage = Stage::parse;
  parse.statement_name = "later";
  parse.text = "DROP TABLE cards";
  ASSERT_NE(passed(rig.gate->submit(parse)), nullptr);
  rig.policies.replace(GateRig::load(kNoDrop));
  EXPECT_NE(refused(rig.query("EXECUTE later")), nullptr);
}

TEST(CommandGate, ANameStandsForEverythingThatWasPreparedUnderIt) {
  GateRig rig;
  for (const std::string_view text : {"DROP TABLE cards", "SELECT 1"}) {
    CommandRequest parse;
    parse.stage = Stage::parse;
    parse.statement_name = "twice";
    parse.text = text;
    ASSERT_NE(passed(rig.gate->submit(parse)), nullptr);
  }
  rig.policies.replace(GateRig::load(kNoDrop));
  EXPECT_NE(refused(rig.query("EXECUTE twice")), nullptr) << "which of the two the server kept is not known here";
}

TEST(CommandGate, BinaryCopyIsDecidedLikeAnyOther) {
  GateRig open;
  EXPECT_NE(passed(open.query("COPY cards TO STDOUT (FORMAT binary)")), nullptr);
  GateRig rig(kOnlySelect);
  EXPECT_NE(refused(rig.query("COPY cards FROM STDIN (FORMAT binary)")), nullptr);
}

TEST(CommandGate, ACommandThatIsCancelledWhileItWaitsIsRefusedAndRecorded) {
  GateRig rig;
  rig.analyst.later = true;
  ASSERT_TRUE(is_parked(rig.query("SELECT pan FROM cards WHERE pan = '4111111111111111'")));
  rig.take_events();
  CommandRequest request;
  request.text = "SELECT pan FROM cards WHERE pan = '4111111111111111'";
  request.withdrawn = true;
  const Answer answer = rig.gate->submit(request);
  ASSERT_NE(refused(answer), nullptr);
  EXPECT_EQ(refused(answer)->sqlstate, "57014");
  EXPECT_EQ(refused(answer)->message, "canceling statement due to user request");
  const auto blocked = rig.take_events(sluice::events::COMMAND_BLOCKED);
  ASSERT_EQ(blocked.size(), 1u);
  EXPECT_EQ(rig.texts.back(), "SELECT pan FROM cards WHERE pan = '411111******1111'");
}

// The analysis of what was cancelled is still under way: its answer must not be taken for that of the next text.
TEST(CommandGate, AnAnswerThatCameTooLateIsNotTheNextTexts) {
  GateRig rig("version: 1\nrules:\n  - {name: no-drop, when: {statement: [drop]}, then: block}\n");
  rig.analyst.later = true;
  ASSERT_TRUE(is_parked(rig.query("SELECT 1")));
  CommandRequest request;
  request.text = "SELECT 1";
  request.withdrawn = true;
  ASSERT_NE(refused(rig.gate->submit(request)), nullptr);
  ASSERT_TRUE(is_parked(rig.query("DROP TABLE cards")));
  EXPECT_EQ(rig.analyst.jobs.size(), 1u) << "one analysis at a time";
  rig.answer("SELECT 1");
  ASSERT_TRUE(is_parked(rig.query("DROP TABLE cards")));
  ASSERT_EQ(rig.analyst.jobs.size(), 2u);
  rig.answer(rig.analyst.jobs[1].text);
  ASSERT_NE(refused(rig.query("DROP TABLE cards")), nullptr);
}

// Masking megabytes takes long enough to be felt by others, so the worker leaves it to the analysis threads.
TEST(CommandGate, ALargeTextThatIsCancelledIsMaskedByTheAnalysisThreads) {
  GateRig rig;
  rig.analyst.later = true;
  const std::string text = "SELECT '4111111111111111', '" + std::string(2 << 20, 'x') + "'";
  ASSERT_TRUE(is_parked(rig.query(text)));
  CommandRequest request;
  request.text = text;
  request.withdrawn = true;
  EXPECT_TRUE(is_parked(rig.gate->submit(request)));
  EXPECT_EQ(rig.analyst.asked, 1);
  rig.answer(text);
  const Answer answer = rig.gate->submit(request);
  ASSERT_NE(refused(answer), nullptr);
  EXPECT_EQ(refused(answer)->sqlstate, "57014");
  ASSERT_EQ(rig.take_events(sluice::events::COMMAND_BLOCKED).size(), 1u);
  EXPECT_TRUE(rig.texts.back().starts_with("SELECT '411111******1111', 'xxx"));
  EXPECT_EQ(rig.texts.back().size(), text.size());
}

TEST(CommandGate, ATextWaitsForRoomAtTheAnalysisThreads) {
  GateRig rig(kNoDrop);
  rig.analyst.full = true;
  EXPECT_TRUE(is_parked(rig.query("DROP TABLE cards")));
  EXPECT_EQ(rig.analyst.asked, 0) << "it is not unknown because others are in front of it";
  CommandRequest cancelled;
  cancelled.text = "DROP TABLE cards";
  cancelled.withdrawn = true;
  EXPECT_EQ(refused(rig.gate->submit(cancelled))->sqlstate, "57014");
  rig.analyst.full = false;
  EXPECT_EQ(refused(rig.query("DROP TABLE cards"))->sqlstate, "42501");
}

TEST(CommandGate, ACancelRequestFindsTheSessionThatWaits) {
  GateRig rig;
  CancelDesk desk;
  std::vector<uint64_t> told;
  rig.context->cancels = &desk;
  rig.context->deliver_cancel = [&told](uint64_t serial) {
    told.push_back(serial);
    return true;
  };
  const std::vector<uint8_t> key = {0, 0, 0, 7, 1, 2, 3, 4};
  rig.gate->cancel_key(key);
  EXPECT_EQ(desk.size(), 1u);
  CommandRequest request;
  request.stage = Stage::cancel;
  request.cancel_key = key;
  ASSERT_FALSE(passed(rig.gate->submit(request))->delivered);
  rig.gate->set_waiting(true);
  ASSERT_TRUE(passed(rig.gate->submit(request))->delivered);
  EXPECT_EQ(told, std::vector<uint64_t>{0xaa});
  EXPECT_EQ(rig.take_events(sluice::events::COMMAND_RECEIVED).size(), 2u) << "cancels are recorded either way";
  rig.gate->ended(CloseReason::finished, {}, {});
  EXPECT_EQ(desk.size(), 0u);
}

TEST(CommandGate, FunctionCallByNumberIsUnknown) {
  GateRig rig(kOnlySelect);
  CommandRequest call;
  call.stage = Stage::function_call;
  call.function_oid = 1234;
  const Answer answer = rig.gate->submit(call);
  ASSERT_NE(refused(answer), nullptr);
  GateRig open;
  const Answer allowed = open.gate->submit(call);
  ASSERT_NE(passed(allowed), nullptr);
  EXPECT_EQ(passed(allowed)->statement, nullptr);
}

TEST(CommandGate, CancelIsRecordedAndNeverRefused) {
  GateRig rig(kOnlySelect);
  CommandRequest cancel;
  cancel.stage = Stage::cancel;
  ASSERT_NE(passed(rig.gate->submit(cancel)), nullptr);
  const auto events = rig.take_events(sluice::events::COMMAND_RECEIVED);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].stage(), "cancel");
}

TEST(CommandGate, ReplicationIsRefusedWithAnEvent) {
  GateRig rig;
  CommandRequest replication;
  replication.stage = Stage::replication;
  ASSERT_NE(refused(rig.gate->submit(replication)), nullptr);
  EXPECT_EQ(rig.take_events(sluice::events::COMMAND_BLOCKED).size(), 1u);
}

TEST(CommandGate, NothingIsLetGoWhileTheLogFails) {
  GateRig rig;
  rig.ring.set_state(events::LogState::failing);
  const Answer answer = rig.query("SELECT 1");
  ASSERT_NE(refused(answer), nullptr);
  EXPECT_EQ(refused(answer)->sqlstate, "58030");
  EXPECT_EQ(rig.counters.commands_refused_unrecorded.load(), 1u);
  rig.ring.set_state(events::LogState::healthy);
  EXPECT_NE(passed(rig.query("SELECT 1")), nullptr);
}

TEST(CommandGate, AFullRingParksCommandsAndLosesNoCompletion) {
  GateRig rig;
  uint64_t commands = 0;
  Answer answer = rig.query("SELECT 1");
  while (passed(answer) != nullptr) {
    ++commands;
    answer = rig.query("SELECT 1");
    ASSERT_LE(commands, events::EventRing::kSlots) << "the ring never filled";
  }
  EXPECT_TRUE(is_parked(answer));
  EXPECT_TRUE(rig.outbox.room_wanted());
  for (uint64_t command = 1; command <= commands; ++command) rig.gate->complete(command, {}, {});
  EXPECT_TRUE(rig.outbox.congested()) << "completions beyond the ring wait";
  uint64_t completed = rig.take_events(sluice::events::COMMAND_COMPLETED).size();
  EXPECT_TRUE(rig.outbox.flush());
  completed += rig.take_events(sluice::events::COMMAND_COMPLETED).size();
  EXPECT_EQ(completed, commands);
  EXPECT_NE(passed(rig.query("SELECT 1")), nullptr);
}

TEST(CommandGate, CompletionCarriesOutcomeAndFindings) {
  GateRig rig;
  ASSERT_NE(passed(rig.query("SELECT pan FROM cards")), nullptr);
  rig.take_events();
  FindingCount finding;
  finding.where = "column:1";
  finding.count = 3;
  Completion completion;
  completion.rows = 3;
  completion.bytes = 120;
  rig.gate->complete(1, completion, {&finding, 1});
  Completion failed;
  failed.outcome = Outcome::failure;
  failed.error_code = "22012";
  rig.gate->complete(2, failed, {});
  const auto events = rig.take_events(sluice::events::COMMAND_COMPLETED);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].rows(), 3u);
  ASSERT_EQ(events[0].findings_size(), 1);
  EXPECT_EQ(events[0].findings(0).where(), "column:1");
  EXPECT_EQ(events[0].findings(0).count(), 3u);
  EXPECT_EQ(events[1].outcome(), sluice::events::FAILURE);
  EXPECT_EQ(events[1].error_code(), "22012");
}

TEST(CommandGate, ClaimsReachTheRecordAndPolicy) {
  GateRig rig;
  policies::ClaimedIdentity claimed;
  claimed.db_user = "app";
  claimed.application = "card 4111111111111111";
  rig.gate->claimed(claimed);
  rig.gate->note(SessionNote::authenticated, "");
  rig.gate->note(SessionNote::protocol_violation, "length 4111111111111111");
  const auto events = rig.take_events();
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[1].type(), sluice::events::AUTHENTICATION);
  EXPECT_EQ(events[1].claimed().user(), "app");
  EXPECT_EQ(events[2].type(), sluice::events::PROTOCOL_VIOLATION);
  EXPECT_EQ(rig.everything.find("4111111111111111"), std::string::npos);
  EXPECT_EQ(rig.counters.self_findings.load(), 2u) << "the last line of defence counts what it had to do";
}

}  // namespace
}  // namespace sluice::session
