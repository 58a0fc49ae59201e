// Which fields of a COPY stand under names that matter, by the statement's names or by a header.
#include "daemon/session/copy_columns.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::session {
namespace {

sql::CopyFormat csv(char delimiter = ',', char quote = '"', char escape = '"') {
  sql::CopyFormat format;
  format.kind = sql::CopyFormat::Kind::csv;
  format.delimiter = delimiter;
  format.quote = quote;
  format.escape = escape;
  return format;
}

// The fields of `row` that are to be masked, joined by '+'.
std::string secrets(CopyColumns& columns, std::string row) {
  std::string out;
  for (const CopyColumns::Field& field : columns.secrets_of({reinterpret_cast<uint8_t*>(row.data()), row.size()})) {
    if (!out.empty()) out += '+';
    out.append(reinterpret_cast<const char*>(field.bytes.data()), field.bytes.size());
  }
  return out;
}

CopyColumns named(std::vector<std::string> names, sql::CopyFormat format = {}) {
  CopyColumns columns;
  columns.begin();
  columns.name({std::move(names), format});
  return columns;
}

TEST(CopyColumns, NamesOfTheStatement) {
  CopyColumns text = named({"note", "cvv", "pan"});
  EXPECT_EQ(secrets(text, "a\\\tb\\\\\t737\t41\n"), "737+41") << "the first row too; an escaped tab is no border";
  EXPECT_EQ(secrets(text, "x\t\\N\t\n"), "") << "NULL and nothing stay";
  CopyColumns quoted = named({"note", "cvv"}, csv());
  EXPECT_EQ(secrets(quoted, "\"a,\"\"b\",\"737\"\n"), "737");
  CopyColumns escaped = named({"note", "cvv"}, csv('|', '!', '\\'));
  EXPECT_EQ(secrets(escaped, "!a\\!|b!|737\n"), "737");
  EXPECT_EQ(secrets(escaped, "\"|737\n"), "737") << "only the quote that was said is one";
}

TEST(CopyColumns, AHeaderOfTheNamesStays) {
  CopyColumns columns = named({"id", "cvv", ""}, csv());
  EXPECT_EQ(secrets(columns, "id,cvv,?column?\n"), "");
  EXPECT_EQ(secrets(columns, "id,cvv,?column?\n"), "cvv") << "the second row is none";
}

TEST(CopyColumns, AHeaderTellsTheNamesThatOnlyTheServerKnew) {
  CopyColumns columns = named({"id", ""}, csv());  // select id, cvv::text
  EXPECT_EQ(secrets(columns, "id,cvv\n"), "");
  EXPECT_EQ(secrets(columns, "1,737\n"), "737");
}

TEST(CopyColumns, WithoutNamesTheHeaderIsGuessed) {
  CopyColumns columns;
  columns.begin();
  EXPECT_EQ(secrets(columns, "id;cvv\n"), "");
  EXPECT_EQ(secrets(columns, "1;737\n"), "737");
  columns.begin();
  EXPECT_EQ(secrets(columns, "1\t737\n"), "");
  EXPECT_EQ(secrets(columns, "id\tcvv\n"), "") << "only the first row can be one";
  EXPECT_EQ(secrets(columns, "1\t737\n"), "");
}

TEST(CopyColumns, NamesThatMeanOtherThingsTooCountBesideACard) {
  CopyColumns alone = named({"id", "security_code"});
  EXPECT_EQ(secrets(alone, "1\t737\n"), "");
  CopyColumns beside = named({"pan", "security_code"});
  EXPECT_EQ(secrets(beside, "x\t737\n"), "x+737");
  EXPECT_EQ(beside.kind_of(1), policies::NameKind::code);
  EXPECT_EQ(beside.kind_of(2), policies::NameKind::none);
}

TEST(CopyColumns, AFormatThatIsNotCertainDividesNothing) {
  sql::CopyFormat format;
  format.certain = false;
  CopyColumns columns = named({"id", "cvv"}, format);
  EXPECT_EQ(secrets(columns, "1\t737\n"), "");
}

}  // namespace
}  // namespace sluice::session
