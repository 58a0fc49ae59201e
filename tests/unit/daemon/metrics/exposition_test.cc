#include "daemon/metrics/exposition.h"

#include <gtest/gtest.h>

namespace sluice::metrics {
namespace {

TEST(Exposition, WritesFamiliesWholeAndInOrder) {
  Exposition exposition;
  exposition.counter("sluice_things_total", "Things that were counted.").sample({}, uint64_t{7});
  Family levels = exposition.gauge("sluice_level", "How high it stands.");
  levels.sample({{"target", "payments-db"}}, uint64_t{3});
  levels.sample({{"target", "ledger"}, {"side", "client"}}, 0.25);
  EXPECT_EQ(exposition.text(),
            "# HELP sluice_things_total Things that were counted.\n"
            "# TYPE sluice_things_total counter\n"
            "sluice_things_total 7\n"
            "# HELP sluice_level How high it stands.\n"
            "# TYPE sluice_level gauge\n"
            "sluice_level{target=\"payments-db\"} 3\n"
            "sluice_level{target=\"ledger\",side=\"client\"} 0.25\n");
}

TEST(Exposition, EscapesWhatWouldEndALabelOrALine) {
  Exposition exposition;
  exposition.gauge("sluice_level", "One\\two\nthree \"four\"").sample({{"name", "a\"b\\c\nd"}}, uint64_t{1});
  EXPECT_EQ(exposition.text(),
            "# HELP sluice_level One\\\\two\\nthree \"four\"\n"
            "# TYPE sluice_level gauge\n"
            "sluice_level{name=\"a\\\"b\\\\c\\nd\"} 1\n");
}

TEST(Exposition, BucketsAreCumulativeAndInSeconds) {
  DurationHistogram histogram;
  histogram.add(10'000);          // on the border of the first
  histogram.add(10'001);          // second
  histogram.add(20'000'000'000);  // beyond all
  Exposition exposition;
  exposition.histogram("sluice_wait_seconds", "Waiting.").histogram({{"for", "log"}}, histogram.get());
  const std::string& text = exposition.text();
  EXPECT_NE(text.find("sluice_wait_seconds_bucket{for=\"log\",le=\"1e-05\"} 1\n"), std::string::npos) << text;
  EXPECT_NE(text.find("sluice_wait_seconds_bucket{for=\"log\",le=\"3e-05\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("sluice_wait_seconds_bucket{for=\"log\",le=\"10\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("sluice_wait_seconds_bucket{for=\"log\",le=\"+Inf\"} 3\n"), std::string::npos) << text;
  EXPECT_NE(text.find("sluice_wait_seconds_count{for=\"log\"} 3\n"), std::string::npos) << text;
  EXPECT_NE(text.find("sluice_wait_seconds_sum{for=\"log\"} 20.000020001\n"), std::string::npos) << text;
}

TEST(DurationCounts, AddUp) {
  DurationCounts left, right;
  left.add(5);
  right.add(5);
  right.add(UINT64_MAX / 4);
  left += right;
  EXPECT_EQ(left.buckets.front(), 2u);
  EXPECT_EQ(left.buckets.back(), 1u);
  EXPECT_EQ(left.sum_ns, 10 + UINT64_MAX / 4);
}

}  // namespace
}  // namespace sluice::metrics
