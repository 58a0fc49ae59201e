#include "policies/rules/policy_set.h"

#include <dirent.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "policies/rules/mask_rule_parser.h"
#include "policies/rules/rule_parser.h"
#include "policies/rules/rule_review.h"
#include "policies/rules/text_file.h"
#include "policies/rules/yaml_document.h"

namespace sluice::policies {
namespace {

constexpr std::string_view kExtension = ".yaml";

struct SourceFile {
  std::string name;  // within the directory: what the version is made of
  std::string path;  // what problems show
  std::string text;
};

class LoadedPolicySet final : public PolicySet {
 public:
  LoadedPolicySet(RuleSource source, std::shared_ptr<const DataPatterns> patterns, std::string version)
      : rules_(std::move(source.rules)),
        mask_rules_(std::move(source.mask_rules)),
        patterns_(std::move(patterns)),
        default_(source.stated_default ? source.stated_default->effect : Effect::allow),
        version_(std::move(version)),
        names_columns_(
            std::any_of(rules_.begin(), rules_.end(), [](const Rule& rule) { return !rule.columns.empty(); }) ||
            std::any_of(mask_rules_.begin(), mask_rules_.end(),
                        [](const MaskRule& rule) { return !rule.when.columns.empty(); })) {}

  const std::string& version() const override { return version_; }
  size_t rule_count() const override { return rules_.size() + mask_rules_.size(); }
  const std::vector<Rule>& rules() const override { return rules_; }
  Effect default_effect() const override { return default_; }
  bool names_columns() const override { return names_columns_; }
  const std::vector<MaskRule>& mask_rules() const override { return mask_rules_; }
  const std::shared_ptr<const DataPatterns>& data_patterns() const override { return patterns_; }

 private:
  std::vector<Rule> rules_;
  std::vector<MaskRule> mask_rules_;
  std::shared_ptr<const DataPatterns> patterns_;
  Effect default_;
  std::string version_;
  bool names_columns_;
};

// SHA-256 over, for each file in name order: length of the name (8 bytes, little endian), name, length of the text,
// text.
std::string hash_of(const std::vector<SourceFile>& files) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  bool good = context != nullptr && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1;
  const auto add = [&](std::string_view bytes) {
    std::array<unsigned char, 8> length{};
    for (size_t i = 0; i < length.size(); ++i)
      length[i] = static_cast<unsigned char>(static_cast<uint64_t>(bytes.size()) >> (8 * i));
    good = good && EVP_DigestUpdate(context.get(), length.data(), length.size()) == 1 &&
           EVP_DigestUpdate(context.get(), bytes.data(), bytes.size()) == 1;
  };
  for (const SourceFile& file : files) {
    add(file.name);
    add(file.text);
  }
  std::array<unsigned char, 32> digest{};
  unsigned length = 0;
  good = good && EVP_DigestFinal_ex(context.get(), digest.data(), &length) == 1 && length == digest.size();
  if (!good) return "";
  std::string hex;
  for (const unsigned char byte : digest) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

// `files` in name order.
std::shared_ptr<const PolicySet> compile(const std::vector<SourceFile>& files,
                                         const std::vector<std::string>& target_names, Problems& problems) {
  Problems found;  // of these files alone: what the caller has already is not a reason to refuse them
  RuleSource source;
  for (const SourceFile& file : files) {
    if (const std::optional<YamlNode> document = parse_yaml(file.text, file.path, found)) {
      parse_rules(*document, file.path, source, found);
    }
  }
  review_rules(source, target_names, found);
  std::shared_ptr<const DataPatterns> patterns;
  if (!has_errors(found)) patterns = join_patterns(source.mask_rules, found);
  std::string version = hash_of(files);
  if (version.empty())
    add_problem(found, Problem{"", 0, 0, Severity::error, "SHA-256 is not available from OpenSSL", ""});
  const bool good = !has_errors(found);
  for (Problem& problem : found) add_problem(problems, std::move(problem));
  if (!good) return nullptr;
  return std::make_shared<LoadedPolicySet>(std::move(source), std::move(patterns), std::move(version));
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

// Names of the policy files in `directory`, sorted. nullopt after an error.
std::optional<std::vector<std::string>> list_files(const std::string& directory, Problems& problems,
                                                   const FileOpener& opener) {
  const auto problem = [&](Severity severity, const std::string& file, std::string message, std::string hint) {
    add_problem(problems, Problem{file, 0, 0, severity, std::move(message), std::move(hint)});
  };
  std::vector<std::string> names;
  const int fd = opener(directory);
  if (fd == -ENOENT) {
    problem(Severity::warning, directory, "does not exist: there are no rules, everything is allowed and masked", "");
    return names;
  }
  const std::unique_ptr<DIR, CloseDirectory> open(fd >= 0 ? ::fdopendir(fd) : nullptr);
  if (open == nullptr) {
    const int error = fd >= 0 ? errno : -fd;
    if (fd >= 0) ::close(fd);
    problem(Severity::error, directory, "cannot be read: " + std::generic_category().message(error), "");
    return std::nullopt;
  }
  errno = 0;
  for (const dirent* entry = ::readdir(open.get()); entry != nullptr; entry = ::readdir(open.get())) {
    const std::string name = entry->d_name;
    if (name.front() != '.' && name.ends_with(kExtension)) {
      names.push_back(name);
    } else if (name.front() != '.' && name.ends_with(".yml")) {
      problem(Severity::warning, std::string(directory).append("/").append(name), "is not read",
              "policy files end in .yaml");
    }
    if (names.size() > kPolicyFilesMax) {
      problem(Severity::error, directory, "more than " + std::to_string(kPolicyFilesMax) + " policy files", "");
      return std::nullopt;
    }
    errno = 0;
  }
  if (errno != 0) {
    problem(Severity::error, directory, "cannot be read: " + std::generic_category().message(errno), "");
    return std::nullopt;
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

std::shared_ptr<const PolicySet> empty_policy_set() {
  Problems problems;
  std::shared_ptr<const PolicySet> set = compile({}, {}, problems);
  assert(set != nullptr);
  return set;
}

std::shared_ptr<const PolicySet> load_policies(const std::string& directory,
                                               const std::vector<std::string>& target_names, Problems& problems,
                                               const FileOpener& opener) {
  if (directory.empty()) return empty_policy_set();
  const std::optional<std::vector<std::string>> names = list_files(directory, problems, opener);
  if (!names) return nullptr;
  std::vector<SourceFile> files;
  size_t bytes = 0;
  bool all_read = true;
  for (const std::string& name : *names) {
    SourceFile file{name, std::string(directory).append("/").append(name), ""};
    std::optional<std::string> text = read_text_file(file.path, problems, opener);
    all_read = all_read && text.has_value();
    if (!text) continue;
    bytes += text->size();
    if (bytes > kPolicyBytesMax) {
      add_problem(problems, Problem{directory, 0, 0, Severity::error,
                                    "more than " + std::to_string(kPolicyBytesMax) + " bytes of policy", ""});
      return nullptr;
    }
    file.text = std::move(*text);
    files.push_back(std::move(file));
  }
  std::shared_ptr<const PolicySet> set = compile(files, target_names, problems);
  return all_read ? set : nullptr;
}

std::shared_ptr<const PolicySet> parse_policy(std::string_view text, const std::string& file_name,
                                              const std::vector<std::string>& target_names, Problems& problems) {
  return compile({SourceFile{file_name, file_name, std::string(text)}}, target_names, problems);
}

}  // namespace sluice::policies
