// A PostgreSQL machine with a scripted gate and a scripted detector, driven as the pump drives it, with any split of
// the bytes.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/session/machine.h"
#include "tests/unit/daemon/session/postgres_messages.h"

namespace sluice::session::testing {

inline constexpr std::string_view kPan = "4111111111111111";
inline constexpr std::string_view kMasked = "411111******1111";
inline constexpr uint64_t kPanNumber = 4111111111111111;
inline constexpr uint64_t kMaskedNumber = 4111110000001111;

// Finds kPan in characters and, in binary values of eight bytes that may be integers, as such; and covers values of up
// to four bytes in columns that are known for codes.
class ScriptedScanner final : public policies::CardScanner {
 public:
  void scan(std::span<const policies::ValueView> values, std::vector<policies::Finding>& findings,
            std::span<size_t> settled) override {
    findings.clear();
    ++scans;
    for (size_t i = 0; i < values.size(); ++i) {
      const policies::ValueView& value = values[i];
      const std::string_view bytes(reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size());
      const bool integer = (value.type == policies::ValueType::integer || value.type == policies::ValueType::opaque) &&
                           value.format == policies::ValueFormat::binary && value.bytes.size() == 8;
      const std::string needle = integer ? int8(kPanNumber) : std::string(kPan);
      for (size_t at = bytes.find(needle); at != bytes.npos; at = bytes.find(needle, at + 1)) {
        policies::Finding finding;
        finding.value = static_cast<uint32_t>(i);
        finding.offset = static_cast<uint32_t>(at);
        finding.length = static_cast<uint32_t>(needle.size());
        finding.column = value.column;
        findings.push_back(finding);
      }
      if (policies::is_secret(value.name) && !bytes.empty() && bytes.size() <= 4) {
        policies::Finding finding;
        finding.value = static_cast<uint32_t>(i);
        finding.length = static_cast<uint32_t>(bytes.size());
        finding.column = value.column;
        finding.kind = policies::FindingKind::cvv;
        findings.push_back(finding);
      }
      const bool open = value.part == policies::ValuePart::first || value.part == policies::ValuePart::middle;
      EXPECT_EQ(value.stream != nullptr, value.part != policies::ValuePart::whole);
      EXPECT_TRUE(!open || !settled.empty());
      largest_value = std::max(largest_value, bytes.size());
      if (settled.empty()) continue;
      settled[i] = open ? bytes.size() - std::min(bytes.size(), kPan.size() - 1) : bytes.size();
      if (open && bytes.size() >= kPan.size() && bytes.ends_with(kPan)) settled[i] = bytes.size();
    }
  }
  void mask(std::span<policies::ValueView> values, std::span<const policies::Finding> findings,
            policies::MaskStyle) override {
    for (const policies::Finding& finding : findings) {
      uint8_t* const at = values[finding.value].bytes.data() + finding.offset;
      if (finding.kind == policies::FindingKind::cvv) {
        std::memset(at, '*', finding.length);
        continue;
      }
      const std::string replacement = finding.length == 8 ? int8(kMaskedNumber) : std::string(kMasked);
      std::memcpy(at, replacement.data(), replacement.size());
    }
  }
  size_t scans = 0;
  size_t largest_value = 0;
};

struct Submitted {
  Stage stage;
  std::string text;
  std::string statement_name;
  bool has_statement;
  bool record_intent;
  bool certain;
  std::string encoding;
  std::vector<BindValue> values;  // their bytes are not kept
  std::vector<std::string> value_bytes;
};

struct Completed {
  Outcome outcome;
  uint64_t rows;
  uint64_t bytes;
  std::string error_code;
  std::map<std::string, uint64_t> findings;
};

// Lets everything pass unless a test says otherwise. By text: what is in `refuse` is refused, in `park` is parked that
// often.
class ScriptedGate final : public Gate {
 public:
  Answer submit(const CommandRequest& request) override {
    const std::string text = request.stage == Stage::bind || request.stage == Stage::execute
                                 ? (request.statement ? request.statement->masked_text : "")
                                 : std::string(request.text);
    if (request.withdrawn) {
      ++withdrawn;
      return Refused{"canceling statement due to user request", "57014"};
    }
    if (int& times = park[text]; times > 0) {
      --times;
      parked = true;
      return Parked{};
    }
    parked = false;
    submitted.push_back({request.stage,
                         text,
                         std::string(request.statement_name),
                         request.statement != nullptr,
                         request.record_intent,
                         request.settings.certain,
                         request.settings.client_encoding,
                         {request.values.begin(), request.values.end()},
                         {}});
    for (const BindValue& value : request.values)
      submitted.back().value_bytes.emplace_back(value.bytes.begin(), value.bytes.end());
    if (refuse_stages.count(request.stage) != 0 || (refuse.count(text) != 0 && request.stage != Stage::bind)) {
      return Refused{"blocked by rule \"r\"", "42501"};
    }
    Passed passed{policies::Permit::for_upkeep(policies::Upkeep::cancel), nullptr, 0};
    if (request.stage == Stage::query || request.stage == Stage::parse) passed.statement = statement(text);
    if (request.record_intent) passed.command = ++last_command;
    if (request.stage == Stage::cancel) {
      cancel_keys.emplace_back(request.cancel_key.begin(), request.cancel_key.end());
      passed.delivered = delivers_cancels;
    }
    return passed;
  }
  void complete(CommandId command, const Completion& completion, std::span<const FindingCount> findings) override {
    EXPECT_TRUE(command == 0 || completed.count(command) == 0) << "command " << command << " completed twice";
    EXPECT_LE(command, last_command);
    Completed& entry = completed[command];
    entry.outcome = completion.outcome;
    entry.rows = completion.rows;
    entry.bytes = completion.bytes;
    entry.error_code = completion.error_code;
    for (const FindingCount& finding : findings) entry.findings[std::string(finding.where)] += finding.count;
  }
  void claimed(const policies::ClaimedIdentity& identity) override { claims.push_back(identity); }
  void note(SessionNote kind, std::string_view) override { notes.push_back(kind); }
  void cancel_key(std::span<const uint8_t> key) override { cancel_keys.emplace_back(key.begin(), key.end()); }

  // A plain statement of known kind; `shape` changes it for a text.
  StatementRef statement(const std::string& text) {
    auto made = std::make_shared<Statement>();
    made->masked_text = text;
    made->facts.kinds_complete = true;
    made->may_change_settings = false;
    if (const auto found = shape.find(text); found != shape.end()) found->second(*made);
    return made;
  }

  std::map<std::string, std::function<void(Statement&)>> shape;
  std::map<std::string, int> refuse;
  std::map<Stage, int> refuse_stages;
  std::map<std::string, int> park;
  bool parked = false;
  int withdrawn = 0;
  CommandId last_command = 0;
  std::vector<Submitted> submitted;
  std::map<CommandId, Completed> completed;
  std::vector<policies::ClaimedIdentity> claims;
  std::vector<SessionNote> notes;
  std::vector<std::string> cancel_keys;
  bool delivers_cancels = false;
};

// Drives a machine as the pump does. `split` cuts what arrives into pieces of that many bytes; 0: as much as one read
// takes.
class Session {
 public:
  explicit Session(size_t split = 0, uint64_t statement_bytes_max = 16u << 20) : split_(split) {
    MachineLimits limits;
    limits.statement_bytes_max = statement_bytes_max;
    limits.stand_in_seed = 42;
    machine = make_postgres_machine(gate, scanner, limits);
  }

  void client(const std::string& bytes) { arrive(Side::client, bytes); }
  void server(const std::string& bytes) { arrive(Side::server, bytes); }
  void end(Side side) {
    machine->on_end(side, actions_);
    execute();
  }
  // The gate has an answer now.
  void resume() {
    machine->resume(actions_);
    execute();
    present(Side::client);
  }

  // A cancel request came for what waits here.
  Machine::Cancelled cancel() {
    const Machine::Cancelled where = machine->on_cancel();
    if (where != Machine::Cancelled::at_server) present(Side::client);
    return where;
  }

  // Takes the session to ReadyForQuery and forgets what was said.
  void start() {
    client(fe::startup({{"user", "alice"}, {"database", "shop"}}));
    server(be::authentication(0) + be::parameter("client_encoding", "UTF8") +
           be::parameter("standard_conforming_strings", "on") + be::key_data() + be::ready());
    EXPECT_EQ(machine->phase(), Phase::idle);
    forget();
  }
  void forget() {
    to_client.clear();
    to_server.clear();
  }

  ScriptedGate gate;
  ScriptedScanner scanner;
  std::unique_ptr<Machine> machine;
  std::string to_client;
  std::string to_server;
  CloseReason closed = CloseReason::none;
  std::string close_detail;
  size_t largest_leftover = 0;

 private:
  void arrive(Side side, const std::string& bytes) {
    const size_t piece = split_ == 0 ? 2 * kWindowBytes : split_;
    for (size_t at = 0; at < bytes.size() && closed == CloseReason::none; at += piece) {
      left(side) += bytes.substr(at, piece);
      // The pump does not read a parked client; what had arrived before is presented later.
      if (side == Side::client && machine->parked()) continue;
      present(side);
    }
  }
  void present(Side side) {
    for (;;) {
      const bool waited = machine->parked();
      std::string bytes = std::exchange(left(side), {});
      std::vector<uint8_t> buffer(bytes.begin(), bytes.end());
      const size_t taken = machine->on_bytes(side, buffer, actions_);
      ASSERT_LE(taken, buffer.size());
      execute();
      std::fill_n(buffer.begin(), taken, uint8_t{0xee});  // whoever still points there is found out
      left(side) = std::string(buffer.begin() + static_cast<ptrdiff_t>(taken), buffer.end()) + left(side);
      if (!(side == Side::client && machine->parked())) {
        largest_leftover = std::max(largest_leftover, left(side).size());
        EXPECT_LT(left(side).size(), kWindowBytes) << "left over without being parked";
      }
      if (closed != CloseReason::none || !waited || machine->parked()) return;
      side = Side::client;  // the wait is over: the client's bytes are presented again
    }
  }
  void execute() {
    for (const Actions::Piece& piece : actions_.client())
      to_client.append(reinterpret_cast<const char*>(piece.data), piece.size);
    for (const Actions::Piece& piece : actions_.server())
      to_server.append(reinterpret_cast<const char*>(piece.data), piece.size);
    if (closed == CloseReason::none) {
      closed = actions_.close_reason();
      close_detail = actions_.close_detail();
    }
    actions_.clear();
  }
  std::string& left(Side side) { return left_[static_cast<size_t>(side)]; }

  size_t split_;
  Actions actions_;
  std::string left_[2];
};

// Every test of this kind runs with the bytes whole, one by one, and in small odd pieces.
class AnySplit : public ::testing::TestWithParam<size_t> {
 protected:
  Session session{GetParam()};
  ScriptedGate& gate = session.gate;
};

}  // namespace sluice::session::testing
