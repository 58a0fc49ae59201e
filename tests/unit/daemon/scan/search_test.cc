// Directories: order, what is left out, what cannot be read, files that change meanwhile, much output.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "daemon/base/unique_fd.h"
#include "daemon/scan/limits.h"
#include "tests/unit/daemon/scan/search_fixture.h"

namespace sluice::scan {
namespace {

constexpr const char* kCard = "4111111111111111";

TEST_F(SearchTest, TheOrderIsThatOfThePathsWhateverTheThreads) {
  std::vector<std::string> expected;
  for (const char* directory : {"", "a/", "a/b/", "a-b/", "z/"}) {
    for (int i = 0; i < 60; ++i) {
      const std::string name = directory + std::string("f") + std::to_string(i);
      file(name, std::string(static_cast<size_t>(i * 97 % 61), '\n') + kCard);
      expected.push_back(name);
    }
  }
  file("a.txt", kCard);
  expected.emplace_back("a.txt");
  std::sort(expected.begin(), expected.end());
  std::string first;
  for (unsigned workers : {1U, 2U, 7U}) {
    options_.workers = workers;
    run();
    if (first.empty()) first = out_;
    EXPECT_EQ(out_, first);
  }
  std::vector<std::string> seen;
  for (size_t at = 0; at < first.size(); at = first.find('\n', at) + 1)
    seen.push_back(first.substr(at, first.find(' ', at) - at));
  EXPECT_EQ(seen, expected);
}

TEST_F(SearchTest, OffsetsAndLinesAreThoseOfTheInput) {
  file("f", "\n\nx 4111 1111 1111 1111\n378282246310005\n");
  run();
  EXPECT_EQ(out_, "f 4 3 411111******1111\nf 24 4 378282*****0005\n");
  EXPECT_EQ(counts_.findings, 2U);
  EXPECT_EQ(counts_.bytes, 40U);
}

TEST_F(SearchTest, ANumberAcrossTheBorderOfTwoWindowsIsFoundOnce) {
  for (size_t before = kWindowBytes - 20; before <= kWindowBytes + 1; ++before) {
    file("f", std::string(before - 1, '.') + " " + kCard + "\n");
    run();
    ASSERT_EQ(out_, "f " + std::to_string(before) + " 1 411111******1111\n");
  }
}

TEST_F(SearchTest, LinesAreCountedAcrossWindows) {
  std::string text;
  while (text.size() < 3 * kWindowBytes) text += "a line of some words\n";
  const auto lines = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  file("f", text + kCard);
  run();
  EXPECT_EQ(out_, "f " + std::to_string(text.size()) + " " + std::to_string(lines + 1) + " 411111******1111\n");
}

TEST_F(SearchTest, MoreFindingsThanFitAheadStayInOrder) {
  std::string many;
  while (many.size() < 4 * kReportAheadBytesMax) many += std::string(kCard) + "\n";
  for (const char* name : {"a", "b", "c", "d", "e"}) file(name, many);
  run();
  const size_t each = many.size() / 17;
  EXPECT_EQ(counts_.findings, 5 * each);
  std::string order;
  for (size_t at = 0; at < out_.size(); at = out_.find('\n', at) + 1) {
    if (order.empty() || order.back() != out_[at]) order += out_[at];
  }
  EXPECT_EQ(order, "abcde");
}

TEST_F(SearchTest, ShownFindingsHaveALimitAndTheRestIsSaid) {
  file("f", "4111111111111111 5555555555554444 378282246310005");
  options_.shown_per_file_max = 1;
  run();
  EXPECT_EQ(out_, "f 0 1 411111******1111\n");
  EXPECT_EQ(err_, "f: 2 more findings are not shown\n");
  EXPECT_EQ(counts_.findings, 3U);
}

TEST_F(SearchTest, WhatIsNoFileIsSaidAndNotWaitedFor) {
  file("f", kCard);
  ASSERT_EQ(::mkfifo(tree("pipe").c_str(), 0600), 0);
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  tree("sock").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  run();
  EXPECT_EQ(err_, "pipe: a named pipe; not looked at\nsock: a socket; not looked at\n");
  EXPECT_EQ(counts_.noted, 2U);
  EXPECT_EQ(counts_.problems, 0U);
  EXPECT_EQ(counts_.findings, 1U);
}

TEST_F(SearchTest, LinksAreLeftUnlessFollowedAndNeverRoundInCircles) {
  file("a/f", kCard);
  fs::create_directory_symlink("..", tree("a/loop"));
  fs::create_symlink("a/f", tree("link"));
  fs::create_symlink("nowhere", tree("dangling"));
  run();
  EXPECT_EQ(counts_.links_left, 3U);
  EXPECT_EQ(out_, "a/f 0 1 411111******1111\n");
  SearchOptions followed = options_;
  followed.walk.links = Links::follow;
  options_ = followed;
  run();
  EXPECT_EQ(out_, "a/f 0 1 411111******1111\nlink 0 1 411111******1111\n");
  EXPECT_NE(err_.find("a/loop: leads back to a directory above it; not followed\n"), std::string::npos) << err_;
  EXPECT_NE(err_.find("dangling: link: No such file or directory\n"), std::string::npos) << err_;
  EXPECT_EQ(counts_.problems, 1U);
}

TEST_F(SearchTest, GlobsChooseFilesAndDirectories) {
  for (const char* name : {"a.log", "b.txt", ".git/c.log", "deep/d.log", "deep/skip/e.log"}) file(name, kCard);
  options_.walk.include = {"*.log"};
  options_.walk.exclude = {".git", "*/deep/skip"};
  run();
  EXPECT_EQ(out_, "a.log 0 1 411111******1111\ndeep/d.log 0 1 411111******1111\n");
  EXPECT_EQ(counts_.left_out, 3U);
}

TEST_F(SearchTest, LargerFilesAreLeftOutAndSaid) {
  file("large", std::string(100, ' ') + kCard);
  file("small", kCard);
  options_.file.file_bytes_max = 50;
  run();
  EXPECT_EQ(out_, "small 0 1 411111******1111\n");
  EXPECT_EQ(err_, "large: larger than --max-file-size; not looked at\n");
}

TEST_F(SearchTest, WhatCannotBeReadIsSaidAndTheRestIsSearched) {
  file("f", kCard);
  options_.paths = {tree("none"), "/proc/self/mem", tree()};
  run();
  EXPECT_NE(err_.find("none: No such file or directory\n"), std::string::npos) << err_;
  EXPECT_NE(err_.find("/proc/self/mem: read: Input/output error\n"), std::string::npos) << err_;
  EXPECT_EQ(counts_.problems, 2U);
  EXPECT_EQ(out_, "f 0 1 411111******1111\n");
}

TEST_F(SearchTest, ItsOwnOutputIsLeftOut) {
  file("report", kCard);
  const UniqueFd output(::open(tree("report").c_str(), O_RDONLY | O_CLOEXEC));
  options_.output = output.get();
  run();
  EXPECT_EQ(out_, "");
  EXPECT_EQ(err_, "report: the output of this search; not looked at\n");
}

TEST_F(SearchTest, AnOutputThatNobodyTakesEndsTheSearch) {
  for (int i = 0; i < 50; ++i) file("f" + std::to_string(i), kCard);
  const auto make = [](std::string& why) { return policies::CardScanner::create(why); };
  const Status status = search(
      options_, PlainFormat(tree()), make, [](std::string_view, std::string_view) { return false; }, [] {}, counts_);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "output cannot be written");
}

// Cuts the file short as soon as something is found in it.
class Shortening final : public FileReport {
 public:
  explicit Shortening(std::string path) : path_(std::move(path)) {}
  void hit(std::string_view, const TextHit&) override { EXPECT_EQ(::truncate(path_.c_str(), 5), 0); }
  void problem(std::string_view, std::string_view what) override { problems.emplace_back(what); }
  void note(std::string_view) override {}
  std::vector<std::string> problems;

 private:
  std::string path_;
};

TEST_F(SearchTest, AFileThatIsCutShortMeanwhileIsSaid) {
  file("f", kCard + std::string(5 * kWindowBytes, '.'));
  std::string why;
  const auto scanner = policies::CardScanner::create(why);
  Monitor monitor;
  FileSearch files(*scanner, {}, monitor);
  Shortening report(tree("f"));
  (void)files.file(tree("f"), Named::in_tree, std::nullopt, report);
  ASSERT_EQ(report.problems.size(), 1U);
  EXPECT_NE(report.problems[0].find("was cut short while it was read"), std::string::npos) << report.problems[0];
}

TEST_F(SearchTest, AFileThatBecameALinkOrAPipeIsNotRead) {
  ASSERT_EQ(::mkfifo(tree("pipe").c_str(), 0600), 0);
  file("f", kCard);
  fs::create_symlink("f", tree("link"));
  std::string why;
  const auto scanner = policies::CardScanner::create(why);
  Monitor monitor;
  FileSearch files(*scanner, {}, monitor);
  Shortening report(tree("f"));
  EXPECT_FALSE(files.file(tree("pipe"), Named::in_tree, std::nullopt, report).searched);
  EXPECT_FALSE(files.file(tree("link"), Named::in_tree, std::nullopt, report).searched);
  ASSERT_EQ(report.problems.size(), 1U);
}

TEST(CountLines, AgreesWithTheObviousWay) {
  std::string text;
  for (size_t i = 0; i < 20000; ++i) text += i % 3 == 0 || i % 7 == 1 ? '\n' : 'x';
  for (const size_t size : {0UL, 1UL, 31UL, 32UL, 33UL, 8159UL, 8160UL, 8161UL, 20000UL}) {
    const std::string part = text.substr(0, size);
    EXPECT_EQ(count_lines({reinterpret_cast<const uint8_t*>(part.data()), size}),
              static_cast<uint64_t>(std::count(part.begin(), part.end(), '\n')));
  }
}

}  // namespace
}  // namespace sluice::scan
