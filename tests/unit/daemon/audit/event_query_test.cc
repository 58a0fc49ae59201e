#include "daemon/audit/event_query.h"

#include <gmock/gmock.h>

#include "daemon/audit/event_record.h"
#include "tests/unit/daemon/audit/audit_fixture.h"

namespace sluice::audit {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class EventQueryTest : public testing::Test {
 protected:
  void open(uint64_t segment_bytes = 64 * 1024) {
    auto log = AuditLog::open(log_options(directory_.path(), segment_bytes));
    ASSERT_TRUE(log.has_value()) << log.error().message;
    log_ = std::move(*log);
    ring_ = &log_->add_ring(-1);
  }
  void put(events::EncodedEvent event) {
    publish(*ring_, std::move(event));
    ASSERT_TRUE(log_->flush(5000).has_value());
  }
  std::vector<std::string> lines(const EventQuery& query = {}) { return query_lines(directory_.path(), query); }

  TempDirectory directory_;
  std::unique_ptr<AuditLog> log_;
  events::EventRing* ring_ = nullptr;
  EventSource source_;
  NoScanner scanner_;
  uint64_t self_findings_ = 0;
};

TEST_F(EventQueryTest, TheWholeShapeOfALine) {
  open();
  const auto session = named_session("00000000000000ab");
  put(source_.started(session));
  const policies::StatementKind kinds[] = {policies::StatementKind::select};
  const policies::Relation relations[] = {{"public", "cards", policies::Access::read},
                                          {"", "log", policies::Access::write}};
  put(events::EventBuilder(events::EventType::command_blocked, {1'700'000'000'000'000'042},
                           events::EventOutcome::refused, session)
          .command(3)
          .text(a_text("select \"x\""))
          .stage("query")
          .kinds(kinds)
          .relations(relations)
          .bind_value("a", 1)
          .bind_value("", UINT64_MAX)
          .rule("no-cards", "v7")
          .rows(5)
          .bytes(6)
          .error_code("42501")
          .finding({"pan", "visa", "column:3", 2})
          .detail("why")
          .counter("n", 9)
          .build(scanner_, self_findings_));
  const auto all = lines();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(
      all[0],
      "{\"index\":1,\"time\":\"2023-11-14T22:13:20.000000001Z\",\"type\":\"session_started\",\"session\":"
      "\"00000000000000ab\","
      "\"target\":\"payments-db\",\"origin\":\"10.0.0.7:51234\",\"destination\":\"10.20.0.5:5432\",\"identity\":{"
      "\"attested\":"
      "{\"pid\":4242,\"exe\":\"/usr/bin/"
      "psql\",\"uid\":1000,\"user\":\"alice\",\"gid\":null,\"group\":null,\"unit\":null,"
      "\"container\":null,\"cgroup\":null,\"exe_sha256\":null},\"claimed\":{\"user\":\"app\",\"database\":\"payments\","
      "\"application\":\"psql\"},\"verified\":null},\"command\":null,\"outcome\":\"success\",\"rule\":null,"
      "\"policy_version\":null,\"rows\":null,\"bytes\":null,\"error_code\":null,\"findings\":[],\"detail\":null}");
  EXPECT_THAT(
      all[1],
      HasSubstr("\"command\":{\"id\":3,\"text\":\"select \\\"x\\\"\",\"stage\":\"query\",\"kinds\":[\"select\"],"
                "\"relations\":[\"public.cards\",\"log\"],\"writes\":[\"log\"],"
                "\"bind_values\":[{\"masked\":\"a\",\"bytes_total\":1},null],\"text_sha256\":\""));
  EXPECT_THAT(
      all[1],
      HasSubstr("\"outcome\":\"refused\",\"rule\":\"no-cards\",\"policy_version\":\"v7\",\"rows\":5,\"bytes\":6,"
                "\"error_code\":\"42501\",\"findings\":[{\"kind\":\"pan\",\"brand\":\"visa\",\"where\":\"column:3\","
                "\"count\":2}],\"detail\":\"why\",\"counters\":{\"n\":9}}"));
  EXPECT_THAT(all[1], HasSubstr("\"user\":\"alice\"")) << "identity comes from the session's start";
}

TEST_F(EventQueryTest, ClaimsThatComeWithAuthenticationAreTheSessionsFromThenOn) {
  open();
  auto session = named_session("00000000000000ab");
  session.actor.claimed = {};
  put(source_.started(session));
  session.actor.claimed.db_user = "late";
  put(source_.session_event(events::EventType::authentication, session));
  put(source_.received(session, 1, a_text("select 1")));
  EXPECT_THAT(lines()[2], HasSubstr("\"claimed\":{\"user\":\"late\""));
  EXPECT_EQ(lines(filtered("db_user=late")).size(), 2u);
}

TEST_F(EventQueryTest, FiltersByEverythingThatIsShown) {
  open();
  const auto alice = named_session("0000000000000001", "alice");
  const auto bob = named_session("0000000000000002", "bob");
  put(source_.started(alice));
  put(source_.started(bob));
  put(source_.received(alice, 1, a_text("select * from cards")));
  put(source_.received(bob, 1, a_text("select 1")));
  put(source_.daemon(events::EventType::policy_loaded, "v2"));
  EXPECT_EQ(lines(filtered("identity.user=bob")).size(), 2u);
  EXPECT_EQ(lines(filtered("command.text~cards")).size(), 1u);
  EXPECT_EQ(lines(filtered("session=0000000000000002 and type=command_received")).size(), 1u);
  EXPECT_EQ(lines(filtered("target=daemon")).size(), 1u);
  EXPECT_EQ(lines(filtered("detail=v2 or user=alice")).size(), 3u);
  const auto bad = query_events(directory_.path(), filtered("nonsense"), [](std::string_view) { return true; });
  EXPECT_FALSE(bad.has_value());
}

TEST_F(EventQueryTest, TimeLimitAndIndex) {
  open(4096);
  // Segments are left out by the time they were begun, so these events have the time of their writing.
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const int64_t start = source_.time_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
  for (int i = 0; i < 300; ++i) publish(*ring_, source_.daemon(events::EventType::coverage, "e" + std::to_string(i)));
  ASSERT_TRUE(log_->flush(5000).has_value());
  EXPECT_EQ(lines().size(), 300u);
  EventQuery between;
  between.since_ns = start + 101;
  between.until_ns = start + 110;
  EXPECT_EQ(lines(between).size(), 10u);
  EventQuery limited;
  limited.limit = 7;
  EXPECT_EQ(lines(limited).size(), 7u);
  uint64_t from = 0;
  std::vector<std::string> pieces;
  for (;;) {
    std::vector<std::string> piece;
    EventQuery query;
    query.from_index = from;
    query.limit = 7;
    const auto result = query_events(directory_.path(), query, [&](std::string_view line) {
      piece.emplace_back(line);
      return true;
    });
    ASSERT_TRUE(result.has_value());
    if (piece.empty()) break;
    ASSERT_GT(result->next_index, from);
    from = result->next_index;
    pieces.insert(pieces.end(), piece.begin(), piece.end());
  }
  EXPECT_EQ(pieces, lines());
}

TEST_F(EventQueryTest, StopsWhereTheReaderSaysSo) {
  open();
  for (int i = 0; i < 5; ++i) put(source_.daemon(events::EventType::coverage, "x"));
  int seen = 0;
  const auto result = query_events(directory_.path(), {}, [&](std::string_view) { return ++seen < 2; });
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(seen, 2);
  EXPECT_EQ(result->matched, 2u);
}

TEST_F(EventQueryTest, AStreamGoesOnAcrossSegmentsWithoutLossOrRepetition) {
  open(4096);
  auto stream = EventStream::open(directory_.path(), {});
  ASSERT_TRUE(stream.has_value());
  const auto session = named_session("00000000000000ab");
  put(source_.started(session));
  std::vector<std::string> seen;
  const auto collect = [&](std::string_view line) {
    seen.emplace_back(line);
    return true;
  };
  for (uint64_t i = 1; i <= 100; ++i) {
    put(source_.received(session, i, a_text("select " + std::to_string(i % 3))));
    ASSERT_TRUE(stream->run(collect).has_value());
    ASSERT_EQ(seen.size(), i + 1);
  }
  EXPECT_EQ(seen, lines());
  for (const std::string& line : seen) EXPECT_THAT(line, HasSubstr("\"user\":\"alice\""));
}

TEST_F(EventQueryTest, AnEmptyDirectoryHasNoEventsAndNoneIsAnError) {
  std::filesystem::create_directory(directory_.path());
  EXPECT_TRUE(lines().empty());
  EXPECT_FALSE(query_events(directory_.path("nowhere"), {}, [](std::string_view) { return true; }).has_value());
}

std::string json(std::string_view text) {
  std::string out;
  append_json_string(text, out);
  return out;
}

TEST(JsonString, HostileValuesStayInsideTheirQuotes) {
  EXPECT_EQ(json("plain"), "\"plain\"");
  EXPECT_EQ(json("a\"b\\c"), "\"a\\\"b\\\\c\"");
  EXPECT_EQ(json(std::string("\0\n\x1b[31m\x7f", 8)), "\"\\u0000\\u000a\\u001b[31m\\u007f\"");
  EXPECT_EQ(json("\xc2\x9b"), "\"\\u009b\"");      // C1 control sequence introducer
  EXPECT_EQ(json("\xe2\x80\xae"), "\"\\u202e\"");  // right-to-left override
  EXPECT_EQ(json("gr\xc3\xbc\xc3\x9f \xf0\x9f\x94\x92"), "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x94\x92\"");
}

TEST(JsonString, WhatIsNotUtf8IsReplaced) {
  const std::string r = "\xef\xbf\xbd";
  EXPECT_EQ(json("\xff"), "\"" + r + "\"");
  EXPECT_EQ(json("a\x80z"), "\"a" + r + "z\"");
  EXPECT_EQ(json("\xc3"), "\"" + r + "\"");
  EXPECT_EQ(json("\xc0\xaf"), "\"" + r + r + "\"");                  // longer form than needed
  EXPECT_EQ(json("\xed\xa0\x80"), "\"" + r + r + r + "\"");          // surrogate
  EXPECT_EQ(json("\xf4\x90\x80\x80"), "\"" + r + r + r + r + "\"");  // beyond U+10FFFF
  EXPECT_EQ(json("\xe2\x82"), "\"" + r + r + "\"");
}

}  // namespace
}  // namespace sluice::audit
