#include "daemon/cli/scan_command.h"

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mutex>
#include <nlohmann/json.hpp>

#include "daemon/base/clock.h"
#include "daemon/cli/scan_progress.h"
#include "daemon/cli/table.h"
#include "daemon/scan/search.h"

namespace sluice::cli {
namespace {

std::string quoted(std::string_view text) {
  // File names are bytes: what is not UTF-8 is replaced rather than refused.
  return nlohmann::ordered_json(text).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string shown_path(std::string_view path, std::string_view member) {
  std::string shown = path.empty() ? "standard input" : printable(path);
  if (!member.empty()) shown += "!" + printable(member);
  return shown;
}

class Format final : public scan::SearchFormat {
 public:
  explicit Format(bool json) : json_(json) {}

  void hit(std::string& out, std::string_view path, std::string_view member, const scan::TextHit& hit) const override {
    const policies::Finding& finding = hit.finding;
    const bool branded = policies::has_brand(finding.kind);
    if (!json_) {
      out += shown_path(path, member) + ":" + std::to_string(hit.line) + ": ";
      out += hit.name;
      if (branded) out.append(" ").append(policies::to_string(finding.brand));
      out += " " + hit.masked + " at byte " + std::to_string(hit.offset) + "\n";
      return;
    }
    out += '{';
    if (!path.empty()) out += "\"path\":" + quoted(path) + ",";
    if (!member.empty()) out += "\"member\":" + quoted(member) + ",";
    out += "\"offset\":" + std::to_string(hit.offset) + ",\"length\":" + std::to_string(finding.length + finding.rest);
    out.append(",\"kind\":\"").append(hit.name).append("\"");
    if (branded) {
      out.append(",\"brand\":\"").append(policies::to_string(finding.brand));
      out += "\",\"digits\":" + std::to_string(finding.digits);
    }
    out += ",\"masked\":\"" + hit.masked + "\"";
    if (!path.empty()) out += ",\"line\":" + std::to_string(hit.line);
    out += "}\n";
  }

  void message(std::string& err, std::string_view path, std::string_view member, std::string_view what) const override {
    err += "sluice scan: " + shown_path(path, member) + ": " + printable(what) + "\n";
  }

 private:
  bool json_;
};

// The line at the foot of a terminal. Nothing where standard error is none. One thread draws; the lines of the report
// go out between two calls of clear() and the next draw(), under the report's own lock.
class Display {
 public:
  Display(const ScanOptions& options, int err) : err_(err), terminal_(::isatty(err) == 1) {
    if (!terminal_) return;
    for (const std::string& path : options.files) {
      struct stat found = {};
      if (::stat(path.c_str(), &found) != 0 || !S_ISREG(found.st_mode)) {
        total_ = 0;
        return;
      }
      total_ += static_cast<uint64_t>(found.st_size);
    }
  }

  void draw(const scan::SearchCounts& counts) {
    if (!terminal_) return;
    winsize size = {};
    constexpr size_t kUsualColumns = 80;
    const size_t columns = ::ioctl(err_, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kUsualColumns;
    const Progress progress{counts.files, counts.findings, counts.monitor.bytes_read, total_,
                            system_clock().monotonic_ms() - started_ms_};
    const std::lock_guard lock(mutex_);
    write("\r\x1b[K" + progress_line(progress, columns - 1));
    shown_ = true;
  }
  void clear() {
    const std::lock_guard lock(mutex_);
    if (shown_) write("\r\x1b[K");
    shown_ = false;
  }
  [[nodiscard]] uint64_t elapsed_ms() const { return system_clock().monotonic_ms() - started_ms_; }

 private:
  void write(const std::string& text) const { BlockWriter(err_).write(text); }

  int err_;
  bool terminal_, shown_ = false;
  uint64_t total_ = 0;
  uint64_t started_ms_ = system_clock().monotonic_ms();
  std::mutex mutex_;
};

std::string counted(uint64_t count, std::string_view one, std::string_view many) {
  return std::to_string(count) + " " + std::string(count == 1 ? one : many);
}

std::string summary(const scan::SearchCounts& counts, uint64_t elapsed_ms) {
  std::string text = "sluice scan: " + counted(counts.findings, "finding", "findings") + " in " +
                     std::to_string(counts.files_with_findings) + " of " + counted(counts.files, "file", "files");
  if (counts.members > 0) text += " and " + counted(counts.members, "archive member", "archive members");
  text += ", " + human_bytes(counts.bytes) + " in " + std::to_string(elapsed_ms / 1000) + "." +
          std::to_string(elapsed_ms / 100 % 10) + " s";
  if (counts.left_out > 0) text += "; " + std::to_string(counts.left_out) + " left out";
  if (counts.links_left > 0) text += "; " + counted(counts.links_left, "link", "links") + " not followed";
  if (counts.noted > 0) text += "; " + std::to_string(counts.noted) + " not looked at";
  if (counts.problems > 0) text += "; " + std::to_string(counts.problems) + " could not be read";
  return text + "\n";
}

scan::SearchOptions search_options(const ScanOptions& options, const StandardStreams& streams) {
  scan::SearchOptions search;
  search.paths = options.files;
  if (search.paths.empty()) search.paths.emplace_back(scan::kStandardInput);
  search.walk = {options.include, options.exclude, options.follow_links ? scan::Links::follow : scan::Links::stay};
  search.file.unpacking = options.look_into_archives ? scan::Unpacking::on : scan::Unpacking::off;
  if (options.file_bytes_max > 0) search.file.file_bytes_max = options.file_bytes_max;
  search.file.expanded_bytes_max = options.expanded_bytes_max;
  if (options.findings_per_file > 0) search.shown_per_file_max = options.findings_per_file;
  search.workers = options.threads;
  const bool one_text = search.paths.size() == 1 && [&] {
    struct stat found = {};
    return search.paths[0] == scan::kStandardInput ||
           (::stat(search.paths[0].c_str(), &found) == 0 && !S_ISDIR(found.st_mode));
  }();
  if (one_text) search.workers = 1;
  search.standard_input = streams.in;
  search.output = streams.out;
  return search;
}

}  // namespace

ExitStatus run_scan(const ScanOptions& options, const StandardStreams& streams) {
  const Result<DataChoice> data = DataChoice::create(options.data);
  if (!data) {
    BlockWriter(streams.err).write("sluice scan: " + data.error().message + "\n");
    return kUsage;
  }
  Display display(options, streams.err);
  scan::SearchCounts counts;
  BlockWriter out(streams.out), err(streams.err);
  const auto sink = [&](std::string_view found, std::string_view messages) {
    display.clear();
    out.write(found);
    out.flush();
    err.write(messages);
    err.flush();
    return !out.failed();
  };
  const auto make_scanner = [&data](std::string& why) {
    return data->make_scanner(policies::KeyedSecrets::beside_cards, why);
  };
  const Status searched = scan::search(
      search_options(options, streams), Format(options.json), make_scanner, sink, [&] { display.draw(counts); },
      counts);
  display.clear();
  if (!searched) {
    err.write("sluice scan: " + searched.error().message + "\n");
    return kUsage;
  }
  if (!options.json) err.write(summary(counts, display.elapsed_ms()));
  if (counts.findings > 0) return kNo;
  return counts.problems > 0 ? kUsage : kSuccess;
}

}  // namespace sluice::cli
