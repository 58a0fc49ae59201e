#include "daemon/base/rfc3339.h"

#include <charconv>
#include <chrono>
#include <cstdio>

namespace sluice {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr int64_t kSecondsPerDay = 86'400;

int64_t floor_div(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
}

// Takes exactly `count` digits off the front.
bool take_digits(std::string_view& text, size_t count, int64_t& value) {
  if (text.size() < count) return false;
  value = 0;
  for (size_t i = 0; i < count; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(count);
  return true;
}

bool take(std::string_view& text, char expected) {
  if (text.empty() || text[0] != expected) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<int64_t> to_ns(int64_t seconds, int64_t fraction_ns) {
  int64_t ns = 0;
  if (__builtin_mul_overflow(seconds, kNsPerSecond, &ns) || __builtin_add_overflow(ns, fraction_ns, &ns))
    return std::nullopt;
  return ns;
}

// The offset of section 5.6: "Z" or "+hh:mm". In seconds to subtract.
std::optional<int64_t> take_offset(std::string_view& text) {
  if (take(text, 'Z') || take(text, 'z')) return 0;
  const int64_t sign = !text.empty() && text[0] == '-' ? -1 : 1;
  if (!take(text, '+') && !take(text, '-')) return std::nullopt;
  int64_t hours = 0;
  int64_t minutes = 0;
  if (!take_digits(text, 2, hours) || !take(text, ':') || !take_digits(text, 2, minutes)) return std::nullopt;
  if (hours > 23 || minutes > 59) return std::nullopt;
  return sign * (hours * 3600 + minutes * 60);
}

}  // namespace

std::string format_rfc3339(int64_t utc_ns) {
  const int64_t seconds = floor_div(utc_ns, kNsPerSecond);
  const int64_t remainder = utc_ns % kNsPerSecond;
  const int64_t fraction = remainder < 0 ? remainder + kNsPerSecond : remainder;
  const int64_t days = floor_div(seconds, kSecondsPerDay);
  const int64_t second_of_day = seconds - days * kSecondsPerDay;
  const std::chrono::year_month_day date{std::chrono::sys_days{std::chrono::days{days}}};
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d.%09lldZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(second_of_day / 3600), static_cast<int>(second_of_day / 60 % 60),
                static_cast<int>(second_of_day % 60), static_cast<long long>(fraction));
  return text;
}

std::optional<int64_t> parse_rfc3339(std::string_view text) {
  int64_t year = 0;
  int64_t month = 0;
  int64_t day = 0;
  if (!take_digits(text, 4, year) || !take(text, '-') || !take_digits(text, 2, month) || !take(text, '-') ||
      !take_digits(text, 2, day)) {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{std::chrono::year{static_cast<int>(year)},
                                         std::chrono::month{static_cast<unsigned>(month)},
                                         std::chrono::day{static_cast<unsigned>(day)}};
  if (!date.ok()) return std::nullopt;
  const int64_t day_seconds = std::chrono::sys_days{date}.time_since_epoch().count() * kSecondsPerDay;
  if (text.empty()) return to_ns(day_seconds, 0);

  if (!take(text, 'T') && !take(text, 't') && !take(text, ' ')) return std::nullopt;
  int64_t hour = 0;
  int64_t minute = 0;
  int64_t second = 0;
  if (!take_digits(text, 2, hour) || !take(text, ':') || !take_digits(text, 2, minute) || !take(text, ':') ||
      !take_digits(text, 2, second)) {
    return std::nullopt;
  }
  if (hour > 23 || minute > 59 || second > 60) return std::nullopt;  // 60: a leap second, section 5.7
  int64_t fraction_ns = 0;
  if (take(text, '.')) {
    int64_t scale = kNsPerSecond / 10;
    size_t digits = 0;
    while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
      if (++digits > 9) return std::nullopt;
      fraction_ns += (text[0] - '0') * scale;
      scale /= 10;
      text.remove_prefix(1);
    }
    if (digits == 0) return std::nullopt;
  }
  const std::optional<int64_t> offset = take_offset(text);
  if (!offset || !text.empty()) return std::nullopt;
  return to_ns(day_seconds + hour * 3600 + minute * 60 + second - *offset, fraction_ns);
}

std::optional<int64_t> parse_time_argument(std::string_view text, int64_t now_utc_ns) {
  const int64_t midnight = floor_div(now_utc_ns, kSecondsPerDay * kNsPerSecond) * kSecondsPerDay * kNsPerSecond;
  if (text == "now") return now_utc_ns;
  if (text == "today") return midnight;
  if (text == "yesterday") return midnight - kSecondsPerDay * kNsPerSecond;

  int64_t amount = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), amount);
  if (error == std::errc{} && end + 1 == text.data() + text.size() && amount >= 0) {
    int64_t unit_seconds = 0;
    switch (*end) {
      case 's':
        unit_seconds = 1;
        break;
      case 'm':
        unit_seconds = 60;
        break;
      case 'h':
        unit_seconds = 3600;
        break;
      case 'd':
        unit_seconds = kSecondsPerDay;
        break;
      case 'w':
        unit_seconds = 7 * kSecondsPerDay;
        break;
      default:
        break;
    }
    int64_t ago_seconds = 0;
    if (unit_seconds > 0 && !__builtin_mul_overflow(amount, unit_seconds, &ago_seconds)) {
      const std::optional<int64_t> ago_ns = to_ns(ago_seconds, 0);
      int64_t result = 0;
      if (ago_ns && !__builtin_sub_overflow(now_utc_ns, *ago_ns, &result)) return result;
    }
    return std::nullopt;
  }
  return parse_rfc3339(text);
}

}  // namespace sluice
