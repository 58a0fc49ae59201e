#include "daemon/command/analysis_pool.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <utility>

namespace sluice::command {
namespace {

constexpr size_t kGuardBytes =
    64u << 10;  // below the stack: running over it faults instead of writing into a neighbour

}  // namespace

sql::Analysis unknown_analysis(std::string_view why) {
  sql::Analysis analysis;  // its defaults are the careful ones: nothing complete, may change settings
  analysis.kinds.push_back(sql::Kind::unknown);
  analysis.why_unknown = why;
  return analysis;
}

// --- mailbox ---------------------------------------------------------------------------------------------------------

Result<std::shared_ptr<AnalysisMailbox>> AnalysisMailbox::create() {
  UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.valid()) return fail_errno("analysis mailbox: eventfd", errno);
  return std::make_shared<AnalysisMailbox>(std::move(event));
}

std::vector<AnalysisAnswer> AnalysisMailbox::take() {
  uint64_t ignored = 0;
  // The event is cleared before the answers are taken: an answer put in between raises it again, so none is ever left
  // behind silently. EAGAIN (nothing was put) is not an error here.
  [[maybe_unused]] const ssize_t n = ::read(event_.get(), &ignored, sizeof ignored);
  std::vector<AnalysisAnswer> answers;
  const std::lock_guard lock(mutex_);
  answers.swap(answers_);
  return answers;
}

void AnalysisMailbox::put(AnalysisAnswer answer) {
  {
    const std::lock_guard lock(mutex_);
    answers_.push_back(std::move(answer));
  }
  const uint64_t one = 1;
  // EAGAIN means that the counter is at its maximum, which is readable too; anything else is our own bug.
  const ssize_t n = ::write(event_.get(), &one, sizeof one);
  assert(n == sizeof one || errno == EAGAIN);
  (void)n;
}

// --- pool ------------------------------------------------------------------------------------------------------------

Result<std::unique_ptr<AnalysisPool>> AnalysisPool::start(const PoolLimits& limits) {
  assert(limits.threads > 0);
  std::unique_ptr<AnalysisPool> pool(new AnalysisPool(limits));
  if (const Status spawned = pool->spawn(); !spawned) return within("start analysis threads", spawned.error());
  return pool;
}

Status AnalysisPool::spawn() {
  pthread_attr_t attributes;
  if (const int error = pthread_attr_init(&attributes); error != 0) return fail_errno("pthread_attr_init", error);
  int error = pthread_attr_setstacksize(&attributes, sql::kAnalysisStackBytes);
  if (error == 0) error = pthread_attr_setguardsize(&attributes, kGuardBytes);
  std::string why;
  for (size_t i = 0; i < limits_.threads && error == 0; ++i) {
    auto crew = std::make_unique<Crew>();
    crew->pool = this;
    crew->scanner = policies::CardScanner::create(why);
    if (crew->scanner == nullptr) break;
    error = pthread_create(&crew->thread, &attributes, thread_main, crew.get());
    if (error == 0) {
      pthread_setname_np(crew->thread, "analysis");
      crews_.push_back(std::move(crew));
    }
  }
  pthread_attr_destroy(&attributes);
  if (!why.empty()) return fail("card scanner of an analysis thread: " + why);
  if (error != 0) return fail_errno("thread with a sized stack", error);  // the destructor joins those that did start
  return {};
}

AnalysisPool::~AnalysisPool() {
  stop();
}

std::optional<sql::Analysis> AnalysisPool::submit(std::shared_ptr<AnalysisMailbox> mailbox, AnalysisJob job) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return unknown_analysis("analysis is stopping");
    if (queue_.size() >= limits_.queue_jobs_max || job.text.size() > limits_.queue_bytes_max - queue_bytes_) {
      ++counters_.refused_full;
      return unknown_analysis("analysis queue full");
    }
    queue_bytes_ += job.text.size();
    queue_.push_back({std::move(mailbox), std::move(job), Clock::now()});
  }
  work_.notify_one();
  return std::nullopt;
}

bool AnalysisPool::has_room(size_t text_bytes) const {
  const std::lock_guard lock(mutex_);
  if (stopping_ || text_bytes > limits_.queue_bytes_max) return true;
  return queue_.size() < limits_.queue_jobs_max && text_bytes <= limits_.queue_bytes_max - queue_bytes_;
}

void AnalysisPool::stop() {
  std::deque<Waiting> abandoned;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    abandoned.swap(queue_);
    queue_bytes_ = 0;
  }
  work_.notify_all();
  for (const auto& crew : crews_) pthread_join(crew->thread, nullptr);
  for (Waiting& waiting : abandoned) {
    answer(waiting, unknown_analysis("analysis is stopping"), *crews_.front()->scanner);
  }
  crews_.clear();
}

AnalysisPool::Counters AnalysisPool::counters() const {
  const std::lock_guard lock(mutex_);
  Counters now = counters_;
  now.waiting = queue_.size();
  now.waiting_bytes = queue_bytes_;
  return now;
}

void* AnalysisPool::thread_main(void* crew) {
  const auto& mine = *static_cast<Crew*>(crew);
  mine.pool->run(*mine.scanner);
  return nullptr;
}

void AnalysisPool::run(policies::CardScanner& scanner) {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;  // stop() took what was waiting and answers it
    Waiting next = std::move(queue_.front());
    queue_.pop_front();
    assert(queue_bytes_ >= next.job.text.size());
    queue_bytes_ -= next.job.text.size();
    const Clock::time_point begun = Clock::now();
    const bool expired = begun - next.since > limits_.wait_max;
    ++(expired ? counters_.expired : counters_.analysed);
    lock.unlock();
    if (expired) {
      answer(next, unknown_analysis("analysis did not get its turn in time"), scanner);
    } else {
      const sql::TextSettings settings{next.job.client_encoding, next.job.standard_conforming_strings,
                                       next.job.certain};
      answer(next, sql::analyze(next.job.text, settings, limits_.analysis), scanner);
    }
    const auto took = Clock::now() - begun;
    lock.lock();
    if (!expired) {
      counters_.took.add(static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(took).count()));
    }
  }
}

void AnalysisPool::answer(Waiting& waiting, sql::Analysis analysis, policies::CardScanner& scanner) {
  waiting.mailbox->put(
      {waiting.job.ticket, std::move(analysis), mask_for_record(std::move(waiting.job.text), scanner)});
}

}  // namespace sluice::command
