#include "parsers/postgres/frontend.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "parsers/base/byte_writer.h"
#include "parsers/postgres/build.h"
#include "parsers/postgres/framing.h"

namespace sluice::postgres {
namespace {

using parsers::ByteWriter;
using Bytes = std::vector<uint8_t>;

Bytes body_of(const Bytes& message) {
  return {message.begin() + kHeaderBytes, message.end()};
}

template <typename Decode>
void expect_only_the_whole(const Bytes& body, Decode decode) {
  EXPECT_TRUE(decode(body));
  for (size_t cut = 0; cut < body.size(); ++cut)
    EXPECT_FALSE(decode(Bytes(body.begin(), body.begin() + static_cast<ptrdiff_t>(cut)))) << cut;
  Bytes trailing = body;
  trailing.push_back(0);
  EXPECT_FALSE(decode(trailing)) << "bytes behind the last field";
}

TEST(Frontend, Query) {
  const Bytes body = body_of(build_query("SELECT 1"));
  EXPECT_EQ(decode_query(body)->text, "SELECT 1");
  expect_only_the_whole(body, [](const Bytes& b) { return decode_query(b).has_value(); });
}

TEST(Frontend, Parse) {
  const Bytes body = ByteWriter().cstring("s1").cstring("SELECT $1").u16(2).u32(20).u32(25).take();
  const auto parse = decode_parse(body);
  ASSERT_TRUE(parse);
  EXPECT_EQ(parse->name, "s1");
  EXPECT_EQ(parse->text, "SELECT $1");
  EXPECT_EQ(parse->type_oids(), (std::vector<uint32_t>{20, 25}));
  expect_only_the_whole(body, [](const Bytes& b) { return decode_parse(b).has_value(); });
}

TEST(Frontend, DescribeAndClose) {
  const Bytes body = body_of(build_describe(NameKind::portal, "p"));
  EXPECT_EQ(decode_named_target(body)->kind, NameKind::portal);
  EXPECT_EQ(decode_named_target(body)->name, "p");
  expect_only_the_whole(body, [](const Bytes& b) { return decode_named_target(b).has_value(); });
  EXPECT_FALSE(decode_named_target(Bytes{'X', 0}));
}

TEST(Frontend, Execute) {
  const Bytes body = ByteWriter().cstring("p").u32(50).take();
  EXPECT_EQ(decode_execute(body)->row_limit, 50u);
  expect_only_the_whole(body, [](const Bytes& b) { return decode_execute(b).has_value(); });
}

Bytes bind_body() {
  return ByteWriter()
      .cstring("p")
      .cstring("s")
      .u16(2)
      .u16(0)
      .u16(1)
      .u16(2)
      .i32(3)
      .text("abc")
      .i32(-1)
      .u16(1)
      .u16(1)
      .take();
}

TEST(Frontend, Bind) {
  const Bytes body = bind_body();
  Bind bind;
  ASSERT_TRUE(decode_bind(body, body.size(), bind));
  EXPECT_EQ(bind.portal, "p");
  EXPECT_EQ(bind.statement, "s");
  ASSERT_EQ(bind.parameters.size(), 2u);
  EXPECT_EQ(bind.parameters[0].bytes.size(), 3u);
  EXPECT_FALSE(bind.parameters[0].binary);
  EXPECT_TRUE(bind.parameters[1].is_null);
  EXPECT_TRUE(bind.parameters[1].binary);
  EXPECT_EQ(bind.results.rule, ResultFormats::Rule::all_binary);
  expect_only_the_whole(body, [](const Bytes& b) {
    Bind out;
    return decode_bind(b, b.size(), out);
  });
}

TEST(Frontend, TheBeginningOfABindSaysWhatIsThere) {
  const std::string value(1000, 'v');
  const Bytes body =
      ByteWriter().cstring("").cstring("s").u16(0).u16(2).i32(1000).text(value).i32(4).text("tail").u16(0).take();
  Bind bind;
  ASSERT_TRUE(decode_bind(std::span(body).first(100), body.size(), bind));
  ASSERT_EQ(bind.parameters.size(), 2u);
  EXPECT_EQ(bind.parameters[0].bytes_total, 1000u);
  EXPECT_LT(bind.parameters[0].bytes.size(), 100u);
  EXPECT_TRUE(bind.parameters[0].arrived);
  EXPECT_FALSE(bind.parameters[1].arrived);
  EXPECT_EQ(bind.results.rule, ResultFormats::Rule::unknown);
}

TEST(Frontend, ABeginningWithoutNamesIsNotEnough) {
  const Bytes body = bind_body();
  Bind bind;
  EXPECT_FALSE(decode_bind(std::span(body).first(3), 1 << 20, bind));
}

TEST(Frontend, BindCountsMustFit) {
  Bind bind;
  const auto refused = [&bind](const Bytes& body) { return !decode_bind(body, body.size(), bind); };
  EXPECT_TRUE(refused(ByteWriter().cstring("").cstring("").u16(2).u16(0).u16(0).u16(1).i32(-1).u16(0).take()))
      << "two formats, one value";
  EXPECT_TRUE(refused(ByteWriter().cstring("").cstring("").u16(1).u16(2).u16(0).u16(0).take())) << "no such format";
  EXPECT_TRUE(refused(ByteWriter().cstring("").cstring("").u16(0).u16(1).i32(-2).u16(0).take())) << "negative length";
  EXPECT_TRUE(refused(ByteWriter().cstring("").cstring("").u16(0).u16(1).i32(0x7fffffff).u16(0).take()))
      << "longer than the message";
}

TEST(Frontend, ResultFormatsThatDiffer) {
  const Bytes body = ByteWriter().cstring("").cstring("").u16(0).u16(0).u16(3).u16(0).u16(1).u16(0).take();
  Bind bind;
  ASSERT_TRUE(decode_bind(body, body.size(), bind));
  EXPECT_EQ(bind.results.rule, ResultFormats::Rule::per_column);
  EXPECT_EQ(bind.results.binary, (std::vector<bool>{false, true, false}));
}

TEST(Frontend, FunctionCall) {
  const Bytes body = ByteWriter().u32(1234).u16(1).u16(1).u16(1).i32(4).u32(9).u16(1).take();
  FunctionCall call;
  ASSERT_TRUE(decode_function_call(body, body.size(), call));
  EXPECT_EQ(call.function_oid, 1234u);
  EXPECT_TRUE(call.arguments.at(0).binary);
  EXPECT_EQ(call.result, ResultFormats::Rule::all_binary);
  expect_only_the_whole(body, [](const Bytes& b) {
    FunctionCall out;
    return decode_function_call(b, b.size(), out);
  });
}

TEST(Build, MessagesHaveTheirLength) {
  for (const Bytes& message :
       {build_query("x"), build_parse("n", "t"), build_bind("p", "s"), build_execute("p"), build_function_call(0),
        build_copy_fail("m"), build_flush(), build_describe(NameKind::statement, "s")}) {
    const Frame frame = peek_frame(message, kFrontendBounds);
    EXPECT_EQ(frame.state, FrameState::ok);
    EXPECT_EQ(frame.total_bytes(), message.size());
  }
}

}  // namespace
}  // namespace sluice::postgres
