// What is known about the short-circuit on this host, as plain values: the verdicts of the self-test, and what `auto`
// and `on` come to here. Shown by `sluice doctor` and `sluice status`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::interception {

// What a target asks for.
enum class AccelerateWish : uint8_t { automatic, on, off };

// Whose sockets are handed payload past TCP.
enum class Acceleration : uint8_t { none, into_daemon, both_ways };

// What a failed check forbids.
enum class CheckWeight : uint8_t {
  fatal,    // everything: bytes could be lost, reordered or stuck
  foreign,  // `auto`: a program that knows nothing of Sluice would see a difference; `on` accepts it
  guarded,  // `auto` into sockets that are not the daemon's; `on` accepts it
};

struct AccelerationCheck {
  std::string name;
  CheckWeight weight = CheckWeight::fatal;
  bool passed = false;
  std::string detail;   // what was seen
  std::string meaning;  // what it means where it failed
};

struct AccelerationReport {
  std::vector<AccelerationCheck> checks;
  // Processor time of an exchange over that by TCP, in percent: below 100 is cheaper. 0: not measured.
  unsigned into_daemon_percent = 0;
  unsigned both_ways_percent = 0;
  // What the configured words come to on this host, and why, as a sentence.
  Acceleration for_auto = Acceleration::none;
  Acceleration for_on = Acceleration::none;
  std::string why_auto = "not tried";
  std::string why_on = "not tried";

  [[nodiscard]] Acceleration of(AccelerateWish wish) const {
    if (wish == AccelerateWish::off) return Acceleration::none;
    return wish == AccelerateWish::on ? for_on : for_auto;
  }
  // Why; empty where nothing is asked for.
  [[nodiscard]] std::string why(AccelerateWish wish) const {
    if (wish == AccelerateWish::off) return {};
    return wish == AccelerateWish::on ? why_on : why_auto;
  }
};

// `auto` takes what costs at most this much of TCP's processor time. Less would be within what such a short measurement
// can be wrong by, and a longer one would delay the start.
inline constexpr unsigned kPaysAtPercent = 90;

// Decides for_auto and for_on, and says why, from `checks` and the measurements.
void decide(AccelerationReport& report);

[[nodiscard]] std::string_view to_string(Acceleration acceleration);  // "off", "into Sluice", "both ways"
[[nodiscard]] std::string_view to_string(CheckWeight weight);

}  // namespace sluice::interception
