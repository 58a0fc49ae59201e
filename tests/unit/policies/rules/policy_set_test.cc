// Loading policies: every problem with its place and a hint, nothing ignored, files of a directory united, the version.
#include "policies/rules/policy_set.h"

#include <gtest/gtest.h>
#include <openssl/sha.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "policies/rules/rule.h"
#include "policies/rules/rule_parser.h"
#include "policies/rules/yaml_document.h"
#include "tests/unit/policies/rules/support.h"

namespace sluice::policies::testing {
namespace {

// One problem as "line:column severity message [hint]".
std::vector<std::string> lines_of(const std::string& text, const std::vector<std::string>& targets = {}) {
  std::vector<std::string> lines;
  for (const Problem& p : problems_of(text, targets)) {
    lines.push_back(std::to_string(p.line) + ":" + std::to_string(p.column) + " " +
                    (p.severity == Severity::error ? "error " : "warning ") + p.message +
                    (p.hint.empty() ? "" : " [" + p.hint + "]"));
  }
  return lines;
}

using Lines = std::vector<std::string>;

std::string rule_with(const std::string& when) {
  return "version: 1\ndefault: block\nrules:\n  - name: r\n    when: {" + when + "}\n    then: allow\n";
}
// Problems of conditions that stand from column 12 of line 5 on.
Lines when_problems(const std::string& when) {
  return lines_of(rule_with(when));
}

class PolicyDirectory : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "sluice-policy-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void write(const std::string& name, const std::string& text) {
    std::ofstream(directory_ + "/" + name) << text;
    ASSERT_EQ(::chmod((directory_ + "/" + name).c_str(), 0644), 0);
  }
  std::shared_ptr<const PolicySet> load() {
    problems_.clear();
    return load_policies(directory_, {}, problems_);
  }

  std::string directory_;
  Problems problems_;
};

TEST(PolicyText, TheProductExampleForThisVersionLoads) {
  Problems problems;
  const auto set = parse_policy(R"(version: 1
default: allow                      # what happens to a command that no rule matches
rules:
  - name: no-schema-destruction
    when: {target: "payments-*", statement: [drop, truncate]}
    then: block
    because: Schema changes go through migrations.
  - name: no-copies
    when:
      target: payments-db
      direction: outbound
      protocol: postgres
      statement: copy
      tables: [public.cards]
      functions: ["pg_catalog.lo_*"]
      identity: {user: [alice, bob], uid: 1000, group: staff, gid: [5, 6], exe: /usr/bin/psql, unit: "*.service",
                 container: "*", cgroup: "/system.slice/*", db_user: app, application: psql}
    then: block
    because: >
      Copies
        need a second   person.
)",
                                "p.yaml", {"payments-db"}, problems);
  ASSERT_NE(set, nullptr) << shown(problems);
  EXPECT_TRUE(problems.empty()) << shown(problems);
  ASSERT_EQ(set->rule_count(), 2u);
  EXPECT_EQ(set->rules()[1].because, "Copies need a second person.");
  EXPECT_EQ(set->rules()[1].identity.gid, (std::vector<int64_t>{5, 6}));
}

TEST(PolicyText, WhatComesLaterIsRefusedWithItsPlace) {
  EXPECT_EQ(lines_of(R"(version: 1
rules:
  - name: bulk-export
    when: {target: "*", columns: [public.cards.pan], identity: {pod: x, token: {}, client: y}}
    then: hold
    approvers: [group:payments-leads]
    within: 15m
  - name: m
    when: {target: "*"}
    then: mask
    data: [pan]
    style: bin6_last4
  - {name: v, when: {direction: inbound, protocol: mysql}, then: reveal, expires: 2027-04-01}
)"),
            (Lines{
                "6:5 error not yet supported: `approvers` [this version would ignore it; take it out]",
                "7:5 error not yet supported: `within` [this version would ignore it; take it out]",
                "5:11 error not yet supported: `hold` [one of: allow, block, mask]",
                "4:65 error not yet supported: `pod` [this version would ignore it; take it out]",
                "4:73 error not yet supported: `token` [this version would ignore it; take it out]",
                "4:84 error not yet supported: `client` [this version would ignore it; take it out]",
                "13:74 error not yet supported: `expires` [this version would ignore it; take it out]",
                "13:66 error not yet supported: `reveal` [one of: allow, block, mask]",
                "13:33 error not yet supported: `inbound` [one of: outbound]",
                "13:52 error not yet supported: `mysql` [one of: postgres]",
            }));
}

TEST(PolicyText, UnknownWordsGetSuggestions) {
  EXPECT_EQ(lines_of("version: 1\ndefautl: block\n"),
            (Lines{"2:1 error unknown key `defautl` in the policy file [did you mean `default`?]"}));
  EXPECT_EQ(lines_of("version: 1\ndefault: blok\n"),
            (Lines{"2:10 error `blok` is no default effect [did you mean `block`?]"}));
  EXPECT_EQ(when_problems("statement: [selct]"),
            (Lines{"5:24 error `selct` is no statement kind [did you mean `select`?]"}));
  EXPECT_EQ(when_problems("relations: [x]"), (Lines{"5:12 error unknown key `relations` in `when` [keys: target, "
                                                    "direction, protocol, statement, tables, functions, "
                                                    "identity, columns]"}));
  EXPECT_EQ(when_problems("identity: {usr: x}"),
            (Lines{"5:23 error unknown key `usr` in `identity` [did you mean `user`?]"}));
  EXPECT_EQ(when_problems("statement: DROP").at(0).substr(0, 38), "5:23 error `DROP` is no statement kind");
}

TEST(PolicyText, WhatIsMissingOrOfTheWrongShape) {
  EXPECT_EQ(lines_of("rules: []\n"), (Lines{"1:1 error the policy file lacks `version` [begin with `version: 1`]"}));
  EXPECT_EQ(lines_of("version: 2\n"), (Lines{"1:10 error `version` has to be a number from 1 to 1"}));
  EXPECT_EQ(lines_of("version: 1\nrules: {}\n"),
            (Lines{"2:8 error `rules` has to be a list [each rule begins with `- name: …`]"}));
  EXPECT_EQ(lines_of("version: 1\nrules:\n  - {}\n"),
            (Lines{"3:5 error the rule lacks `name` [the name is shown to whoever is refused, and recorded]",
                   "3:5 error the rule lacks `then` [`then: allow`, `then: block` or `then: mask`]",
                   "3:5 error the rule lacks `when` [to match every command, say `when: {target: \"*\"}`]"}));
  EXPECT_EQ(lines_of("version: 1\nrules:\n  - text\n").size(), 1u);
  for (const char* empty : {"", "{}"}) {
    const Lines problems =
        lines_of(std::string("version: 1\nrules:\n  - name: r\n    then: allow\n    when: ") + empty + "\n");
    ASSERT_EQ(problems.size(), 1u);
    EXPECT_EQ(problems[0].substr(problems[0].find(' ') + 1),
              "error `when` is empty [to match every command, say `when: {target: \"*\"}`]");
  }
  EXPECT_EQ(
      when_problems("statement: []"),
      (Lines{
          "5:23 error `statement` is an empty list, which matches nothing [take the key out, or name at least one]"}));
  EXPECT_EQ(when_problems("tables: {a: b}").size(), 1u);
  EXPECT_EQ(when_problems("tables: [[a]]").size(), 1u);
  EXPECT_EQ(when_problems("tables: ~").size(), 1u);
  EXPECT_EQ(when_problems("identity: {}").size(), 1u);
  EXPECT_EQ(when_problems("identity: alice").size(), 1u);
  EXPECT_EQ(when_problems("target: \"\"").size(), 1u);
  EXPECT_EQ(lines_of("version: 1\nrules:\n  - {name: a b, when: {target: x}, then: allow}\n").at(0),
            "3:12 error a rule's name has letters, digits, `-`, `_` and `.`");
  EXPECT_EQ(
      lines_of("").at(0),
      "0:0 error the policy file has to be a map of keys and values, and is empty [keys: version, default, rules]");
}

TEST(PolicyText, PatternsThatCannotMatchAreErrors) {
  EXPECT_EQ(when_problems("identity: {exe: psql}"),
            (Lines{"5:28 error `psql` matches no path: they begin with `/` [\"/…/psql\" or \"*/psql\"]"}));
  EXPECT_EQ(
      when_problems("identity: {unit: billing}"),
      (Lines{"5:29 error `billing` matches no unit: their names end in a type [did you mean `billing.service`?]"}));
  EXPECT_EQ(when_problems("identity: {exe_sha256: abc}").size(), 1u);
  EXPECT_EQ(when_problems("identity: {exe_sha256: " + std::string(64, 'A') + "}").size(), 1u);
  EXPECT_EQ(when_problems("identity: {cgroup: system.slice}").size(), 1u);
  for (const char* uid : {"-1", "4294967295", "1.5", "root", "\"0\"", "0x10", "99999999999999999999"}) {
    EXPECT_EQ(when_problems(std::string("identity: {uid: ") + uid + "}").size(), 1u) << uid;
  }
  for (const char* name : {"a.b.c", ".a", "a.", "'\"a'", "'\"\"'", "'a b'", "'\"a\"b'", "."}) {
    EXPECT_EQ(when_problems(std::string("tables: [") + name + "]").size(), 1u) << name;
  }
  EXPECT_EQ(when_problems("tables: " + std::string(kPatternBytesMax + 1, 'x')).size(), 1u);
  EXPECT_EQ(when_problems("tables: Cards"), (Lines{"5:20 warning `Cards` matches only names that a statement writes in "
                                                   "double quotes [the server folds others to lower "
                                                   "case; quote the part here too if that is meant]"}));
}

TEST(PolicyText, YamlThatDoesNotParseOrMeansSomethingElse) {
  EXPECT_EQ(lines_of("version: 1\nrules:\n\t- name: x\n").at(0).substr(0, 3), "3:2");
  EXPECT_EQ(lines_of("version: 1\ndefault: [\n").size(), 1u);
  EXPECT_EQ(lines_of("version: 1\ndefault: allow\ndefault: block\n"),
            (Lines{"3:1 error key `default` stands here a second time [the first is in line 2]"}));
  EXPECT_EQ(when_problems("target: a, target: b"),
            (Lines{"5:23 error key `target` stands here a second time [the first is in line 5]"}));
  EXPECT_EQ(when_problems("target: *").at(0).substr(0, 17), "5:21 error not va");
  EXPECT_NE(when_problems("target: *").at(0).find("needs quotes"), std::string::npos);
  EXPECT_EQ(lines_of("version: &v 1\n").at(0).substr(0, 45), "1:10 error anchors and aliases are not suppor");
  EXPECT_EQ(lines_of("version: !!int 1\n").at(0).substr(0, 40), "1:10 error YAML tags are not supported: ");
  EXPECT_EQ(lines_of("version: 1\n---\nversion: 1\n").at(0).substr(0, 40), "0:0 error more than one YAML document in");
  EXPECT_EQ(lines_of("version: 1\n{a: b}: c\n").size(), 1u);
  EXPECT_EQ(lines_of("version: 1\nrules: \"\xff\"\n"),
            (Lines{"2:9 error not UTF-8 [the file has to be plain UTF-8 text]"}));
  EXPECT_EQ(lines_of(std::string("version: 1\n\0", 12)),
            (Lines{"2:1 error a control character [the file has to be plain UTF-8 text]"}));
  EXPECT_EQ(
      lines_of("version: 1\nrules:\n  - {name: r, when: {target: \"*\"}, then: block, because: \"a\\e[31mb\"}\n").at(0),
      "3:58 error `because` has a control character in it");
}

TEST(PolicyText, SizesAreBounded) {
  const std::string deep(kYamlDepthMax + 1, '[');
  EXPECT_EQ(
      lines_of("version: 1\nrules: " + deep + std::string(deep.size(), ']') + "\n").at(0).find("error nested deeper"),
      5u);
  EXPECT_FALSE(lines_of("version: 1\nrules: " + std::string(5'000, '[') + "\n").empty());
  EXPECT_FALSE(lines_of("version: 1\nrules: " + std::string(5'000, '{') + "\n").empty());
  std::string deep_blocks = "version: 1\nrules:\n";
  for (int i = 0; i < 200; ++i) deep_blocks += std::string(static_cast<size_t>(i) + 1, ' ') + "- \n";
  EXPECT_FALSE(lines_of(deep_blocks).empty());
  EXPECT_EQ(lines_of(std::string(kYamlBytesMax + 1, '#')).size(), 1u);
  std::string many = "version: 1\nrules:\n";
  for (size_t i = 0; i < kProblemsMax + 50; ++i) many += "  - x\n";
  const Lines problems = lines_of(many);
  ASSERT_EQ(problems.size(), kProblemsMax + 1);
  EXPECT_EQ(problems.back(), "0:0 error more than 1000 problems");
}

TEST(PolicyText, ManyWarningsAreNoError) {
  std::string text = "version: 1\nrules:\n";
  for (size_t i = 0; i < kProblemsMax + 50; ++i)
    text += "  - {name: r" + std::to_string(i) + ", when: {target: a}, then: block}\n";
  const Lines warnings = lines_of(text);
  ASSERT_EQ(warnings.size(), kProblemsMax + 1);
  EXPECT_EQ(warnings.back(), "0:0 warning more than 1000 problems");
  const Lines problems = lines_of(text + "  - x\n");
  ASSERT_EQ(problems.size(), kProblemsMax + 1);
  EXPECT_EQ(problems.back(), "0:0 error more than 1000 problems") << "an error behind them is not hidden";
}

TEST(PolicyText, TooManyRules) {
  std::string text = "version: 1\nrules:\n";
  for (size_t i = 0; i <= kRulesMax; ++i)
    text += "  - {name: r" + std::to_string(i) + ", when: {target: a}, then: block, because: b}\n";
  const Lines problems = lines_of(text);
  ASSERT_FALSE(problems.empty());
  EXPECT_NE(problems.front().find("error more than 20000 rules"), std::string::npos);
}

TEST(PolicyReview, RulesThatHardlyMeanWhatTheySay) {
  const std::string head = "version: 1\ndefault: allow\nrules:\n";
  EXPECT_EQ(lines_of(head + "  - {name: r, when: {target: a}, then: block}\n"),
            (Lines{"4:5 warning rule `r` has no `because` [it is shown to whoever is refused]"}));
  EXPECT_EQ(
      lines_of(head + "  - {name: r, when: {statement: rollback}, then: block, because: b}\n").at(0).substr(0, 45),
      "4:5 warning rule `r` blocks hardly anything: ");
  EXPECT_EQ(lines_of(head + "  - {name: r, when: {target: a}, then: allow}\n").at(0).substr(0, 38),
            "4:5 warning rule `r` changes nothing: ");
  EXPECT_EQ(lines_of(head + "  - {name: r, when: {target: payment-db}, then: block, because: b}\n", {"payments-db"}),
            (Lines{"4:5 warning rule `r`: no target is named `payment-db` [did you mean `payments-db`?]"}));
  EXPECT_EQ(lines_of(head + "  - {name: r, when: {target: \"pay*\"}, then: block, because: b}\n", {"payments-db"}),
            Lines{});
}

TEST(PolicyReview, NamesAreUsedOnce) {
  const Lines problems = lines_of(
      "version: 1\nrules:\n  - {name: r, when: {target: a}, then: block, because: b}\n"
      "  - {name: r, when: {target: b}, then: block, because: b}\n");
  EXPECT_EQ(problems, (Lines{"4:5 error a second rule is named `r` [the first is at test.yaml:3]"}));
}

TEST(PolicyReview, ShadowedRules) {
  const auto shadowed = [](const std::string& first, const std::string& second) {
    const Lines problems = lines_of("version: 1\ndefault: block\nrules:\n  - {name: one, because: b, " + first +
                                    "}\n  - {name: two, because: b, " + second + "}\n");
    if (problems.empty()) return std::string("none");
    EXPECT_EQ(problems.size(), 1u);
    return problems[0].substr(0, problems[0].find(':', 4));
  };
  EXPECT_EQ(shadowed("when: {target: \"*\"}, then: block", "when: {target: db, statement: drop}, then: block"),
            "5:5 warning rule `two` never decides");
  EXPECT_EQ(
      shadowed("when: {target: db, statement: drop}, then: allow", "when: {statement: [drop, alter]}, then: block"),
      "4:5 warning rule `one` never decides");
  EXPECT_EQ(shadowed("when: {tables: \"public.*\"}, then: block", "when: {tables: [public.a, public.b]}, then: allow"),
            "5:5 warning rule `two` never decides");
  EXPECT_EQ(shadowed("when: {tables: \"public.*\"}, then: block", "when: {tables: [public.a, b]}, then: block"),
            "none");
  EXPECT_EQ(shadowed("when: {statement: drop}, then: block", "when: {target: db}, then: block"), "none");
  EXPECT_EQ(shadowed("when: {identity: {uid: 0}}, then: block", "when: {identity: {uid: [0, 1]}}, then: block"),
            "none");
  EXPECT_EQ(shadowed("when: {statement: drop}, then: allow", "when: {statement: drop, target: x}, then: block"),
            "none");
}

TEST_F(PolicyDirectory, MissingOrEmptyMeansNoRules) {
  const auto empty = load();
  ASSERT_NE(empty, nullptr);
  EXPECT_TRUE(problems_.empty());
  EXPECT_EQ(empty->rule_count(), 0u);
  EXPECT_EQ(empty->version(), empty_policy_set()->version());
  EXPECT_EQ(empty->version(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Problems problems;
  EXPECT_NE(load_policies(directory_ + "/none", {}, problems), nullptr);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].severity, Severity::warning);
  EXPECT_NE(load_policies("", {}, problems), nullptr);
  EXPECT_EQ(problems.size(), 1u);
  write("file", "");
  EXPECT_EQ(load_policies(directory_ + "/file", {}, problems), nullptr);
}

TEST_F(PolicyDirectory, FilesUniteInNameOrder) {
  write("20-b.yaml", "version: 1\nrules:\n  - {name: second, when: {target: b}, then: block, because: b}\n");
  write("10-a.yaml",
        "version: 1\ndefault: block\nrules:\n  - {name: first, when: {target: a}, then: block, because: b}\n");
  write("notes.txt", "not a policy");
  write(".hidden.yaml", "not: [valid");
  const auto set = load();
  ASSERT_NE(set, nullptr) << shown(problems_);
  EXPECT_TRUE(problems_.empty()) << shown(problems_);
  ASSERT_EQ(set->rule_count(), 2u);
  EXPECT_EQ(set->rules()[0].name, "first");
  EXPECT_EQ(set->default_effect(), Effect::block);
}

TEST_F(PolicyDirectory, VersionIsTheHashOfNamesAndBytes) {
  const std::string text = "version: 1\n";
  write("a.yaml", text);
  const std::string once = load()->version();
  std::string hashed;
  const auto add = [&](const std::string& part) {
    for (int i = 0; i < 8; ++i) hashed += static_cast<char>(part.size() >> (8 * i));
    hashed += part;
  };
  add("a.yaml");
  add(text);
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(hashed.data()), hashed.size(), digest);
  std::string hex;
  for (const unsigned char byte : digest) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", byte);
    hex += two;
  }
  EXPECT_EQ(once, hex);
  write("a.yaml", text + "# a comment\n");
  EXPECT_NE(load()->version(), once);
  std::filesystem::rename(directory_ + "/a.yaml", directory_ + "/b.yaml");
  write("b.yaml", text);
  EXPECT_NE(load()->version(), once);
}

TEST_F(PolicyDirectory, ContradictingDefaultsAreAnError) {
  write("a.yaml", "version: 1\ndefault: block\n");
  write("b.yaml", "version: 1\ndefault: allow\n");
  EXPECT_EQ(load(), nullptr);
  ASSERT_EQ(problems_.size(), 1u) << shown(problems_);
  EXPECT_EQ(problems_[0].file, directory_ + "/b.yaml");
  EXPECT_EQ(problems_[0].line, 2u);
  EXPECT_EQ(problems_[0].message, "`default: allow` contradicts " + directory_ + "/a.yaml:2");
}

TEST_F(PolicyDirectory, ProblemsOfAllFilesAndOddFiles) {
  write("a.yaml", "version: 1\ndefalt: block\n");
  write("b.yaml", "version: 3\n");
  write("c.yml", "version: 1\n");
  std::filesystem::create_directory(directory_ + "/d.yaml");
  ASSERT_EQ(::mkfifo((directory_ + "/e.yaml").c_str(), 0600), 0);
  EXPECT_EQ(load(), nullptr);
  const std::string all = shown(problems_);
  for (const char* expected :
       {"a.yaml:2:1: error", "b.yaml:1:10: error", "c.yml:0:0: warning: is not read",
        "d.yaml:0:0: error: is not a regular file", "e.yaml:0:0: error: is not a regular file"}) {
    EXPECT_NE(all.find(expected), std::string::npos) << expected << "\n" << all;
  }
}

TEST_F(PolicyDirectory, AFileThatCannotBeReadRefusesAll) {
  write("a.yaml", "version: 1\n");
  std::filesystem::create_symlink(directory_ + "/gone", directory_ + "/b.yaml");
  EXPECT_EQ(load(), nullptr);
  EXPECT_EQ(problems_.size(), 1u);
}

TEST_F(PolicyDirectory, WarnsOfFilesThatEverybodyMayWrite) {
  write("a.yaml", "version: 1\n");
  ASSERT_EQ(::chmod((directory_ + "/a.yaml").c_str(), 0666), 0);
  EXPECT_NE(load(), nullptr);
  ASSERT_EQ(problems_.size(), 1u);
  EXPECT_EQ(problems_[0].severity, Severity::warning);
}

}  // namespace
}  // namespace sluice::policies::testing
