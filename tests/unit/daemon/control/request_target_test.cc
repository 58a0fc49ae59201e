#include "daemon/control/request_target.h"

#include <gtest/gtest.h>

namespace sluice::control {
namespace {

TEST(RequestTarget, TakesPathAndQueryApart) {
  const auto target = parse_request_target("/v1/events?filter=type%3Dcommand_blocked%20and%20a~%22b%22&limit=5&follow");
  ASSERT_TRUE(target.has_value());
  EXPECT_EQ(target->path, "/v1/events");
  EXPECT_EQ(target->query.at("filter"), "type=command_blocked and a~\"b\"");
  EXPECT_EQ(target->query.at("limit"), "5");
  EXPECT_EQ(target->query.at("follow"), "");
}

TEST(RequestTarget, EncodingComesBackAsItWas) {
  std::string every_byte;
  for (int byte = 1; byte < 256; ++byte) every_byte.push_back(static_cast<char>(byte));
  const auto target = parse_request_target("/x?a=" + percent_encode(every_byte));
  ASSERT_TRUE(target.has_value());
  EXPECT_EQ(target->query.at("a"), every_byte);
}

TEST(RequestTarget, RefusesWhatCannotBeRead) {
  for (const char* text : {"", "v1", "/a%", "/a%4", "/a%zz", "/a%00", "/a?b=%", "/a?b=1&b=2"}) {
    EXPECT_FALSE(parse_request_target(text).has_value()) << text;
  }
  EXPECT_FALSE(parse_request_target("/" + std::string(kRequestTargetBytesMax, 'a')).has_value());
}

}  // namespace
}  // namespace sluice::control
