// Reads one segment file from front to back, a record at a time, with bounded memory. Used by recovery, verify and
// queries; safe beside a running writer (plain reads, nothing mapped). One thread per reader.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/audit/log_format.h"
#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace sluice::audit {

struct RecordView {
  uint64_t offset = 0;  // of the record in the file
  RecordKind kind = RecordKind::event;
  bool after_commit = false;
  std::string_view body;     // the leaf; valid until the next call
  std::string_view payload;  // body without its kind byte
};

class SegmentReader {
 public:
  enum class Step : uint8_t {
    record,
    end,      // zeros or the end of the file: no more records, for now
    damaged,  // what stands here is no record: torn, damaged, or being written at this moment
  };

  [[nodiscard]] static Result<SegmentReader> open(const std::string& path);

  // An I/O error of the disk is an Error; everything the bytes can say is a Step.
  [[nodiscard]] Result<Step> next(RecordView& record);
  // Whether the file starts as a segment does. (Checked by the caller, because what it means depends on who reads.)
  [[nodiscard]] bool prefix_valid() const { return prefix_valid_; }
  [[nodiscard]] uint64_t offset() const { return offset_; }  // of the next record
  [[nodiscard]] uint64_t file_bytes() const { return file_bytes_; }
  [[nodiscard]] int fd() const { return fd_.get(); }
  // Looks at the file's size again and forgets what was read ahead: a writer may have gone on.
  [[nodiscard]] Status refresh();
  // Reads one record at a known place, without moving on. Damaged or none there: an Error.
  [[nodiscard]] Result<std::string> read_body_at(uint64_t offset) const;

 private:
  static constexpr size_t kReadBytes = size_t{1} << 20;

  // Makes `size` bytes at offset_ available in buffer_, if the file has them.
  [[nodiscard]] Result<bool> fill(size_t size);

  UniqueFd fd_;
  std::string path_;
  bool prefix_valid_ = false;
  uint64_t file_bytes_ = 0;
  uint64_t offset_ = 0;
  uint64_t buffer_offset_ = 0;  // file offset of buffer_[0]
  size_t buffer_size_ = 0;
  std::vector<char> buffer_;
};

// Up to `size` bytes at `offset`; fewer only at the end of the file.
[[nodiscard]] Result<size_t> read_at(int fd, char* out, size_t size, uint64_t offset);

}  // namespace sluice::audit
