// Makes compressed texts and archives in memory, for tests.
#pragma once

#include <archive.h>
#include <archive_entry.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace sluice::scan {

using Members = std::vector<std::pair<std::string, std::string>>;  // name and content

inline la_ssize_t take_bytes(archive*, void* data, const void* bytes, size_t count) {
  static_cast<std::string*>(data)->append(static_cast<const char*>(bytes), count);
  return static_cast<la_ssize_t>(count);
}

class ArchiveMaker {
 public:
  // `filter`: ARCHIVE_FILTER_…; `format`: ARCHIVE_FORMAT_…
  ArchiveMaker(int filter, int format) : writer_(archive_write_new()) {
    EXPECT_EQ(archive_write_add_filter(writer_, filter), ARCHIVE_OK) << archive_error_string(writer_);
    EXPECT_EQ(archive_write_set_format(writer_, format), ARCHIVE_OK) << archive_error_string(writer_);
    archive_write_set_bytes_in_last_block(writer_, 1);
  }
  void encrypt() {
    EXPECT_EQ(archive_write_set_options(writer_, "zip:encryption=traditional"), ARCHIVE_OK)
        << archive_error_string(writer_);
    EXPECT_EQ(archive_write_set_passphrase(writer_, "secret"), ARCHIVE_OK);
  }
  std::string make(const Members& members) {
    std::string made;
    EXPECT_EQ(archive_write_open(writer_, &made, nullptr, take_bytes, nullptr), ARCHIVE_OK);
    for (const auto& [name, content] : members) {
      archive_entry* const entry = archive_entry_new();
      archive_entry_set_pathname(entry, name.c_str());
      archive_entry_set_size(entry, static_cast<la_int64_t>(content.size()));
      archive_entry_set_filetype(entry, AE_IFREG);
      archive_entry_set_perm(entry, 0600);
      EXPECT_GE(archive_write_header(writer_, entry), ARCHIVE_WARN) << archive_error_string(writer_);
      EXPECT_EQ(archive_write_data(writer_, content.data(), content.size()), static_cast<la_ssize_t>(content.size()));
      archive_entry_free(entry);
    }
    EXPECT_EQ(archive_write_close(writer_), ARCHIVE_OK);
    archive_write_free(writer_);
    return made;
  }

 private:
  archive* writer_;
};

inline std::string compressed(int filter, const std::string& text) {
  return ArchiveMaker(filter, ARCHIVE_FORMAT_RAW).make({{"data", text}});
}
inline std::string tar(const Members& members, int filter = ARCHIVE_FILTER_NONE) {
  return ArchiveMaker(filter, ARCHIVE_FORMAT_TAR_PAX_RESTRICTED).make(members);
}
inline std::string zip(const Members& members) {
  return ArchiveMaker(ARCHIVE_FILTER_NONE, ARCHIVE_FORMAT_ZIP).make(members);
}

}  // namespace sluice::scan
