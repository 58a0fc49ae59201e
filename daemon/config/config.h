// The configuration (sluice.yaml), validated. A plain value: service.cc passes what is needed to whoever needs it.
// Format: product documentation, docs/configuration.md. Every default stands here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policies/rules/facts.h"
#include "policies/rules/problem.h"
#include "policies/rules/text_file.h"

namespace sluice::config {

enum class WhenDown : uint8_t { deny, allow };
enum class Accelerate : uint8_t { auto_, on, off };
enum class Durability : uint8_t { strict, relaxed };

// One address or network of a target. `bytes` is in network order; IPv4 uses the first four.
struct Endpoint {
  enum class Family : uint8_t { ipv4, ipv6 } family = Family::ipv4;
  uint8_t bytes[16] = {};
  uint8_t prefix_bits = 32;
  uint16_t port = 0;
  std::string text;  // as written
};

struct Target {
  std::string name;
  std::string protocol;  // "postgres" for now; others are refused as not yet supported
  std::vector<Endpoint> addresses;
  policies::Direction direction = policies::Direction::outbound;
  WhenDown when_down = WhenDown::deny;
  Accelerate accelerate = Accelerate::auto_;
  uint64_t statement_bytes_max = 16u << 20;
  std::string
      catalog_dsn;  // of Sluice's own login, for names of columns; empty: none. May hold a password: never shown
};

struct Audit {
  std::string directory = "/var/lib/sluice/audit";
  Durability durability = Durability::strict;
  uint32_t retention_days = 400;
};

struct Config {
  std::string file;
  std::vector<Target> targets;
  std::string policies_directory;  // empty: masking alone, default allow
  std::string state_directory = "/var/lib/sluice";
  Audit audit;
  std::string control_socket = "/run/sluice/control.sock";
  std::string metrics;   // "127.0.0.1:9464": where Prometheus scrapes; empty: on the control socket alone
  uint32_t workers = 0;  // threads that carry sessions; 0: half of the processors, at least one
  std::string bpf_directory = "/sys/fs/bpf/sluice";
  std::string cgroup_path;  // steering is attached here; empty: the cgroup v2 root
  std::string user;         // that the daemon becomes; empty: kDefaultUser where there is one, else it stays who it is
};

inline constexpr const char* kDefaultUser = "sluice";
inline constexpr const char* kDefaultConfigFile = "/etc/sluice/sluice.yaml";

inline constexpr size_t kTargetsMax = 16'384;
inline constexpr size_t kAddressesMax = 32'768;  // of all targets together
inline constexpr size_t kTargetNameBytesMax = 63;
inline constexpr uint64_t kWorkersMost = 64;
inline constexpr size_t kUserNameBytesMax = 32;  // useradd(8)
inline constexpr size_t kDsnBytesMax = 4'096;
inline constexpr size_t kPathBytesMax = 1'024;
inline constexpr size_t kSocketPathBytesMax = 107;  // sockaddr_un::sun_path without its NUL, unix(7)
inline constexpr uint64_t kStatementBytesLeast = 4u << 10;
inline constexpr uint64_t kStatementBytesMost = 64u << 20;
inline constexpr uint64_t kRetentionDaysMost = 36'500;

// Reads and validates. On success every field is usable as it is and `problems` holds at most warnings; otherwise
// nullopt and `problems` holds every error found. Missing directories are not created here.
[[nodiscard]] std::optional<Config> load(const std::string& file, policies::Problems& problems);
// The same of a text, as if it stood in `file`.
[[nodiscard]] std::optional<Config> parse(std::string_view text, const std::string& file, policies::Problems& problems);

// What could be read where load() gives nullopt: valid says which of the two it is. For `sluice check`, which goes on
// to the policies.
struct Reading {
  Config config;
  bool valid = false;
};
[[nodiscard]] Reading read(const std::string& file, policies::Problems& problems,
                           const policies::FileOpener& opener = policies::open_to_read);

[[nodiscard]] std::vector<std::string> target_names(const Config& config);

}  // namespace sluice::config
