#include "daemon/audit/segment_scan.h"

#include <dirent.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>

#include "daemon/audit/segment_reader.h"

namespace sluice::audit {
namespace {

constexpr size_t kScanThreadsMax = 16;
// Most bytes checksummed while looking for records behind a damage. Crafted bytes could make that quadratic; beyond the
// limit the answer is "damaged", the safe one.
constexpr uint64_t kSearchBytesMax = uint64_t{4} << 30;

struct Unmap {
  size_t size;
  void operator()(char* at) const { ::munmap(at, size); }
};

struct Behind {
  bool record = false;        // a valid record follows
  bool after_commit = false;  // one that proves that everything before it had been on disk
};

// Looks for valid records anywhere behind the start of `bytes`.
Behind search_records(std::string_view bytes) {
  Behind behind;
  uint64_t checked = 0;
  size_t at = 1;
  while (at + kRecordHeaderBytes < bytes.size()) {
    const uint32_t length = load_u32(bytes.data() + at);
    if (length == 0 || length > kRecordBytesMax || length > bytes.size() - at - kRecordHeaderBytes) {
      ++at;
      continue;
    }
    const std::string_view body = bytes.substr(at + kRecordHeaderBytes, length);
    const auto kind = body_kind(static_cast<uint8_t>(body[0]));
    if (!kind.has_value()) {
      ++at;
      continue;
    }
    checked += length;
    if (checked > kSearchBytesMax) return {true, true};
    if (record_crc(body) != load_u32(bytes.data() + at + 4)) {
      ++at;
      continue;
    }
    behind.record = true;
    if (kind->after_commit) {
      behind.after_commit = true;
      return behind;
    }
    at += kRecordHeaderBytes + length;
  }
  return behind;
}

// Fills in `tail` from what stands behind scan.end.
Status look_at_tail(const SegmentReader& reader, SegmentScan& scan) {
  if (scan.end >= scan.file_bytes) {
    scan.tail = Tail::nothing;
    return {};
  }
  // Mapped from the start, because offsets of a mapping are pages; the file is not being written (look_behind_damage).
  const size_t size = scan.file_bytes;
  void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, reader.fd(), 0);
  if (mapped == MAP_FAILED) return fail_errno("map " + scan.name, errno);
  const std::unique_ptr<char, Unmap> owner(static_cast<char*>(mapped), Unmap{size});
  std::string_view rest(owner.get() + scan.end, size - scan.end);
  const size_t last = rest.find_last_not_of('\0');
  if (last == std::string_view::npos) {
    scan.tail = Tail::zeros;
    return {};
  }
  scan.tail_bytes = last + 1;
  const Behind behind = search_records(rest.substr(0, last + 1));
  scan.record_follows = behind.record;
  scan.tail = behind.after_commit ? Tail::damaged : Tail::torn;
  const uint64_t length = rest.size() >= kRecordHeaderBytes ? load_u32(rest.data()) : 0;
  const uint64_t record_bytes = kRecordHeaderBytes + length;
  scan.tail_whole = length > 0 && record_bytes <= rest.size() && last + 1 >= record_bytes;
  return {};
}

void found_fault(SegmentScan& scan, std::string what) {
  if (!scan.fault.empty()) return;
  scan.fault = std::move(what);
  scan.fault_index = scan.frontier.size();
}

// Takes the first record of a segment. False: it is none.
bool take_header(const RecordView& record, SegmentScan& scan) {
  if (record.kind != RecordKind::segment) {
    found_fault(scan, "the first record does not describe the segment");
    return false;
  }
  scan.header = decode_segment(record.payload);
  if (!scan.header.has_value()) {
    found_fault(scan, "the segment's description cannot be read");
    return false;
  }
  scan.frontier = scan.header->frontier;
  if (scan.name != segment_name(scan.header->first_index)) {
    found_fault(scan, "the file is named after another index than its first record has");
  }
  return true;
}

void check_seal(const RecordView& record, SegmentScan& scan) {
  scan.seal = decode_seal(record.payload);
  if (!scan.seal.has_value()) {
    found_fault(scan, "the seal cannot be read");
  } else if (scan.seal->index != scan.frontier.size() || scan.seal->offset != record.offset) {
    found_fault(scan, "the seal belongs to another place");
  } else if (scan.seal->root != scan.frontier.root()) {
    found_fault(scan, "the seal's root hash is not that of the records before it");
  }
}

// Checks one record after the first one and counts it.
void take_record(const RecordView& record, SegmentScan& scan) {
  switch (record.kind) {
    case RecordKind::segment:
      found_fault(scan, "a second description of the segment inside it");
      break;
    case RecordKind::event: {
      const auto time = event_time_ns(record.payload);
      if (!time.has_value()) {
        found_fault(scan, "an event without a time");
        break;
      }
      if (scan.events == 0) scan.first_time_ns = *time;
      scan.last_time_ns = *time;
      ++scan.events;
      break;
    }
    case RecordKind::text: {
      if (record.payload.size() < kHashBytes) {
        found_fault(scan, "a text without its hash");
        break;
      }
      const Hash hash = sha256(record.payload.substr(kHashBytes));
      if (std::memcmp(hash.data(), record.payload.data(), kHashBytes) != 0) {
        found_fault(scan, "a text that does not have the hash it is stored under");
      }
      break;
    }
    case RecordKind::context:
      if (record.payload.size() <= sizeof(uint64_t)) found_fault(scan, "a session context without its event");
      break;
    case RecordKind::seal:
      check_seal(record, scan);
      break;
    case RecordKind::checkpoint:
    case RecordKind::blob:
      break;  // reserved: their bytes are covered as every leaf is
  }
}

}  // namespace

Result<SegmentScan> scan_segment(const std::string& directory, const std::string& name, const ScanOptions& options) {
  auto reader = SegmentReader::open(directory + "/" + name);
  if (!reader) return tl::unexpected(reader.error());
  SegmentScan scan;
  scan.name = name;
  scan.file_bytes = reader->file_bytes();
  scan.end = kPrefixBytes;
  if (!reader->prefix_valid()) {
    scan.end = 0;
    found_fault(scan, "the file does not start as a segment of format version 1 does");
    return scan;
  }
  RecordView record;
  for (;;) {
    const auto step = reader->next(record);
    if (!step) return tl::unexpected(step.error());
    if (*step != SegmentReader::Step::record) break;
    if (!scan.header.has_value()) {
      if (!take_header(record, scan)) return scan;
    } else if (scan.seal.has_value()) {
      found_fault(scan, "a record behind the seal");
      break;
    } else {
      take_record(record, scan);
    }
    scan.frontier.append(leaf_hash(record.body));
    scan.end = reader->offset();
    if (scan.frontier.size() == options.head_size) scan.root_at_head = scan.frontier.root();
  }
  if (!scan.header.has_value()) {
    found_fault(scan, "the first record is damaged");
    return scan;
  }
  if (options.look_behind_damage) {
    if (const Status status = look_at_tail(*reader, scan); !status) return tl::unexpected(status.error());
  }
  if (scan.seal.has_value() && scan.tail != Tail::nothing && scan.tail != Tail::zeros) {
    found_fault(scan, "bytes behind the seal");
  }
  return scan;
}

Result<SegmentScan> scan_sealed_quickly(const std::string& directory, const std::string& name) {
  auto reader = SegmentReader::open(directory + "/" + name);
  if (!reader) return tl::unexpected(reader.error());
  SegmentScan scan;
  scan.name = name;
  scan.file_bytes = scan.end = reader->file_bytes();
  scan.quick = true;
  RecordView record;
  const auto step = reader->next(record);
  if (!step) return tl::unexpected(step.error());
  if (!reader->prefix_valid() || *step != SegmentReader::Step::record) {
    found_fault(scan, "the first record is damaged");
    return scan;
  }
  if (!take_header(record, scan)) return scan;
  if (scan.file_bytes < reader->offset() + kSealRecordBytes) {
    found_fault(scan, "there is no seal at its end");
    return scan;
  }
  const uint64_t at = scan.file_bytes - kSealRecordBytes;
  const auto body = reader->read_body_at(at);
  const auto kind = body ? body_kind(static_cast<uint8_t>((*body)[0])) : std::nullopt;
  if (!kind.has_value() || kind->kind != RecordKind::seal || body->size() != kSealBodyBytes) {
    found_fault(scan, "there is no seal at its end");
    return scan;
  }
  scan.seal = decode_seal(std::string_view(*body).substr(1));
  if (!scan.seal.has_value() || scan.seal->offset != at || scan.seal->index < scan.frontier.size()) {
    found_fault(scan, "the seal belongs to another place");
  }
  return scan;
}

std::vector<Result<SegmentScan>> scan_segments(const std::string& directory, const std::vector<std::string>& names,
                                               const ScanOptions& options, const ScanOptions& last) {
  std::vector<Result<SegmentScan>> scans(names.size(), fail("not scanned"));
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next.fetch_add(1); i < names.size(); i = next.fetch_add(1)) {
      scans[i] = scan_segment(directory, names[i], i + 1 < names.size() ? options : last);
    }
  };
  std::vector<std::thread> threads;
  const size_t cores = std::max(1u, std::thread::hardware_concurrency());
  const size_t count = std::min({names.size(), kScanThreadsMax, cores});
  for (size_t i = 1; i < count; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  return scans;
}

std::string check_chain(const SegmentScan* previous, const SegmentScan& next) {
  const SegmentRecord& header = *next.header;
  if (previous == nullptr) {
    const bool begins = header.number == 0;
    if (begins != (header.previous_end == PreviousEnd::none))
      return "its number and what it says about the one before it do not fit";
    if (begins && (header.first_index != 0 || header.previous_bytes != 0))
      return "the first segment claims one before it";
    return {};
  }
  const SegmentRecord& before = *previous->header;
  if (header.log_id != before.log_id) return "it belongs to another log";
  if (header.number != before.number + 1) return "a segment before it is missing";
  const uint64_t leaves = previous->quick ? previous->seal->index + 1 : previous->frontier.size();
  if (header.first_index != leaves) return "records before it are missing";
  if (!previous->quick && header.frontier != previous->frontier)
    return "the hashes of the records before it are not those it was written after";
  if (header.previous_bytes != previous->end) return "the segment before it has another size than when it was written";
  const bool sealed = previous->seal.has_value();
  if (sealed != (header.previous_end == PreviousEnd::sealed)) return "the segment before it ended otherwise";
  if (previous->tail != Tail::nothing) return "bytes follow the end of the segment before it";
  return {};
}

Result<DirectoryListing> list_log(const std::string& directory) {
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(directory.c_str()), ::closedir);
  if (stream == nullptr) return fail_errno("open " + directory, errno);
  DirectoryListing listing;
  errno = 0;
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (parse_segment_name(name).has_value()) {
      listing.segments.push_back(name);
    } else if (name == kReserveName) {
      listing.reserve = true;
    } else {
      listing.strangers.push_back(name);
    }
    errno = 0;
  }
  if (errno != 0) return fail_errno("read " + directory, errno);
  std::sort(listing.segments.begin(), listing.segments.end());
  std::sort(listing.strangers.begin(), listing.strangers.end());
  return listing;
}

std::optional<int64_t> event_time_ns(std::string_view event) {
  constexpr uint32_t kTimeField = 2;
  const auto varint = [&event]() -> std::optional<uint64_t> {
    uint64_t value = 0;
    for (uint32_t shift = 0; shift < 64; shift += 7) {
      if (event.empty()) return std::nullopt;
      const auto byte = static_cast<uint8_t>(event.front());
      event.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    return std::nullopt;
  };
  while (!event.empty()) {
    const auto tag = varint();
    if (!tag.has_value()) return std::nullopt;
    switch (*tag & 7) {
      case 0:
        if (!varint().has_value()) return std::nullopt;
        break;
      case 1:
        if (event.size() < 8) return std::nullopt;
        if (*tag >> 3 == kTimeField) return static_cast<int64_t>(load_u64(event.data()));
        event.remove_prefix(8);
        break;
      case 2: {
        const auto size = varint();
        if (!size.has_value() || *size > event.size()) return std::nullopt;
        event.remove_prefix(*size);
        break;
      }
      default:
        return std::nullopt;  // no event of ours has other wire types
    }
  }
  return std::nullopt;
}

}  // namespace sluice::audit
