#include "daemon/io/mailbox.h"

#include <sys/eventfd.h>

#include <cerrno>
#include <cstdint>

namespace sluice::io {

Result<std::unique_ptr<Mailbox>> Mailbox::create() {
  UniqueFd event(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!event.valid()) return fail_errno("create eventfd", errno);
  return std::unique_ptr<Mailbox>(new Mailbox(std::move(event)));
}

bool Mailbox::post(Letter letter) {
  const std::lock_guard lock(mutex_);
  if (closed_ || letters_.size() >= kLettersMax) return false;
  letters_.push_back(std::move(letter));
  if (letters_.size() == 1) {
    const uint64_t one = 1;
    // EAGAIN would mean that the counter is full, and then the owner is awake anyway.
    [[maybe_unused]] const ssize_t written = ::write(event_.get(), &one, sizeof one);
  }
  return true;
}

void Mailbox::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

void Mailbox::on_ready(uint32_t) {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(event_.get(), &count, sizeof count);
  deliver();
}

void Mailbox::deliver() {
  {
    const std::lock_guard lock(mutex_);
    delivering_.swap(letters_);
  }
  for (Letter& letter : delivering_) letter();
  delivering_.clear();
}

}  // namespace sluice::io
