// Configuration and policies together, and how problems look.
#include "daemon/config/load_all.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "daemon/config/problem_format.h"

namespace sluice::config {
namespace {

using policies::Problem;
using policies::Problems;
using policies::Severity;

class LoadAll : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "sluice-config-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    std::filesystem::create_directory(directory_ + "/policies");
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(directory_ + "/" + name) << text;
    ASSERT_EQ(::chmod((directory_ + "/" + name).c_str(), 0644), 0);
  }
  std::string config_text(const std::string& more = "") const {
    return "version: 1\ntargets:\n  - {name: payments-db, protocol: postgres, addresses: "
           "[\"10.0.0.5:5432\"]}\npolicies: " +
           directory_ + "/policies\n" + more;
  }
  std::string directory_;
};

TEST_F(LoadAll, BothAreGood) {
  write("sluice.yaml", config_text());
  write("policies/a.yaml", "version: 1\nrules:\n  - {name: r, when: {target: payments-db}, then: block, because: b}\n");
  const Loaded loaded = load_all(directory_ + "/sluice.yaml");
  ASSERT_TRUE(loaded.usable()) << format_text(loaded.problems);
  EXPECT_TRUE(loaded.problems.empty()) << format_text(loaded.problems);
  EXPECT_EQ(loaded.policies->rule_count(), 1u);
}

TEST_F(LoadAll, ProblemsOfBothAtOnce) {
  write("sluice.yaml", config_text("sinks: x\n"));
  write("policies/a.yaml", "version: 1\nrule: []\n");
  const Loaded loaded = load_all(directory_ + "/sluice.yaml");
  EXPECT_FALSE(loaded.usable());
  EXPECT_FALSE(loaded.config.has_value());
  EXPECT_EQ(loaded.policies, nullptr);
  EXPECT_EQ(
      format_text(loaded.problems),
      directory_ +
          "/sluice.yaml:5:1: error: not yet supported: `sinks`\n  hint: this version would ignore it; take it out\n" +
          directory_ +
          "/policies/a.yaml:2:1: error: unknown key `rule` in the policy file\n  hint: did you mean `rules`?\n");
}

TEST_F(LoadAll, TargetNamesOfRulesAreChecked) {
  write("sluice.yaml", config_text());
  write("policies/a.yaml", "version: 1\nrules:\n  - {name: r, when: {target: payment-db}, then: block, because: b}\n");
  const Loaded loaded = load_all(directory_ + "/sluice.yaml");
  ASSERT_TRUE(loaded.usable());
  ASSERT_EQ(loaded.problems.size(), 1u);
  EXPECT_EQ(loaded.problems[0].hint, "did you mean `payments-db`?");
}

TEST_F(LoadAll, RulesAboutColumnsWantACatalog) {
  write("sluice.yaml", config_text());
  write("policies/a.yaml",
        "version: 1\nrules:\n  - {name: m, when: {target: payments-*}, then: mask, columns: [\"*.cvv\"]}\n"
        "  - {name: r, when: {columns: [a.pan]}, then: block, because: b}\n");
  Loaded loaded = load_all(directory_ + "/sluice.yaml");
  ASSERT_TRUE(loaded.usable());
  ASSERT_EQ(loaded.problems.size(), 2u) << format_text(loaded.problems);
  EXPECT_EQ(loaded.problems[0].line, 4u);
  EXPECT_NE(loaded.problems[0].message.find("target `payments-db` has no `catalog`"), std::string::npos);
  EXPECT_EQ(loaded.problems[1].line, 3u);
  EXPECT_EQ(loaded.problems[1].severity, Severity::warning);

  write("sluice.yaml",
        "version: 1\ntargets:\n  - {name: payments-db, protocol: postgres, addresses: [\"10.0.0.5:5432\"], catalog: "
        "{dsn: "
        "\"host=10.0.0.5\"}}\npolicies: " +
            directory_ + "/policies\n");
  loaded = load_all(directory_ + "/sluice.yaml");
  EXPECT_TRUE(loaded.usable() && loaded.problems.empty()) << format_text(loaded.problems);
}

TEST_F(LoadAll, ABadPolicyAloneIsNotUsable) {
  write("sluice.yaml", config_text());
  write("policies/a.yaml", "version: 1\ndefault: maybe\n");
  const Loaded loaded = load_all(directory_ + "/sluice.yaml");
  EXPECT_TRUE(loaded.config.has_value());
  EXPECT_FALSE(loaded.usable());
}

TEST_F(LoadAll, NoConfiguration) {
  const Loaded loaded = load_all(directory_ + "/none.yaml");
  EXPECT_FALSE(loaded.usable());
  ASSERT_EQ(loaded.problems.size(), 1u);
}

TEST(ProblemFormat, TextIsOrderedByFileAndPlace) {
  const Problems problems = {{"b.yaml", 9, 1, Severity::error, "nine", ""},
                             {"a.yaml", 1, 1, Severity::error, "other file", ""},
                             {"b.yaml", 2, 7, Severity::warning, "two", "mend it"},
                             {"b.yaml", 0, 0, Severity::error, "whole", ""}};
  EXPECT_EQ(format_text(problems),
            "b.yaml: error: whole\nb.yaml:2:7: warning: two\n  hint: mend it\nb.yaml:9:1: error: nine\na.yaml:1:1: "
            "error: other file\n");
}

TEST(ProblemFormat, JsonLines) {
  EXPECT_EQ(format_json({{"a\"b.yaml", 2, 3, Severity::error, "tab\there \\ \x1b", "h"}}),
            "{\"file\":\"a\\\"b.yaml\",\"line\":2,\"column\":3,\"severity\":\"error\",\"message\":\"tab\\u0009here "
            "\\\\ \\u001b\",\"hint\":\"h\"}\n");
  EXPECT_EQ(format_json({}), "");
}

TEST(ProblemFormat, NothingSteersATerminal) {
  EXPECT_EQ(format_text({{"a\n.yaml", 1, 1, Severity::error, "\x1b[31mred\r\xc2\x9b", "\x07 é"}}),
            "a?.yaml:1:1: error: ?[31mred??\n  hint: ? é\n");
}

}  // namespace
}  // namespace sluice::config
