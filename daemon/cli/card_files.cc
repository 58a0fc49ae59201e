#include "daemon/cli/card_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "daemon/base/unique_fd.h"

namespace sluice::cli {
namespace {

constexpr size_t kPendingBytesMax = size_t{64} * 1024;

Result<size_t> read_some(int fd, std::span<uint8_t> room) {
  while (true) {
    const ssize_t count = ::read(fd, room.data(), room.size());
    if (count >= 0) return static_cast<size_t>(count);
    if (errno != EINTR) return fail_errno("read", errno);
  }
}

}  // namespace

void BlockWriter::write(std::string_view bytes) {
  pending_.append(bytes);
  if (pending_.size() >= kPendingBytesMax) flush();
}

void BlockWriter::flush() {
  std::string_view rest = pending_;
  while (!rest.empty() && !failed_) {
    const ssize_t count = ::write(fd_, rest.data(), rest.size());
    if (count >= 0)
      rest.remove_prefix(static_cast<size_t>(count));
    else if (errno != EINTR)
      failed_ = true;
  }
  pending_.clear();
}

Status read_through(policies::CardScanner& scanner, policies::MaskStyle style, const std::string& file,
                    int standard_input, const OnWindow& on_window) {
  UniqueFd opened;
  int fd = standard_input;
  if (file != kStandardInput) {
    opened.reset(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (!opened.valid()) return fail_errno(file, errno);
    fd = opened.get();
  }
  policies::TextStream stream(scanner, style);
  std::vector<policies::ReportedFinding> findings;
  while (true) {
    const Result<size_t> count = read_some(fd, stream.room());
    if (!count) return within(file, count.error());
    const auto more = *count == 0 ? policies::TextStream::More::ended : policies::TextStream::More::follows;
    findings.clear();
    const std::span<const uint8_t> masked = stream.take(*count, more, findings);
    on_window(masked, findings);
    if (*count == 0) return {};
  }
}

std::string finding_line(const policies::ReportedFinding& finding, std::string_view file) {
  nlohmann::ordered_json line;
  if (!file.empty()) line["file"] = file;
  line["offset"] = finding.offset;
  line["length"] = finding.length;
  line["kind"] = finding.name;
  if (policies::has_brand(finding.kind)) {
    line["brand"] = policies::to_string(finding.brand);
    line["digits"] = finding.digits;
  }
  line["masked"] = finding.masked;
  // File names are bytes: what is not UTF-8 is replaced rather than refused.
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace sluice::cli
