// Where a cancel request finds the session that it is about. PostgreSQL's CancelRequest comes on a connection of its
// own and names a session by a key that the server gave it; a server that has not been sent the command yet ignores it.
// So a session enters the key here, and says while a command of it waits within Sluice; a cancel request that finds it
// waiting is handed to the session's worker instead of the server.
// Lifetime: one per daemon; slots belong to their sessions and end with them. Threading: any thread; the session's
// worker alone says that it waits. Limits: kSlotsMax; a session beyond it is cancelled by its server alone.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

namespace sluice::session {

class CancelDesk {
 public:
  static constexpr size_t kSlotsMax = 64 * 1024;

  // Hands the cancel to the session's worker. False where that takes no more.
  using Deliver = std::function<bool()>;

  class Slot {
   public:
    explicit Slot(Deliver deliver) : deliver_(std::move(deliver)) {}
    // The session's worker: a command waits within Sluice, or none does. What was cancelled meanwhile stays so until
    // it is taken.
    void set_waiting(bool waiting);
    // The session's worker: whether a cancel was handed over that has not been seen to. Once for each.
    [[nodiscard]] bool take();

   private:
    friend class CancelDesk;
    enum class State : uint8_t { elsewhere, waiting, cancelled };
    Deliver deliver_;
    std::atomic<State> state_{State::elsewhere};
  };
  using SlotRef = std::shared_ptr<Slot>;

  // A session got its key. Null where there is no room. A key that is known already now means this session.
  [[nodiscard]] SlotRef enter(std::string_view target, std::span<const uint8_t> key, Deliver deliver);
  // The session is over.
  void leave(std::string_view target, std::span<const uint8_t> key, const SlotRef& slot);
  // A cancel request. True where a command waited and its worker was told; otherwise it is the server's.
  [[nodiscard]] bool deliver(std::string_view target, std::span<const uint8_t> key);

  [[nodiscard]] size_t size() const;

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, SlotRef> slots_;
};

}  // namespace sluice::session
