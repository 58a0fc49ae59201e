#include "daemon/audit/segment_store.h"

#include <fcntl.h>

#include <cassert>
#include <chrono>
#include <utility>

namespace sluice::audit {
namespace {
constexpr size_t kZeroChunkBytes = 512 * 1024;  // written and synced at a time, so that commits beside it stay short
}

// --- Reserve ---------------------------------------------------------------------------------------------------------

Reserve::Reserve(FileSystem& file_system, std::string directory, int directory_fd, uint64_t bytes,
                 Preallocation preallocation)
    : file_system_(file_system),
      directory_(std::move(directory)),
      path_(directory_ + "/" + std::string(kReserveName)),
      directory_fd_(directory_fd),
      bytes_(bytes),
      preallocation_(preallocation),
      thread_([this] { run(); }) {}

Reserve::~Reserve() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Reserve::want() {
  {
    const std::lock_guard lock(mutex_);
    if (state_ == State::none || state_ == State::failed) state_ = State::making;
  }
  changed_.notify_all();
}

Status Reserve::wait_ready() {
  want();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return state_ == State::ready || state_ == State::failed; });
  if (state_ == State::failed) return fail(trouble_);
  return {};
}

Result<UniqueFd> Reserve::take() {
  if (const Status status = wait_ready(); !status) return tl::unexpected(status.error());
  const std::lock_guard lock(mutex_);
  state_ = State::none;
  return std::move(fd_);
}

Status Reserve::discard() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return state_ != State::making; });
  state_ = State::none;
  fd_.reset();
  return file_system_.remove_file(path_);
}

std::string Reserve::trouble() const {
  const std::lock_guard lock(mutex_);
  return trouble_;
}

void Reserve::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (state_ == State::failed) {
      // Space may come back: tried again without being asked, so that the log is ready before it needs it.
      changed_.wait_for(lock, std::chrono::milliseconds(kRetryMs), [this] { return stop_ || state_ == State::making; });
      if (state_ == State::failed) state_ = State::making;
    } else {
      changed_.wait(lock, [this] { return stop_ || state_ == State::making; });
    }
    if (stop_) return;
    if (state_ != State::making) continue;
    lock.unlock();
    auto made = make();
    lock.lock();
    if (made) {
      fd_ = std::move(*made);
      trouble_.clear();
      state_ = State::ready;
    } else {
      trouble_ = "reserve the next segment: " + made.error().message;
      state_ = State::failed;
    }
    changed_.notify_all();
  }
}

Result<UniqueFd> Reserve::make() {
  // The name, once there, stays: behind a segment that was sealed for the next one, a missing reserve is a missing
  // segment.
  auto fd = file_system_.open_file(path_, O_RDWR | O_CREAT | O_TRUNC);
  if (!fd) return tl::unexpected(fd.error());
  Status status = file_system_.allocate(fd->get(), bytes_);
  if (status && preallocation_ == Preallocation::zeroed) {
    const std::string zeros(kZeroChunkBytes, '\0');
    for (uint64_t at = 0; status && at < bytes_; at += zeros.size()) {
      status = file_system_.write_at(fd->get(), std::string_view(zeros).substr(0, bytes_ - at), at);
      if (status) status = file_system_.sync_data(fd->get());
    }
  } else if (status) {
    status = file_system_.sync_data(fd->get());
  }
  // The entry is durable before anything depends on it: recovery takes a missing reserve for a missing segment.
  if (status) status = file_system_.sync_directory(directory_fd_);
  if (!status) {
    // Half a reserve keeps the space that the rest of the system is short of. Giving it back may fail too; then the
    // next attempt does it.
    static_cast<void>(file_system_.truncate(fd->get(), 0));
    return tl::unexpected(status.error());
  }
  return fd;
}

// --- SegmentStore ----------------------------------------------------------------------------------------------------

SegmentStore::SegmentStore(FileSystem& file_system, StoreOptions options, LogPosition position)
    : file_system_(file_system),
      options_(std::move(options)),
      log_id_(position.log_id),
      reserve_(file_system, options_.directory, options_.directory_fd, options_.segment_bytes, options_.preallocation),
      next_number_(position.next_number),
      frontier_(std::move(position.frontier)),
      previous_end_(position.previous_end),
      previous_bytes_(position.previous_bytes),
      closed_bytes_(position.bytes),
      segments_(position.segments) {}

Status SegmentStore::begin() {
  assert(!active());
  if (abandoned_.valid()) {
    if (const Status status = file_system_.truncate(abandoned_.get(), previous_bytes_); !status) {
      return within("cut the segment that could not be written", status.error());
    }
  }
  if (!leftover_.empty()) {
    const Status status = file_system_.rename_file(leftover_, options_.directory + "/" + std::string(kReserveName));
    if (!status) return tl::unexpected(status.error());
    leftover_.clear();
  }
  auto fd = reserve_.take();
  if (!fd) return tl::unexpected(fd.error());
  SegmentRecord record;
  record.log_id = log_id_;
  record.boot_id = options_.boot_id;
  record.number = next_number_;
  record.first_index = frontier_.size();
  record.created_ns = options_.now_ns();
  record.previous_end = previous_end_;
  record.previous_bytes = previous_bytes_;
  record.frontier = frontier_;
  record.host = options_.host;
  std::string bytes = encode_prefix();
  const size_t body = append_record(bytes, RecordKind::segment, /*after_commit=*/true, encode(record));
  const std::string name = segment_name(record.first_index);
  Status status = file_system_.write_at(fd->get(), bytes, 0);
  if (status) status = file_system_.sync_data(fd->get());
  if (status)
    status =
        file_system_.rename_file(options_.directory + "/" + std::string(kReserveName), options_.directory + "/" + name);
  if (!status) return within("begin segment " + name, status.error());
  // The name stands; whether it is durable, only this tells. If not, it becomes the reserve again
  // before the next attempt: nothing has been promised about it.
  if (status = file_system_.sync_directory(options_.directory_fd); !status) {
    leftover_ = options_.directory + "/" + name;
    return within("begin segment " + name, status.error());
  }
  abandoned_.reset();
  fd_ = std::move(*fd);
  name_ = name;
  ++generation_;
  ++next_number_;
  ++segments_;
  offset_ = bytes.size();
  buffer_.clear();
  after_commit_ = true;
  frontier_.append(leaf_hash(std::string_view(bytes).substr(body)));
  committed_ = {offset_, frontier_};
  reserve_.want();
  return {};
}

uint64_t SegmentStore::append(RecordKind kind, std::string_view payload_1, std::string_view payload_2) {
  assert(active());
  const size_t body = append_record(buffer_, kind, std::exchange(after_commit_, false), payload_1, payload_2);
  frontier_.append(leaf_hash(std::string_view(buffer_).substr(body)));
  return frontier_.size() - 1;
}

bool SegmentStore::fits(uint64_t bytes) const {
  constexpr uint64_t kHeaderBytesMax = kPrefixBytes + kRecordHeaderBytes + 4096;
  const uint64_t used = offset_ + buffer_.size();
  return used + bytes + kSealRecordBytes <= options_.segment_bytes || used <= kHeaderBytesMax;
}

Status SegmentStore::write() {
  if (buffer_.empty()) return {};
  if (const Status status = file_system_.write_at(fd_.get(), buffer_, offset_); !status)
    return within(name_, status.error());
  offset_ += buffer_.size();
  buffer_.clear();
  return {};
}

Status SegmentStore::commit() {
  if (Status status = write(); !status) return status;
  if (offset_ == committed_.offset) return {};
  if (const Status status = file_system_.sync_data(fd_.get()); !status) return within(name_, status.error());
  committed_ = {offset_, frontier_};
  after_commit_ = true;
  return {};
}

Status SegmentStore::seal(SealReason reason) {
  assert(buffer_.empty() && offset_ == committed_.offset);
  SealRecord record;
  record.reason = reason;
  record.index = frontier_.size();
  record.offset = offset_;
  record.created_ns = options_.now_ns();
  record.root = frontier_.root();
  append(RecordKind::seal, encode(record));
  Status status = write();
  if (status) status = file_system_.truncate(fd_.get(), offset_);
  if (status) status = file_system_.sync_data(fd_.get());
  if (!status) return within("seal " + name_, status.error());
  committed_ = {offset_, frontier_};
  ended(PreviousEnd::sealed, offset_);
  fd_.reset();
  return {};
}

void SegmentStore::ended(PreviousEnd how, uint64_t bytes) {
  previous_end_ = how;
  previous_bytes_ = bytes;
  closed_bytes_ += bytes;
}

Status SegmentStore::roll() {
  if (Status status = seal(SealReason::rolled); !status) return status;
  return begin();
}

void SegmentStore::abandon() {
  assert(active());
  frontier_ = committed_.frontier;
  buffer_.clear();
  ended(PreviousEnd::abandoned, committed_.offset);
  abandoned_ = std::move(fd_);
}

Status SegmentStore::close() {
  if (!active()) return {};
  if (Status status = commit(); !status) return status;
  // First the reserve, then the seal: a sealed log has nothing beside its segments.
  Status status = reserve_.discard();
  if (status) status = file_system_.sync_directory(options_.directory_fd);
  if (!status) return status;
  return seal(SealReason::stopped);
}

}  // namespace sluice::audit
