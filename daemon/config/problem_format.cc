#include "daemon/config/problem_format.h"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <vector>

namespace sluice::config {
namespace {

using policies::Problem;
using policies::Problems;
using policies::Severity;

// Files in the order in which they come up, each from top to bottom.
std::vector<const Problem*> in_order(const Problems& problems) {
  struct Place {
    const Problem* problem;
    size_t file;
  };
  std::vector<std::string_view> files;
  std::vector<Place> places;
  for (const Problem& problem : problems) {
    const auto known = std::find(files.begin(), files.end(), problem.file);
    places.push_back({&problem, static_cast<size_t>(known - files.begin())});
    if (known == files.end()) files.push_back(problem.file);
  }
  std::stable_sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
    return std::tie(a.file, a.problem->line, a.problem->column) < std::tie(b.file, b.problem->line, b.problem->column);
  });
  std::vector<const Problem*> ordered;
  ordered.reserve(places.size());
  for (const Place& place : places) ordered.push_back(place.problem);
  return ordered;
}

std::string_view word_for(Severity severity) {
  return severity == Severity::error ? "error" : "warning";
}

// Control characters, C1 ones (U+0080 to U+009F) included, become `?`.
std::string printable(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    const bool c1 = byte == 0xC2 && i + 1 < text.size() && static_cast<uint8_t>(text[i + 1]) < 0xA0;
    if (c1) ++i;
    out += byte < 0x20 || byte == 0x7F || c1 ? '?' : text[i];
  }
  return out;
}

// RFC 8259, 7.
std::string json_string(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7F) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace

std::string format_text(const Problems& problems) {
  std::string text;
  for (const Problem* problem : in_order(problems)) {
    text += printable(problem->file);
    if (problem->line > 0) text += ":" + std::to_string(problem->line) + ":" + std::to_string(problem->column);
    text += ": " + std::string(word_for(problem->severity)) + ": " + printable(problem->message) + "\n";
    if (!problem->hint.empty()) text += "  hint: " + printable(problem->hint) + "\n";
  }
  return text;
}

std::string format_json(const Problems& problems) {
  std::string text;
  for (const Problem* problem : in_order(problems)) {
    text += "{\"file\":" + json_string(problem->file) + ",\"line\":" + std::to_string(problem->line) +
            ",\"column\":" + std::to_string(problem->column) + ",\"severity\":\"" +
            std::string(word_for(problem->severity)) + "\",\"message\":" + json_string(problem->message) +
            ",\"hint\":" + json_string(problem->hint) + "}\n";
  }
  return text;
}

}  // namespace sluice::config
