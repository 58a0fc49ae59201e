// `sluice mask` and `sluice scan` over files, directories and standard input.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "daemon/base/unique_fd.h"
#include "daemon/cli/mask_command.h"
#include "daemon/cli/scan_command.h"
#include "daemon/cli/scan_progress.h"

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

TEST_F(CardCommands, MaskedTextIsLeftAsItIs) {
  for (const auto style : {policies::MaskStyle::bin6_last4, policies::MaskStyle::bin8_last4, policies::MaskStyle::last4,
                           policies::MaskStyle::full}) {
    MaskOptions options;
    options.style = style;
    options.report = true;
    ASSERT_EQ(::ftruncate(out_.get(), 0), 0);
    ASSERT_EQ(::lseek(out_.get(), 0, SEEK_SET), 0);
    in_ = open_file("in", "a 4111 1111 1111 1111, b 378282246310005, c 4111-1111-1111-1111\n");
    EXPECT_EQ(run_mask(options, streams()), kSuccess);
    const std::string once = read("out");
    EXPECT_EQ(once.find("1111 1111 1111 1"), std::string::npos) << once;
    ASSERT_EQ(::ftruncate(err_.get(), 0), 0);
    in_ = open_file("in", once);
    EXPECT_EQ(run_mask(options, streams()), kSuccess);
    EXPECT_EQ(read("out"), once + once);
    EXPECT_EQ(read("err"), "");
  }
  EXPECT_NE(read("out").find("**** **** **** ****"), std::string::npos);
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
  EXPECT_EQ(read("out"), "");
  EXPECT_EQ(read("err").rfind("sluice scan: 0 findings in 0 of 1 file, 43 B in ", 0), 0U) << read("err");
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
  EXPECT_NE(out.find("tree/a.txt:1: pan visa 411111******1111 at byte 0\n"), std::string::npos) << out;
  EXPECT_NE(out.find("tree/deep/b.txt:1: pan amex 378282*****0005 at byte 2\n"), std::string::npos) << out;
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 2);
  EXPECT_NE(read("err").find("2 findings in 2 of 3 files"), std::string::npos) << read("err");
  EXPECT_NE(read("err").find("1 link not followed"), std::string::npos) << read("err");
}

TEST_F(CardCommands, ScanSaysWhatCannotBeReadAndGoesOn) {
  ScanOptions options;
  options.json = true;
  options.files = {(directory_ / "none").string(), file("a", "4111111111111111")};
  EXPECT_EQ(run_scan(options, streams()), kNo);
  EXPECT_EQ(read("out"), "{\"path\":\"" + options.files[1] +
                             "\",\"offset\":0,\"length\":16,\"kind\":\"pan\",\"brand\":\"visa\",\"digits\":16,"
                             "\"masked\":\"411111******1111\",\"line\":1}\n");
  EXPECT_NE(read("err").find("none: No such file"), std::string::npos);
}

TEST_F(CardCommands, OtherDataIsFoundAndMaskedWhereItIsAskedFor) {
  const std::string text = "E-1234 a@b.com 123-45-6789 4111111111111111\n";
  MaskOptions mask;
  mask.files = {file("a", text)};
  mask.data = {{"pan", "email", "ssn", "email"}, {"emp=E-[0-9]{4}"}};
  mask.report = true;
  EXPECT_EQ(run_mask(mask, streams()), kSuccess);
  EXPECT_EQ(read("out"), "*-**** *@*.*** ***-**-**** 411111******1111\n");
  EXPECT_EQ(read("err").rfind(R"({"offset":0,"length":6,"kind":"emp","masked":"*-****"})", 0), 0U) << read("err");
  ScanOptions scan;
  scan.files = mask.files;
  scan.data = {{"email"}, {}};
  ASSERT_EQ(::ftruncate(out_.get(), 0), 0);
  ASSERT_EQ(::lseek(out_.get(), 0, SEEK_SET), 0);
  EXPECT_EQ(run_scan(scan, streams()), kNo);
  EXPECT_NE(read("out").find("a:1: email *@*.*** at byte 7\n"), std::string::npos) << read("out");
  EXPECT_EQ(read("out").find("ssn"), std::string::npos) << read("out");
}

TEST_F(CardCommands, DataThatThereIsNotIsSaid) {
  const auto complaint = [&](const DataOptions& data) {
    const Result<DataChoice> choice = DataChoice::create(data);
    return choice ? std::string() : choice.error().message;
  };
  EXPECT_NE(complaint({{"emial"}, {}}).find("did you mean `email`?"), std::string::npos);
  EXPECT_NE(complaint({{}, {"x"}}).find("NAME=REGEX"), std::string::npos);
  EXPECT_NE(complaint({{}, {"x=a+"}}).find("no bound to its width"), std::string::npos);
  EXPECT_NE(complaint({{}, {"x=abc", "x=abd"}}).find("named twice"), std::string::npos);
  EXPECT_EQ(complaint({{}, {"x=abc", "x=abc"}}), "");
}

TEST_F(CardCommands, ScanIsNotSatisfiedWhereSomethingCouldNotBeRead) {
  ScanOptions options;
  options.files = {(directory_ / "none").string(), file("a", "nothing")};
  EXPECT_EQ(run_scan(options, streams()), kUsage);
  EXPECT_NE(read("err").find("1 could not be read"), std::string::npos) << read("err");
}

TEST_F(CardCommands, ScanSaysWhereOutputCannotBeWritten) {
  in_ = open_file("in", "4111111111111111\n");
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  EXPECT_EQ(run_scan({}, {in_.get(), full.get(), err_.get()}), kUsage);
  EXPECT_NE(read("err").find("cannot be written"), std::string::npos);
}

TEST_F(CardCommands, NamesCannotDriveATerminal) {
  ScanOptions options;
  options.files = {file("a\x1b[2Jb", "4111111111111111")};
  EXPECT_EQ(run_scan(options, streams()), kNo);
  EXPECT_EQ(read("out").find('\x1b'), std::string::npos) << read("out");
}

TEST_F(CardCommands, ProgressIsForTerminals) {
  int terminal = -1, screen = -1;
  ASSERT_EQ(::openpty(&screen, &terminal, nullptr, nullptr, nullptr), 0);
  const UniqueFd terminal_end(terminal), screen_end(screen);
  int pipe_ends[2];
  ASSERT_EQ(::pipe2(pipe_ends, O_CLOEXEC), 0);
  const UniqueFd reading(pipe_ends[0]);
  UniqueFd writing(pipe_ends[1]);
  // The search goes on until the progress has been seen.
  std::string seen;
  std::thread watcher([&] {
    while (seen.find("0 findings") == std::string::npos) {
      char bytes[256];
      const ssize_t count = ::read(screen_end.get(), bytes, sizeof bytes);
      if (count <= 0) break;
      seen.append(bytes, static_cast<size_t>(count));
    }
    writing.reset();
  });
  EXPECT_EQ(run_scan({}, {reading.get(), out_.get(), terminal_end.get()}), kSuccess);
  watcher.join();
  EXPECT_NE(seen.find("0 files  0 B"), std::string::npos) << seen;
}

TEST(ScanProgress, HasABarWhereTheTotalIsKnown) {
  EXPECT_EQ(progress_line({3, 7, 500, 1000, 1000}, 200),
            "[############............]  50%  3 files  500 B  500 B/s  7 findings");
  EXPECT_EQ(progress_line({3, 7, 2'000'000, 0, 1000}, 200), "3 files  2.0 MB  2.0 MB/s  7 findings");
  EXPECT_EQ(progress_line({3, 7, 2'000'000, 0, 1000}, 10), "3 files  2");
  EXPECT_EQ(progress_line({1, 0, 3000, 1000, 0}, 200).substr(0, 33), "[########################] 100%  ");
}

}  // namespace
}  // namespace sluice::cli
