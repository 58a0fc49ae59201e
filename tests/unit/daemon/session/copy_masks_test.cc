// Fields of COPY, masked where they stand, however the data is cut.
#include "daemon/session/copy_masks.h"

#include <string>

#include "tests/unit/daemon/session/postgres_harness.h"

namespace sluice::session::testing {
namespace {

using command::ColumnVerdict;

std::string masked(std::string data, sql::CopyFormat format, CopyMasks::Bytes bytes = CopyMasks::Bytes::ascii_safe,
                   size_t piece = 1'000) {
  ScriptedGate gate;
  ScriptedScanner scanner;
  PostgresMasker masker(gate, scanner);
  auto plan = std::make_shared<ColumnPlan>();
  plan->columns = {ColumnVerdict::clear, ColumnVerdict::masked};
  plan->copy = format;
  CopyMasks columns(plan, bytes);
  for (size_t at = 0; at < data.size(); at += piece) {
    columns.mask({reinterpret_cast<uint8_t*>(data.data()) + at, std::min(piece, data.size() - at)}, masker);
  }
  return data;
}

sql::CopyFormat csv(char escape = '"') {
  sql::CopyFormat format;
  format.kind = sql::CopyFormat::Kind::csv;
  format.delimiter = ',';
  format.escape = escape;
  return format;
}

TEST(CopyMasks, TextFormat) {
  EXPECT_EQ(masked("1\t737\n2\t\\N\n3\t\n", {}), "1\t***\n2\t\\N\n3\t\n");
  EXPECT_EQ(masked("a\\\tb\t7\\\t3\\n\n1\t2\n", {}), "a\\\tb\t******\n1\t*\n");
  EXPECT_EQ(masked("1\t\\\\N\n2\t\\n7\n3\t7\\N\n", {}), "1\t\\**\n2\t\\**\n3\t***\n");  // no NULL
  EXPECT_EQ(masked("1\t2\t3\n", {}), "1\t*\t*\n");  // more fields than were announced
  sql::CopyFormat bars;
  bars.delimiter = '|';
  EXPECT_EQ(masked("1|7\t7\n", bars), "1|***\n");
}

TEST(CopyMasks, Csv) {
  EXPECT_EQ(masked("1,737\n2,\n3,\"7,7\"\n", csv()), "1,***\n2,\n3,\"***\"\n");
  EXPECT_EQ(masked("\"a\n,\"\"b\",\"7\"\"7\n7\"\n1,2\n", csv()), "\"a\n,\"\"b\",\"*\"\"***\"\n1,*\n");
  EXPECT_EQ(masked("1,\"7!\"7!!\"\n1,2\n", csv('!')), "1,\"******\"\n1,*\n");
}

TEST(CopyMasks, AnyCutGivesTheSame) {
  const std::string text = "1\t737\n2\tab\\\tc\n3\t\n4\t\\N\n5\t\\\\N\n";
  const std::string quoted = "\"a\n,\"\"b\",\"7\"\"7\n7\"\n1,2\n";
  for (size_t piece = 1; piece < text.size(); ++piece)
    EXPECT_EQ(masked(text, {}, CopyMasks::Bytes::ascii_safe, piece), masked(text, {})) << piece;
  for (size_t piece = 1; piece < quoted.size(); ++piece)
    EXPECT_EQ(masked(quoted, csv(), CopyMasks::Bytes::ascii_safe, piece), masked(quoted, csv())) << piece;
}

TEST(CopyMasks, WhatIsNotCertainIsMaskedWhole) {
  sql::CopyFormat odd;
  odd.certain = false;
  EXPECT_EQ(masked("1\t737\n", odd), "*****\n");
  EXPECT_EQ(masked("1\t737\n", {}, CopyMasks::Bytes::mixed), "*****\n");
}

TEST(CopyMasks, BinaryFields) {
  ScriptedGate gate;
  ScriptedScanner scanner;
  PostgresMasker masker(gate, scanner);
  auto plan = std::make_shared<ColumnPlan>();
  plan->columns = {ColumnVerdict::clear, ColumnVerdict::untraceable};
  CopyMasks columns(plan, CopyMasks::Bytes::ascii_safe);
  std::string value = "737";
  const std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(value.data()), value.size());
  columns.mask_field(bytes, 0, true, masker);
  EXPECT_EQ(value, "737");
  columns.mask_field(bytes, 1, true, masker);
  EXPECT_EQ(value, "***");
}

}  // namespace
}  // namespace sluice::session::testing
