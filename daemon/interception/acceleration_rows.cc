#include "daemon/interception/acceleration_rows.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "daemon/interception/accelerate.h"
#include "daemon/interception/host.h"
#include "daemon/interception/programs.h"

namespace sluice::interception {
namespace {

constexpr char kFieldEnd = '\x1f';
constexpr char kRowEnd = '\x1e';
constexpr size_t kRowsBytesMax = 64 * 1024;
constexpr uint32_t kTrialNotesMax = 64;

const char* remedy_of(CheckWeight weight) {
  switch (weight) {
    case CheckWeight::fatal:
      return "nothing has to be done: local hops go by TCP, as they would without it";
    case CheckWeight::foreign:
    case CheckWeight::guarded:
      return "`auto` keeps away from it; `accelerate: on` accepts it";
  }
  return "";
}

Capability row(std::string name, bool found, std::string detail, std::string meaning, std::string remedy) {
  return {"accelerate",      std::move(name),    Need::optional,   found ? Finding::found : Finding::missing,
          std::move(detail), std::move(meaning), std::move(remedy)};
}

// In the child: the trial's cgroup, programs that are pinned nowhere, the self-test.
AccelerationReport try_in(const std::string& cgroup) {
  std::ofstream procs(cgroup + "/cgroup.procs");
  procs << getpid() << std::flush;
  if (!procs) return try_acceleration(nullptr, "no process can be moved into " + cgroup);
  auto opened = open_cgroup(cgroup);
  if (!opened) return try_acceleration(nullptr, opened.error().message);
  // Loaded, not committed: the directory is only where pins would be looked for.
  auto programs =
      Programs::load("/sys/fs/bpf/sluice-trial-" + std::to_string(getpid()), std::move(*opened), kTrialNotesMax);
  if (!programs) return try_acceleration(nullptr, programs.error().message);
  auto accelerator = Accelerator::load(**programs);
  if (!accelerator) return try_acceleration(nullptr, accelerator.error().message);
  return try_acceleration(accelerator->get(), "");
}

std::string write_rows(const std::vector<Capability>& rows) {
  std::string text;
  for (const Capability& one : rows) {
    for (const std::string* field : {&one.name, &one.detail, &one.meaning, &one.remedy}) text += *field + kFieldEnd;
    text += one.finding == Finding::found ? '1' : '0';
    text += kRowEnd;
  }
  return text;
}

std::vector<Capability> read_rows(const std::string& text) {
  std::vector<Capability> rows;
  for (size_t start = 0; start < text.size();) {
    const size_t end = text.find(kRowEnd, start);
    if (end == std::string::npos) break;
    std::array<std::string, 4> fields;
    size_t at = start;
    for (std::string& field : fields) {
      const size_t stop = text.find(kFieldEnd, at);
      if (stop == std::string::npos || stop > end) return rows;
      field = text.substr(at, stop - at);
      at = stop + 1;
    }
    rows.push_back(row(fields[0], text.compare(at, end - at, "1") == 0, fields[1], fields[2], fields[3]));
    start = end + 1;
  }
  return rows;
}

std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> chunk{};
  while (text.size() < kRowsBytesMax) {
    const ssize_t got = read(fd, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(chunk.data(), static_cast<size_t>(got));
  }
  return text;
}

}  // namespace

std::vector<Capability> to_capabilities(const AccelerationReport& report) {
  std::vector<Capability> rows;
  for (const AccelerationCheck& check : report.checks) {
    rows.push_back(row("accelerate: " + check.name, check.passed, check.detail,
                       std::string(to_string(check.weight)) + ": " + check.meaning, remedy_of(check.weight)));
  }
  const auto said = [](Acceleration taken, const std::string& why) {
    return std::string(to_string(taken)) + ": " + why;
  };
  rows.push_back(row("accelerate: auto", report.for_auto != Acceleration::none, said(report.for_auto, report.why_auto),
                     "local hops go by TCP, as they would without it",
                     "`accelerate: on`, where the rows above are accepted"));
  rows.push_back(row("accelerate: on", report.for_on != Acceleration::none, said(report.for_on, report.why_on),
                     "local hops go by TCP, as they would without it", remedy_of(CheckWeight::fatal)));
  return rows;
}

std::vector<Capability> probe_acceleration(const std::string& trial_cgroup) {
  const auto failed = [](const std::string& why) { return to_capabilities(try_acceleration(nullptr, why)); };
  if (trial_cgroup.empty()) return failed("no cgroup to try in");
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) return failed(std::string("pipe: ") + std::strerror(errno));
  const UniqueFd from(ends[0]);
  UniqueFd into(ends[1]);
  const pid_t child = fork();
  if (child < 0) return failed(std::string("fork: ") + std::strerror(errno));
  if (child == 0) {
    const std::string text = write_rows(to_capabilities(try_in(trial_cgroup)));
    const ssize_t wrote = write(into.get(), text.data(), text.size());
    _exit(wrote == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
  into.reset();
  std::vector<Capability> rows = read_rows(read_all(from.get()));
  int status = 0;
  waitpid(child, &status, 0);
  if (rows.empty() || !WIFEXITED(status) || WEXITSTATUS(status) != 0) return failed("the self-test ended early");
  return rows;
}

}  // namespace sluice::interception
