#include <cstdio>

#include "daemon/audit/verify.h"
#include "daemon/base/rfc3339.h"
#include "daemon/cli/commands.h"
#include "daemon/cli/table.h"

namespace sluice::cli {
namespace {

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

ExitStatus audit_verify_command(const Context& context, const std::string& directory_argument) {
  std::string directory = directory_argument;
  if (directory.empty()) {
    const std::optional<config::Config> config = context.configuration();
    if (!config) return kUsage;
    directory = config->audit.directory;
  }
  const audit::VerifyReport report = audit::verify(directory);
  const VerdictWords words = words_of(report.verdict);
  const bool has_range = report.events > 0;
  if (context.json) {
    Json json = {
        {"verdict", words.word},
        {"reason", report.reason},
        {"directory", directory},
        {"log_id", report.log_id},
        {"events", report.events},
        {"segments", report.segments},
        {"bytes", report.bytes},
        {"root_hash", report.root_hash},
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
