#include "daemon/config/config.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "daemon/config/address.h"
#include "policies/rules/field_reader.h"
#include "policies/rules/text_file.h"
#include "policies/rules/yaml_document.h"

namespace sluice::config {
namespace {

using policies::FieldReader;
using policies::Problem;
using policies::Problems;
using policies::Severity;
using policies::Standing;
using policies::Word;
using policies::YamlNode;

constexpr Standing kLater = Standing::later;

constexpr Word kFileKeys[] = {{"version"},       {"targets"},          {"policies"}, {"state_directory"},
                              {"audit"},         {"control"},          {"steering"}, {"user"},
                              {"sinks", kLater}, {"identity", kLater}, {"metrics"},  {"workers"}};
constexpr Word kTargetKeys[] = {{"name"},
                                {"protocol"},
                                {"addresses"},
                                {"direction"},
                                {"when_down"},
                                {"accelerate"},
                                {"statement_bytes_max"},
                                {"tls", kLater},
                                {"credentials", kLater},
                                {"catalog"},
                                {"canary", kLater},
                                {"listen", kLater},
                                {"enforce", kLater}};
constexpr Word kCatalogKeys[] = {{"dsn"}};
constexpr Word kAuditKeys[] = {{"directory"}, {"durability"}, {"retention_days"}};
constexpr Word kControlKeys[] = {{"socket"}, {"console", kLater}};
constexpr Word kSteeringKeys[] = {{"bpf_directory"}, {"cgroup"}};
constexpr Word kProtocols[] = {{"postgres"},    {"mysql", kLater}, {"http", kLater},
                               {"mcp", kLater}, {"ssh", kLater},   {"tcp", kLater}};
constexpr Word kDirections[] = {{"outbound"}, {"inbound", kLater}, {"listen", kLater}};
constexpr Word kWhenDown[] = {{"deny"}, {"allow"}};
constexpr Word kAccelerate[] = {{"auto"}, {"on"}, {"off"}};
constexpr Word kDurability[] = {{"strict"}, {"relaxed"}};

// True where `inner` is `outer` or lies below it.
bool is_within(const std::string& inner, const std::string& outer) {
  return inner == outer ||
         (inner.size() > outer.size() && inner.starts_with(outer) && (outer == "/" || inner[outer.size()] == '/'));
}

// Reads one file.
class ConfigReader {
 public:
  ConfigReader(const std::string& file, Problems& problems) : reader_(file, problems) { config_.file = file; }

  // What the document says; errors() tells whether all of it could be used.
  Config read(const YamlNode& document) {
    if (!reader_.map(document, "the configuration", kFileKeys)) return config_;
    if (const YamlNode* version =
            reader_.require(document, "version", "the configuration", "begin with `version: 1`")) {
      (void)reader_.number(*version, "`version`", 1, 1);
    }
    if (const YamlNode* targets =
            reader_.require(document, "targets", "the configuration", "name at least one service to protect")) {
      read_targets(*targets);
    }
    path(document, "policies", config_.policies_directory);
    path(document, "state_directory", config_.state_directory);
    config_.audit.directory = (config_.state_directory == "/" ? "" : config_.state_directory) + "/audit";
    if (const YamlNode* audit = FieldReader::find(document, "audit")) read_audit(*audit);
    if (const YamlNode* control = FieldReader::find(document, "control")) read_control(*control);
    if (const YamlNode* steering = FieldReader::find(document, "steering")) read_steering(*steering);
    if (const YamlNode* metrics = FieldReader::find(document, "metrics")) read_metrics(*metrics);
    if (const YamlNode* workers = FieldReader::find(document, "workers")) read_workers(*workers);
    if (const YamlNode* user = FieldReader::find(document, "user")) read_user(*user);
    check_audit_directory(document);
    return config_;
  }

  [[nodiscard]] size_t errors() const { return reader_.errors(); }

 private:
  struct PlacedEndpoint {
    const YamlNode* node;
    size_t target;
    Endpoint endpoint;
  };

  void read_targets(const YamlNode& node) {
    if (node.kind != YamlNode::Kind::list || node.items.empty()) {
      reader_.error(node, "`targets` has to be a list of at least one target", "each target begins with `- name: …`");
      return;
    }
    if (node.items.size() > kTargetsMax) {
      reader_.error(node, "more than " + std::to_string(kTargetsMax) + " targets");
      return;
    }
    for (const YamlNode& item : node.items) {
      if (reader_.map(item, "the target", kTargetKeys)) read_target(item);
    }
    check_overlaps();
  }

  void read_target(const YamlNode& node) {
    Target target;
    if (const YamlNode* name = reader_.require(node, "name", "the target")) read_name(*name, target);
    const std::string what = target.name.empty() ? "the target" : "target `" + target.name + "`";
    if (const YamlNode* protocol = reader_.require(node, "protocol", what, "`protocol: postgres`")) {
      if (const auto word = reader_.word(*protocol, "protocol", kProtocols)) target.protocol = kProtocols[*word].text;
    }
    if (const YamlNode* addresses = reader_.require(node, "addresses", what, "`addresses: [\"10.0.0.5:5432\"]`")) {
      read_addresses(*addresses, target);
    }
    if (const YamlNode* direction = FieldReader::find(node, "direction"))
      (void)reader_.word(*direction, "direction", kDirections);
    choose(node, "when_down", kWhenDown, {WhenDown::deny, WhenDown::allow}, target.when_down);
    choose(node, "accelerate", kAccelerate, {Accelerate::auto_, Accelerate::on, Accelerate::off}, target.accelerate);
    if (const YamlNode* limit = FieldReader::find(node, "statement_bytes_max"))
      read_bytes(*limit, target.statement_bytes_max);
    if (const YamlNode* catalog = FieldReader::find(node, "catalog")) read_catalog(*catalog, target);
    config_.targets.push_back(std::move(target));
  }

  void read_catalog(const YamlNode& node, Target& target) {
    if (!reader_.map(node, "`catalog`", kCatalogKeys)) return;
    const YamlNode* const dsn =
        reader_.require(node, "dsn", "`catalog`", "a connection string of libpq: `\"service=payments_catalog\"`");
    if (dsn == nullptr) return;
    if (const auto text = reader_.text(*dsn, "`dsn`", kDsnBytesMax)) target.catalog_dsn = *text;
  }

  void read_name(const YamlNode& node, Target& target) {
    const std::optional<std::string> name = reader_.text(node, "`name`", kTargetNameBytesMax);
    if (!name) return;
    const auto fits = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
    if (!std::all_of(name->begin(), name->end(), fits) || name->front() == '-' || name->back() == '-') {
      reader_.error(node, "a target's name has lower-case letters, digits, and `-` between them");
      return;
    }
    if (!names_.insert(*name).second) {
      reader_.error(node, "a second target is named `" + *name + "`");
      return;
    }
    target.name = *name;
  }

  void read_addresses(const YamlNode& node, Target& target) {
    for (const YamlNode* scalar : reader_.one_or_more(node, "`addresses`")) {
      Endpoint endpoint;
      if (auto problem = parse_endpoint(scalar->text, endpoint)) {
        reader_.error(*scalar, std::move(problem->message), std::move(problem->hint));
        continue;
      }
      if (placed_.size() == kAddressesMax)
        reader_.error(*scalar, "more than " + std::to_string(kAddressesMax) + " addresses");
      if (placed_.size() >= kAddressesMax) return;
      placed_.push_back({scalar, config_.targets.size(), endpoint});
      target.addresses.push_back(std::move(endpoint));
    }
  }

  // Which target a connection belongs to must not hang on which of two networks is the narrower one. In order of their
  // addresses, a network stands before all that lie in it, so whatever encloses an endpoint is on the stack.
  void check_overlaps() {
    std::vector<size_t> order(placed_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(),
              [this](size_t a, size_t b) { return before(placed_[a].endpoint, placed_[b].endpoint); });
    std::map<size_t, size_t> earlier_of;  // of the later one in the file, the first that it overlaps
    std::vector<size_t> enclosing;
    for (const size_t here : order) {
      while (!enclosing.empty() && !overlap(placed_[enclosing.back()].endpoint, placed_[here].endpoint))
        enclosing.pop_back();
      for (const size_t other : enclosing) {
        const auto [entry, is_new] = earlier_of.emplace(std::max(here, other), std::min(here, other));
        if (!is_new) entry->second = std::min(entry->second, std::min(here, other));
      }
      enclosing.push_back(here);
    }
    for (const auto& [later, earlier] : earlier_of) report_overlap(placed_[later], placed_[earlier]);
  }

  void report_overlap(const PlacedEndpoint& later, const PlacedEndpoint& earlier) {
    const std::string message = "`" + later.endpoint.text + "` overlaps `" + earlier.endpoint.text + "` in line " +
                                std::to_string(earlier.node->line);
    if (earlier.target == later.target) {
      reader_.warning(*later.node, message, "one of them is enough");
    } else {
      reader_.error(*later.node, message, "an address belongs to one target");
    }
  }

  void read_audit(const YamlNode& node) {
    if (!reader_.map(node, "`audit`", kAuditKeys)) return;
    path(node, "directory", config_.audit.directory);
    choose(node, "durability", kDurability, {Durability::strict, Durability::relaxed}, config_.audit.durability);
    if (const YamlNode* days = FieldReader::find(node, "retention_days")) {
      if (const auto number = reader_.number(*days, "`retention_days`", 1, kRetentionDaysMost)) {
        config_.audit.retention_days = static_cast<uint32_t>(*number);
        if (*number < 365) {
          reader_.warning(*days, "PCI DSS 10.5.1 asks for audit logs of at least 12 months", "");
        }
      }
    }
  }

  void read_control(const YamlNode& node) {
    if (!reader_.map(node, "`control`", kControlKeys)) return;
    path(node, "socket", config_.control_socket, kSocketPathBytesMax);
  }

  void read_metrics(const YamlNode& node) {
    const std::optional<std::string> text = reader_.text(node, "`metrics`", kAddressBytesMax);
    if (!text) return;
    if (auto problem = check_listen_address(*text)) {
      reader_.error(node, std::move(problem->message), std::move(problem->hint));
      return;
    }
    config_.metrics = *text;
  }

  void read_workers(const YamlNode& node) {
    if (const auto count = reader_.number(node, "`workers`", 1, kWorkersMost))
      config_.workers = static_cast<uint32_t>(*count);
  }

  void read_steering(const YamlNode& node) {
    if (!reader_.map(node, "`steering`", kSteeringKeys)) return;
    path(node, "bpf_directory", config_.bpf_directory);
    path(node, "cgroup", config_.cgroup_path);
  }

  // Whether there is such a user is for the start to find out: a configuration may be checked on another host.
  void read_user(const YamlNode& node) {
    const std::optional<std::string> name = reader_.text(node, "`user`", kUserNameBytesMax);
    if (!name) return;
    const auto fits = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-'; };
    if (!std::all_of(name->begin(), name->end(), fits) || name->front() == '-') {
      reader_.error(node, "`user` has to be the name of a user", "lower-case letters, digits, `_` and `-`");
      return;
    }
    config_.user = *name;
  }

  // Every byte below the audit directory is covered by `audit verify`, so nothing else may live there.
  void check_audit_directory(const YamlNode& document) {
    const YamlNode* audit = FieldReader::find(document, "audit");
    const YamlNode& at = audit != nullptr ? *audit : document;
    const std::pair<std::string_view, const std::string*> others[] = {{"state_directory", &config_.state_directory},
                                                                      {"policies", &config_.policies_directory},
                                                                      {"control.socket", &config_.control_socket}};
    for (const auto& [key, other] : others) {
      if (!other->empty() && is_within(*other, config_.audit.directory)) {
        reader_.error(at, "`" + std::string(key) + "` lies in the audit directory " + config_.audit.directory,
                      "the audit log needs a directory of its own");
      }
    }
  }

  template <typename Value, size_t N>
  void choose(const YamlNode& map, std::string_view key, const Word (&words)[N], const Value (&values)[N], Value& out) {
    const YamlNode* node = FieldReader::find(map, key);
    if (node == nullptr) return;
    if (const auto word = reader_.word(*node, "value of `" + std::string(key) + "`", words)) out = values[*word];
  }

  void path(const YamlNode& map, std::string_view key, std::string& out, size_t bytes_max = kPathBytesMax) {
    const YamlNode* node = FieldReader::find(map, key);
    if (node == nullptr) return;
    const std::string what = "`" + std::string(key) + "`";
    std::optional<std::string> text = reader_.text(*node, what, bytes_max);
    if (!text) return;
    const bool dotted =
        (*text + "/").find("/../") != std::string::npos || (*text + "/").find("/./") != std::string::npos;
    if (text->front() != '/' || dotted || text->find_first_of("\n\t") != std::string::npos) {
      reader_.error(*node, what + " has to be an absolute path",
                    "without `.` and `..`; the daemon has no working directory of its own");
      return;
    }
    while (text->size() > 1 && text->back() == '/') text->pop_back();
    out = std::move(*text);
  }

  // "16777216", "16384KiB" or "16MiB".
  void read_bytes(const YamlNode& node, uint64_t& out) {
    uint64_t value = 0;
    const char* end = node.text.data() + node.text.size();
    const auto [stop, code] = std::from_chars(node.text.data(), end, value);
    const std::string_view unit(stop, static_cast<size_t>(end - stop));
    const uint64_t factor = unit.empty() ? 1 : unit == "KiB" ? 1u << 10 : unit == "MiB" ? 1u << 20 : 0;
    const bool readable =
        node.kind == YamlNode::Kind::scalar && code == std::errc{} && factor != 0 && value <= kStatementBytesMost;
    if (!readable || value * factor < kStatementBytesLeast || value * factor > kStatementBytesMost) {
      reader_.error(node, "`statement_bytes_max` has to be a size from 4KiB to 64MiB", "16777216, 16384KiB or 16MiB");
      return;
    }
    out = value * factor;
  }

  FieldReader reader_;
  Config config_;
  std::vector<PlacedEndpoint> placed_;
  std::set<std::string, std::less<>> names_;
};

Reading read_text(std::string_view text, const std::string& file, Problems& problems) {
  Reading reading;
  reading.config.file = file;
  const std::optional<YamlNode> document = policies::parse_yaml(text, file, problems);
  if (!document) return reading;
  if (document->kind == YamlNode::Kind::null) {
    policies::add_problem(problems, Problem{file, 0, 0, Severity::error, "is empty", "begin with `version: 1`"});
    return reading;
  }
  ConfigReader reader(file, problems);
  reading.config = reader.read(*document);
  reading.valid = reader.errors() == 0;
  return reading;
}

}  // namespace

Reading read(const std::string& file, Problems& problems, const policies::FileOpener& opener) {
  const std::optional<std::string> text = policies::read_text_file(file, problems, opener);
  if (text) return read_text(*text, file, problems);
  Reading reading;
  reading.config.file = file;
  return reading;
}

std::optional<Config> load(const std::string& file, Problems& problems) {
  Reading reading = read(file, problems);
  if (!reading.valid) return std::nullopt;
  return std::move(reading.config);
}

std::optional<Config> parse(std::string_view text, const std::string& file, Problems& problems) {
  Reading reading = read_text(text, file, problems);
  if (!reading.valid) return std::nullopt;
  return std::move(reading.config);
}

std::vector<std::string> target_names(const Config& config) {
  std::vector<std::string> names;
  names.reserve(config.targets.size());
  for (const Target& target : config.targets) names.push_back(target.name);
  return names;
}

}  // namespace sluice::config
