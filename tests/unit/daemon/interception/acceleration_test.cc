// What the verdicts of the self-test come to.
#include "daemon/interception/acceleration.h"

#include <gtest/gtest.h>

namespace sluice::interception {
namespace {

AccelerationReport report(bool fatal, bool foreign, bool guarded, unsigned into_daemon, unsigned both_ways) {
  AccelerationReport out;
  out.checks = {{"order", CheckWeight::fatal, fatal, "", ""},
                {"FIONREAD", CheckWeight::foreign, foreign, "", ""},
                {"splice", CheckWeight::guarded, guarded, "", ""}};
  out.into_daemon_percent = into_daemon;
  out.both_ways_percent = both_ways;
  decide(out);
  return out;
}

TEST(Acceleration, NothingWithoutASelfTest) {
  AccelerationReport out;
  decide(out);
  EXPECT_EQ(out.for_auto, Acceleration::none);
  EXPECT_EQ(out.for_on, Acceleration::none);
}

TEST(Acceleration, AFailedFatalCheckForbidsBothWords) {
  const auto out = report(false, true, true, 50, 50);
  EXPECT_EQ(out.for_auto, Acceleration::none);
  EXPECT_EQ(out.for_on, Acceleration::none);
  EXPECT_EQ(out.why_on, "the self-test failed: order");
}

TEST(Acceleration, OnAcceptsWhatOtherProgramsSee) {
  const auto out = report(true, false, false, 150, 150);
  EXPECT_EQ(out.for_on, Acceleration::both_ways);
  EXPECT_EQ(out.why_on, "asked for, although other programs see a difference: FIONREAD, splice");
  EXPECT_EQ(out.for_auto, Acceleration::none);
  EXPECT_EQ(out.why_auto, "other programs would see a difference: FIONREAD");
}

TEST(Acceleration, AutoGoesIntoOthersOnlyWhereEveryCheckPassed) {
  EXPECT_EQ(report(true, true, true, 50, 50).for_auto, Acceleration::both_ways);
  EXPECT_EQ(report(true, true, false, 50, 50).for_auto, Acceleration::into_daemon);
  EXPECT_EQ(report(true, false, true, 50, 50).for_auto, Acceleration::none);
}

TEST(Acceleration, AutoTakesNothingThatDoesNotPay) {
  EXPECT_EQ(report(true, true, false, kPaysAtPercent, 50).for_auto, Acceleration::into_daemon);
  const auto out = report(true, true, false, kPaysAtPercent + 1, 50);
  EXPECT_EQ(out.for_auto, Acceleration::none);
  EXPECT_EQ(out.why_auto,
            "does not pay into Sluice alone: 91 % of TCP's processor time; not into other programs: splice");
  EXPECT_EQ(report(true, true, true, 100, 100).for_auto, Acceleration::none);
  EXPECT_EQ(report(true, true, true, 50, 100).for_auto, Acceleration::into_daemon);
  EXPECT_EQ(report(true, true, true, 0, 0).for_auto, Acceleration::none) << "not measured is not cheap";
}

TEST(Acceleration, OffIsOff) {
  const auto out = report(true, true, true, 50, 50);
  EXPECT_EQ(out.of(AccelerateWish::off), Acceleration::none);
  EXPECT_EQ(out.of(AccelerateWish::on), Acceleration::both_ways);
  EXPECT_EQ(out.of(AccelerateWish::automatic), out.for_auto);
  EXPECT_EQ(out.why(AccelerateWish::off), "");
}

}  // namespace
}  // namespace sluice::interception
