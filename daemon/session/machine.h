// A protocol machine: where a protocol meets policy. Events in, actions out; no sockets, clock, threads or log.
// PostgreSQL is the first; MySQL and HTTP stand behind the same interface, so the pump never changes.
// Lifetime: one Machine per session, on that session's worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "daemon/session/actions.h"
#include "daemon/session/gate.h"
#include "policies/cards/card_scanner.h"

namespace sluice::session {

// How far a session has come; the pump chooses its time-outs by it, and a drain ends sessions that are idle.
enum class Phase : uint8_t { startup, authentication, idle, busy, closing };

// Why the pump could not do what the session needs; the machine tells the client in its own protocol.
enum class Failure : uint8_t {
  upstream_unreachable,
  startup_timeout,
  log_unavailable,
  shutdown,
  killed,
  out_of_memory
};

class Machine {
 public:
  virtual ~Machine() = default;

  // Takes bytes of one side, all that are there, those it did not take last time at the front. May overwrite them in
  // place (masking). Returns how many it took; the rest is presented again with more behind it, or after resume().
  // Invariant: unless parked, what is left over is smaller than kWindowBytes, so the pump's buffer always has room.
  [[nodiscard]] virtual size_t on_bytes(Side from, std::span<uint8_t> bytes, Actions& actions) = 0;

  // The peer closed its sending direction.
  virtual void on_end(Side from, Actions& actions) = 0;

  // True while a submitted command is parked: the pump does not read that side. resume() is called when the gate may
  // have an answer, then on_bytes(client, leftover) again (also with an empty span). A client message may also have to
  // wait for the server's answer to an earlier one. Then parked() is true as well and turns false within a later
  // on_bytes(server): whenever that happens the pump presents on_bytes(client, leftover) again (also with an empty
  // span), without resume(). A needless resume() is harmless.
  [[nodiscard]] virtual bool parked() const = 0;
  virtual void resume(Actions& actions) = 0;

  // Tell the client why it ends, in its protocol; closes. Where a client would not understand that before it has spoken
  // (PostgreSQL: an error in place of the answer to SSLRequest counts as an attack), refusing() is true afterwards: the
  // client's bytes are presented as usual, and the machine closes when it has answered, or on a second failure.
  virtual void on_failure(Failure failure, std::string_view detail, Actions& actions) = 0;
  [[nodiscard]] virtual bool refusing() const { return false; }

  [[nodiscard]] virtual Phase phase() const = 0;

  // --- cancelling (a protocol without it keeps what stands here)
  // A command waits for the gate, and a cancel request that comes now is about it.
  [[nodiscard]] virtual bool cancellable() const { return false; }
  // A cancel request came for this session while something of it waited. Refuses the command that waits for the gate,
  // where the request is about it; then on_bytes(client, leftover) is called as after resume(). Says where else the
  // request has to go.
  enum class Cancelled : uint8_t { here, at_server, both };
  [[nodiscard]] virtual Cancelled on_cancel() { return Cancelled::at_server; }
  // The bytes that, on a connection of their own, ask the server to cancel what it runs for this session; empty where
  // it runs nothing.
  [[nodiscard]] virtual std::vector<uint8_t> cancel_request() const { return {}; }
};

// Largest piece that a machine may leave over for the next call (bytes). The pump's read buffer is at least twice as
// large.
inline constexpr size_t kWindowBytes = 32 * 1024;

struct MachineLimits {
  uint64_t statement_bytes_max = 16u << 20;
  uint64_t stand_in_seed = 0;  // random, fresh per session: names in stand-in statements are derived from it
};

// Gate and scanner outlive the machine.
[[nodiscard]] std::unique_ptr<Machine> make_postgres_machine(Gate& gate, policies::CardScanner& scanner,
                                                             const MachineLimits& limits);

}  // namespace sluice::session
