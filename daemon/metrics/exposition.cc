#include "daemon/metrics/exposition.h"

#include <algorithm>
#include <cassert>
#include <charconv>
#include <cmath>

namespace sluice::metrics {
namespace {

bool is_name(std::string_view text) {
  const auto fits = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  return !text.empty() && !(text[0] >= '0' && text[0] <= '9') && std::all_of(text.begin(), text.end(), fits);
}

// Backslash, line feed, and in values the double quote (section "Comments, help text, and type information").
enum class Quote : uint8_t { leave, escape };
void append_escaped(std::string& out, std::string_view text, Quote quote) {
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quote == Quote::escape) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

std::string to_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof text, value);
  assert(error == std::errc{});  // the shortest form of a double has at most 24 characters
  return {text, end};
}

constexpr double kNsPerSecond = 1e9;

}  // namespace

Family Exposition::begin(std::string_view name, std::string_view help, std::string_view type) {
  assert(is_name(name) && !help.empty());
  out_.append("# HELP ").append(name).append(" ");
  append_escaped(out_, help, Quote::leave);
  out_.append("\n# TYPE ").append(name).append(" ").append(type).append("\n");
  return {out_, name};
}

void Family::line(std::string_view suffix, Labels labels, std::string_view border, std::string_view value) {
  out_.append(name_).append(suffix);
  char opening = '{';
  const auto add = [&](std::string_view label, std::string_view text) {
    assert(is_name(label));
    out_ += opening;
    opening = ',';
    out_.append(label).append("=\"");
    append_escaped(out_, text, Quote::escape);
    out_ += '"';
  };
  for (const Label& label : labels) add(label.name, label.value);
  if (!border.empty()) add("le", border);
  if (opening == ',') out_ += '}';
  out_.append(" ").append(value).append("\n");
}

void Family::sample(Labels labels, uint64_t value) {
  line("", labels, "", std::to_string(value));
}

void Family::sample(Labels labels, double value) {
  line("", labels, "", to_text(value));
}

void Family::histogram(Labels labels, const DurationCounts& counts) {
  uint64_t total = 0;
  for (size_t i = 0; i < counts.buckets.size(); ++i) {
    total += counts.buckets[i];
    const bool beyond = i == kDurationBordersNs.size();
    line("_bucket", labels, beyond ? "+Inf" : to_text(static_cast<double>(kDurationBordersNs[i]) / kNsPerSecond),
         std::to_string(total));
  }
  line("_sum", labels, "", to_text(static_cast<double>(counts.sum_ns) / kNsPerSecond));
  line("_count", labels, "", std::to_string(total));
}

}  // namespace sluice::metrics
