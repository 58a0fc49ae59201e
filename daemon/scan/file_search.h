// Searches one file (or standard input), unpacked where it is packed, and tells a FileReport what there is. One per
// worker thread, used again for every file; borrows the scanner.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/scan/text_search.h"
#include "daemon/scan/unpacker.h"

namespace sluice::scan {

// Gets what a search finds in one file, in order. `member` is the path within an archive, levels joined by `!`; empty
// for the file itself. Offsets and lines are those of the unpacked bytes.
class FileReport {
 public:
  virtual ~FileReport() = default;
  virtual void hit(std::string_view member, const TextHit& hit) = 0;
  // Something could not be looked at.
  virtual void problem(std::string_view member, std::string_view what) = 0;
  // Something was left out, as is right.
  virtual void note(std::string_view what) = 0;
};

enum class Unpacking : uint8_t { on, off };

struct FileSearchOptions {
  Unpacking unpacking = Unpacking::on;
  uint64_t file_bytes_max = UINT64_MAX;  // larger files are left out, with a note
  uint64_t expanded_bytes_max = 0;       // 0: by ratio (limits.h)
};

struct FileCounts {
  bool searched = false;
  uint64_t members = 0;
  uint64_t bytes = 0;  // that were looked at, unpacked
};

// A file of a tree is opened carefully, because it may be replaced meanwhile: links are not followed (unless told so),
// and nothing but a regular file is read. What is named by a person is read whatever it is.
enum class Named : uint8_t { by_person, in_tree, in_tree_behind_link };

class FileSearch {
 public:
  FileSearch(policies::CardScanner& scanner, const FileSearchOptions& options, Monitor& monitor)
      : text_(scanner), options_(options), monitor_(monitor) {}

  // `output`: the file that the report itself goes to, which is left out.
  [[nodiscard]] FileCounts file(const std::string& path, Named named, const std::optional<struct stat>& output,
                                FileReport& report);
  [[nodiscard]] FileCounts descriptor(int fd, FileReport& report);

 private:
  void stream(ByteSource& source, int seekable_fd, const std::string& member, size_t depth, FileReport& report);
  void packed(PackedInput& input, const std::string& member, size_t depth, FileReport& report);
  void run_text(ByteSource& source, const std::string& member, FileReport& report);

  TextSearch text_;
  FileSearchOptions options_;
  Monitor& monitor_;
  std::optional<ExpansionBudget> budget_;
  FileCounts counts_;
  bool unpacked_ = false;
};

}  // namespace sluice::scan
