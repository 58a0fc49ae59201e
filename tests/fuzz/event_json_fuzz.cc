// Any event that parses becomes one line of JSON without a byte that a terminal or a line-based reader would act on.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "daemon/audit/event_record.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::events::Event event;
  if (!event.ParseFromArray(data, static_cast<int>(size))) return 0;
  sluice::audit::EventRecord record;
  record.event = &event;
  record.context = &event;
  record.has_text = true;
  record.text = {reinterpret_cast<const char*>(data), size};
  std::string line;
  sluice::audit::append_json(record, line);
  for (const char c : line) {
    if (static_cast<uint8_t>(c) < 0x20 || c == 0x7f) std::abort();
  }
  if (line.size() < 2 || line.front() != '{' || line.back() != '}') std::abort();
  return 0;
}
