#include <algorithm>
#include <cstdio>

#include "daemon/cli/commands.h"
#include "daemon/cli/table.h"
#include "daemon/interception/steering.h"

namespace sluice::cli {
namespace {

using interception::Capability;

// What the host has, beside what the kernel can.
std::vector<Capability> host_rows(const Context& context) {
  std::vector<Capability> rows;
  const std::string file = context.config_file.empty() ? config::kDefaultConfigFile : context.config_file;
  policies::Problems problems;
  const bool valid = config::load(file, problems).has_value();
  rows.push_back({"configuration", valid,
                  valid ? file + " is valid" : file + ": " + std::to_string(problems.size()) + " problems",
                  "the daemon does not start", "sluice check --config " + file});
  return rows;
}

Json row_json(const Capability& row) {
  return {{"name", row.name},
          {"found", row.found},
          {"detail", row.detail},
          {"meaning", row.found ? Json(nullptr) : Json(row.meaning)},
          {"remedy", row.found ? Json(nullptr) : Json(row.remedy)}};
}

}  // namespace

ExitStatus doctor_command(const Context& context) {
  std::vector<Capability> rows = host_rows(context);
  for (Capability& row : interception::probe_capabilities({})) rows.push_back(std::move(row));

  size_t missing = 0;
  int width = 0;
  for (const Capability& row : rows) width = std::max(width, static_cast<int>(row.name.size()));
  for (const Capability& row : rows) {
    if (!row.found) ++missing;
    if (context.json) {
      print_line(to_line(row_json(row)));
      continue;
    }
    const std::string mark = row.found ? context.tint(Tone::good, "found  ") : context.tint(Tone::warning, "missing");
    std::printf("%s  %-*s  %s\n", mark.c_str(), width, printable(row.name).c_str(), printable(row.detail).c_str());
    if (row.found) continue;
    std::printf("         %-*s  means: %s\n", width, "", printable(row.meaning).c_str());
    if (!row.remedy.empty()) std::printf("         %-*s  to close it: %s\n", width, "", printable(row.remedy).c_str());
  }
  if (!context.json) std::printf("\n%zu found, %zu missing\n", rows.size() - missing, missing);
  return kSuccess;
}

}  // namespace sluice::cli
