// `sluice doctor`: rows from several sources, one table. A source is a function in kSources; whoever has more to say
// about this host adds a line there.
#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <cstdio>
#include <iterator>

#include "daemon/cli/commands.h"
#include "daemon/cli/table.h"
#include "daemon/control/peer.h"
#include "daemon/interception/capability.h"
#include "daemon/interception/steering.h"

namespace sluice::cli {
namespace {

using interception::Capability;
using interception::Finding;
using interception::Need;

// What the host has, beside what the kernel can.
std::vector<Capability> installation_rows(const Context& context) {
  std::vector<Capability> rows;
  const std::string file = context.config_file.empty() ? config::kDefaultConfigFile : context.config_file;
  policies::Problems problems;
  const bool valid = config::load(file, problems).has_value();
  rows.push_back({"installation", "configuration", Need::optional, valid ? Finding::found : Finding::missing,
                  valid ? file + " is valid" : file + ": " + std::to_string(problems.size()) + " problems",
                  "the daemon does not start", "sluice check --config " + file});
  const std::string user = config::kDefaultUser;
  const bool has_user = getpwnam(user.c_str()) != nullptr;
  rows.push_back({"installation", "user of the daemon", Need::optional, has_user ? Finding::found : Finding::missing,
                  has_user ? "user " + user : "no user " + user,
                  "the daemon keeps user root, without root's capabilities",
                  "useradd --system --no-create-home --shell /usr/sbin/nologin " + user});
  const std::string group = control::kAdminGroup;
  const bool has_group = getgrnam(group.c_str()) != nullptr;
  rows.push_back({"installation", "group of the administrators", Need::optional,
                  has_group ? Finding::found : Finding::missing, has_group ? "group " + group : "no group " + group,
                  "only root can ask the daemon", "groupadd --system " + group});
  return rows;
}

std::vector<Capability> kernel_rows(const Context&) {
  return interception::probe_capabilities({});
}

using Source = std::vector<Capability> (*)(const Context& context);
constexpr Source kSources[] = {installation_rows, kernel_rows};

const char* word_of(Finding finding) {
  switch (finding) {
    case Finding::found:
      return "found";
    case Finding::missing:
      return "missing";
    case Finding::unknown:
      return "unknown";
    case Finding::limit:
      return "limit";
  }
  return "unknown";
}

const char* word_of(Need need) {
  switch (need) {
    case Need::required:
      return "required";
    case Need::optional:
      return "optional";
    case Need::unused:
      return "unused";
  }
  return "required";
}

Json row_json(const Capability& row) {
  const bool found = row.finding == Finding::found;
  return {{"group", row.group},
          {"name", row.name},
          {"found", found},
          {"state", word_of(row.finding)},
          {"need", word_of(row.need)},
          {"detail", row.detail},
          {"meaning", found ? Json(nullptr) : Json(row.meaning)},
          {"remedy", found ? Json(nullptr) : Json(row.remedy)}};
}

bool is_fatal(const Capability& row) {
  return row.need == Need::required && row.finding == Finding::missing;
}

std::string mark_of(const Context& context, const Capability& row) {
  const std::string word = word_of(row.finding);
  const std::string padded = word + std::string(8 - word.size(), ' ');
  if (row.finding == Finding::found) return context.tint(Tone::good, padded);
  if (is_fatal(row)) return context.tint(Tone::bad, padded);
  return row.need == Need::unused ? padded : context.tint(Tone::warning, padded);
}

void print_rows(const Context& context, const std::vector<Capability>& rows) {
  size_t width = 0;
  for (const Capability& row : rows) width = std::max(width, row.name.size());
  std::string group;
  for (const Capability& row : rows) {
    if (row.group != group) std::printf("%s%s\n", group.empty() ? "" : "\n", printable(row.group).c_str());
    group = row.group;
    std::printf("  %s%-*s  %s\n", mark_of(context, row).c_str(), static_cast<int>(width), printable(row.name).c_str(),
                printable(row.detail).c_str());
    if (row.finding == Finding::found) continue;
    const int indent = static_cast<int>(width) + 12;
    std::printf("%*smeans: %s\n", indent, "", printable(row.meaning).c_str());
    if (!row.remedy.empty()) std::printf("%*sto close it: %s\n", indent, "", printable(row.remedy).c_str());
  }
  const auto count = [&](auto&& is) { return std::count_if(rows.begin(), rows.end(), is); };
  const auto fatal = count(is_fatal);
  std::printf("\n%td found, %td missing, %td cannot be told, %td limits of every kernel; %s\n",
              count([](const Capability& row) { return row.finding == Finding::found; }),
              count([](const Capability& row) { return row.finding == Finding::missing; }),
              count([](const Capability& row) { return row.finding == Finding::unknown; }),
              count([](const Capability& row) { return row.finding == Finding::limit; }),
              fatal == 0
                  ? "targets can be protected on this host"
                  : (std::to_string(fatal) + " of them required: targets CANNOT be protected on this host").c_str());
}

}  // namespace

ExitStatus doctor_command(const Context& context) {
  std::vector<Capability> rows;
  for (const Source source : kSources) {
    std::vector<Capability> more = source(context);
    std::move(more.begin(), more.end(), std::back_inserter(rows));
  }
  if (context.json) {
    for (const Capability& row : rows) print_line(to_line(row_json(row)));
  } else {
    print_rows(context, rows);
  }
  return std::any_of(rows.begin(), rows.end(), is_fatal) ? kNo : kSuccess;
}

}  // namespace sluice::cli
