#include "daemon/cli/scan_progress.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "daemon/cli/table.h"

namespace sluice::cli {
namespace {

constexpr size_t kBarCells = 24;

std::string bar(uint64_t part, uint64_t whole) {
  const double share = std::min(1.0, static_cast<double>(part) / static_cast<double>(whole));
  const auto filled = static_cast<size_t>(share * static_cast<double>(kBarCells));
  std::array<char, 8> percent{};
  std::snprintf(percent.data(), percent.size(), "%3d%%", static_cast<int>(share * 100));
  return "[" + std::string(filled, '#') + std::string(kBarCells - filled, '.') + "] " + percent.data() + "  ";
}

}  // namespace

std::string progress_line(const Progress& progress, size_t columns) {
  std::string line;
  if (progress.bytes_total > 0) line += bar(progress.bytes_read, progress.bytes_total);
  line += std::to_string(progress.files) + " files  " + human_bytes(progress.bytes_read);
  if (progress.elapsed_ms > 0) line += "  " + human_bytes(progress.bytes_read * 1000 / progress.elapsed_ms) + "/s";
  line += "  " + std::to_string(progress.findings) + " findings";
  if (line.size() > columns) line.resize(columns);
  return line;
}

}  // namespace sluice::cli
