#include "parsers/postgres/backend.h"

#include <gtest/gtest.h>

#include <vector>

#include "parsers/base/byte_writer.h"
#include "parsers/postgres/build.h"
#include "parsers/postgres/framing.h"

namespace sluice::postgres {
namespace {

using parsers::ByteWriter;
using Bytes = std::vector<uint8_t>;

template <typename Decode>
void expect_only_the_whole(const Bytes& body, Decode decode) {
  EXPECT_TRUE(decode(body));
  for (size_t cut = 0; cut < body.size(); ++cut)
    EXPECT_FALSE(decode(Bytes(body.begin(), body.begin() + static_cast<ptrdiff_t>(cut)))) << cut;
  Bytes trailing = body;
  trailing.push_back(0);
  EXPECT_FALSE(decode(trailing)) << "bytes behind the last field";
}

TEST(Backend, RowDescription) {
  const Bytes body =
      ByteWriter().u16(1).cstring("pan").u32(16384).u16(2).u32(25).u16(0xffff).u32(0xffffffff).u16(1).take();
  std::vector<ColumnDescription> columns;
  ASSERT_TRUE(decode_row_description(body, columns));
  ASSERT_EQ(columns.size(), 1u);
  EXPECT_EQ(columns[0].name, "pan");
  EXPECT_EQ(columns[0].table_oid, 16384u);
  EXPECT_EQ(columns[0].attribute, 2);
  EXPECT_EQ(columns[0].type_oid, 25u);
  EXPECT_TRUE(columns[0].binary);
  expect_only_the_whole(body, [](const Bytes& b) {
    std::vector<ColumnDescription> out;
    return decode_row_description(b, out);
  });
}

TEST(Backend, ReportFields) {
  const Bytes message = build_error(Severity::error, "42501", "no");
  const Bytes body(message.begin() + kHeaderBytes, message.end());
  std::vector<ReportField> fields;
  ASSERT_TRUE(decode_report(body, fields));
  EXPECT_EQ(report_field(fields, 'S'), "ERROR");
  EXPECT_EQ(report_field(fields, 'V'), "ERROR");
  EXPECT_EQ(report_field(fields, 'C'), "42501");
  EXPECT_EQ(report_field(fields, 'M'), "no");
  EXPECT_EQ(report_field(fields, 'D'), "");
  expect_only_the_whole(body, [](const Bytes& b) {
    std::vector<ReportField> out;
    return decode_report(b, out);
  });
}

TEST(Backend, AnErrorOfOursCannotBeCutByANul) {
  const Bytes message = build_error(Severity::fatal, "08P01", std::string_view("a\0b", 3));
  std::vector<ReportField> fields;
  ASSERT_TRUE(decode_report(Bytes(message.begin() + kHeaderBytes, message.end()), fields));
  EXPECT_EQ(fields.size(), 4u);
}

TEST(Backend, Authentication) {
  EXPECT_EQ(decode_authentication(ByteWriter().u32(0).take()), Auth::ok);
  EXPECT_EQ(decode_authentication(ByteWriter().u32(5).text("salt").take()), Auth::md5);
  EXPECT_FALSE(decode_authentication(ByteWriter().u32(5).text("sal").take()));
  EXPECT_FALSE(decode_authentication(ByteWriter().u32(0).u8(1).take()));
  EXPECT_FALSE(decode_authentication(ByteWriter().u32(99).take())) << "an unknown method cannot be followed";
  EXPECT_EQ(decode_authentication(ByteWriter().u32(10).cstring("SCRAM-SHA-256").u8(0).take()), Auth::sasl);
}

TEST(Backend, CopyResponse) {
  EXPECT_FALSE(decode_copy_response(ByteWriter().u8(0).u16(1).u16(0).take())->binary);
  EXPECT_TRUE(decode_copy_response(ByteWriter().u8(1).u16(1).u16(1).take())->binary);
  EXPECT_EQ(decode_copy_response(ByteWriter().u8(1).u16(2).u16(1).u16(1).take())->columns, 2);
  EXPECT_FALSE(decode_copy_response(ByteWriter().u8(0).u16(2).u16(0).u16(1).take())) << "columns say the same as all";
  EXPECT_FALSE(decode_copy_response(ByteWriter().u8(1).u16(1).u16(0).take()));
  EXPECT_FALSE(decode_copy_response(ByteWriter().u8(2).u16(0).take()));
  expect_only_the_whole(ByteWriter().u8(0).u16(1).u16(0).take(),
                        [](const Bytes& b) { return decode_copy_response(b).has_value(); });
}

TEST(Backend, CommandCompleteNamesRows) {
  EXPECT_EQ(decode_command_complete(ByteWriter().cstring("INSERT 0 5").take()), 5u);
  EXPECT_EQ(decode_command_complete(ByteWriter().cstring("SELECT 18446744073709551615").take()), UINT64_MAX);
  EXPECT_EQ(decode_command_complete(ByteWriter().cstring("CREATE TABLE").take()), 0u);
  EXPECT_EQ(decode_command_complete(ByteWriter().cstring("BEGIN").take()), 0u);
  EXPECT_FALSE(decode_command_complete(ByteWriter().text("BEGIN").take()));
}

TEST(Backend, SmallMessages) {
  EXPECT_EQ(decode_ready_for_query(Bytes{'T'}), TransactionStatus::in_transaction);
  EXPECT_FALSE(decode_ready_for_query(Bytes{'X'}));
  EXPECT_EQ(decode_parameter_status(ByteWriter().cstring("a").cstring("b").take())->value, "b");
  EXPECT_EQ(decode_notification(ByteWriter().u32(1).cstring("c").cstring("p").take())->payload, "p");
  EXPECT_TRUE(decode_function_result(ByteWriter().i32(-1).take())->is_null);
  EXPECT_FALSE(decode_function_result(ByteWriter().i32(-2).take()));
  EXPECT_FALSE(decode_function_result(ByteWriter().i32(5).text("abcd").take()));
  const auto negotiated = decode_negotiate_version(ByteWriter().u32(0x30000).u32(1).cstring("_pq_.x").take());
  ASSERT_TRUE(negotiated);
  EXPECT_EQ(negotiated->minor, 0u);
  EXPECT_EQ(negotiated->unknown_options, 1u);
  EXPECT_FALSE(decode_negotiate_version(ByteWriter().u32(0).u32(0xffffffff).take()));
  std::vector<uint32_t> oids;
  EXPECT_TRUE(decode_parameter_description(ByteWriter().u16(1).u32(23).take(), oids));
  EXPECT_EQ(oids, (std::vector<uint32_t>{23}));
  EXPECT_FALSE(decode_parameter_description(ByteWriter().u16(2).u32(23).take(), oids));
}

}  // namespace
}  // namespace sluice::postgres
