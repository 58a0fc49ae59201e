// Any text as a filter: an answer or an error with a position, never a crash; and what parses can be asked.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "daemon/audit/filter.h"

namespace {

class Subject final : public sluice::audit::FilterSubject {
 public:
  void values(sluice::audit::FilterKey key, std::vector<std::string_view>& out) const override {
    if (key == sluice::audit::FilterKey::rule) return;
    out.push_back("select * from cards");
    out.push_back("42");
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto filter = sluice::audit::Filter::parse(text);
  if (!filter) {
    if (!filter.error().message.starts_with("filter")) std::abort();
    return 0;
  }
  const Subject subject;
  static_cast<void>(filter->matches(subject));
  return 0;
}
