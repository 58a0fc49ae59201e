#include "daemon/cli/table.h"

#include <gtest/gtest.h>

namespace sluice::cli {
namespace {

TEST(Table, AlignsColumnsAndEndsLinesWithoutSpaces) {
  Table table({{"NAME"}, {"COUNT", Table::Align::right}});
  table.row({"a", "1"});
  table.row({"längeres", "12345"});
  EXPECT_EQ(table.text(), "NAME      COUNT\na             1\nlängeres  12345\n");
}

TEST(Table, CellsCannotDriveTheTerminal) {
  Table table({{"A"}});
  table.row({"\x1b[2Jx\ny"});
  EXPECT_EQ(table.text(), "A\n\\x1b[2Jx y\n");
}

TEST(Printable, EscapesControlsAndKeepsUtf8) {
  EXPECT_EQ(printable("plain – ä"), "plain – ä");
  EXPECT_EQ(printable(std::string_view("\0\x07\x7f", 3)), "\\x00\\x07\\x7f");
  EXPECT_EQ(printable("a\tb\r\nc"), "a b  c");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\x9b31m");                         // C1 CSI
  EXPECT_EQ(printable("\xc2\xa0"), "\xc2\xa0");  // no-break space is no control
}

TEST(Shortened, CutsByCharacters) {
  EXPECT_EQ(shortened("abc", 3), "abc");
  EXPECT_EQ(shortened("abcd", 3), "ab…");
  EXPECT_EQ(shortened("äöüß", 3), "äö…");
  EXPECT_EQ(shortened("", 3), "");
  EXPECT_EQ(shortened("abc", 0), "");
}

TEST(HumanBytes, UsesPowersOfThousand) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(999), "999 B");
  EXPECT_EQ(human_bytes(1500), "1.5 kB");
  EXPECT_EQ(human_bytes(999'960), "1.0 MB");
  EXPECT_EQ(human_bytes(UINT64_MAX), "18.4 EB");
}

}  // namespace
}  // namespace sluice::cli
