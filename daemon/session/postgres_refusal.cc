// Refusals. In place of what is refused the server gets something that it must refuse as well, and its error is
// rewritten on the way back: aborted transactions, skipped pipelines and the rest are then the server's own state.
#include <algorithm>
#include <array>

#include "daemon/session/postgres_machine.h"

namespace sluice::session {
namespace {

using policies::Permit;
using policies::Upkeep;

constexpr std::string_view kAbortedTransaction = "25P02";
constexpr std::string_view kQueryCanceled = "57014";

// SplitMix64: well spread names from one seed.
uint64_t next_random(uint64_t& state) {
  state += 0x9e3779b97f4a7c15;
  uint64_t z = state;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

}  // namespace

std::string PostgresMachine::random_name() {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string name = "sluice_";
  for (int word = 0; word < 2; ++word) {
    uint64_t value = next_random(random_state_);
    for (int digit = 0; digit < 16; ++digit, value >>= 4) name += kHex[value & 15];
  }
  return name;
}

// `name`: of a refused Parse; it loses its meaning as it would in the server.
void PostgresMachine::stand_in_for(PendingKind kind, Refused refused, std::string_view name, Actions& actions) {
  Pending pending;
  pending.kind = kind;
  pending.stand_in =
      std::make_unique<StandIn>(StandIn{std::move(refused.message), std::move(refused.sqlstate), random_name(), false});
  const std::string& token = pending.stand_in->token;
  // Valid SQL that fails in analysis: a syntax error would be 42601 even within an aborted transaction.
  const std::string text = "SELECT pg_catalog." + token + "()";
  std::vector<uint8_t> message;
  switch (kind) {
    case PendingKind::query:
      message = postgres::build_query(text);
      break;
    case PendingKind::parse:
      message = postgres::build_parse(name, text);
      pending.name = name;
      statements_.begin(name, nullptr, segment_);
      break;
    case PendingKind::bind:
      message = postgres::build_bind({}, token);
      break;
    case PendingKind::execute:
      message = postgres::build_execute(token);
      break;
    default:
      message = postgres::build_function_call(0);
      break;  // no function has OID 0
  }
  actions.to_server_copy(message, Permit::for_upkeep(Upkeep::stand_in));
  // The server will ignore what follows until Sync, so nothing of it needs a decision, and nothing of it is sent.
  discarding_ = !pending.ends_segment();
  push(std::move(pending));
}

// A statement text over its limit: refused without having been read. `head` is the beginning of its body.
void PostgresMachine::refuse_large(uint8_t tag, ConstBytes head, Actions& actions) {
  const std::string message =
      "statement is longer than statement_bytes_max (" + std::to_string(limits_.statement_bytes_max) + " bytes)";
  gate_.note(SessionNote::limit_exceeded, message);
  std::string_view name;
  if (tag == postgres::frontend::kParse) {
    const auto end = std::find(head.begin(), head.end(), uint8_t{0});
    const auto length = static_cast<size_t>(end - head.begin());
    if (end != head.end() && length <= postgres::kNameBytesMax)
      name = {reinterpret_cast<const char*>(head.data()), length};
  }
  stand_in_for(tag == postgres::frontend::kParse ? PendingKind::parse : PendingKind::query, {message, "54000"}, name,
               actions);
}

// COPY data that is not what it should be, or that must not be written. None of it that is not understood has gone to
// the server, and none of what follows will; the COPY fails as the server itself would have had it fail.
void PostgresMachine::refuse_copy_in(std::string_view why, std::string_view sqlstate, Actions& actions) {
  Pending& head = pending_.front();
  head.stand_in = std::make_unique<StandIn>(StandIn{std::string(why), std::string(sqlstate), random_name(), true});
  ++stand_ins_;
  copy_in_ = false;
  // A text that fails begins no other COPY, and what the client sends from here on may be waiting for its own.
  head.may_copy_in = false;
  actions.to_server_copy(postgres::build_copy_fail(head.stand_in->token), Permit::for_upkeep(Upkeep::stand_in));
}

// Is this error the server's answer to the stand-in itself? Errors with another cause stay what they are, unless they
// would tell the client the name that stood in.
bool PostgresMachine::rewrites(const StandIn& stand_in, bool fatal, std::string_view sqlstate,
                               ConstBytes message) const {
  const bool other_cause =
      fatal || sqlstate == kAbortedTransaction || (sqlstate == kQueryCanceled && !stand_in.cancels_copy);
  return !other_cause || mentions_stand_in(message);
}

bool PostgresMachine::mentions_stand_in(ConstBytes message) const {
  return std::any_of(pending_.begin(), pending_.end(), [message](const Pending& pending) {
    if (!pending.stand_in) return false;
    const std::string& token = pending.stand_in->token;
    return std::search(message.begin(), message.end(), token.begin(), token.end()) != message.end();
  });
}

}  // namespace sluice::session
