#include "daemon/audit/audit_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "daemon/audit/file_system.h"
#include "daemon/audit/log_writer.h"
#include "daemon/audit/recovery.h"
#include "daemon/base/unique_fd.h"

namespace sluice::audit {
namespace {

constexpr mode_t kDirectoryMode = 0700;
// A verifier asks for the lock for an instant, to learn whether somebody writes; a start must not fail because of it.
constexpr int kLockAttempts = 50;
constexpr long kLockPauseNs = 10'000'000;

int64_t wall_clock_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

Result<UniqueFd> lock_directory(const std::string& directory) {
  if (::mkdir(directory.c_str(), kDirectoryMode) != 0 && errno != EEXIST)
    return fail_errno("create " + directory, errno);
  UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno("open " + directory, errno);
  for (int attempt = 0; ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0; ++attempt) {
    if (errno != EWOULDBLOCK && errno != EINTR) return fail_errno("lock " + directory, errno);
    if (attempt >= kLockAttempts) return fail(directory + ": another process writes this log");
    const timespec pause{.tv_sec = 0, .tv_nsec = kLockPauseNs};
    ::nanosleep(&pause, nullptr);
  }
  return fd;
}

// The kernel's id of this boot; all zero where there is none: recovery then goes by the records alone.
BootId read_boot_id() {
  BootId id{};
  const UniqueFd fd(::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
  char text[36];
  if (!fd.valid() || ::read(fd.get(), text, sizeof text) != static_cast<ssize_t>(sizeof text)) return id;
  size_t digit = 0;
  for (const char c : text) {
    if (c == '-') continue;
    const int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 0;
    if (digit / 2 < id.size()) id[digit / 2] = static_cast<uint8_t>(id[digit / 2] << 4 | value);
    ++digit;
  }
  return id;
}

class AuditLogImpl final : public AuditLog {
 public:
  AuditLogImpl(UniqueFd lock, std::string recovered) : lock_(std::move(lock)), recovered_(std::move(recovered)) {}

  Status start(FileSystem& file_system, const LogOptions& options, StoreOptions store_options, LogPosition position) {
    writer_ = std::make_unique<LogWriter>(file_system, options, std::move(store_options), std::move(position));
    return writer_->start();
  }
  events::EventRing& add_ring(int durable_fd) override { return writer_->add_ring(durable_fd); }
  LogStatus status() const override {
    LogStatus status = writer_->status();
    status.recovered = recovered_;
    return status;
  }
  Status flush(uint32_t timeout_ms) override { return writer_->flush(timeout_ms); }

 private:
  UniqueFd lock_;  // given up last
  const std::string recovered_;
  std::unique_ptr<LogWriter> writer_;
};

}  // namespace

Result<std::unique_ptr<AuditLog>> AuditLog::open(const LogOptions& options) {
  if (options.segment_bytes < kSegmentBytesMin || options.segment_bytes > kSegmentBytesMax) {
    return fail("segment size must be from " + std::to_string(kSegmentBytesMin) + " to " +
                std::to_string(kSegmentBytesMax) + " bytes");
  }
  auto lock = lock_directory(options.directory);
  if (!lock) return within("audit log", lock.error());
  FileSystem& file_system = options.file_system != nullptr ? *options.file_system : real_file_system();
  RecoveryInput input{options.directory, lock->get(), read_boot_id(), wall_clock_ns()};
  auto position = recover_log(file_system, input);
  if (!position) return within("audit log", position.error());
  if (position->fresh && ::getrandom(position->log_id.data(), position->log_id.size(), 0) !=
                             static_cast<ssize_t>(position->log_id.size())) {
    return fail_errno("audit log: random log id", errno);
  }
  StoreOptions store;
  store.directory = options.directory;
  store.directory_fd = lock->get();
  store.segment_bytes = options.segment_bytes;
  store.preallocation = options.durability == Durability::strict ? Preallocation::zeroed : Preallocation::reserved;
  store.boot_id = input.boot_id;
  store.host = options.host;
  store.now_ns = wall_clock_ns;
  auto log = std::make_unique<AuditLogImpl>(std::move(*lock), position->recovered);
  const Status started = log->start(file_system, options, std::move(store), std::move(*position));
  if (!started) return within("audit log", started.error());
  return log;
}

}  // namespace sluice::audit
