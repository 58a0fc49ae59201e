#include "daemon/session/upstream_cancel.h"

#include <array>

namespace sluice::session {

UpstreamCancel::UpstreamCancel(uint64_t session, std::unique_ptr<io::Transport> transport, std::vector<uint8_t> request,
                               io::Timers& timers, uint64_t now_ms)
    : session_(session), transport_(std::move(transport)), request_(std::move(request)) {
  timers.arm(*this, now_ms + kTimeoutMs);
}

void UpstreamCancel::on_ready(uint32_t epoll_events) {
  if (done_) return;
  if (sent_ < request_.size() && (epoll_events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
    const iovec rest{request_.data() + sent_, request_.size() - sent_};
    const io::IoResult wrote = transport_->write({&rest, 1});
    if (wrote.state == io::IoState::error || wrote.state == io::IoState::end) done_ = true;
    if (wrote.state == io::IoState::ok) sent_ += wrote.bytes;
  }
  if (!done_ && (epoll_events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
    // A server says nothing to this; whatever it says is read and dropped until it closes.
    std::array<uint8_t, 256> nothing;
    io::IoResult got;
    do {
      got = transport_->read(nothing);
    } while (got.state == io::IoState::ok);
    done_ = got.state != io::IoState::would_block;
  }
}

}  // namespace sluice::session
