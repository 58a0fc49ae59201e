// The pump: moves the bytes of one session between its two transports, through its machine. It executes what the
// machine says and knows nothing of the protocol. Sockets are edge-triggered and registered once, so readiness is kept
// as flags here; a transaction costs one read and one write per direction. Lifetime: made by a worker for an accepted
// connection, destroyed by it after SessionHost::finished(). One worker only. Limits: session_limits.h. An idle session
// holds no buffer: reads go into the worker's, and what a machine leaves over is copied here.
//
// Invariants after every turn:
//   * bytes for the server never leave before the log is durable up to the barrier that the gate named for them;
//   * a side is read only while the other side's output is not backed up, and the client's only while no command is
//   parked;
//   * what is left over is smaller than kWindowBytes unless the machine is parked.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/io/event_loop.h"
#include "daemon/io/timers.h"
#include "daemon/io/transport.h"
#include "daemon/session/machine.h"
#include "daemon/session/output_queue.h"
#include "daemon/session/session_gate.h"
#include "daemon/session/session_limits.h"

namespace sluice::session {

class Session;

// What a session needs of its worker.
class SessionHost {
 public:
  virtual std::span<uint8_t> read_buffer() = 0;  // kReadBufferBytes, shared by all sessions of the worker
  virtual Actions& actions() = 0;
  virtual uint64_t now_ms() const = 0;   // of this turn
  virtual uint64_t durable() const = 0;  // the log is on disk up to this sequence
  virtual bool congested() const = 0;    // events wait for room in the ring: no session reads
  virtual void await_durable(Session& session, uint64_t sequence) = 0;  // then durable_reached()
  virtual void run_again(Session& session) = 0;                         // run() once more, after the others
  virtual io::Timers& timers() = 0;
  virtual void finished(Session& session) = 0;  // destroy it after this turn
  // Asks the server to cancel what it runs for the session. True where that is under way; then cancel_delivered() says
  // that the server has it, or never will.
  virtual bool cancel_at_server(Session& session) = 0;

 protected:
  ~SessionHost() = default;
};

class Session final : private io::Timer {
 public:
  // `server` may still be connecting. The gate outlives the machine; both belong to the session.
  Session(uint64_t serial, SessionHost& host, const SessionLimits& limits, std::unique_ptr<io::Transport> client,
          std::unique_ptr<io::Transport> server, std::unique_ptr<SessionGate> gate, std::unique_ptr<Machine> machine);
  ~Session() override;

  [[nodiscard]] uint64_t serial() const { return serial_; }
  [[nodiscard]] SessionGate& gate() { return *gate_; }
  [[nodiscard]] Phase phase() const { return close_reason_ != CloseReason::none ? Phase::closing : machine_->phase(); }
  [[nodiscard]] const SessionTotals& totals() const { return totals_; }
  [[nodiscard]] bool finished() const { return finished_; }

  // For the worker's epoll.
  [[nodiscard]] io::FdHandler& handler(Side side) { return end(side).handler; }
  [[nodiscard]] io::Transport& transport(Side side) { return *end(side).transport; }

  void run();               // does what can be done now
  void durable_reached();   // the log is durable up to a sequence that was asked for
  void resume();            // a parked command may have its answer
  void cancel_command();    // a cancel request came while a command waited here
  void cancel_delivered();  // the server has the cancel request that it was sent
  void log_failed();        // bytes that wait for the log will never leave: the session ends
  void fail(Failure failure, std::string_view detail);  // tells the client, ends
  void drain();                                         // end as soon as it is idle
  void abandon(std::string_view detail);                // end now: what could not be delivered is lost

  // The machine's, for whoever ends the session.
  [[nodiscard]] std::vector<uint8_t> cancel_request() const { return machine_->cancel_request(); }

  // Memory that this session holds beside itself, machine and gate (bytes); for the tests of the bound.
  [[nodiscard]] size_t buffered_bytes() const;

 private:
  struct Handler final : io::FdHandler {
    Session* session = nullptr;
    Side side = Side::client;
    void on_ready(uint32_t epoll_events) override { session->on_ready(side, epoll_events); }
  };
  struct End {
    std::unique_ptr<io::Transport> transport;
    Handler handler;
    OutputQueue out;
    std::vector<uint8_t> leftover;
    bool readable = false;
    bool writable = false;
    bool hung_up = false;  // end of file stands behind what can be read: a short read does not mean "nothing more"
    bool read_closed = false;
    bool write_closing = false;  // shut down once `out` is empty
    bool write_closed = false;
    bool broken = false;         // reset or failed: nothing can be read or written any more
    uint64_t look_again_ms = 0;  // when to try to write although no event said that there is room; 0: an event will
    uint32_t patience_ms = 0;    // how long it waited for that the last time
  };

  End& end(Side side) { return ends_[static_cast<size_t>(side)]; }
  const End& end(Side side) const { return ends_[static_cast<size_t>(side)]; }
  void on_ready(Side side, uint32_t epoll_events);
  void on_timer(uint64_t now_ms) override;

  bool finish_connecting(uint32_t epoll_events);
  void work();
  [[nodiscard]] bool may_read(Side side) const;
  size_t read_some(Side side);
  void feed(Side side, size_t size);
  void feed_leftover();
  void after_step();
  void read_ended(Side side);
  void broke(Side side, int error_number);
  void execute();
  void send(Side side, std::span<const Actions::Piece> pieces, uint64_t barrier);
  void stop_writing(End& to, const io::IoResult& result);
  size_t write_now(End& to, std::span<const Actions::Piece> pieces);
  bool flush(Side side);
  void begin_close(CloseReason reason, std::string_view detail);
  void work_closing();
  void discard_input(End& from);
  void finish();
  [[nodiscard]] uint64_t deadline_ms() const;
  void watch_deadline();
  void watch_cancel();
  void take_cancel();
  void send_cancel();
  [[nodiscard]] uint64_t limit_ms() const;
  [[nodiscard]] bool look_again(uint64_t now_ms);
  [[nodiscard]] bool settled() const;

  const uint64_t serial_;
  SessionHost& host_;
  const SessionLimits& limits_;
  std::unique_ptr<SessionGate> gate_;
  std::unique_ptr<Machine> machine_;
  std::array<End, 2> ends_;
  SessionTotals totals_;
  uint64_t started_ms_ = 0;
  uint64_t active_ms_ = 0;  // last time that bytes moved
  uint64_t close_started_ms_ = 0;
  CloseReason close_reason_ = CloseReason::none;
  std::string close_detail_;
  bool connecting_ = true;
  bool draining_ = false;
  bool was_parked_ = false;
  bool command_waits_ = false;  // as the gate was told
  // A cancel request for the server: behind what still waits for the log, then on its way. It is about what the client
  // had sent before it, so until the server has it no more of the client's bytes are looked at.
  enum class Cancel : uint8_t { none, when_sent, under_way };
  Cancel cancel_ = Cancel::none;
  bool working_ = false;
  bool finished_ = false;
};

}  // namespace sluice::session
