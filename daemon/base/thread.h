// A joined thread with a name and a stack of a stated size; std::thread has neither. Joins at the end of its life.
#pragma once

#include <pthread.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "daemon/base/result.h"

namespace sluice {

inline constexpr size_t kSmallStackBytes = 1u << 20;

class Thread {
 public:
  // `name`: at most 15 characters are shown by the system. All signals are blocked in it: they belong to the main
  // thread.
  [[nodiscard]] static Result<Thread> start(const std::string& name, size_t stack_bytes, std::function<void()> body);

  Thread() = default;
  Thread(Thread&& other) noexcept;
  Thread& operator=(Thread&& other) noexcept;
  ~Thread() { join(); }

  void join();

 private:
  pthread_t thread_{};
  bool joinable_ = false;
};

}  // namespace sluice
