#include "tests/unit/parsers/sql/analysis_check.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace sluice::sql::test {
namespace {

constexpr std::string_view kWords[] = {"select",  "insert",  "update",   "delete",    "merge",  "truncate", "copy",
                                       "create",  "alter",   "drop",     "grant",     "revoke", "call",     "do",
                                       "explain", "prepare", "execute",  "declare",   "fetch",  "set",      "show",
                                       "begin",   "commit",  "rollback", "savepoint", "lock",   "vacuum",   "analyze",
                                       "comment", "listen",  "notify",   "other",     "unknown"};

std::string joined(std::vector<std::string> parts, char separator) {
  std::sort(parts.begin(), parts.end());
  std::string all;
  for (const std::string& part : parts) {
    if (!all.empty()) all.push_back(separator);
    all += part;
  }
  return all;
}

}  // namespace

std::string kinds(const Analysis& analysis) {
  std::vector<Kind> sorted = analysis.kinds;
  std::sort(sorted.begin(), sorted.end());
  std::string all;
  for (const Kind kind : sorted) {
    if (!all.empty()) all.push_back(',');
    all += kWords[static_cast<size_t>(kind)];
  }
  return all;
}

std::string relations(const Analysis& analysis) {
  std::vector<std::string> parts;
  for (const RelationUse& use : analysis.relations) {
    std::string part = use.schema.empty() ? use.name : use.schema + "." + use.name;
    part += use.reads && use.writes ? ":rw" : use.writes ? ":w" : ":r";
    parts.push_back(std::move(part));
  }
  return joined(std::move(parts), ' ');
}

std::string functions(const Analysis& analysis) {
  return joined(analysis.functions, ',');
}

bool complete(const Analysis& analysis) {
  return analysis.kinds_complete && analysis.relations_complete && analysis.functions_complete;
}

bool is_unknown(const Analysis& analysis) {
  return analysis.kinds == std::vector<Kind>{Kind::unknown} && !analysis.kinds_complete &&
         !analysis.relations_complete && !analysis.functions_complete && !analysis.why_unknown.empty() &&
         analysis.may_change_settings;
}

Analysis analyzed(std::string_view text) {
  return analyze(text, TextSettings{});
}

Analysis analyzed(std::string_view text, std::string_view client_encoding, bool conforming, bool certain) {
  return analyze(text, TextSettings{client_encoding, conforming, certain});
}

void on_analysis_stack(const std::function<void()>& body) {
  pthread_attr_t attributes;
  pthread_t thread;
  pthread_attr_init(&attributes);
  if (pthread_attr_setstacksize(&attributes, kAnalysisStackBytes) != 0) std::abort();
  const auto main = [](void* function) -> void* {
    (*static_cast<const std::function<void()>*>(function))();
    return nullptr;
  };
  if (pthread_create(&thread, &attributes, main, const_cast<std::function<void()>*>(&body)) != 0) std::abort();
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

}  // namespace sluice::sql::test
