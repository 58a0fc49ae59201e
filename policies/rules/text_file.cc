#include "policies/rules/text_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "policies/rules/yaml_document.h"

namespace sluice::policies {
namespace {

constexpr size_t kReadStepBytes = 64u << 10;

// Closes at the end of its life. policies/ depends on nothing else of ours, so daemon/base is out of reach.
struct OpenFile {
  int fd = -1;
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  explicit OpenFile(int opened) : fd(opened) {}
  ~OpenFile() {
    if (fd >= 0) ::close(fd);
  }
};

std::string reason(int error_number) {
  return std::generic_category().message(error_number);
}

void whole_file_error(Problems& problems, const std::string& path, std::string message) {
  add_problem(problems, Problem{path, 0, 0, Severity::error, std::move(message), ""});
}

}  // namespace

int open_to_read(const std::string& path) {
  // O_NONBLOCK: a FIFO of that name must not stop us.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  return fd >= 0 ? fd : -errno;
}

std::optional<std::string> read_text_file(const std::string& path, Problems& problems, const FileOpener& opener) {
  const OpenFile file(opener(path));
  if (file.fd < 0) {
    whole_file_error(problems, path, "cannot be opened: " + reason(-file.fd));
    return std::nullopt;
  }
  struct stat status = {};
  if (::fstat(file.fd, &status) != 0) {
    whole_file_error(problems, path, "cannot be read: " + reason(errno));
    return std::nullopt;
  }
  if (!S_ISREG(status.st_mode)) {
    whole_file_error(problems, path, "is not a regular file");
    return std::nullopt;
  }
  std::string text;
  while (text.size() <= kYamlBytesMax) {
    const size_t have = text.size();
    text.resize(have + kReadStepBytes);
    const ssize_t got = ::read(file.fd, text.data() + have, kReadStepBytes);
    text.resize(have + (got > 0 ? static_cast<size_t>(got) : 0));
    if (got == 0) break;
    if (got < 0 && errno != EINTR) {
      whole_file_error(problems, path, "cannot be read: " + reason(errno));
      return std::nullopt;
    }
  }
  if (text.size() > kYamlBytesMax) {
    whole_file_error(problems, path, "larger than " + std::to_string(kYamlBytesMax) + " bytes");
    return std::nullopt;
  }
  if ((status.st_mode & S_IWOTH) != 0) {
    add_problem(problems,
                Problem{path, 0, 0, Severity::warning, "everybody on this host may write this file", "chmod o-w"});
  }
  return text;
}

}  // namespace sluice::policies
