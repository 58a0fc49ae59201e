#include "daemon/audit/verify.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>

#include <cerrno>
#include <charconv>
#include <vector>

#include "daemon/audit/segment_scan.h"
#include "daemon/base/unique_fd.h"

namespace sluice::audit {
namespace {

constexpr std::string_view kOrigin = "sluice.log/";

// Whether a daemon holds the directory's lock, which it does as long as it writes.
Result<bool> being_written(const std::string& directory) {
  const UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno("open " + directory, errno);
  if (::flock(fd.get(), LOCK_SH | LOCK_NB) == 0) return false;
  if (errno == EWOULDBLOCK) return true;
  return fail_errno("lock " + directory, errno);
}

class Verifier {
 public:
  Verifier(const std::string& directory, const std::optional<LogHead>& head) : directory_(directory), head_(head) {}

  VerifyReport run() {
    const auto live = being_written(directory_);
    if (!live) return cannot(live.error().message);
    live_ = *live;
    const auto listing = list_log(directory_);
    if (!listing) return cannot(listing.error().message);
    if (!listing->strangers.empty()) return tampered(listing->strangers[0], "the file is no part of the log");
    if (listing->segments.empty()) {
      return head_.has_value() || listing->reserve ? incomplete("there is no segment")
                                                   : cannot("there is no log in " + directory_);
    }
    ScanOptions options;
    if (head_.has_value()) options.head_size = head_->size;
    ScanOptions last = options;
    last.look_behind_damage = !live_;
    auto scans = scan_segments(directory_, listing->segments, options, last);
    for (size_t i = 0; i < scans.size(); ++i) {
      if (!scans[i]) return cannot(scans[i].error().message);
      if (!take(i > 0 ? &*scans[i - 1] : nullptr, *scans[i], i + 1 == scans.size())) return report_;
    }
    return conclude(*scans.front(), *scans.back(), listing->reserve);
  }

 private:
  VerifyReport end(Verdict verdict, std::string reason) {
    report_.verdict = verdict;
    report_.reason = std::move(reason);
    return report_;
  }
  VerifyReport cannot(std::string reason) { return end(Verdict::cannot_verify, std::move(reason)); }
  VerifyReport incomplete(std::string reason) { return end(Verdict::incomplete, std::move(reason)); }
  VerifyReport tampered(const std::string& file, const std::string& what) {
    report_.bad_file = file;
    return end(Verdict::tampered, file + ": " + what);
  }
  bool bad(const SegmentScan& scan, uint64_t index, const std::string& what) {
    report_.first_bad_index = index;
    static_cast<void>(tampered(scan.name, what));
    return false;
  }

  // Checks a segment against the one before it and adds it to the report. False: the report is final.
  bool take(const SegmentScan* previous, const SegmentScan& scan, bool is_last) {
    if (!scan.fault.empty()) return bad(scan, scan.fault_index, scan.fault);
    if (const std::string gap = check_chain(previous, scan); !gap.empty()) {
      return bad(scan, previous != nullptr ? previous->frontier.size() : scan.header->first_index, gap);
    }
    if (!is_last) {
      // A segment with another one behind it ends in its seal, or where a failed write made the writer leave it.
      const bool torn = scan.tail == Tail::torn || scan.tail == Tail::damaged;
      if (torn) return bad(scan, scan.frontier.size(), "a record is damaged");
    } else if (!live_ && (scan.tail == Tail::damaged || (scan.tail == Tail::torn && scan.tail_whole))) {
      return bad(scan, scan.frontier.size(), "a record is damaged");
    }
    if (previous == nullptr || report_.first_time_ns == 0) report_.first_time_ns = scan.first_time_ns;
    if (scan.events > 0) report_.last_time_ns = scan.last_time_ns;
    report_.events += scan.events;
    report_.records += scan.frontier.size() - scan.header->first_index;
    ++report_.segments;
    report_.bytes += scan.end;
    if (scan.root_at_head.has_value()) root_at_head_ = scan.root_at_head;
    return true;
  }

  VerifyReport conclude(const SegmentScan& first, const SegmentScan& last, bool reserve) {
    const Hash root = last.frontier.root();
    report_.root_hash = to_hex(root.data(), root.size());
    report_.log_id = to_hex(last.header->log_id.data(), last.header->log_id.size());
    const uint64_t leaves = last.frontier.size();
    if (head_.has_value()) {
      if (head_->log_id != report_.log_id) return tampered(last.name, "the kept head is that of another log");
      if (head_->size > leaves) {
        return incomplete("the kept head has " + std::to_string(head_->size) + " records, the log only " +
                          std::to_string(leaves));
      }
      if (!check_head(first)) return report_;
    }
    if (first.header->number != 0) {
      return incomplete("the log starts at record " + std::to_string(first.header->first_index) +
                        ": earlier segments are not here");
    }
    if (live_) return end(Verdict::intact, "a daemon is writing; covered up to record " + std::to_string(leaves - 1));
    if (!last.seal.has_value()) {
      return incomplete("the log was not closed and nobody is writing it: records behind " +
                        std::to_string(leaves - 1) + " may be missing (a start of the daemon recovers and closes it)");
    }
    if (last.seal->reason == SealReason::rolled) return incomplete("the segment after " + last.name + " is missing");
    if (last.tail == Tail::zeros) return incomplete(last.name + " was not trimmed: a clean stop was interrupted");
    if (reserve) return incomplete("a reserve segment is there although nobody is writing");
    return end(Verdict::intact, "every record is in order and the log was closed");
  }

  bool check_head(const SegmentScan& first) {
    std::optional<Hash> root = root_at_head_;
    if (head_->size == first.header->first_index) root = first.header->frontier.root();
    if (!root.has_value()) {
      static_cast<void>(incomplete("the kept head is older than the first segment here"));
      return false;
    }
    if (head_->root == std::string(reinterpret_cast<const char*>(root->data()), root->size())) return true;
    report_.first_bad_index = 0;
    report_.bad_file.clear();
    static_cast<void>(end(Verdict::tampered, "the log's first " + std::to_string(head_->size) +
                                                 " records are not those of the kept head"));
    return false;
  }

  const std::string& directory_;
  const std::optional<LogHead>& head_;
  bool live_ = false;
  std::optional<Hash> root_at_head_;
  VerifyReport report_;
};

std::string_view take_line(std::string_view& text) {
  const size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

}  // namespace

VerifyReport verify(const std::string& directory) {
  return verify(directory, std::nullopt);
}

VerifyReport verify(const std::string& directory, const std::optional<LogHead>& kept_head) {
  return Verifier(directory, kept_head).run();
}

Result<LogHead> parse_head(std::string_view text) {
  LogHead head;
  const std::string_view origin = take_line(text);
  if (!origin.starts_with(kOrigin)) return fail("a head starts with a line \"sluice.log/<log id>\"");
  head.log_id = origin.substr(kOrigin.size());
  const std::string_view size = take_line(text);
  const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), head.size);
  if (error != std::errc() || end != size.data() + size.size())
    return fail("the second line of a head is the number of records");
  const std::string_view root = take_line(text);
  constexpr size_t kBase64Bytes = 44;
  uint8_t decoded[33];
  const bool decodes =
      root.size() == kBase64Bytes &&
      EVP_DecodeBlock(decoded, reinterpret_cast<const uint8_t*>(root.data()), kBase64Bytes) == sizeof decoded;
  if (!decodes) return fail("the third line of a head is the root hash in base64");
  head.root.assign(reinterpret_cast<const char*>(decoded), kHashBytes);
  return head;
}

std::string format_head(const LogHead& head) {
  uint8_t encoded[64];
  const int size =
      EVP_EncodeBlock(encoded, reinterpret_cast<const uint8_t*>(head.root.data()), static_cast<int>(kHashBytes));
  return std::string(kOrigin) + head.log_id + "\n" + std::to_string(head.size) + "\n" +
         std::string(reinterpret_cast<const char*>(encoded), static_cast<size_t>(size)) + "\n";
}

}  // namespace sluice::audit
