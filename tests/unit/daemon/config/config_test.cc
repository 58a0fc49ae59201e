// sluice.yaml: defaults, every key, every way to be wrong with its place.
#include "daemon/config/config.h"

#include <gtest/gtest.h>

#include "daemon/config/problem_format.h"

namespace sluice::config {
namespace {

using policies::Problems;

constexpr const char* kTarget = "  - {name: db, protocol: postgres, addresses: [\"10.0.0.5:5432\"]}\n";

std::string problems_of(const std::string& text) {
  Problems problems;
  const auto config = parse(text, "s.yaml", problems);
  bool errors = false;
  for (const auto& p : problems) errors = errors || p.severity == policies::Severity::error;
  EXPECT_EQ(config.has_value(), !errors) << format_text(problems);
  return format_text(problems);
}
std::string with(const std::string& rest) {
  return "version: 1\ntargets:\n" + std::string(kTarget) + rest;
}
// Problems of one key of a target.
std::string target_problems(const std::string& keys) {
  return problems_of("version: 1\ntargets:\n  - {name: db, protocol: postgres, addresses: [\"10.0.0.5:5432\"], " +
                     keys + "}\n");
}
std::string address_problems(const std::string& address) {
  return problems_of("version: 1\ntargets:\n  - {name: db, protocol: postgres, addresses: [" + address + "]}\n");
}

Config good(const std::string& text) {
  Problems problems;
  auto config = parse(text, "s.yaml", problems);
  EXPECT_TRUE(config.has_value()) << format_text(problems);
  EXPECT_TRUE(problems.empty()) << format_text(problems);
  return config.value_or(Config{});
}

TEST(Config, Defaults) {
  const Config config = good(with(""));
  ASSERT_EQ(config.targets.size(), 1u);
  const Target& target = config.targets[0];
  EXPECT_EQ(target.name, "db");
  EXPECT_EQ(target.protocol, "postgres");
  EXPECT_EQ(target.direction, policies::Direction::outbound);
  EXPECT_EQ(target.when_down, WhenDown::deny);
  EXPECT_EQ(target.accelerate, Accelerate::auto_);
  EXPECT_EQ(target.statement_bytes_max, 16u << 20);
  ASSERT_EQ(target.addresses.size(), 1u);
  EXPECT_EQ(target.addresses[0].port, 5432);
  EXPECT_EQ(config.policies_directory, "");
  EXPECT_EQ(config.state_directory, "/var/lib/sluice");
  EXPECT_EQ(config.audit.directory, "/var/lib/sluice/audit");
  EXPECT_EQ(config.audit.durability, Durability::strict);
  EXPECT_EQ(config.audit.retention_days, 400u);
  EXPECT_EQ(config.control_socket, "/run/sluice/control.sock");
  EXPECT_EQ(config.bpf_directory, "/sys/fs/bpf/sluice");
  EXPECT_EQ(config.cgroup_path, "");
  EXPECT_EQ(config.file, "s.yaml");
  EXPECT_EQ(target_names(config), std::vector<std::string>{"db"});
}

TEST(Config, EveryKey) {
  const Config config = good(R"(version: 1
targets:
  - name: payments-db
    protocol: postgres
    addresses: ["10.20.0.5:5432", "[fd00::5]:5432", "10.30.0.0/16:5432"]
    direction: outbound
    when_down: allow
    accelerate: off
    statement_bytes_max: 1MiB
policies: /etc/sluice/policies/
state_directory: /srv/sluice
audit: {directory: /srv/log, durability: relaxed, retention_days: 800}
workers: 3
control: {socket: /tmp/x.sock}
steering: {bpf_directory: /sys/fs/bpf/test, cgroup: /sys/fs/cgroup/test}
)");
  ASSERT_EQ(config.targets.size(), 1u);
  EXPECT_EQ(config.targets[0].addresses.size(), 3u);
  EXPECT_EQ(config.targets[0].addresses[2].text, "10.30.0.0/16:5432");
  EXPECT_EQ(config.targets[0].when_down, WhenDown::allow);
  EXPECT_EQ(config.targets[0].accelerate, Accelerate::off);
  EXPECT_EQ(config.targets[0].statement_bytes_max, 1u << 20);
  EXPECT_EQ(config.policies_directory, "/etc/sluice/policies");
  EXPECT_EQ(config.state_directory, "/srv/sluice");
  EXPECT_EQ(config.audit.directory, "/srv/log");
  EXPECT_EQ(config.audit.durability, Durability::relaxed);
  EXPECT_EQ(config.audit.retention_days, 800u);
  EXPECT_EQ(config.workers, 3u);
  EXPECT_EQ(config.control_socket, "/tmp/x.sock");
  EXPECT_EQ(config.bpf_directory, "/sys/fs/bpf/test");
  EXPECT_EQ(config.cgroup_path, "/sys/fs/cgroup/test");
}

TEST(Config, TheAuditDirectoryFollowsTheState) {
  EXPECT_EQ(good(with("state_directory: /srv/s\n")).audit.directory, "/srv/s/audit");
  EXPECT_EQ(good(with("state_directory: /srv/s\naudit: {durability: strict}\n")).audit.directory, "/srv/s/audit");
}

TEST(Config, UnknownKeysGetSuggestions) {
  EXPECT_EQ(problems_of(
                "version: 1\ntagets: 1\ntargets:\n  - {name: db, protocol: postgres, adresses: [\"10.0.0.5:5432\"]}\n"),
            "s.yaml:2:1: error: unknown key `tagets` in the configuration\n  hint: did you mean `targets`?\n"
            "s.yaml:4:5: error: target `db` lacks `addresses`\n  hint: `addresses: [\"10.0.0.5:5432\"]`\n"
            "s.yaml:4:36: error: unknown key `adresses` in the target\n  hint: did you mean `addresses`?\n");
  EXPECT_EQ(problems_of(with("audit: {durabilty: strict}\n")),
            "s.yaml:4:9: error: unknown key `durabilty` in `audit`\n  hint: did you mean `durability`?\n");
  EXPECT_EQ(target_problems("when_down: denny"),
            "s.yaml:3:77: error: `denny` is no value of `when_down`\n  hint: did you mean `deny`?\n");
}

TEST(Config, MetricsTakeAnAddressToListenOn) {
  for (const char* address : {"127.0.0.1:9464", "[::1]:9464", "0.0.0.0:9464", "[::]:1"}) {
    policies::Problems problems;
    const auto config = parse(with(std::string("metrics: \"") + address + "\"\n"), "s.yaml", problems);
    ASSERT_TRUE(config.has_value()) << address;
    EXPECT_EQ(config->metrics, address);
  }
  for (const char* wrong : {"9464", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "localhost:9464", "10.0.0.0/8:9464",
                            "::1:9464", "[127.0.0.1]:9464", "unix:/run/metrics", "127.0.0.1:9464 "}) {
    EXPECT_NE(problems_of(with(std::string("metrics: \"") + wrong + "\"\n")).find("is no address to listen on"),
              std::string::npos)
        << wrong;
  }
}

TEST(Config, WhatComesLaterIsRefused) {
  const char* keys[] = {"sinks: []", "identity: {oidc: []}", "control: {console: \"127.0.0.1:8443\"}"};
  for (const char* key : keys) {
    EXPECT_NE(problems_of(with(std::string(key) + "\n")).find("s.yaml:4:"), std::string::npos) << key;
    EXPECT_NE(problems_of(with(std::string(key) + "\n")).find("error: not yet supported: `"), std::string::npos) << key;
  }
  const char* target_keys[] = {"tls: {client: prefer}",   "credentials: {user: x}", "canary: {interval: 5m}",
                               "listen: \"127.0.0.1:1\"", "direction: inbound",     "direction: listen"};
  for (const char* key : target_keys) {
    EXPECT_NE(target_problems(key).find("error: not yet supported: `"), std::string::npos) << key;
  }
  for (const char* protocol : {"mysql", "http", "mcp", "ssh", "tcp"}) {
    EXPECT_EQ(problems_of(std::string("version: 1\ntargets:\n  - {name: db, protocol: ") + protocol +
                          ", addresses: [\"10.0.0.5:5432\"]}\n"),
              std::string("s.yaml:3:26: error: not yet supported: `") + protocol + "`\n  hint: one of: postgres\n");
  }
  EXPECT_NE(address_problems("\"unix:/run/postgresql/.s.PGSQL.5432\"").find("not yet supported: Unix socket"),
            std::string::npos);
}

TEST(Config, ACatalogIsAConnectionString) {
  EXPECT_EQ(target_problems("catalog: {dsn: \"service=payments\"}"), "");
  EXPECT_NE(target_problems("catalog: {}").find("error: "), std::string::npos);
  EXPECT_NE(target_problems("catalog: {dsn: \"\"}").find("error: "), std::string::npos);
  EXPECT_NE(target_problems("catalog: {dsn: x, user: y}").find("unknown key `user` in `catalog`"), std::string::npos);
}

TEST(Config, MissingAndMisshapen) {
  EXPECT_EQ(problems_of(""), "s.yaml: error: is empty\n  hint: begin with `version: 1`\n");
  EXPECT_EQ(problems_of("{}\n"),
            "s.yaml:1:1: error: the configuration lacks `version`\n  hint: begin with `version: 1`\n"
            "s.yaml:1:1: error: the configuration lacks `targets`\n  hint: name at least one service to protect\n");
  for (const char* text :
       {"version: 1\ntargets: []\n", "version: 1\ntargets: {}\n", "version: 1\ntargets:\n", "version: 2\ntargets:\n",
        "- a\n", "text\n", "version: 1\ntargets: [db]\n", "version: [1]\ntargets: x\n"}) {
    EXPECT_NE(problems_of(text).find("error"), std::string::npos) << text;
  }
  EXPECT_NE(problems_of(with("audit: strict\n")).find("4:8: error: `audit` has to be a map"), std::string::npos);
  EXPECT_NE(problems_of(with("control: []\n")).find("error: `control` has to be a map"), std::string::npos);
  EXPECT_NE(problems_of(with("steering: 1\n")).find("error: `steering` has to be a map"), std::string::npos);
}

TEST(Config, TargetNames) {
  for (const char* name : {"Payments", "a_b", "-a", "a-", "\"\"", "\"a b\"", "a.b", "über"}) {
    EXPECT_NE(problems_of(std::string("version: 1\ntargets:\n  - {name: ") + name +
                          ", protocol: postgres, addresses: [\"10.0.0.5:5432\"]}\n")
                  .find("3:12: error"),
              std::string::npos)
        << name;
  }
  EXPECT_NE(problems_of("version: 1\ntargets:\n" + std::string(kTarget) +
                        "  - {name: db, protocol: postgres, addresses: [\"10.0.0.6:1\"]}\n")
                .find("4:12: error: a second target is named `db`"),
            std::string::npos);
}

TEST(Config, StatementBytes) {
  const auto limit = [](const std::string& value) {
    return good(
               "version: 1\ntargets:\n  - {name: db, protocol: postgres, addresses: [\"10.0.0.5:5432\"], "
               "statement_bytes_max: " +
               value + "}\n")
        .targets.at(0)
        .statement_bytes_max;
  };
  EXPECT_EQ(limit("4096"), 4096u);
  EXPECT_EQ(limit("4KiB"), 4096u);
  EXPECT_EQ(limit("64MiB"), 64u << 20);
  for (const char* value :
       {"4095", "64.5MiB", "65MiB", "16MB", "16 MiB", "-1", "x", "\"\"", "[]", "18446744073709551616", "67108865MiB"}) {
    EXPECT_NE(target_problems(std::string("statement_bytes_max: ") + value).find("has to be a size from 4KiB to 64MiB"),
              std::string::npos)
        << value;
  }
}

TEST(Config, Paths) {
  const char* keys[] = {"policies: ",         "state_directory: ",   "audit: {directory: ",
                        "control: {socket: ", "steering: {cgroup: ", "steering: {bpf_directory: "};
  for (const char* key : keys) {
    const std::string close = std::string(key).find('{') == std::string::npos ? "" : "}";
    for (const char* path : {"relative", "/a/../b", "/a/.", "\"/a\\nb\"", "[x]", "~"}) {
      EXPECT_NE(problems_of(with(key + std::string(path) + close + "\n")).find("s.yaml:4:"), std::string::npos)
          << key << path;
    }
  }
  EXPECT_EQ(good(with("control: {socket: /" + std::string(106, 's') + "}\n")).control_socket.size(), 107u);
  EXPECT_NE(problems_of(with("control: {socket: /" + std::string(107, 's') + "}\n")).find("1 to 107 bytes"),
            std::string::npos);
  EXPECT_EQ(good(with("policies: /a//\n")).policies_directory, "/a");
}

TEST(Config, NothingElseLivesInTheAuditDirectory) {
  EXPECT_NE(
      problems_of(with("audit: {directory: /var/lib/sluice}\n")).find("`state_directory` lies in the audit directory"),
      std::string::npos);
  EXPECT_NE(problems_of(with("state_directory: /a/b\naudit: {directory: /a}\n")).find("error"), std::string::npos);
  EXPECT_NE(problems_of(with("policies: /log/p\naudit: {directory: /log}\n")).find("error: `policies` lies in"),
            std::string::npos);
  EXPECT_NE(problems_of(with("control: {socket: /log/s}\naudit: {directory: /log}\n"))
                .find("error: `control.socket` lies in"),
            std::string::npos);
  EXPECT_EQ(problems_of(with("policies: /logs\naudit: {directory: /log}\n")), "");
}

TEST(Config, Retention) {
  EXPECT_NE(problems_of(with("audit: {retention_days: 0}\n")).find("error"), std::string::npos);
  EXPECT_NE(problems_of(with("audit: {retention_days: 90}\n")).find("warning: PCI DSS 10.5.1"), std::string::npos);
  EXPECT_EQ(problems_of(with("audit: {retention_days: 365}\n")), "");
}

TEST(Config, Workers) {
  EXPECT_NE(problems_of(with("workers: 0\n")).find("error"), std::string::npos);
  EXPECT_NE(problems_of(with("workers: 65\n")).find("error"), std::string::npos);
  EXPECT_EQ(problems_of(with("workers: 64\n")), "");
}

TEST(Config, OverlappingTargets) {
  const auto two = [](const std::string& a, const std::string& b) {
    return problems_of("version: 1\ntargets:\n  - {name: a, protocol: postgres, addresses: [\"" + a +
                       "\"]}\n  - {name: b, protocol: postgres, addresses: [\"" + b + "\"]}\n");
  };
  EXPECT_EQ(two("10.0.0.0/8:5432", "10.1.2.3:5432"),
            "s.yaml:4:47: error: `10.1.2.3:5432` overlaps `10.0.0.0/8:5432` in line 3\n  hint: an address belongs to "
            "one target\n");
  EXPECT_NE(two("[::ffff:10.0.0.1]:5432", "10.0.0.1:5432"), "");
  EXPECT_NE(two("[fd00::/16]:1", "[fd00::1]:1"), "");
  EXPECT_EQ(two("10.0.0.1:5432", "10.0.0.1:5433"), "");
  EXPECT_EQ(two("0.0.0.0/0:5432", "[fd00::1]:5432"), "");
  EXPECT_NE(address_problems("\"10.0.0.1:1\", \"10.0.0.1:1\"").find("warning: `10.0.0.1:1` overlaps"),
            std::string::npos);
  // The first that it overlaps is named, whichever encloses which, and neighbours in between do not hide it.
  EXPECT_EQ(address_problems("\"10.0.0.9:1\", \"10.0.0.2:1\", \"10.0.0.4/31:1\", \"10.0.0.0/28:1\", \"10.0.0.0/24:2\""),
            "s.yaml:3:93: warning: `10.0.0.0/28:1` overlaps `10.0.0.9:1` in line 3\n  hint: one of them is enough\n");
  EXPECT_EQ(address_problems("\"10.0.0.0/24:1\", \"10.0.0.0/28:1\", \"10.0.1.1:1\", \"10.0.0.200:1\""),
            "s.yaml:3:65: warning: `10.0.0.0/28:1` overlaps `10.0.0.0/24:1` in line 3\n  hint: one of them is enough\n"
            "s.yaml:3:96: warning: `10.0.0.200:1` overlaps `10.0.0.0/24:1` in line 3\n  hint: one of them is enough\n");
}

TEST(Config, ManyTargetsAndAddressesAreBounded) {
  std::string text = "version: 1\ntargets:\n";
  for (size_t i = 0; i <= kTargetsMax; ++i) {
    text += "  - {name: t" + std::to_string(i) +
            ", protocol: postgres, addresses: [\"10.0.0.1:" + std::to_string(i + 1) + "\"]}\n";
  }
  EXPECT_NE(problems_of(text).find("more than 16384 targets"), std::string::npos);
  const size_t last_line = text.rfind('\n', text.size() - 2) + 1;
  EXPECT_EQ(good(text.substr(0, last_line)).targets.size(), kTargetsMax);
  std::string addresses = "version: 1\ntargets:\n";
  constexpr size_t kOfOneTarget = 8'192;
  for (size_t i = 0; i <= kAddressesMax; ++i) {
    if (i % kOfOneTarget == 0)
      addresses += (i > 0 ? "]}\n" : "") + std::string("  - {name: t") + std::to_string(i) +
                   ", protocol: postgres, addresses: [";
    addresses += (i % kOfOneTarget == 0 ? "" : ", ") + std::string("\"10.0.0.1:") + std::to_string(i + 1) + "\"";
  }
  EXPECT_NE(problems_of(addresses + "]}\n").find("more than 32768 addresses"), std::string::npos);
}

TEST(Config, UnreadableFiles) {
  Problems problems;
  EXPECT_FALSE(load("/nonexistent/sluice.yaml", problems).has_value());
  EXPECT_FALSE(load("/dev/null", problems).has_value());
  EXPECT_EQ(format_text(problems),
            "/nonexistent/sluice.yaml: error: cannot be opened: No such file or directory\n"
            "/dev/null: error: is not a regular file\n");
}

}  // namespace
}  // namespace sluice::config
