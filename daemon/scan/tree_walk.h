// Walks directories in the order of their paths' bytes, whatever order the file system keeps, and hands out what is to
// be searched. Links are not followed unless told so, and then never round in circles. Memory: the names of the
// directories that it is in. One thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::scan {

enum class Links : uint8_t { stay, follow };

struct WalkOptions {
  std::vector<std::string> include;  // globs; none: everything. Files alone
  std::vector<std::string> exclude;  // globs; directories too, with all that is below them
  Links links = Links::stay;
};

// A glob without `/` is for the last name of a path, one with `/` for the path as it is shown; `*` matches `/` too.
[[nodiscard]] bool matches_any(const std::vector<std::string>& globs, std::string_view path);

enum class WalkKind : uint8_t {
  file,         // to be searched
  linked_file,  // the same, behind a link that is followed
  problem,      // cannot be read; `what` says why
  note,         // left out; `what` says why
  link_left,    // a link that is not followed
  left_out,     // by include or exclude
};
struct WalkItem {
  WalkKind kind;
  std::string path;
  std::string what;
};

class TreeWalk {
 public:
  // Returns false to end the walk.
  using OnItem = std::function<bool(WalkItem item)>;

  TreeWalk(const WalkOptions& options, OnItem on_item) : options_(options), on_item_(std::move(on_item)) {}

  // Everything below `path`, a directory.
  void directory(const std::string& path);

 private:
  struct Name {
    std::string name;  // directories with `/` behind it, so that names sort as whole paths do
    unsigned char type;
  };
  void enter(const std::string& path);
  void entry(const std::string& directory, Name& name);
  void link(const std::string& path);
  void give(WalkKind kind, std::string path, std::string what = {});
  [[nodiscard]] bool wanted(const std::string& path) const;

  const WalkOptions& options_;
  OnItem on_item_;
  bool ended_ = false;
  std::vector<std::pair<dev_t, ino_t>> above_;  // the directories that it is in
};

}  // namespace sluice::scan
