// `sluice mask` and `sluice scan` over files, directories and standard input.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "daemon/base/unique_fd.h"
#include "daemon/cli/mask_command.h"
#include "daemon/cli/scan_command.h"

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;

class CardCommands : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/sluice-cards-XXXXXX";
    ASSERT_NE(::mkdtemp(path), nullptr);
    directory_ = path;
    in_ = open_file("in", "");
    out_ = UniqueFd(::open((directory_ / "out").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    err_ = UniqueFd(::open((directory_ / "err").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::string file(const std::string& name, const std::string& content) {
    const fs::path path = directory_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
    return path.string();
  }
  UniqueFd open_file(const std::string& name, const std::string& content) {
    return UniqueFd(::open(file(name, content).c_str(), O_RDONLY | O_CLOEXEC));
  }
  StandardStreams streams() const { return {in_.get(), out_.get(), err_.get()}; }
  std::string read(const std::string& name) const {
    std::ifstream in(directory_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  fs::path directory_;
  UniqueFd in_, out_, err_;
};

TEST_F(CardCommands, MaskIsAFilter) {
  in_ = open_file("in", "pan 4111 1111 1111 1111\nand 5555555555554444\n");
  EXPECT_EQ(run_mask({}, streams()), kSuccess);
  EXPECT_EQ(read("out"), "pan 4111 11** **** 1111\nand 555555******4444\n");
  EXPECT_EQ(read("err"), "");
}

TEST_F(CardCommands, MaskReportsFindingsWithoutTheirDigits) {
  in_ = open_file("in", "the number is    4111 1111 1111 1111\n");
  MaskOptions options;
  options.report = true;
  options.style = policies::MaskStyle::last4;
  EXPECT_EQ(run_mask(options, streams()), kSuccess);
  EXPECT_EQ(read("out"), "the number is    **** **** **** 1111\n");
  EXPECT_EQ(read("err"),
            R"({"offset":17,"length":19,"kind":"pan","brand":"visa","digits":16,"masked":"************1111"})"
            "\n");
}

TEST_F(CardCommands, MaskTakesSeveralFilesAndSaysWhichCannotBeRead) {
  MaskOptions options;
  options.report = true;
  options.files = {file("a", "4111111111111111\n"), (directory_ / "none").string(), file("b", "plain\n")};
  EXPECT_EQ(run_mask(options, streams()), kUsage);
  EXPECT_EQ(read("out"), "411111******1111\nplain\n");
  EXPECT_NE(read("err").find("none: No such file"), std::string::npos);
  EXPECT_NE(read("err").find("\"file\":\"" + options.files[0]), std::string::npos);
}

TEST_F(CardCommands, MaskSaysWhereOutputCannotBeWritten) {
  in_ = open_file("in", "text\n");
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(full.valid());
  EXPECT_EQ(run_mask({}, {in_.get(), full.get(), err_.get()}), kUsage);
  EXPECT_NE(read("err").find("cannot be written"), std::string::npos);
}

TEST_F(CardCommands, ScanOfStandardInput) {
  in_ = open_file("in", "the number is    4111 1111 1111 1111\n");
  ScanOptions options;
  options.json = true;
  EXPECT_EQ(run_scan(options, streams()), kNo);
  EXPECT_EQ(read("out"),
            R"({"offset":17,"length":19,"kind":"pan","brand":"visa","digits":16,"masked":"411111******1111"})"
            "\n");
}

TEST_F(CardCommands, ScanFindsNothingInInnocentFiles) {
  ScanOptions options;
  options.files = {file("a", "2025-12-01 12:34:56 order 4111111111111112\n")};
  EXPECT_EQ(run_scan(options, streams()), kSuccess);
  EXPECT_EQ(read("out") + read("err"), "");
}

TEST_F(CardCommands, ScanGoesThroughDirectories) {
  file("tree/a.txt", "4111111111111111");
  file("tree/deep/b.txt", "x 378282246310005");
  file("tree/deep/c.txt", "nothing");
  fs::create_symlink(directory_ / "tree", directory_ / "tree/loop");
  ScanOptions options;
  options.files = {(directory_ / "tree").string()};
  EXPECT_EQ(run_scan(options, streams()), kNo);
  const std::string out = read("out");
  EXPECT_NE(out.find("tree/a.txt:0: pan visa 411111******1111\n"), std::string::npos) << out;
  EXPECT_NE(out.find("tree/deep/b.txt:2: pan amex 378282*****0005\n"), std::string::npos) << out;
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 2);
}

TEST_F(CardCommands, ScanSaysWhatCannotBeReadAndGoesOn) {
  ScanOptions options;
  options.json = true;
  options.files = {(directory_ / "none").string(), file("a", "4111111111111111")};
  EXPECT_EQ(run_scan(options, streams()), kUsage);
  EXPECT_NE(read("out").find("\"file\":"), std::string::npos);
  EXPECT_NE(read("err").find("none: No such file"), std::string::npos);
}

}  // namespace
}  // namespace sluice::cli
