// One epoll instance and the handlers behind its descriptors. One per worker thread; nothing here is shared between
// threads. Descriptors are registered once, edge-triggered in both directions, and never touched again until they go: a
// session costs no epoll_ctl per transaction. A handler therefore keeps readiness as flags of its own. Limits:
// kEventsPerWait events per wait, so that timers and the mailbox get their turn.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <memory>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace sluice::io {

// A handler must live until the wait() during which it was removed has returned: events of the same batch may still
// name it.
class FdHandler {
 public:
  virtual void on_ready(uint32_t epoll_events) = 0;

 protected:
  ~FdHandler() = default;
};

class EventLoop {
 public:
  static constexpr int kEventsPerWait = 64;
  static constexpr uint32_t kBothWays = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

  [[nodiscard]] static Result<EventLoop> create();

  [[nodiscard]] Status add(int fd, uint32_t epoll_events, FdHandler& handler);
  void remove(int fd);

  // Waits at most `timeout_ms` (-1: for ever) and calls the handlers. An interrupted wait counts as an empty one.
  [[nodiscard]] Status wait(int timeout_ms);
  // Called between the wait and the handlers, so that they see the time after the sleep.
  template <typename AfterSleep>
  [[nodiscard]] Status wait(int timeout_ms, AfterSleep&& after_sleep) {
    auto count = sleep(timeout_ms);
    if (!count) return tl::unexpected(count.error());
    after_sleep();
    dispatch(*count);
    return {};
  }

 private:
  explicit EventLoop(UniqueFd epoll)
      : epoll_(std::move(epoll)), events_(std::make_unique<epoll_event[]>(kEventsPerWait)) {}
  [[nodiscard]] Result<int> sleep(int timeout_ms);
  void dispatch(int count);

  UniqueFd epoll_;
  std::unique_ptr<epoll_event[]> events_;
};

}  // namespace sluice::io
