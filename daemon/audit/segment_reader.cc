#include "daemon/audit/segment_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace sluice::audit {

Result<size_t> read_at(int fd, char* out, size_t size, uint64_t offset) {
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(fd, out + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0) {
      if (errno == EINTR) continue;
      return fail_errno("read", errno);
    }
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

Result<SegmentReader> SegmentReader::open(const std::string& path) {
  SegmentReader reader;
  reader.path_ = path;
  reader.fd_.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!reader.fd_.valid()) return fail_errno("open " + path, errno);
  if (const Status status = reader.refresh(); !status) return within(path, status.error());
  char prefix[kPrefixBytes];
  const auto got = read_at(reader.fd(), prefix, sizeof prefix, 0);
  if (!got) return within(path, got.error());
  reader.prefix_valid_ = *got == sizeof prefix && is_prefix({prefix, sizeof prefix});
  reader.offset_ = kPrefixBytes;
  return reader;
}

Status SegmentReader::refresh() {
  struct stat info {};
  if (::fstat(fd_.get(), &info) != 0) return fail_errno("stat", errno);
  if (!S_ISREG(info.st_mode)) return fail("not a regular file");
  file_bytes_ = static_cast<uint64_t>(info.st_size);
  buffer_size_ = 0;
  return {};
}

Result<bool> SegmentReader::fill(size_t size) {
  if (offset_ >= buffer_offset_ && offset_ + size <= buffer_offset_ + buffer_size_) return true;
  if (offset_ + size > file_bytes_) return false;
  buffer_.resize(std::max(kReadBytes, size));
  buffer_offset_ = offset_;
  buffer_size_ = 0;
  const auto got = read_at(fd_.get(), buffer_.data(), buffer_.size(), offset_);
  if (!got) return within(path_, got.error());
  buffer_size_ = *got;
  return buffer_size_ >= size;
}

Result<SegmentReader::Step> SegmentReader::next(RecordView& record) {
  auto there = fill(kRecordHeaderBytes);
  if (!there) return tl::unexpected(there.error());
  if (!*there) return Step::end;
  const char* header = buffer_.data() + (offset_ - buffer_offset_);
  const uint32_t length = load_u32(header);
  const uint32_t crc = load_u32(header + 4);
  if (length == 0) return crc == 0 ? Step::end : Step::damaged;
  if (length > kRecordBytesMax) return Step::damaged;
  there = fill(kRecordHeaderBytes + length);
  if (!there) return tl::unexpected(there.error());
  if (!*there) return Step::damaged;
  const std::string_view body(buffer_.data() + (offset_ - buffer_offset_) + kRecordHeaderBytes, length);
  if (record_crc(body) != crc) return Step::damaged;
  const auto kind = body_kind(static_cast<uint8_t>(body[0]));
  if (!kind.has_value()) return Step::damaged;
  record = {offset_, kind->kind, kind->after_commit, body, body.substr(1)};
  offset_ += kRecordHeaderBytes + length;
  return Step::record;
}

Result<std::string> SegmentReader::read_body_at(uint64_t offset) const {
  char header[kRecordHeaderBytes];
  auto got = read_at(fd_.get(), header, sizeof header, offset);
  if (!got) return within(path_, got.error());
  const uint32_t length = *got == sizeof header ? load_u32(header) : 0;
  if (length == 0 || length > kRecordBytesMax) return fail(path_ + ": no record at offset " + std::to_string(offset));
  std::string body(length, '\0');
  got = read_at(fd_.get(), body.data(), body.size(), offset + kRecordHeaderBytes);
  if (!got) return within(path_, got.error());
  if (*got != body.size() || record_crc(body) != load_u32(header + 4)) {
    return fail(path_ + ": damaged record at offset " + std::to_string(offset));
  }
  return body;
}

}  // namespace sluice::audit
