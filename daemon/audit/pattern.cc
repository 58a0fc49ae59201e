#include "daemon/audit/pattern.h"

#include <hs.h>

namespace sluice::audit {

void Pattern::FreeDatabase::operator()(hs_database* database) const {
  hs_free_database(database);
}
void Pattern::FreeScratch::operator()(hs_scratch* scratch) const {
  hs_free_scratch(scratch);
}

Result<Pattern> Pattern::compile(const std::string& expression) {
  if (expression.find('\0') != std::string::npos) return fail("a pattern cannot hold a zero byte");
  Pattern pattern;
  hs_database_t* database = nullptr;
  hs_compile_error_t* error = nullptr;
  const unsigned flags = HS_FLAG_DOTALL | HS_FLAG_SINGLEMATCH | HS_FLAG_ALLOWEMPTY;
  if (hs_compile(expression.c_str(), flags, HS_MODE_BLOCK, nullptr, &database, &error) != HS_SUCCESS) {
    const std::string why = error != nullptr && error->message != nullptr ? error->message : "not supported";
    hs_free_compile_error(error);
    return fail("pattern: " + why);
  }
  pattern.database_.reset(database);
  hs_scratch_t* scratch = nullptr;
  if (hs_alloc_scratch(database, &scratch) != HS_SUCCESS) return fail("pattern: out of memory");
  pattern.scratch_.reset(scratch);
  return pattern;
}

bool Pattern::occurs_in(std::string_view text) const {
  const auto stop_at_first = [](unsigned, unsigned long long, unsigned long long, unsigned, void*) { return 1; };
  // A null pointer is not accepted even for no bytes.
  const char* data = text.empty() ? "" : text.data();
  return hs_scan(database_.get(), data, static_cast<unsigned>(text.size()), 0, scratch_.get(), stop_at_first,
                 nullptr) != HS_SUCCESS;
}

}  // namespace sluice::audit
