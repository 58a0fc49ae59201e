// The examples of docs/configuration.md load as they stand there, and the one with every key shows the defaults.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "daemon/config/config.h"
#include "daemon/config/problem_format.h"

namespace sluice::config {
namespace {

constexpr std::string_view kOpen = "```yaml\n";

TEST(Documentation, ConfigurationExamplesLoad) {
  std::ifstream in("docs/configuration.md");
  ASSERT_TRUE(in) << "run from the top of the source tree";
  const std::string page((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  std::vector<Config> examples;
  for (size_t at = page.find(kOpen); at != std::string::npos; at = page.find(kOpen, at)) {
    at += kOpen.size();
    policies::Problems problems;
    const auto config = parse(page.substr(at, page.find("```", at) - at), "docs/configuration.md", problems);
    ASSERT_TRUE(config.has_value()) << format_text(problems);
    EXPECT_TRUE(problems.empty()) << format_text(problems);
    examples.push_back(*config);
  }
  ASSERT_EQ(examples.size(), 2u);
  const Config& smallest = examples[0];
  const Config& full = examples[1];
  EXPECT_EQ(full.targets[0].when_down, smallest.targets[0].when_down);
  EXPECT_EQ(full.targets[0].accelerate, smallest.targets[0].accelerate);
  EXPECT_EQ(full.targets[0].statement_bytes_max, smallest.targets[0].statement_bytes_max);
  EXPECT_EQ(full.state_directory, smallest.state_directory);
  EXPECT_EQ(full.audit.directory, smallest.audit.directory);
  EXPECT_EQ(full.audit.durability, smallest.audit.durability);
  EXPECT_EQ(full.audit.retention_days, smallest.audit.retention_days);
  EXPECT_EQ(full.control_socket, smallest.control_socket);
  EXPECT_EQ(full.bpf_directory, smallest.bpf_directory);
}

}  // namespace
}  // namespace sluice::config
