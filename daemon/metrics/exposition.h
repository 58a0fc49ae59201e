// Numbers as Prometheus reads them: the text exposition format, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/). A family has a name, a help text and a type, and is
// written whole before the next one begins, as the format asks for. Names and label names are ours and are asserted;
// label values may hold anything and are escaped. Lifetime: one per scrape. One thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "daemon/base/counter.h"

namespace sluice::metrics {

struct Label {
  std::string_view name;
  std::string_view value;
};
using Labels = std::initializer_list<Label>;

// The samples of one family. Several histograms of one family differ in their labels.
class Family {
 public:
  void sample(Labels labels, uint64_t value);
  void sample(Labels labels, double value);
  // In seconds, buckets cumulative.
  void histogram(Labels labels, const DurationCounts& counts);

 private:
  friend class Exposition;
  Family(std::string& out, std::string_view name) : out_(out), name_(name) {}
  void line(std::string_view suffix, Labels labels, std::string_view border, std::string_view value);
  std::string& out_;
  std::string_view name_;
};

class Exposition {
 public:
  // Counters end in _total, or in _seconds_total and the like (https://prometheus.io/docs/practices/naming/).
  [[nodiscard]] Family counter(std::string_view name, std::string_view help) { return begin(name, help, "counter"); }
  [[nodiscard]] Family gauge(std::string_view name, std::string_view help) { return begin(name, help, "gauge"); }
  [[nodiscard]] Family histogram(std::string_view name, std::string_view help) {
    return begin(name, help, "histogram");
  }

  [[nodiscard]] const std::string& text() const { return out_; }

 private:
  Family begin(std::string_view name, std::string_view help, std::string_view type);
  std::string out_;
};

}  // namespace sluice::metrics
