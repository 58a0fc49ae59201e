// How other threads speak to a worker: letters under a mutex, and an eventfd in the worker's epoll. For arrivals,
// answers of the analysis and control calls; commands and their events never pass here. Threading: post() from any
// thread; the rest on the owner's. Limit: kLettersMax waiting letters, past which post() says no.
#pragma once

#include <cstddef>
#include <functional>
#include <mutex>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"
#include "daemon/io/event_loop.h"

namespace sluice::io {

using Letter = std::function<void()>;

class Mailbox final : public FdHandler {
 public:
  static constexpr size_t kLettersMax = 65'536;

  [[nodiscard]] static Result<std::unique_ptr<Mailbox>> create();

  // False where the mailbox is full or closed; then the letter was not taken.
  [[nodiscard]] bool post(Letter letter);
  // After this, post() says no. Letters that are there are still delivered.
  void close();

  [[nodiscard]] int fd() const { return event_.get(); }
  void on_ready(uint32_t epoll_events) override;
  // Delivers what is there; also called once at the end of the owner's life, so that nobody waits for an answer in
  // vain.
  void deliver();

 private:
  explicit Mailbox(UniqueFd event) : event_(std::move(event)) {}

  UniqueFd event_;
  std::mutex mutex_;
  std::vector<Letter> letters_;
  std::vector<Letter> delivering_;
  bool closed_ = false;
};

}  // namespace sluice::io
