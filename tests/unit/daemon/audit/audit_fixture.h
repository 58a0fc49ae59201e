// Shared by the tests of the log: a directory of its own, events with names, a log that is filled and closed.
#pragma once

#include <gtest/gtest.h>
#include <openssl/sha.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "daemon/audit/audit_log.h"
#include "daemon/audit/event_query.h"
#include "daemon/audit/log_format.h"
#include "daemon/audit/verify.h"
#include "daemon/events/event_builder.h"

namespace sluice::audit {

class NoScanner final : public policies::CardScanner {
 public:
  void scan(std::span<const policies::ValueView>, std::vector<policies::Finding>& findings,
            std::span<size_t>) override {
    findings.clear();
  }
  void mask(std::span<policies::ValueView>, std::span<const policies::Finding>, policies::MaskStyle) override {}
};

class TempDirectory {
 public:
  TempDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "sluice-audit-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "mkdtemp failed";
    path_ = name;
  }
  ~TempDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  [[nodiscard]] std::string path(const std::string& below = "log") const { return (path_ / below).string(); }

 private:
  std::filesystem::path path_;
};

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}
inline void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << bytes;
}
inline std::vector<std::string> files_in(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}
inline void copy_log(const std::string& from, const std::string& to) {
  std::filesystem::remove_all(to);
  std::filesystem::copy(from, to);
}

template <typename Condition>
bool wait_until(Condition condition, int timeout_ms = 10000) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

inline events::SessionInfo named_session(const std::string& id, const std::string& user = "alice") {
  events::SessionInfo session;
  session.id = id;
  session.target = "payments-db";
  session.actor.attested.pid = 4242;
  session.actor.attested.uid = 1000;
  session.actor.attested.user = user;
  session.actor.attested.exe = "/usr/bin/psql";
  session.actor.claimed = {"app", "payments", "psql"};
  session.origin = "10.0.0.7:51234";
  session.destination = "10.20.0.5:5432";
  return session;
}

inline events::StoredTextRef a_text(const std::string& masked) {
  auto text = std::make_shared<events::StoredText>();
  text->masked = masked;
  text->sha256.resize(SHA256_DIGEST_LENGTH);
  SHA256(reinterpret_cast<const unsigned char*>(masked.data()), masked.size(),
         reinterpret_cast<unsigned char*>(text->sha256.data()));
  return text;
}

// Builds events with times that count up.
class EventSource {
 public:
  events::EncodedEvent started(const events::SessionInfo& session) {
    return session_event(events::EventType::session_started, session);
  }
  events::EncodedEvent ended(const events::SessionInfo& session) {
    return session_event(events::EventType::session_ended, session);
  }
  events::EncodedEvent session_event(events::EventType type, const events::SessionInfo& session) {
    return events::EventBuilder(type, {++time_ns}, events::EventOutcome::success, session)
        .build(scanner_, self_findings_);
  }
  events::EncodedEvent received(const events::SessionInfo& session, uint64_t command, events::StoredTextRef text) {
    return events::EventBuilder(events::EventType::command_received, {++time_ns}, events::EventOutcome::success,
                                session)
        .command(command)
        .text(std::move(text))
        .stage("query")
        .build(scanner_, self_findings_);
  }
  events::EncodedEvent daemon(events::EventType type, const std::string& detail) {
    events::Actor actor;
    actor.attested.uid = 0;
    return events::EventBuilder(type, {++time_ns}, events::EventOutcome::success, actor, "local", "daemon")
        .detail(detail)
        .build(scanner_, self_findings_);
  }
  int64_t time_ns = 1'700'000'000'000'000'000;

 private:
  NoScanner scanner_;
  uint64_t self_findings_ = 0;
};

inline LogOptions log_options(const std::string& directory, uint64_t segment_bytes = 64 * 1024) {
  LogOptions options;
  options.directory = directory;
  options.segment_bytes = segment_bytes;
  options.host = "test-host";
  return options;
}

inline void publish(events::EventRing& ring, events::EncodedEvent event) {
  ASSERT_TRUE(wait_until([&] { return ring.free_slots() > 0; })) << "the ring stays full";
  ASSERT_TRUE(ring.publish(std::move(event)).has_value());
}

// A closed log: `sessions` sessions with `commands` commands each, of two texts.
inline void write_log(const LogOptions& options, int sessions, int commands) {
  auto log = AuditLog::open(options);
  ASSERT_TRUE(log.has_value()) << log.error().message;
  events::EventRing& ring = (*log)->add_ring(-1);
  EventSource source;
  for (int s = 1; s <= sessions; ++s) {
    const auto session = named_session("000000000000000" + std::to_string(s % 10));
    publish(ring, source.started(session));
    for (int c = 1; c <= commands; ++c) {
      publish(ring, source.received(session, static_cast<uint64_t>(c),
                                    a_text(c % 2 == 0 ? "select 1" : "select * from cards")));
      publish(ring, source.session_event(events::EventType::command_completed, session));
    }
    publish(ring, source.ended(session));
  }
  const Status flushed = (*log)->flush(10000);
  ASSERT_TRUE(flushed.has_value()) << flushed.error().message;
}

inline EventQuery filtered(const std::string& filter) {
  EventQuery query;
  query.filter = filter;
  return query;
}

inline std::vector<std::string> query_lines(const std::string& directory, const EventQuery& query = {}) {
  std::vector<std::string> lines;
  const auto result = query_events(directory, query, [&](std::string_view line) {
    lines.emplace_back(line);
    return true;
  });
  EXPECT_TRUE(result.has_value()) << result.error().message;
  return lines;
}

}  // namespace sluice::audit
