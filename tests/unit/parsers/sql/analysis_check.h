// Short forms for tests of the analysis: what a text means, as words that are easy to compare.
#pragma once

#include <pthread.h>

#include <functional>
#include <string>
#include <string_view>

#include "parsers/sql/analysis.h"

namespace sluice::sql::test {

// "select,delete": kinds in the order of the policy language's words.
std::string kinds(const Analysis& analysis);
// "r:cards w:public.log rw:x": relations in the order of their names.
std::string relations(const Analysis& analysis);
// "count,f"; sorted.
std::string functions(const Analysis& analysis);
bool complete(const Analysis& analysis);
bool is_unknown(const Analysis& analysis);

Analysis analyzed(std::string_view text);
Analysis analyzed(std::string_view text, std::string_view client_encoding, bool conforming = true, bool certain = true);

// Runs on a thread with the stack that the analysis asks for.
void on_analysis_stack(const std::function<void()>& body);

}  // namespace sluice::sql::test
