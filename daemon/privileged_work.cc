#include "daemon/privileged_work.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <set>
#include <type_traits>
#include <utility>

#include "daemon/control/peer.h"
#include "daemon/identity/proc_reader.h"
#include "daemon/interception/host.h"
#include "policies/rules/text_file.h"

namespace sluice {
namespace {

using interception::PinnedObjects;
using privilege::Message;

template <typename Value>
std::string to_bytes(const Value& value) {
  static_assert(std::is_trivially_copyable_v<Value>);
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

// Empty where it is not exactly one value.
template <typename Value>
std::optional<Value> from_bytes(std::string_view bytes) {
  static_assert(std::is_trivially_copyable_v<Value>);
  if (bytes.size() != sizeof(Value)) return std::nullopt;
  Value value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

Message refusal(int error) {
  Message answer;
  answer.word = static_cast<uint32_t>(error);
  return answer;
}

// The helper's side. Values as of the fork; nothing that a request says changes them.
class Work {
 public:
  explicit Work(const config::Config& config)
      : config_file_(config.file),
        policies_directory_(config.policies_directory),
        bpf_directory_(config.bpf_directory) {
    for (const config::Target& target : config.targets) {
      for (const config::Endpoint& address : target.addresses) target_ports_.insert(address.port);
    }
    // Before the filter of system calls, which allows no new socket. Without it, ending connections fails and says why.
    if (auto opened = interception::open_sock_diag()) sock_diag_ = std::move(*opened);
  }

  Message handle(uint32_t request, std::string_view payload) {
    switch (static_cast<HelperRequest>(request)) {
      case HelperRequest::look_at_process:
        return look_at_process(payload);
      case HelperRequest::executable_path:
        return executable_path(payload);
      case HelperRequest::open_file:
        return open_file(payload);
      case HelperRequest::make_endpoint_map:
        return payload.empty() ? make_endpoint_map() : refusal(EINVAL);
      case HelperRequest::look_at_pins: {
        if (!payload.empty()) return refusal(EINVAL);
        Message answer;
        answer.payload = to_bytes(interception::look_at_pins(bpf_directory_));
        return answer;
      }
      case HelperRequest::namespace_members: {
        if (!payload.empty()) return refusal(EINVAL);
        return list_answer(interception::namespace_members("/proc"));
      }
      case HelperRequest::socket_holders:
        return socket_holders(payload);
      case HelperRequest::end_connection:
        return end_connection(payload);
    }
    return refusal(EINVAL);
  }

 private:
  Message look_at_process(std::string_view payload) {
    const auto question = from_bytes<ProcessQuestion>(payload);
    if (!question || question->facts.pid <= 0) return refusal(EINVAL);
    if (!reader_.has_value()) {
      // Not before the first question: steering mounts the cgroup hierarchy where there is none.
      auto reader = identity::ProcReader::open("/proc", interception::find_cgroup_root());
      if (!reader) return refusal(EIO);
      reader_.emplace(std::move(*reader));
    }
    auto look = reader_->look(question->facts,
                              question->wants_cgroup != 0 ? identity::CgroupPath::wanted : identity::CgroupPath::known);
    ProcessAnswer numbers;
    std::string path;
    Message answer;
    if (look->executable.has_value()) {
      numbers.has_executable = 1;
      numbers.stamp = look->executable->stamp;
      path = std::move(look->executable->path);
      answer.fd = std::move(look->executable->file);
    }
    numbers.path_bytes = static_cast<uint32_t>(path.size());
    numbers.cgroup_bytes = static_cast<uint32_t>(look->cgroup.size());
    answer.payload = to_bytes(numbers) + path + look->cgroup;
    return answer;
  }

  static Message executable_path(std::string_view payload) {
    const auto pid = from_bytes<pid_t>(payload);
    if (!pid || *pid <= 0) return refusal(EINVAL);
    Message answer;
    answer.payload = control::executable_path(*pid);
    return answer;
  }

  // The configuration file, the directory of policies, and the policy files that stand directly in it.
  [[nodiscard]] bool may_be_read(std::string_view path) const {
    if (path == config_file_) return true;
    if (policies_directory_.empty() || !path.starts_with(policies_directory_)) return false;
    const std::string_view rest = path.substr(policies_directory_.size());
    return rest.empty() || (rest.size() > 1 && rest[0] == '/' && rest[1] != '.' && rest.ends_with(".yaml") &&
                            rest.find('/', 1) == rest.npos);
  }

  Message open_file(std::string_view payload) {
    if (payload.find('\0') != payload.npos || !may_be_read(payload)) return refusal(EACCES);
    Message answer;
    answer.fd.reset(policies::open_to_read(std::string(payload)));
    if (!answer.fd.valid()) return refusal(-answer.fd.release());
    struct stat status {};
    if (fstat(answer.fd.get(), &status) != 0) return refusal(errno);
    if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) return refusal(EACCES);
    return answer;
  }

  static Message make_endpoint_map() {
    auto map = interception::make_endpoint_map();
    if (!map) return refusal(errno != 0 ? errno : EIO);
    Message answer;
    answer.fd = std::move(*map);
    return answer;
  }

  static Message list_answer(const std::vector<int32_t>& numbers) {
    Message answer;
    answer.payload.assign(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof numbers[0]);
    return answer;
  }

  static Message socket_holders(std::string_view payload) {
    if (payload.size() % sizeof(uint64_t) != 0 || payload.size() / sizeof(uint64_t) > interception::kHoldersAskedMax)
      return refusal(EINVAL);
    std::vector<uint64_t> inodes(payload.size() / sizeof(uint64_t));
    if (!payload.empty()) std::memcpy(inodes.data(), payload.data(), payload.size());
    return list_answer(interception::holders_of("/proc", inodes));
  }

  // Only what leads to a port of a target, so that nobody who has taken the daemon over can end just any connection.
  Message end_connection(std::string_view payload) {
    const auto question = from_bytes<EndQuestion>(payload);
    if (!question || (question->remote.family != AF_INET && question->remote.family != AF_INET6) ||
        question->local.family != question->remote.family || question->mapped > 1)
      return refusal(EINVAL);
    if (target_ports_.count(question->remote.port) == 0) return refusal(EACCES);
    if (!sock_diag_.valid()) return refusal(EOPNOTSUPP);
    interception::TcpSocket socket;
    socket.local = question->local;
    socket.remote = question->remote;
    socket.mapped = question->mapped == 1;
    socket.cookie = question->cookie;
    socket.interface = question->interface;
    return refusal(interception::destroy_tcp_socket(sock_diag_.get(), socket));
  }

  const std::string config_file_;
  const std::string policies_directory_;
  const std::string bpf_directory_;
  std::set<uint16_t> target_ports_;
  UniqueFd sock_diag_;
  std::optional<identity::ProcReader> reader_;
};

class HelperLookup final : public identity::ProcessLookup {
 public:
  explicit HelperLookup(privilege::Helper& helper) : helper_(helper) {}

  std::optional<identity::ProcessLook> look(const identity::ProcessFacts& facts, identity::CgroupPath cgroup) override {
    const ProcessQuestion question{facts, cgroup == identity::CgroupPath::wanted ? uint64_t{1} : uint64_t{0}};
    // A process without a number (a kernel that did not note it) is nobody, and no question.
    if (facts.pid <= 0) return identity::ProcessLook{};
    auto answer = helper_.call(static_cast<uint32_t>(HelperRequest::look_at_process), to_bytes(question));
    if (!answer || answer->word != 0 || answer->payload.size() < sizeof(ProcessAnswer)) return std::nullopt;
    const std::string_view payload = answer->payload;
    const auto numbers = from_bytes<ProcessAnswer>(payload.substr(0, sizeof(ProcessAnswer)));
    const std::string_view paths = payload.substr(sizeof(ProcessAnswer));
    if (paths.size() != uint64_t{numbers->path_bytes} + numbers->cgroup_bytes) return std::nullopt;
    identity::ProcessLook look;
    look.cgroup = paths.substr(numbers->path_bytes);
    if (numbers->has_executable != 0) {
      look.executable = identity::Executable{std::string(paths.substr(0, numbers->path_bytes)), numbers->stamp,
                                             std::move(answer->fd)};
    }
    return look;
  }

 private:
  privilege::Helper& helper_;
};

// Kernels before 5.8 have no CAP_BPF; there CAP_SYS_ADMIN is what eBPF takes.
int bpf_capability() {
  return prctl(PR_CAPBSET_READ, CAP_BPF, 0, 0, 0) >= 0 ? CAP_BPF : CAP_SYS_ADMIN;
}

}  // namespace

privilege::HelperHandler make_helper_handler(const config::Config& config) {
  auto work = std::make_shared<Work>(config);
  return [work](uint32_t request, std::string_view payload) { return work->handle(request, payload); };
}

Result<std::unique_ptr<PrivilegedWork>> PrivilegedWork::start(const config::Config& config) {
  // libbpf tries out what the kernel can before its first map, with programs that the helper's filter does not let it
  // load. It remembers, over the fork too; the map itself is closed again, for the helper must hold none. Where this
  // fails, whoever wants a map is told.
  static_cast<void>(interception::make_endpoint_map());
  auto helper = privilege::Helper::start(make_helper_handler(config),
                                         {CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, CAP_NET_ADMIN, bpf_capability()});
  if (!helper) return tl::unexpected(helper.error());
  return std::unique_ptr<PrivilegedWork>(new PrivilegedWork(std::move(*helper)));
}

Result<UniqueFd> PrivilegedWork::make_endpoint_map() {
  auto answer = helper_->call(static_cast<uint32_t>(HelperRequest::make_endpoint_map), {});
  if (!answer) return tl::unexpected(answer.error());
  if (answer->word != 0) return fail_errno("make the endpoint trie", static_cast<int>(answer->word));
  if (!answer->fd.valid()) return fail("make the endpoint trie: no descriptor came");
  return std::move(answer->fd);
}

Result<PinnedObjects> PrivilegedWork::look_at_pins() {
  const auto answer = helper_->call(static_cast<uint32_t>(HelperRequest::look_at_pins), {});
  if (!answer) return tl::unexpected(answer.error());
  const auto pinned = from_bytes<PinnedObjects>(answer->payload);
  if (answer->word != 0 || !pinned) return fail("the helper's answer makes no sense");
  return *pinned;
}

std::unique_ptr<identity::ProcessLookup> PrivilegedWork::process_lookup() {
  return std::make_unique<HelperLookup>(*helper_);
}

namespace {

std::vector<int32_t> numbers_of(const Result<Message>& answer) {
  if (!answer || answer->word != 0 || answer->payload.size() % sizeof(int32_t) != 0) return {};
  std::vector<int32_t> numbers(answer->payload.size() / sizeof(int32_t));
  if (!numbers.empty()) std::memcpy(numbers.data(), answer->payload.data(), answer->payload.size());
  return numbers;
}

}  // namespace

std::vector<int32_t> PrivilegedWork::namespace_members() {
  return numbers_of(helper_->call(static_cast<uint32_t>(HelperRequest::namespace_members), {}));
}

std::vector<int32_t> PrivilegedWork::holders_of(std::span<const uint64_t> inodes) {
  const auto asked = inodes.first(std::min(inodes.size(), interception::kHoldersAskedMax));
  const std::string_view bytes(reinterpret_cast<const char*>(asked.data()), asked.size_bytes());
  return numbers_of(helper_->call(static_cast<uint32_t>(HelperRequest::socket_holders), bytes));
}

int PrivilegedWork::destroy(const interception::TcpSocket& socket) {
  const EndQuestion question{socket.local, socket.remote, socket.cookie, socket.interface, socket.mapped ? 1u : 0u};
  const auto answer = helper_->call(static_cast<uint32_t>(HelperRequest::end_connection), to_bytes(question));
  return answer ? static_cast<int>(answer->word) : EIO;
}

std::string PrivilegedWork::executable_path(pid_t pid) {
  const auto answer = helper_->call(static_cast<uint32_t>(HelperRequest::executable_path), to_bytes(pid));
  return answer && answer->word == 0 ? answer->payload : std::string();
}

int PrivilegedWork::open_to_read(const std::string& path) {
  const int fd = policies::open_to_read(path);
  if (fd != -EACCES) return fd;
  auto answer = helper_->call(static_cast<uint32_t>(HelperRequest::open_file), path);
  if (!answer) return -EIO;
  if (answer->word != 0) return -static_cast<int>(answer->word);
  return answer->fd.valid() ? answer->fd.release() : -EIO;
}

}  // namespace sluice
