// The whole PostgreSQL machine between a client that does what the input says and a server that keeps to the protocol,
// the same conversation once with whole reads and once in small pieces. Holds:
//   * a server that keeps to the protocol is never taken for one that does not;
//   * no card number reaches the client;
//   * what is left over is bounded unless parked, and every command completes once, and does so when the session is
//   idle;
//   * the split of the bytes changes nothing, unless one side had to wait for the other.
// By its first byte an input may instead be
//   * a conversation in which one side or both depart from the protocol (postgres_liar.h): no card number and no
//   stand-in reaches the client, nothing malformed reaches a server that keeps to the protocol, and no split changes
//   anything;
//   * fed as it stands to both sides: nothing may crash, and no card number may pass.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "daemon/session/machine.h"
#include "parsers/postgres/framing.h"
#include "parsers/postgres/frontend.h"
#include "tests/fuzz/choices.h"
#include "tests/fuzz/postgres_liar.h"
#include "tests/fuzz/postgres_model_server.h"
#include "tests/unit/daemon/session/postgres_messages.h"

namespace {

using namespace sluice;
using namespace sluice::session;
using namespace sluice::session::fuzzing;
using sluice::fuzzing::Choices;
namespace fe = sluice::session::testing::fe;
namespace be = sluice::session::testing::be;

constexpr size_t kOperationsMax = 40;

class Scanner final : public policies::CardScanner {
 public:
  void scan(std::span<const policies::ValueView> values, std::vector<policies::Finding>& findings,
            std::span<size_t> settled) override {
    findings.clear();
    for (size_t i = 0; i < values.size(); ++i) {
      const std::string_view bytes(reinterpret_cast<const char*>(values[i].bytes.data()), values[i].bytes.size());
      size_t last_end = 0;
      for (size_t at = bytes.find(kPan); at != bytes.npos; at = bytes.find(kPan, at + kPan.size())) {
        policies::Finding finding;
        finding.value = static_cast<uint32_t>(i);
        finding.offset = static_cast<uint32_t>(at);
        finding.length = kPan.size();
        finding.column = values[i].column;
        findings.push_back(finding);
        last_end = at + kPan.size();
      }
      const bool open = values[i].part == policies::ValuePart::first || values[i].part == policies::ValuePart::middle;
      if (open && settled.empty()) broken("parts without a place for what is settled");
      if (!settled.empty())
        settled[i] = open ? std::max(last_end, bytes.size() - std::min(bytes.size(), kPan.size() - 1)) : bytes.size();
    }
  }
  void mask(std::span<policies::ValueView> values, std::span<const policies::Finding> findings,
            policies::MaskStyle) override {
    for (const policies::Finding& finding : findings)
      std::memset(values[finding.value].bytes.data() + finding.offset + 6, '*', 6);
  }
};

// Decides by the text alone, so that both runs decide alike. A park is answered by the second submission.
class ScriptedGate final : public Gate {
 public:
  Answer submit(const CommandRequest& request) override {
    const std::string text = request.statement ? request.statement->masked_text : std::string(request.text);
    if (request.withdrawn) {
      parked = false;
      return Refused{"cancelled", "57014"};
    }
    cancelled = text.find("cancelled") != text.npos;
    if (text.find("park") != text.npos && !parked) {
      parked = true;
      return Parked{};
    }
    parked = false;
    const bool refuse_here =
        request.stage == Stage::bind || request.stage == Stage::execute ? text.find("late") != text.npos : true;
    if (text.find("refuse") != text.npos && refuse_here) return Refused{"refused", "42501"};
    Passed passed{policies::Permit::for_upkeep(policies::Upkeep::cancel), nullptr, 0};
    if (request.stage == Stage::query || request.stage == Stage::parse) {
      auto statement = std::make_shared<Statement>();
      statement->masked_text = text;
      statement->facts.kinds_complete = text.find("unknown") == text.npos;
      statement->copies_in = text.find("COPYIN") != text.npos;
      statement->may_change_settings = text.find("SET") != text.npos;
      if (text.find("DEALLOCATE") != text.npos) statement->deallocates = {"*"};
      passed.statement = statement;
    }
    if (request.record_intent) {
      passed.command = ++last;
      open.insert(last);
    }
    return passed;
  }
  void complete(CommandId command, const Completion&, std::span<const FindingCount>) override {
    if (command != 0 && open.erase(command) == 0) broken("completed twice, or never begun");
  }
  void claimed(const policies::ClaimedIdentity&) override {}
  void note(SessionNote, std::string_view) override {}
  void cancel_key(std::span<const uint8_t>) override {}

  bool parked = false;
  bool cancelled = false;  // what is parked is cancelled instead of answered
  CommandId last = 0;
  std::set<CommandId> open;
};

class Conversation {
 public:
  explicit Conversation(size_t split, Server::Sent sent = Server::Sent::what_is_well_formed)
      : split_(split), model_(sent) {
    MachineLimits limits;
    limits.statement_bytes_max = 40'000;
    limits.stand_in_seed = 7;
    machine_ = make_postgres_machine(gate, scanner_, limits);
  }
  void client(const std::string& bytes) { arrive(Side::client, bytes); }
  void server(const std::string& bytes) { arrive(Side::server, bytes); }
  // Lets the model server answer what it was sent, until nothing moves.
  void answer(Liar* liar = nullptr) {
    while (!closed && asked_ < to_server.size()) {
      const std::string bytes = to_server.substr(asked_);
      asked_ = to_server.size();
      const std::string said = model_.take(bytes);
      server(liar != nullptr ? liar->tell(said) : said);
    }
  }
  // What was sent so far (the start-up message) is not for the model.
  void begin() { asked_ = to_server.size(); }
  [[nodiscard]] Phase phase() const { return machine_->phase(); }

  ScriptedGate gate;
  std::string to_client, to_server, detail;
  bool closed = false;
  bool waited_for_server = false;
  size_t authenticated_at = 0;  // where in `to_client` what the password exchange said ends

 private:
  void arrive(Side side, const std::string& bytes) {
    // Much data in tiny pieces takes long and says no more.
    const size_t piece = bytes.size() < 4096 ? split_ : std::max<size_t>(split_, 1021);
    for (size_t at = 0; at < bytes.size() && !closed; at += piece) {
      std::string& left = left_[static_cast<size_t>(side)];
      left += bytes.substr(at, piece);
      if (side == Side::server || !machine_->parked()) present(side);
    }
  }
  void present(Side side) {
    for (;;) {
      const bool waited = machine_->parked();
      std::string& left = left_[static_cast<size_t>(side)];
      std::vector<uint8_t> buffer(left.begin(), left.end());
      const Phase before = machine_->phase();
      const size_t taken = machine_->on_bytes(side, buffer, actions_);
      if (taken > buffer.size()) broken("took more than there was");
      execute();
      if (before == Phase::startup || before == Phase::authentication) authenticated_at = to_client.size();
      left.assign(buffer.begin() + static_cast<ptrdiff_t>(taken), buffer.end());
      if (closed) return;
      const bool parked = machine_->parked();
      waited_for_server = waited_for_server || (parked && !gate.parked);
      if (!(side == Side::client && parked) && left.size() >= kWindowBytes) broken("too much left over");
      if (parked && gate.parked) {
        if (!gate.cancelled || machine_->on_cancel() == Machine::Cancelled::at_server) machine_->resume(actions_);
        execute();
      } else if (!waited || parked) {
        return;
      }
      side = Side::client;
    }
  }
  void execute() {
    for (const Actions::Piece& piece : actions_.client())
      to_client.append(reinterpret_cast<const char*>(piece.data), piece.size);
    for (const Actions::Piece& piece : actions_.server())
      to_server.append(reinterpret_cast<const char*>(piece.data), piece.size);
    if (actions_.close_reason() != CloseReason::none) {
      closed = true;
      detail = actions_.close_detail();
    }
    actions_.clear();
  }

  size_t split_;
  Scanner scanner_;
  Actions actions_;
  std::unique_ptr<Machine> machine_;
  Server model_;
  std::string left_[2];
  size_t asked_ = 0;
};

constexpr const char* kTexts[] = {"",
                                  "rows",
                                  "rows a notice",
                                  "rows large",
                                  "fail",
                                  "refuse",
                                  "refuse late",
                                  "park rows",
                                  "SET on",
                                  "SET off",
                                  "rows '\\'",
                                  "COPYIN",
                                  "COPYOUT",
                                  "COPYOUT cut elsewhere",
                                  "unknown rows",
                                  "DEALLOCATE",
                                  "syntax",
                                  "rows fail",
                                  "park COPYIN",
                                  "unknown COPYIN",
                                  "refuse park",
                                  "notice fail",
                                  "COPYIN BINARY",
                                  "COPYOUT BINARY",
                                  "COPYOUT BINARY cut elsewhere, with async",
                                  "COPYOUT BINARY large",
                                  "COPYOUT async",
                                  "rows async",
                                  "rows in parts",
                                  "park cancelled rows",
                                  "park cancelled COPYIN BINARY"};
constexpr const char* kNames[] = {"", "s", "t"};

std::string operation(Choices& choices) {
  const uint8_t what = choices.next();
  const std::string text = kTexts[choices.next() % std::size(kTexts)];
  const char* name = kNames[what / 16 % 3];
  switch (what % 16) {
    case 0:
      return fe::query(text);
    case 1:
      return fe::parse(name, text);
    case 2:
      return fe::bind("", name, {"value"});
    case 3:
      return fe::bind("p", name, {std::nullopt, std::string(kPan)});
    case 4:
      return fe::describe('S', name);
    case 5:
      return fe::describe('P', "");
    case 6:
      return fe::execute("");
    case 7:
      return fe::execute("p", 1);
    case 8:
      return fe::close('S', name);
    case 9:
      return fe::sync();
    case 10:
      return fe::flush();
    case 11:
      return fe::function_call(what / 16, {"x"}, fe::Format::text);
    case 12:
      switch (what / 16) {
        case 0:
          return fe::copy_data(testing::binary_copy::header());
        case 1:
          return fe::copy_data(testing::binary_copy::row({"x", std::nullopt}));
        case 2:
          return fe::copy_data(testing::binary_copy::row({"x", "yz"}).substr(0, 9)) +
                 fe::copy_data(testing::binary_copy::row({"x", "yz"}).substr(9));
        case 3:
          return fe::copy_data(testing::binary_copy::trailer());
        case 4:
          return fe::copy_data(testing::binary_copy::header() + testing::binary_copy::row({"only one"}));
        default:
          return fe::copy_data("1\tx\n");
      }
    case 13:
      return what / 16 % 2 == 0 ? fe::copy_done() : fe::copy_fail("no");
    case 14:
      return fe::parse(name, text) + fe::bind("", name) + fe::execute("") + fe::sync();
    default:
      return what / 16 == 15 ? fe::query(std::string(40'001, 'x'))
                             : fe::bind("", name, {std::string(what / 16 * 3'000u, 'v')});
  }
}

void talk(Conversation& conversation, Choices choices) {
  // Version 3.0, 3.2 or one of the future, with an option that nobody knows, and a server that negotiates down or not.
  const uint8_t version = choices.next();
  const uint16_t minor = version % 4 == 1 ? 2 : version % 4 == 2 ? 9999 : 0;
  conversation.client((version & 16) != 0 ? fe::startup({{"user", "u"}, {"_pq_.option", "x"}}, minor)
                                          : fe::startup({{"user", "u"}}, minor));
  const std::string down =
      minor > 0 && (version & 32) != 0 ? testing::message('v', testing::W().u32(0x30000).u32(0)) : "";
  const std::string key(version % 8 == 1 ? 256 : 4, 'k');
  conversation.server(down + be::authentication(0) + be::parameter("client_encoding", "UTF8") +
                      be::parameter("standard_conforming_strings", "on") +
                      testing::message('K', testing::W().u32(7).text(key)) + be::ready());
  conversation.begin();
  for (size_t i = 0; i < kOperationsMax && !choices.done() && !conversation.closed; ++i) {
    // Sometimes the server answers at once, sometimes the client runs ahead.
    const bool at_once = choices.next() % 2 == 0;
    conversation.client(operation(choices));
    if (at_once) conversation.answer();
  }
  conversation.answer();
  conversation.client(fe::copy_done() + fe::sync());
  conversation.answer();
}

void check_nothing_leaks(const Conversation& conversation, size_t from = 0) {
  if (conversation.to_client.find(kPan, from) != std::string::npos) broken("a card number reached the client");
  if (conversation.to_client.find("sluice_") != std::string::npos) broken("the name of a stand-in reached the client");
}

void check(const Conversation& conversation) {
  check_nothing_leaks(conversation);
  if (conversation.closed && conversation.detail != "unexpected message type during COPY from stdin") {
    broken("a session that keeps to the protocol was ended:", conversation.detail);
  }
  if (!conversation.closed && conversation.phase() != Phase::idle) broken("not idle after Sync");
  if (!conversation.closed && !conversation.gate.open.empty()) broken("a command never completed");
}

// The password exchange of one method, or none.
void authenticate(Conversation& conversation, Choices& choices, Liar* client, Liar* server) {
  const auto ask = [&](uint32_t code, std::string_view rest) {
    const std::string asked = be::authentication(code, rest);
    conversation.server(server != nullptr ? server->tell(asked) : asked);
    if (code == 12) return;  // SASLFinal has no answer
    const std::string answer = fe::password("answer");
    conversation.client(client != nullptr ? client->tell(answer) : answer);
  };
  switch (choices.next() % 4) {
    case 1:
      ask(3, "");
      break;
    case 2:
      ask(5, "salt");
      break;
    case 3:
      ask(10, std::string_view("SCRAM-SHA-256\0\0", 15));
      ask(11, "r=nonce");
      ask(12, "v=proof");
      break;
    default:
      break;
  }
}

// Who departs from the protocol, and the whole conversation that comes of it.
void talk_with_lies(Conversation& conversation, Choices choices, bool client_lies, bool server_lies) {
  Liar client_liar(Liar::As::client, choices), server_liar(Liar::As::server, choices);
  Liar* const client = client_lies ? &client_liar : nullptr;
  Liar* const server = server_lies ? &server_liar : nullptr;
  conversation.client(fe::startup({{"user", "u"}}));
  authenticate(conversation, choices, client, server);
  const std::string welcome = be::authentication(0) + be::parameter("client_encoding", "UTF8") +
                              be::parameter("standard_conforming_strings", "on") + be::key_data() + be::ready();
  conversation.server(server_lies ? server->tell(welcome) : welcome);
  conversation.begin();
  for (size_t i = 0; i < kOperationsMax && !choices.done() && !conversation.closed; ++i) {
    const uint8_t how = choices.next();
    const std::string said = operation(choices);
    conversation.client(client_lies ? client->tell(said) : said);
    if (how % 2 == 0) conversation.answer(server);
    if (how % 16 == 15 && server_lies) conversation.server(server->unasked());
  }
  conversation.answer(server);
}

void raw(Choices choices) {
  Conversation conversation(1 + choices.next() * 16u);
  conversation.client(fe::startup({{"user", "u"}}));
  conversation.server(be::authentication(0) + be::ready());
  while (!choices.done() && !conversation.closed) {
    const uint8_t what = choices.next();
    const auto bytes = choices.take(what / 2);
    if (what % 2 == 0) {
      conversation.client({bytes.begin(), bytes.end()});
    } else {
      conversation.server({bytes.begin(), bytes.end()});
    }
  }
  check_nothing_leaks(conversation, conversation.authenticated_at);
}

void check_split(const Conversation& whole, const Conversation& cut) {
  // Where the client's messages waited for the server's, how much of its answer had come decides what they find.
  if (whole.waited_for_server || cut.waited_for_server) return;
  if (whole.to_client != cut.to_client) broken("the split changed what the client gets");
  if (whole.to_server != cut.to_server) broken("the split changed what the server gets");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Choices choices(data, size);
  const uint8_t mode = choices.next();
  if (mode % 4 == 1) {
    raw(choices);
    return 0;
  }
  const bool honest = mode % 2 == 0;
  const bool server_lies = !honest && (mode & 16) == 0, client_lies = !honest && (mode & 12) != 0;
  const auto sent = server_lies ? Server::Sent::anything : Server::Sent::what_is_well_formed;
  Conversation whole(2 * kWindowBytes, sent);
  Conversation cut(mode < 4 ? 1 + mode : 16 + mode * 37u, sent);  // byte by byte is slow: not always
  for (Conversation* const conversation : {&whole, &cut}) {
    if (honest) {
      talk(*conversation, choices);
      check(*conversation);
    } else {
      talk_with_lies(*conversation, choices, client_lies, server_lies);
      // What a lying server asks in the password exchange goes by as it is.
      check_nothing_leaks(*conversation, conversation->authenticated_at);
    }
  }
  check_split(whole, cut);
  return 0;
}
