#include "daemon/io/event_loop.h"

#include <cerrno>

namespace sluice::io {

Result<EventLoop> EventLoop::create() {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return fail_errno("create epoll", errno);
  return EventLoop(std::move(epoll));
}

Status EventLoop::add(int fd, uint32_t epoll_events, FdHandler& handler) {
  epoll_event event{};
  event.events = epoll_events;
  event.data.ptr = &handler;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return fail_errno("watch descriptor", errno);
  return {};
}

void EventLoop::remove(int fd) {
  // Fails only for a descriptor that is not registered, and then what was wanted is so.
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

Result<int> EventLoop::sleep(int timeout_ms) {
  const int count = epoll_wait(epoll_.get(), events_.get(), kEventsPerWait, timeout_ms);
  if (count >= 0) return count;
  if (errno == EINTR) return 0;
  return fail_errno("wait for events", errno);
}

void EventLoop::dispatch(int count) {
  for (int i = 0; i < count; ++i) static_cast<FdHandler*>(events_[i].data.ptr)->on_ready(events_[i].events);
}

Status EventLoop::wait(int timeout_ms) {
  return wait(timeout_ms, [] {});
}

}  // namespace sluice::io
