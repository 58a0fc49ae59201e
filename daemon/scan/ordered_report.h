// Output of many threads in the order of what it is about: each file has a slip, slips leave in the order in which they
// were opened. The slip whose turn it is writes through; the others collect, and wait where they have too much to say.
// So memory is bounded (kFilesAheadMax times kReportAheadBytesMax), and the order is that of one thread.
// Threading: open() by one thread; a slip belongs to one thread at a time; the rest from anywhere.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace sluice::scan {

struct Slip {
  uint64_t number = 0;
  std::string out, err;
};

class OrderedReport {
 public:
  // Gets whole lines, from one thread at a time. False where nobody takes them any more.
  using Sink = std::function<bool(std::string_view out, std::string_view err)>;

  explicit OrderedReport(Sink sink) : sink_(std::move(sink)) {}

  // Waits while too many are open. Null once the output has failed.
  [[nodiscard]] std::unique_ptr<Slip> open();
  // After something was added: keeps the slip small.
  void added(Slip& slip);
  void finish(std::unique_ptr<Slip> slip);

  [[nodiscard]] bool failed() const;

 private:
  void write(Slip& slip);

  Sink sink_;
  mutable std::mutex mutex_;
  std::condition_variable turn_;
  uint64_t opened_ = 0, head_ = 0;
  std::map<uint64_t, std::unique_ptr<Slip>> finished_;  // behind the head
  bool failed_ = false;
};

}  // namespace sluice::scan
