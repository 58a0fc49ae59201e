#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>

#include "daemon/audit/verify.h"
#include "daemon/base/rfc3339.h"
#include "daemon/base/unique_fd.h"
#include "daemon/cli/commands.h"
#include "daemon/cli/table.h"

namespace sluice::cli {
namespace {

// A head is three short lines; what a signer adds behind them is not long either.
constexpr size_t kHeadBytesMax = 64 * 1024;

// The text of the head, from a file or standard input.
Result<audit::LogHead> read_head(const std::string& file) {
  const bool from_input = file == "-";
  UniqueFd opened(from_input ? -1 : ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!from_input && !opened.valid()) return fail_errno("head " + file, errno);
  const int fd = from_input ? STDIN_FILENO : opened.get();
  std::string text;
  char piece[4096];
  for (;;) {
    const ssize_t got = ::read(fd, piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("head " + file, errno);
    if (got == 0) break;
    text.append(piece, static_cast<size_t>(got));
    if (text.size() > kHeadBytesMax) return fail("head " + file + ": longer than a head can be");
  }
  auto head = audit::parse_head(text);
  if (!head) return within("head " + file, head.error());
  return head;
}

// The head of a log that was found whole: what to keep elsewhere, for a later `--head`. Empty where there is none.
std::string head_of(const audit::VerifyReport& report) {
  if (report.verdict != audit::Verdict::intact) return {};
  audit::LogHead head{report.log_id, report.records, {}};
  for (size_t i = 0; i + 1 < report.root_hash.size(); i += 2) {
    uint8_t byte = 0;
    const char* const digits = report.root_hash.data() + i;
    if (std::from_chars(digits, digits + 2, byte, 16).ptr != digits + 2) return {};
    head.root.push_back(static_cast<char>(byte));
  }
  return audit::format_head(head);
}

struct VerdictWords {
  const char* word;
  ExitStatus status;
  Tone tone;
};

VerdictWords words_of(audit::Verdict verdict) {
  switch (verdict) {
    case audit::Verdict::intact:
      return {"intact", kSuccess, Tone::good};
    case audit::Verdict::tampered:
      return {"tampered", kTampered, Tone::bad};
    case audit::Verdict::incomplete:
      return {"incomplete", kIncomplete, Tone::bad};
    case audit::Verdict::cannot_verify:
      break;
  }
  return {"cannot_verify", kUsage, Tone::bad};
}

}  // namespace

ExitStatus audit_verify_command(const Context& context, const AuditVerifyOptions& options) {
  std::string directory = options.directory;
  if (directory.empty()) {
    const std::optional<config::Config> config = context.configuration();
    if (!config) return kUsage;
    directory = config->audit.directory;
  }
  std::optional<audit::LogHead> kept;
  if (!options.head.empty()) {
    Result<audit::LogHead> read = read_head(options.head);
    if (!read) {
      complain(printable(read.error().message));
      return kUsage;
    }
    kept = std::move(*read);
  }
  const audit::VerifyReport report = audit::verify(directory, kept);
  const VerdictWords words = words_of(report.verdict);
  const bool has_range = report.events > 0;
  if (context.json) {
    const std::string head = head_of(report);
    Json json = {
        {"verdict", words.word},
        {"reason", report.reason},
        {"directory", directory},
        {"head_records", kept ? Json(kept->size) : Json(nullptr)},
        {"log_id", report.log_id},
        {"events", report.events},
        {"segments", report.segments},
        {"bytes", report.bytes},
        {"records", report.records},
        {"root_hash", report.root_hash},
        {"head", head.empty() ? Json(nullptr) : Json(head)},
        {"first_time", has_range ? Json(format_rfc3339(report.first_time_ns)) : Json(nullptr)},
        {"last_time", has_range ? Json(format_rfc3339(report.last_time_ns)) : Json(nullptr)},
        {"first_bad_index", report.verdict == audit::Verdict::tampered ? Json(report.first_bad_index) : Json(nullptr)},
        {"bad_file", report.bad_file.empty() ? Json(nullptr) : Json(report.bad_file)}};
    print_line(to_line(json));
    return words.status;
  }
  std::printf("%s  %s\n", context.tint(words.tone, words.word).c_str(), printable(report.reason).c_str());
  std::printf("log        %s in %s\n", printable(report.log_id).c_str(), printable(directory).c_str());
  std::printf("covered    %llu events in %llu segments, %s\n", static_cast<unsigned long long>(report.events),
              static_cast<unsigned long long>(report.segments), human_bytes(report.bytes).c_str());
  if (kept) {
    std::printf("head       the log's first %llu records, as kept in %s\n", static_cast<unsigned long long>(kept->size),
                printable(options.head).c_str());
  }
  if (has_range) {
    std::printf("range      %s to %s\n", format_rfc3339(report.first_time_ns).c_str(),
                format_rfc3339(report.last_time_ns).c_str());
  }
  if (!report.root_hash.empty()) std::printf("root hash  %s\n", printable(report.root_hash).c_str());
  if (report.verdict == audit::Verdict::tampered) {
    std::printf("first bad  index %llu, %s\n", static_cast<unsigned long long>(report.first_bad_index),
                printable(report.bad_file).c_str());
  }
  return words.status;
}

}  // namespace sluice::cli
