#include "daemon/base/rfc3339.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

constexpr int64_t kNow = 1'795'253'400'000'000'005;  // 2026-11-21T09:30:00.000000005Z

TEST(Rfc3339, FormatsWithNineDigitsInUtc) {
  EXPECT_EQ(format_rfc3339(0), "1970-01-01T00:00:00.000000000Z");
  EXPECT_EQ(format_rfc3339(kNow), "2026-11-21T09:30:00.000000005Z");
  EXPECT_EQ(format_rfc3339(-1), "1969-12-31T23:59:59.999999999Z");
  EXPECT_EQ(format_rfc3339(INT64_MAX), "2262-04-11T23:47:16.854775807Z");
  EXPECT_EQ(format_rfc3339(INT64_MIN), "1677-09-21T00:12:43.145224192Z");
}

TEST(Rfc3339, ReadsBackWhatItWrites) {
  for (const int64_t ns :
       {int64_t{0}, kNow, int64_t{-1}, INT64_MAX, int64_t{951'782'400'000'000'000} /* 29 February 2000 */}) {
    EXPECT_EQ(parse_rfc3339(format_rfc3339(ns)), ns);
  }
}

TEST(Rfc3339, ReadsOffsetsFractionsAndDates) {
  EXPECT_EQ(parse_rfc3339("2026-11-21T10:30:00+01:00"), kNow - 5);
  EXPECT_EQ(parse_rfc3339("2026-11-21T04:00:00-05:30"), kNow - 5);
  EXPECT_EQ(parse_rfc3339("2026-11-21 09:30:00.5Z"), kNow - 5 + 500'000'000);
  EXPECT_EQ(parse_rfc3339("2026-11-21"), kNow - 5 - 34'200'000'000'000);
}

TEST(Rfc3339, RefusesWhatIsNotATime) {
  for (const char* text :
       {"", "2026", "2026-13-01", "2026-02-30", "2026-11-21T", "2026-11-21T09:30", "2026-11-21T09:30:00",
        "2026-11-21T24:00:00Z", "2026-11-21T09:60:00Z", "2026-11-21T09:30:00.Z", "2026-11-21T09:30:00.1234567890Z",
        "2026-11-21T09:30:00Zx", "2026-11-21T09:30:00+24:00", "9999-01-01", "0001-01-01", "-026-11-21"}) {
    EXPECT_FALSE(parse_rfc3339(text).has_value()) << text;
  }
}

TEST(TimeArgument, TakesWordsAndAges) {
  EXPECT_EQ(parse_time_argument("now", kNow), kNow);
  EXPECT_EQ(parse_time_argument("today", kNow), kNow - 5 - 34'200'000'000'000);
  EXPECT_EQ(parse_time_argument("yesterday", kNow), kNow - 5 - 34'200'000'000'000 - 86'400'000'000'000);
  EXPECT_EQ(parse_time_argument("90s", kNow), kNow - 90'000'000'000);
  EXPECT_EQ(parse_time_argument("15m", kNow), kNow - 900'000'000'000);
  EXPECT_EQ(parse_time_argument("1h", kNow), kNow - 3'600'000'000'000);
  EXPECT_EQ(parse_time_argument("7d", kNow), kNow - 7 * 86'400'000'000'000);
  EXPECT_EQ(parse_time_argument("2w", kNow), kNow - 14 * 86'400'000'000'000);
  EXPECT_EQ(parse_time_argument("2026-11-21T09:30:00.000000005Z", 0), kNow);
}

TEST(TimeArgument, RefusesNonsense) {
  for (const char* text :
       {"", "1", "h", "-1h", "1y", "1hh", "1 h", "tomorrow", "99999999999999w", "9223372036854775807s"}) {
    EXPECT_FALSE(parse_time_argument(text, kNow).has_value()) << text;
  }
}

}  // namespace
}  // namespace sluice
