#include "daemon/scan/search.h"

#include <sched.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "daemon/base/thread.h"
#include "daemon/scan/limits.h"
#include "daemon/scan/ordered_report.h"

namespace sluice::scan {
namespace {

constexpr std::chrono::milliseconds kProgressInterval(100);
constexpr size_t kQueuedMax = 512;
static_assert(kQueuedMax <= kFilesAheadMax);
// libarchive's decompressors keep their tables on the heap; the rest is ours.
constexpr size_t kWorkerStackBytes = size_t{4} << 20;

struct Task {
  std::string path;  // kStandardInput for that
  Named named = Named::by_person;
  std::unique_ptr<Slip> slip;
};

class SlipReport final : public FileReport {
 public:
  SlipReport(const SearchFormat& format, uint64_t shown_max, std::string_view path, Slip& slip, OrderedReport& report,
             SearchCounts& counts)
      : format_(format), shown_max_(shown_max), path_(path), slip_(slip), report_(report), counts_(counts) {}
  ~SlipReport() override {
    if (found_ > 0) ++counts_.files_with_findings;
    if (found_ > shown_max_)
      format_.message(slip_.err, path_, {}, std::to_string(found_ - shown_max_) + " more findings are not shown");
  }

  void hit(std::string_view member, const TextHit& hit) override {
    ++counts_.findings;
    if (++found_ > shown_max_) return;
    format_.hit(slip_.out, path_, member, hit);
    report_.added(slip_);
  }
  void problem(std::string_view member, std::string_view what) override {
    ++counts_.problems;
    format_.message(slip_.err, path_, member, what);
    report_.added(slip_);
  }
  void note(std::string_view what) override {
    ++counts_.noted;
    format_.message(slip_.err, path_, {}, what);
  }

 private:
  const SearchFormat& format_;
  uint64_t shown_max_;
  std::string_view path_;
  Slip& slip_;
  OrderedReport& report_;
  SearchCounts& counts_;
  uint64_t found_ = 0;
};

class Search {
 public:
  Search(const SearchOptions& options, const SearchFormat& format, const SearchSink& sink, SearchCounts& counts)
      : options_(options), format_(format), counts_(counts), report_(sink) {
    struct stat output = {};
    if (options.output >= 0 && ::fstat(options.output, &output) == 0 && S_ISREG(output.st_mode)) output_ = output;
  }

  void walk() {
    TreeWalk tree(options_.walk, [&](WalkItem item) { return take(std::move(item)); });
    for (const std::string& path : options_.paths) {
      if (stopped()) break;
      struct stat found = {};
      if (path != kStandardInput && ::stat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode)) {
        tree.directory(path);
      } else if (!submit(path, Named::by_person)) {
        break;
      }
    }
    const std::lock_guard lock(mutex_);
    walked_ = true;
    queued_.notify_all();
  }

  void work(policies::CardScanner& scanner) {
    FileSearch files(scanner, options_.file, counts_.monitor);
    while (std::optional<Task> task = next()) {
      const bool is_input = task->path == kStandardInput;
      FileCounts counts;
      {
        SlipReport report(format_, options_.shown_per_file_max, is_input ? std::string_view() : task->path, *task->slip,
                          report_, counts_);
        counts = is_input ? files.descriptor(options_.standard_input, report)
                          : files.file(task->path, task->named, output_, report);
      }
      counts_.files += counts.searched ? 1 : 0;
      counts_.members += counts.members;
      counts_.bytes += counts.bytes;
      report_.finish(std::move(task->slip));
    }
    const std::lock_guard lock(mutex_);
    ++ended_workers_;
    changed_.notify_all();
  }

  // Until `workers` of them have ended.
  void wait(unsigned workers, const OnProgress& on_progress) {
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, kProgressInterval, [&] { return ended_workers_ == workers; })) {
      lock.unlock();
      if (report_.failed()) counts_.monitor.cancelled = true;  // nobody reads what would be found
      on_progress();
      lock.lock();
    }
  }

  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
    queued_.notify_all();
  }
  [[nodiscard]] bool output_failed() const { return report_.failed(); }

 private:
  bool take(WalkItem item) {
    switch (item.kind) {
      case WalkKind::file:
        return submit(std::move(item.path), Named::in_tree);
      case WalkKind::linked_file:
        return submit(std::move(item.path), Named::in_tree_behind_link);
      case WalkKind::link_left:
        ++counts_.links_left;
        return true;
      case WalkKind::left_out:
        ++counts_.left_out;
        return true;
      case WalkKind::problem:
      case WalkKind::note:
        break;
    }
    ++(item.kind == WalkKind::problem ? counts_.problems : counts_.noted);
    std::unique_ptr<Slip> slip = report_.open();
    if (slip == nullptr) return false;
    format_.message(slip->err, item.path, {}, item.what);
    report_.finish(std::move(slip));
    return true;
  }

  bool submit(std::string path, Named named) {
    std::unique_ptr<Slip> slip = report_.open();
    if (slip == nullptr) return false;
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopped_ || queue_.size() < kQueuedMax; });
    if (stopped_) return false;
    queue_.push_back({std::move(path), named, std::move(slip)});
    queued_.notify_one();
    return true;
  }

  std::optional<Task> next() {
    std::unique_lock lock(mutex_);
    queued_.wait(lock, [&] { return stopped_ || walked_ || !queue_.empty(); });
    if (stopped_ || queue_.empty()) return std::nullopt;
    Task task = std::move(queue_.front());
    queue_.pop_front();
    if (queue_.size() == kQueuedMax / 2) changed_.notify_all();
    return task;
  }

  [[nodiscard]] bool stopped() {
    const std::lock_guard lock(mutex_);
    return stopped_;
  }

  const SearchOptions& options_;
  const SearchFormat& format_;
  SearchCounts& counts_;
  OrderedReport report_;
  std::optional<struct stat> output_;
  std::mutex mutex_;
  std::condition_variable changed_, queued_;
  std::deque<Task> queue_;
  unsigned ended_workers_ = 0;
  bool walked_ = false, stopped_ = false;
};

}  // namespace

unsigned default_workers() {
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
  return std::clamp<unsigned>(static_cast<unsigned>(CPU_COUNT(&allowed)), 1, kWorkersMax);
}

Status search(const SearchOptions& options, const SearchFormat& format, const MakeScanner& make_scanner,
              const SearchSink& sink, const OnProgress& on_progress, SearchCounts& counts) {
  const unsigned workers = options.workers == 0 ? default_workers() : std::min<unsigned>(options.workers, kWorkersMax);
  std::vector<std::unique_ptr<policies::CardScanner>> scanners;
  for (unsigned i = 0; i < workers; ++i) {
    std::string why;
    scanners.push_back(make_scanner(why));
    if (scanners.back() == nullptr) return fail(why);
  }
  Search search(options, format, sink, counts);
  std::vector<Thread> threads;  // joined before `search` goes
  unsigned started = 0;
  Status status;
  const auto start = [&](const std::string& name, std::function<void()> body) {
    Result<Thread> thread = Thread::start(name, kWorkerStackBytes, std::move(body));
    if (!thread) {
      status = tl::unexpected(thread.error());
      return false;
    }
    threads.push_back(std::move(*thread));
    return true;
  };
  for (unsigned i = 0; i < workers && status; ++i) {
    if (start("scan-" + std::to_string(i), [&search, &scanner = *scanners[i]] { search.work(scanner); })) ++started;
  }
  if (status) (void)start("scan-walk", [&search] { search.walk(); });
  if (!status) search.stop();
  search.wait(started, on_progress);
  if (search.output_failed()) search.stop();
  threads.clear();
  if (status && search.output_failed()) return fail("output cannot be written");
  return status;
}

}  // namespace sluice::scan
