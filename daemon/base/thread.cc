#include "daemon/base/thread.h"

#include <csignal>
#include <utility>

namespace sluice {
namespace {

void* run_body(void* argument) {
  const std::unique_ptr<std::function<void()>> body(static_cast<std::function<void()>*>(argument));
  (*body)();
  return nullptr;
}

}  // namespace

Result<Thread> Thread::start(const std::string& name, size_t stack_bytes, std::function<void()> body) {
  pthread_attr_t attributes;
  if (const int error = pthread_attr_init(&attributes); error != 0) return fail_errno("thread " + name, error);
  int error = pthread_attr_setstacksize(&attributes, stack_bytes);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // inherited by the new thread
  Thread thread;
  auto argument = std::make_unique<std::function<void()>>(std::move(body));
  if (error == 0) error = pthread_create(&thread.thread_, &attributes, run_body, argument.get());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (error != 0) return fail_errno("thread " + name, error);
  [[maybe_unused]] auto* const owned_by_the_thread = argument.release();
  pthread_setname_np(thread.thread_, name.substr(0, 15).c_str());
  thread.joinable_ = true;
  return thread;
}

Thread::Thread(Thread&& other) noexcept : thread_(other.thread_), joinable_(std::exchange(other.joinable_, false)) {}

Thread& Thread::operator=(Thread&& other) noexcept {
  if (this != &other) {
    join();
    thread_ = other.thread_;
    joinable_ = std::exchange(other.joinable_, false);
  }
  return *this;
}

void Thread::join() {
  if (std::exchange(joinable_, false)) pthread_join(thread_, nullptr);
}

}  // namespace sluice
