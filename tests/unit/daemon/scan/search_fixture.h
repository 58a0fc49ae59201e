// A directory for one test, and a search over it whose output is kept.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "daemon/scan/search.h"

namespace sluice::scan {

// `path!member offset line masked`, paths relative to the directory.
namespace fs = std::filesystem;

class PlainFormat final : public SearchFormat {
 public:
  explicit PlainFormat(std::string base) : base_(std::move(base)) {}
  void hit(std::string& out, std::string_view path, std::string_view member, const TextHit& hit) const override {
    out += name(path, member) + " " + std::to_string(hit.offset) + " " + std::to_string(hit.line) + " " + hit.masked +
           "\n";
  }
  void message(std::string& err, std::string_view path, std::string_view member, std::string_view what) const override {
    err.append(name(path, member)).append(": ").append(what).append("\n");
  }

 private:
  std::string name(std::string_view path, std::string_view member) const {
    if (path.rfind(base_, 0) == 0) path.remove_prefix(base_.size());
    std::string shown(path);
    return member.empty() ? shown : shown + "!" + std::string(member);
  }
  std::string base_;
};

class SearchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/sluice-scan-XXXXXX";
    ASSERT_NE(::mkdtemp(path), nullptr);
    directory_ = path;
    fs::create_directory(directory_ / "tree");
    options_.paths = {tree()};
    options_.workers = 3;
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::string tree(const std::string& name = "") const { return directory_ / "tree" / name; }
  void file(const std::string& name, const std::string& content) const {
    fs::create_directories(fs::path(tree(name)).parent_path());
    std::ofstream(tree(name), std::ios::binary) << content;
  }
  void run() {
    out_.clear(), err_.clear();
    const auto make = [](std::string& why) { return policies::CardScanner::create(why); };
    const auto sink = [this](std::string_view out, std::string_view err) {
      out_ += out;
      err_ += err;
      return true;
    };
    const Status status = search(
        options_, PlainFormat(tree()), make, sink, [] {}, counts_);
    ASSERT_TRUE(status) << status.error().message;
  }

  std::filesystem::path directory_;
  SearchOptions options_;
  SearchCounts counts_;
  std::string out_, err_;
};

}  // namespace sluice::scan
