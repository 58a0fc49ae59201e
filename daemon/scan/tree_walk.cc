#include "daemon/scan/tree_walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <system_error>

#include "daemon/base/unique_fd.h"
#include "daemon/scan/limits.h"

namespace sluice::scan {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

std::string error_text(int error_number) {
  return std::generic_category().message(error_number);
}

unsigned char type_of(const std::string& path) {
  struct stat found = {};
  return ::lstat(path.c_str(), &found) == 0 ? static_cast<unsigned char>(IFTODT(found.st_mode))
                                            : static_cast<unsigned char>(DT_UNKNOWN);
}

std::string_view name_of_type(unsigned char type) {
  switch (type) {
    case DT_FIFO:
      return "a named pipe";
    case DT_SOCK:
      return "a socket";
    case DT_CHR:
    case DT_BLK:
      return "a device";
    default:
      return "not a file";
  }
}

}  // namespace

bool matches_any(const std::vector<std::string>& globs, std::string_view path) {
  const std::string whole(path);
  const std::string name(path.substr(path.rfind('/') + 1));
  return std::any_of(globs.begin(), globs.end(), [&](const std::string& glob) {
    const std::string& subject = glob.find('/') == std::string::npos ? name : whole;
    return ::fnmatch(glob.c_str(), subject.c_str(), 0) == 0;
  });
}

void TreeWalk::give(WalkKind kind, std::string path, std::string what) {
  if (!ended_ && !on_item_({kind, std::move(path), std::move(what)})) ended_ = true;
}

bool TreeWalk::wanted(const std::string& path) const {
  return options_.include.empty() || matches_any(options_.include, path);
}

void TreeWalk::directory(const std::string& path) {
  enter(path);
}

void TreeWalk::enter(const std::string& path) {
  if (above_.size() >= kDirectoryDepthMax)
    return give(WalkKind::problem, path, "more than " + std::to_string(kDirectoryDepthMax) + " directories deep");
  UniqueFd opened(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat self = {};
  if (!opened.valid() || ::fstat(opened.get(), &self) != 0) return give(WalkKind::problem, path, error_text(errno));
  const std::pair<dev_t, ino_t> identity(self.st_dev, self.st_ino);
  if (std::find(above_.begin(), above_.end(), identity) != above_.end())
    return give(WalkKind::note, path, "leads back to a directory above it; not followed");

  std::vector<Name> names;
  {
    const std::unique_ptr<DIR, CloseDirectory> listing(::fdopendir(opened.get()));
    if (listing == nullptr) return give(WalkKind::problem, path, error_text(errno));
    (void)opened.release();  // closedir() closes it
    while (true) {
      errno = 0;
      const dirent* const found = ::readdir(listing.get());
      if (found == nullptr) break;
      const std::string_view name = found->d_name;
      if (name == "." || name == "..") continue;
      names.push_back({std::string(name), found->d_type});
    }
    if (errno != 0) give(WalkKind::problem, path, error_text(errno));
  }
  const std::string base = path.back() == '/' ? path : path + "/";
  for (Name& name : names) {
    if (name.type == DT_UNKNOWN) name.type = type_of(base + name.name);
    if (name.type == DT_DIR) name.name += '/';
  }
  std::sort(names.begin(), names.end(), [](const Name& a, const Name& b) { return a.name < b.name; });
  above_.push_back(identity);
  for (Name& name : names) {
    if (ended_) break;
    entry(base, name);
  }
  above_.pop_back();
}

void TreeWalk::entry(const std::string& directory, Name& name) {
  if (name.type == DT_DIR) name.name.pop_back();
  const std::string path = directory + name.name;
  if (!options_.exclude.empty() && matches_any(options_.exclude, path)) return give(WalkKind::left_out, path);
  switch (name.type) {
    case DT_DIR:
      return enter(path);
    case DT_REG:
      return give(wanted(path) ? WalkKind::file : WalkKind::left_out, path);
    case DT_LNK:
      return options_.links == Links::follow ? link(path) : give(WalkKind::link_left, path);
    case DT_UNKNOWN:
      return give(WalkKind::problem, path, "cannot be looked at");
    default:
      return give(WalkKind::note, path, std::string(name_of_type(name.type)) + "; not looked at");
  }
}

void TreeWalk::link(const std::string& path) {
  struct stat behind = {};
  if (::stat(path.c_str(), &behind) != 0) return give(WalkKind::problem, path, "link: " + error_text(errno));
  if (S_ISDIR(behind.st_mode)) return enter(path);
  if (S_ISREG(behind.st_mode)) return give(wanted(path) ? WalkKind::linked_file : WalkKind::left_out, path);
  const auto type = static_cast<unsigned char>(IFTODT(behind.st_mode));
  give(WalkKind::note, path, std::string(name_of_type(type)) + "; not looked at");
}

}  // namespace sluice::scan
