// The examples of docs/policy.md load as they stand there.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "tests/unit/policies/rules/support.h"

namespace sluice::policies::testing {
namespace {

constexpr std::string_view kOpen = "```yaml\n";

TEST(Documentation, PolicyExamplesLoad) {
  std::ifstream in("docs/policy.md");
  ASSERT_TRUE(in) << "run from the top of the source tree";
  const std::string page((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  size_t examples = 0;
  for (size_t at = page.find(kOpen); at != std::string::npos; at = page.find(kOpen, at)) {
    at += kOpen.size();
    std::string text = page.substr(at, page.find("```", at) - at);
    if (!text.starts_with("version:")) text = "version: 1\nrules:\n" + text;  // a single rule
    Problems problems;
    const auto set = parse_policy(text, "docs/policy.md", {"payments-db"}, problems);
    EXPECT_NE(set, nullptr) << text << shown(problems);
    EXPECT_TRUE(problems.empty()) << text << shown(problems);
    ++examples;
  }
  EXPECT_GE(examples, 5u);
}

}  // namespace
}  // namespace sluice::policies::testing
