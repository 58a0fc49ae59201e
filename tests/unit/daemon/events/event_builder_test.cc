#include "daemon/events/event_builder.h"

#include <gtest/gtest.h>
#include <openssl/sha.h>

#include "daemon/events/event.pb.h"
#include "tests/unit/daemon/events/fake_scanner.h"

namespace sluice::events {
namespace {

std::string sha256_of(std::string_view text) {
  std::string digest(32, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

SessionInfo a_session() {
  SessionInfo session;
  session.id = "00c0ffee00000001";
  session.target = "payments-db";
  session.actor.attested = {4242,          1000,     100,   "alice", "users", "/usr/bin/psql", std::string(64, 'e'),
                            "app.service", "c0ffee", "/a/b"};
  session.actor.claimed = {"app", "payments", "psql"};
  session.origin = "10.0.0.7:51234";
  session.destination = "10.20.0.5:5432";
  return session;
}

Event parse(const EncodedEvent& encoded) {
  Event event;
  EXPECT_TRUE(event.ParseFromString(encoded.bytes));
  return event;
}

class EventBuilderTest : public testing::Test {
 protected:
  FakeScanner scanner_;
  uint64_t self_findings_ = 0;
};

TEST_F(EventBuilderTest, SessionStartedCarriesEverythingTheGeneratedParserReadsBack) {
  const EncodedEvent encoded =
      EventBuilder(EventType::session_started, {1'700'000'000'123'456'789}, EventOutcome::success, a_session())
          .build(scanner_, self_findings_);
  EXPECT_TRUE(encoded.context);
  EXPECT_EQ(encoded.session, 0x00c0ffee00000001u);
  const Event event = parse(encoded);
  EXPECT_EQ(event.type(), SESSION_STARTED);
  EXPECT_EQ(event.time(), 1'700'000'000'123'456'789);
  EXPECT_EQ(event.outcome(), SUCCESS);
  EXPECT_EQ(event.session(), 0x00c0ffee00000001u);
  EXPECT_EQ(event.attested().pid(), 4242);
  EXPECT_EQ(event.attested().uid(), 1000);
  EXPECT_EQ(event.attested().gid(), 100);
  EXPECT_EQ(event.attested().user(), "alice");
  EXPECT_EQ(event.attested().group(), "users");
  EXPECT_EQ(event.attested().exe(), "/usr/bin/psql");
  EXPECT_EQ(event.attested().exe_sha256(), std::string(64, 'e'));
  EXPECT_EQ(event.attested().unit(), "app.service");
  EXPECT_EQ(event.attested().container(), "c0ffee");
  EXPECT_EQ(event.attested().cgroup(), "/a/b");
  EXPECT_EQ(event.claimed().user(), "app");
  EXPECT_EQ(event.claimed().database(), "payments");
  EXPECT_EQ(event.claimed().application(), "psql");
  EXPECT_EQ(event.origin(), "10.0.0.7:51234");
  EXPECT_EQ(event.resource(), "payments-db");
  EXPECT_EQ(event.destination(), "10.20.0.5:5432");
}

TEST_F(EventBuilderTest, CommandRefersToItsSessionAndText) {
  auto text = std::make_shared<StoredText>();
  text->masked = "select * from cards";
  text->sha256 = sha256_of(text->masked);
  const policies::StatementKind kinds[] = {policies::StatementKind::select, policies::StatementKind::delete_};
  const policies::Relation relations[] = {{"public", "cards", policies::Access::read},
                                          {"", "log", policies::Access::write}};
  const std::string functions[] = {"now", ""};
  const EncodedEvent encoded = EventBuilder(EventType::command_received, {5}, EventOutcome::success, a_session())
                                   .command(7)
                                   .text(text)
                                   .stage("query")
                                   .kinds(kinds)
                                   .relations(relations)
                                   .functions(functions)
                                   .bind_value("abc", 3)
                                   .bind_value("", UINT64_MAX)
                                   .bind_value("", 0)
                                   .rule("no-drop", "v1")
                                   .build(scanner_, self_findings_);
  EXPECT_FALSE(encoded.context);
  EXPECT_EQ(encoded.text, text);
  const Event event = parse(encoded);
  EXPECT_FALSE(event.has_attested());
  EXPECT_TRUE(event.origin().empty());
  EXPECT_EQ(event.command(), 7u);
  EXPECT_EQ(event.text_sha256(), text->sha256);
  EXPECT_EQ(event.stage(), "query");
  ASSERT_EQ(event.kinds_size(), 2);
  EXPECT_EQ(event.kinds(1), "delete");
  ASSERT_EQ(event.relations_size(), 2);
  EXPECT_EQ(event.relations(0).schema(), "public");
  EXPECT_EQ(event.relations(0).name(), "cards");
  EXPECT_EQ(event.relations(0).access(), 1u);
  EXPECT_EQ(event.relations(1).access(), 2u);
  ASSERT_EQ(event.functions_size(), 2);
  ASSERT_EQ(event.bind_values_size(), 3);
  EXPECT_EQ(event.bind_values(0).masked(), "abc");
  EXPECT_EQ(event.bind_values(0).bytes_total(), 3u);
  EXPECT_FALSE(event.bind_values(1).has_masked());
  EXPECT_TRUE(event.bind_values(2).has_masked());
  EXPECT_EQ(event.rule(), "no-drop");
  EXPECT_EQ(event.policy_version(), "v1");
  EXPECT_FALSE(event.has_rows());
}

TEST_F(EventBuilderTest, CompletionHasCountsFindingsAndCounters) {
  const Event event = parse(EventBuilder(EventType::command_completed, {-1}, EventOutcome::failure, a_session())
                                .command(1)
                                .rows(0)
                                .bytes(uint64_t{1} << 40)
                                .error_code("42501")
                                .finding({"pan", "visa", "column:3", 1000})
                                .detail("d")
                                .counter("connects", UINT64_MAX)
                                .build(scanner_, self_findings_));
  EXPECT_EQ(event.time(), -1);
  EXPECT_EQ(event.outcome(), FAILURE);
  EXPECT_TRUE(event.has_rows());
  EXPECT_EQ(event.rows(), 0u);
  EXPECT_EQ(event.bytes(), uint64_t{1} << 40);
  EXPECT_EQ(event.error_code(), "42501");
  ASSERT_EQ(event.findings_size(), 1);
  EXPECT_EQ(event.findings(0).brand(), "visa");
  EXPECT_EQ(event.findings(0).count(), 1000u);
  ASSERT_EQ(event.counters_size(), 1);
  EXPECT_EQ(event.counters(0).value(), UINT64_MAX);
}

// The type of every builder function that takes text from outside, each given a card number.
TEST_F(EventBuilderTest, NoTextualFieldKeepsACardNumber) {
  SessionInfo session = a_session();
  const std::string pan(kTestPan);
  session.id = pan + "x";
  session.target = session.origin = session.destination = pan;
  session.actor.attested = {1, 2, 3, pan, pan, pan, pan, pan, pan, pan};
  session.actor.claimed = {pan, pan, pan};
  const policies::Relation relations[] = {{pan, pan, policies::Access::read}};
  const std::string functions[] = {pan};
  const EncodedEvent encoded = EventBuilder(EventType::session_started, {1}, EventOutcome::success, session)
                                   .stage(pan)
                                   .relations(relations)
                                   .functions(functions)
                                   .bind_value("x" + pan + "y", 18)
                                   .rule(pan, pan)
                                   .error_code(pan)
                                   .finding({pan, pan, pan, 1})
                                   .detail("a " + pan + " b " + pan)
                                   .counter(pan, 1)
                                   .build(scanner_, self_findings_);
  EXPECT_EQ(encoded.bytes.find(pan), std::string::npos);
  EXPECT_EQ(self_findings_, 28u);
  EXPECT_EQ(parse(encoded).self_masked(), 28u);
  EXPECT_EQ(parse(encoded).detail(), "a 411111******1111 b 411111******1111");
}

TEST_F(EventBuilderTest, DaemonEventsAreScannedToo) {
  Actor actor;
  actor.attested.user = kTestPan;
  const EncodedEvent encoded = EventBuilder(EventType::log_read, {1}, EventOutcome::success, actor, kTestPan, kTestPan)
                                   .build(scanner_, self_findings_);
  EXPECT_EQ(encoded.bytes.find(kTestPan), std::string::npos);
  EXPECT_EQ(self_findings_, 3u);
  EXPECT_EQ(encoded.session, 0u);
}

TEST_F(EventBuilderTest, ATextWithACardNumberIsReplacedByAMaskedCopyWithItsOwnHash) {
  auto text = std::make_shared<StoredText>();
  text->masked = "select '4111111111111111'";
  text->sha256 = sha256_of(text->masked);
  const EncodedEvent encoded = EventBuilder(EventType::command_received, {1}, EventOutcome::success, a_session())
                                   .text(text)
                                   .build(scanner_, self_findings_);
  EXPECT_EQ(self_findings_, 1u);
  EXPECT_EQ(encoded.text->masked, "select '411111******1111'");
  EXPECT_EQ(encoded.text->sha256, sha256_of(encoded.text->masked));
  EXPECT_EQ(parse(encoded).text_sha256(), encoded.text->sha256);
}

TEST_F(EventBuilderTest, ATextIsScannedOnce) {
  auto text = std::make_shared<StoredText>();
  text->masked = "select 1";
  text->sha256 = sha256_of(text->masked);
  for (int i = 0; i < 3; ++i) {
    static_cast<void>(EventBuilder(EventType::command_received, {1}, EventOutcome::success, a_session())
                          .text(text)
                          .build(scanner_, self_findings_));
  }
  EXPECT_EQ(scanner_.scans, 1u);
}

TEST_F(EventBuilderTest, WhatWasFoundCleanIsNotScannedAgainButAnythingElseIs) {
  const auto build = [&](std::string_view rule, std::string_view version) {
    static_cast<void>(EventBuilder(EventType::command_completed, {1}, EventOutcome::success, a_session())
                          .rule(rule, version)
                          .build(scanner_, self_findings_));
  };
  build("memo-rule", "v1");
  build("memo-rule", "v1");
  EXPECT_EQ(scanner_.scans, 1u);
  build("memo-rulev", "1");  // the same bytes, divided otherwise
  EXPECT_EQ(scanner_.scans, 2u);
  FakeScanner other;
  static_cast<void>(EventBuilder(EventType::command_completed, {1}, EventOutcome::success, a_session())
                        .rule("memo-rule", "v1")
                        .build(other, self_findings_));
  EXPECT_EQ(other.scans, 1u);
}

TEST_F(EventBuilderTest, LimitsAreCountedNotSilent) {
  const std::vector<policies::Relation> relations(kListEntriesMax + 3, {"s", "t", policies::Access::read});
  EventBuilder builder(EventType::command_received, {1}, EventOutcome::success, a_session());
  builder.relations(relations).detail(std::string(kFieldBytesMax + 10, 'x'));
  for (size_t i = 0; i < kBindValuesMax + 2; ++i)
    builder.bind_value(std::string(2 * kFieldBytesMax, 'v'), 2 * kFieldBytesMax);
  const EncodedEvent encoded = builder.build(scanner_, self_findings_);
  EXPECT_LE(encoded.bytes.size(), kEventBytesMax + 2 * kFieldBytesMax);
  const Event event = parse(encoded);
  EXPECT_EQ(event.relations_size(), static_cast<int>(kListEntriesMax));
  EXPECT_EQ(event.detail().size(), kFieldBytesMax);
  EXPECT_EQ(event.entries_omitted(), 3 + kBindValuesMax + 2 - static_cast<size_t>(event.bind_values_size()));
  EXPECT_EQ(event.bytes_omitted(), 10 + static_cast<size_t>(event.bind_values_size()) * kFieldBytesMax);
}

EventBuilder a_command(uint64_t id) {
  EventBuilder builder(EventType::command_received, {1}, EventOutcome::success, a_session());
  builder.command(id);
  return builder;
}

EventBuilder& describe(EventBuilder& builder, const std::string& relation) {
  const policies::StatementKind kinds[] = {policies::StatementKind::select};
  const policies::Relation relations[] = {{"public", relation, policies::Access::read}};
  const std::string functions[] = {"lower"};
  return builder.stage("bind").kinds(kinds).relations(relations).functions(functions).rule("a-rule", "v1");
}

TEST_F(EventBuilderTest, SharedFieldsReadBackAsIfTheyHadBeenAdded) {
  EventBuilder first = a_command(1);
  first.begin_shared();
  describe(first, "cards");
  const SharedFields shared = first.end_shared(scanner_);
  first.bind_value("x", 1);
  EventBuilder second = a_command(1);
  const size_t bytes_before = scanner_.bytes_seen;
  second.shared(shared).bind_value("x", 1);
  EventBuilder plain = a_command(1);
  describe(plain, "cards").bind_value("x", 1);
  const std::string of_first = first.build(scanner_, self_findings_).bytes;
  EXPECT_EQ(second.build(scanner_, self_findings_).bytes, of_first);
  EXPECT_LE(scanner_.bytes_seen - bytes_before, 2u);  // the bind values; what is shared is not scanned again
  EXPECT_EQ(plain.build(scanner_, self_findings_).bytes, of_first);
  EXPECT_EQ(self_findings_, 0u);
}

TEST_F(EventBuilderTest, EveryEventTellsWhatWasMaskedAndLeftOutInItsSharedFields) {
  EventBuilder first = a_command(1);
  first.begin_shared();
  describe(first, "t" + std::string(kTestPan));
  first.functions(std::vector<std::string>(kListEntriesMax, std::string(kFieldBytesMax + 1, 'f')));
  const SharedFields shared = first.end_shared(scanner_);
  EventBuilder second = a_command(2);
  second.shared(shared);
  for (EventBuilder* builder : {&first, &second}) {
    self_findings_ = 0;
    const EncodedEvent encoded = builder->build(scanner_, self_findings_);
    EXPECT_EQ(encoded.bytes.find(kTestPan), std::string::npos);
    const Event event = parse(encoded);
    EXPECT_EQ(event.relations(0).name(), "t" + std::string(kMaskedPan));
    EXPECT_EQ(event.self_masked(), 1u);
    EXPECT_EQ(self_findings_, 1u);
    EXPECT_EQ(event.entries_omitted(), kListEntriesMax + 1 - static_cast<size_t>(event.functions_size()));
    EXPECT_EQ(event.bytes_omitted(), static_cast<size_t>(event.functions_size()) - 1);
  }
}

TEST_F(EventBuilderTest, AuthenticationBecomesTheSessionsContext) {
  const EncodedEvent encoded =
      EventBuilder(EventType::authentication, {1}, EventOutcome::success, a_session()).build(scanner_, self_findings_);
  EXPECT_TRUE(encoded.context);
  EXPECT_EQ(parse(encoded).claimed().user(), "app");
}

TEST(SessionReference, IsTheHexNumberOrAHashAndNeverZero) {
  EXPECT_EQ(session_reference("00000000000000ff"), 0xffu);
  EXPECT_EQ(session_reference("fedcba9876543210"), 0xfedcba9876543210u);
  EXPECT_NE(session_reference("0000000000000000"), 0u);
  EXPECT_NE(session_reference("session"), session_reference("other"));
  EXPECT_NE(session_reference("FEDCBA9876543210"), 0xfedcba9876543210u);
}

TEST(EventTypeWords, EveryTypeHasAWordThatReadsBackAndANumberInTheSchema) {
  for (size_t i = 0; i < kEventTypeCount; ++i) {
    const auto type = static_cast<EventType>(i);
    EXPECT_EQ(parse_event_type(to_string(type)), type);
    EXPECT_TRUE(Type_IsValid(static_cast<int>(i) + 1));
  }
  EXPECT_FALSE(Type_IsValid(static_cast<int>(kEventTypeCount) + 1));
  EXPECT_EQ(parse_event_type("nonsense"), std::nullopt);
}

}  // namespace
}  // namespace sluice::events
