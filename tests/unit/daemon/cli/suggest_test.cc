#include "daemon/cli/suggest.h"

#include <gtest/gtest.h>

namespace sluice::cli {
namespace {

const std::vector<std::string> kKnown = {"run",    "check", "doctor", "status", "sessions",
                                         "events", "mask",  "scan",   "audit",  "unload"};

TEST(Suggest, FindsTheSlip) {
  EXPECT_EQ(nearest("statsu", kKnown), "status");
  EXPECT_EQ(nearest("chekc", kKnown), "check");
  EXPECT_EQ(nearest("session", kKnown), "sessions");
  EXPECT_EQ(nearest("rnu", kKnown), "run");
  EXPECT_EQ(nearest("event", kKnown), "events");
}

TEST(Suggest, SaysNothingWhereNothingIsNear) {
  EXPECT_EQ(nearest("frobnicate", kKnown), "");
  EXPECT_EQ(nearest("", kKnown), "");
  EXPECT_EQ(nearest(std::string(10'000, 'x'), kKnown), "");
}

}  // namespace
}  // namespace sluice::cli
