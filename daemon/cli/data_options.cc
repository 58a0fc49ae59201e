#include "daemon/cli/data_options.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "daemon/cli/suggest.h"
#include "daemon/cli/table.h"
#include "policies/cards/data_scanner.h"

namespace sluice::cli {
namespace {

constexpr std::array<std::string_view, 3> kCardWords = {"pan", "cvv", "track"};

}  // namespace

Result<DataChoice> DataChoice::create(const DataOptions& options) {
  std::vector<policies::DataPattern> wanted;
  const auto add = [&](policies::DataPattern pattern) {
    const auto same = [&](const policies::DataPattern& other) { return other.name == pattern.name; };
    const auto known = std::find_if(wanted.begin(), wanted.end(), same);
    if (known != wanted.end()) return *known == pattern;
    wanted.push_back(std::move(pattern));
    return true;
  };
  bool codes = false;
  for (const std::string& kind : options.kinds) {
    codes = codes || kind == "cvv";
    if (std::find(kCardWords.begin(), kCardWords.end(), kind) != kCardWords.end()) continue;
    if (policies::builtin_data(kind) == policies::BuiltinData::none) {
      const std::string suggestion = nearest(kind, {"pan", "cvv", "track", "iban", "email", "ssn"});
      return fail("--data: `" + printable(kind) + "` is not one of pan, cvv, track, iban, email, ssn" +
                  (suggestion.empty() ? "" : "; did you mean `" + suggestion + "`?"));
    }
    (void)add({kind, ""});
  }
  for (const std::string& text : options.patterns) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals + 1 == text.size())
      return fail("--pattern wants NAME=REGEX, not `" + printable(text) + "`");
    policies::DataPattern pattern{text.substr(0, equals), text.substr(equals + 1)};
    if (const auto rejected = policies::reject_data_pattern(pattern))
      return fail("--pattern " + printable(pattern.name) + ": " + printable(*rejected));
    if (!add(pattern)) return fail("--pattern " + pattern.name + ": named twice");
  }
  DataChoice choice;
  choice.codes_ = codes;
  if (options.trust_keys) choice.keys_ = policies::ForeignKeys::trusted;
  if (wanted.empty()) return choice;
  std::string why;
  choice.patterns_ = policies::DataPatterns::compile(wanted, why);
  if (choice.patterns_ == nullptr) return fail(why);
  return choice;
}

std::unique_ptr<policies::CardScanner> DataChoice::make_scanner(policies::KeyedSecrets secrets,
                                                                std::string& why) const {
  const policies::DetectorOptions options{codes_ ? policies::KeyedSecrets::everywhere : secrets, keys_};
  return patterns_ == nullptr ? policies::CardScanner::create(why, options)
                              : policies::create_data_scanner(patterns_, why, options);
}

}  // namespace sluice::cli
