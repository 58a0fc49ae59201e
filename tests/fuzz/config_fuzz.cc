// Any bytes as sluice.yaml: it is usable as it is, or there is an error that says why; and every problem can be shown.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "daemon/config/config.h"
#include "daemon/config/problem_format.h"
#include "policies/rules/yaml_document.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void check_usable(const sluice::config::Config& config) {
  require(!config.targets.empty() && config.targets.size() <= sluice::config::kTargetsMax);
  for (const auto& target : config.targets) {
    require(!target.name.empty() && target.protocol == "postgres" && !target.addresses.empty());
    require(target.statement_bytes_max >= sluice::config::kStatementBytesLeast);
    require(target.statement_bytes_max <= sluice::config::kStatementBytesMost);
    for (const auto& address : target.addresses) {
      const bool v4 = address.family == sluice::config::Endpoint::Family::ipv4;
      require(address.port != 0 && address.prefix_bits <= (v4 ? 32 : 128));
    }
  }
  for (const std::string* path :
       {&config.state_directory, &config.audit.directory, &config.control_socket, &config.bpf_directory}) {
    require(path->starts_with('/'));
  }
  require(config.policies_directory.empty() || config.policies_directory.starts_with('/'));
  require(config.control_socket.size() <= sluice::config::kSocketPathBytesMax);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::policies::Problems problems;
  const auto config =
      sluice::config::parse(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz.yaml", problems);
  require(config.has_value() != sluice::policies::has_errors(problems));
  if (config) check_usable(*config);
  for (const char c : sluice::config::format_text(problems)) require(c == '\n' || static_cast<uint8_t>(c) >= 0x20);
  require(sluice::config::format_json(problems).empty() == problems.empty());
  return 0;
}
