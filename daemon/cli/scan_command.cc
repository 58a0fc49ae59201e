#include "daemon/cli/scan_command.h"

#include <unistd.h>

#include <filesystem>

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kFilesPerProgress = 64;

class Scan {
 public:
  Scan(const ScanOptions& options, const StandardStreams& streams, policies::CardScanner& scanner)
      : options_(options), streams_(streams), scanner_(scanner), out_(streams.out), err_(streams.err) {
    progress_ = ::isatty(streams.err) == 1;
    std::error_code ignored;  // what cannot be looked at is reported when it is read
    several_ = options.files.size() > 1 || (options.files.size() == 1 && fs::is_directory(options.files[0], ignored));
  }

  void look_at(const std::string& path) {
    std::error_code error;
    if (path != kStandardInput && fs::is_directory(path, error)) return directory(path);
    file(path);
  }

  [[nodiscard]] ExitStatus finish() {
    show_progress("");
    out_.flush();
    if (out_.failed()) complain("output cannot be written");
    err_.flush();
    if (unreadable_ || out_.failed()) return kUsage;
    return found_ ? kNo : kSuccess;
  }

 private:
  void directory(const std::string& path) {
    std::error_code error;
    fs::recursive_directory_iterator entries(path, error);
    if (error) return complain(path + ": " + error.message());
    while (entries != fs::recursive_directory_iterator()) {
      const fs::directory_entry entry = *entries;
      std::error_code kind_error;
      const fs::file_status status = entry.symlink_status(kind_error);
      if (kind_error)
        complain(entry.path().string() + ": " + kind_error.message());
      else if (fs::is_regular_file(status))
        file(entry.path().string());
      else if (fs::is_directory(status) && ::access(entry.path().c_str(), R_OK | X_OK) != 0) {
        complain(entry.path().string() + ": permission denied");
        entries.disable_recursion_pending();
      }
      entries.increment(error);
      if (error) return complain(path + ": " + error.message());
    }
  }

  void file(const std::string& path) {
    const Status read =
        read_through(scanner_, policies::MaskStyle::bin6_last4, path, streams_.in, [&](auto, auto findings) {
          for (const policies::ReportedFinding& finding : findings) report(path, finding);
        });
    if (!read) complain(read.error().message);
    if (++files_ % kFilesPerProgress == 0) show_progress(std::to_string(files_) + " files");
  }

  void report(const std::string& path, const policies::ReportedFinding& finding) {
    found_ = true;
    if (options_.json) return out_.write(finding_line(finding, several_ ? path : ""));
    out_.write(path + ":" + std::to_string(finding.offset) + ": " + std::string(policies::to_string(finding.kind)) +
               " " + std::string(policies::to_string(finding.brand)) + " " + finding.masked + "\n");
  }

  void complain(const std::string& what) {
    unreadable_ = true;
    err_.write("sluice scan: " + what + "\n");
    err_.flush();
  }

  void show_progress(const std::string& text) {
    if (!progress_) return;
    err_.write("\r\x1b[K" + text);
    err_.flush();
  }

  const ScanOptions& options_;
  const StandardStreams& streams_;
  policies::CardScanner& scanner_;
  BlockWriter out_, err_;
  size_t files_ = 0;
  bool several_ = false, progress_ = false, found_ = false, unreadable_ = false;
};

}  // namespace

ExitStatus run_scan(const ScanOptions& options, const StandardStreams& streams) {
  std::string why;
  const std::unique_ptr<policies::CardScanner> scanner = policies::CardScanner::create(why);
  if (scanner == nullptr) {
    BlockWriter(streams.err).write("sluice scan: " + why + "\n");
    return kUsage;
  }
  Scan scan(options, streams, *scanner);
  if (options.files.empty()) scan.look_at(std::string(kStandardInput));
  for (const std::string& path : options.files) scan.look_at(path);
  return scan.finish();
}

}  // namespace sluice::cli
