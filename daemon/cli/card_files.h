// What `sluice mask` and `sluice scan` share: files read in windows through the detector, findings as JSON, output that
// reports when nobody takes it. No privileges, no daemon. One thread.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"
#include "policies/cards/text_stream.h"

namespace sluice::cli {

// The name of standard input among files.
inline constexpr std::string_view kStandardInput = "-";

// Where a command reads and writes; a test gives its own.
struct StandardStreams {
  int in = 0;
  int out = 1;
  int err = 2;
};

// Writes to a descriptor, in blocks. After an error the rest is dropped and failed() says so.
class BlockWriter {
 public:
  explicit BlockWriter(int fd) : fd_(fd) {}
  ~BlockWriter() { flush(); }
  BlockWriter(const BlockWriter&) = delete;
  BlockWriter& operator=(const BlockWriter&) = delete;

  void write(std::string_view bytes);
  void flush();
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  int fd_;
  std::string pending_;
  bool failed_ = false;
};

using OnWindow =
    std::function<void(std::span<const uint8_t> masked, std::span<const policies::ReportedFinding> findings)>;

// Reads a file (or standard input) to its end; on_window gets its masked bytes and the findings in them, in order.
// Errors: cannot be opened or read, is a directory.
[[nodiscard]] Status read_through(policies::CardScanner& scanner, policies::MaskStyle style, const std::string& file,
                                  int standard_input, const OnWindow& on_window);

// One finding as a JSON object on a line of its own (docs/masking.md); `file` is left out where it is empty.
[[nodiscard]] std::string finding_line(const policies::ReportedFinding& finding, std::string_view file);

}  // namespace sluice::cli
