#include "parsers/sql/tree.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "parsers/sql/grammar.h"
#include "parsers/sql/walker.h"

namespace sluice::sql {
namespace {

using tree::Field;
using tree::FieldCursor;
using tree::Message;
using tree::Type;

TEST(Tree, ReadsWhatTheGrammarWrote) {
  const Parsed parsed("SELECT a FROM b; DROP TABLE c", Conforming::yes);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed.root().number(tree::in::parse_result::version), 150001u);
  EXPECT_EQ(parsed.root().count(tree::in::parse_result::stmts), 2u);
  EXPECT_EQ(parsed.root().child(tree::in::parse_result::stmts).child(tree::in::raw_stmt::stmt).type(),
            Type::SelectStmt);
  EXPECT_EQ(parsed.root().last(tree::in::parse_result::stmts).child(tree::in::raw_stmt::stmt).type(), Type::DropStmt);
  EXPECT_FALSE(Parsed("SELEC", Conforming::yes).ok());
}

TEST(Tree, DamageIsReportedNotGuessed) {
  const Parsed parsed("SELECT 1, 'x' FROM b", Conforming::yes);
  const std::string whole(parsed.root().bytes());
  for (size_t cut = 1; cut < whole.size(); ++cut) {
    FieldCursor cursor(Message(Type::ParseResult, std::string_view(whole).substr(0, cut)));
    Field field;
    while (cursor.next(field)) {
    }
    if (cut != 4) {  // exactly the first field, the version
      EXPECT_TRUE(cursor.damaged()) << cut;
    }
  }
  for (const std::string& bytes :
       {std::string("\x07"), std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11), std::string("\x00", 1),
        std::string("\x7a\x01x"), std::string("\x0b"), std::string("\x12\xff\x01x")}) {
    FieldCursor cursor(Message(Type::ParseResult, bytes));
    Field field;
    while (cursor.next(field)) {
    }
    EXPECT_TRUE(cursor.damaged());
  }
}

// The table belongs to the installed library: every message of its .proto, and every field with its type.
// Name and body of each message of a .proto file, in order. A regular expression over whole bodies would recurse for
// every character of them.
std::vector<std::pair<std::string, std::string>> messages_of(const std::string& proto) {
  constexpr std::string_view kOpening = "\nmessage ";
  std::vector<std::pair<std::string, std::string>> messages;
  for (size_t at = proto.find(kOpening); at != proto.npos; at = proto.find(kOpening, at + 1)) {
    const size_t name = at + kOpening.size();
    const size_t brace = proto.find('{', name);
    const size_t close = proto.find("\n}", brace);
    if (brace == proto.npos || close == proto.npos) break;
    messages.emplace_back(proto.substr(name, proto.find_first_of(" \n{", name) - name),
                          proto.substr(brace + 1, close - brace));
  }
  return messages;
}

TEST(Tree, TableIsThatOfTheInstalledLibrary) {
  std::ifstream file("/usr/include/pg_query/pg_query.proto");
  if (!file) GTEST_SKIP() << "libpg-query-dev's pg_query.proto is not installed";
  const std::string proto((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto messages = messages_of(proto);
  const std::regex field_form(R"(\n\s*(?:repeated )?(\w+) (\w+) = (\d+)(?: \[[^\]]*\])?;)");
  std::map<std::string, uint16_t> order;
  uint16_t next = 1;
  for (const auto& [name, body] : messages) {
    if (name != "ScanResult" && name != "ScanToken") order[name] = next++;
  }
  EXPECT_EQ(next, tree::kTypeCount);
  size_t fields = 0;
  for (const auto& [name, body] : messages) {
    if (!order.contains(name)) continue;
    const tree::TypeFields& known = tree::kTypeFields[order[name]];
    for (std::sregex_iterator end, f(body.begin(), body.end(), field_form); f != end; ++f) {
      const auto number = static_cast<uint32_t>(std::stoul((*f)[3]));
      ASSERT_LE(number, known.count) << name;
      const std::string type = (*f)[1];
      const int expected = type == "string" ? 1 : order.contains(type) ? order[type] + 1 : 0;
      EXPECT_EQ(tree::kFields[known.first + number - 1], expected) << name << "." << (*f)[2];
      ++fields;
    }
  }
  EXPECT_GT(fields, 1'000u);
}

// No statement of the grammar is without a kind: a new one must be given one.
TEST(Tree, EveryStatementHasAKind) {
  std::ifstream file("/usr/include/pg_query/pg_query.proto");
  if (!file) GTEST_SKIP() << "libpg-query-dev's pg_query.proto is not installed";
  const std::string proto((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::regex message_form(R"(\nmessage (\w+)\s*\{)");
  const std::string parts =
      " RawStmt ReturnStmt PLAssignStmt SetOperationStmt GrantStmt GrantRoleStmt TransactionStmt VacuumStmt ";
  uint16_t type = 0;
  size_t statements = 0;
  for (std::sregex_iterator it(proto.begin(), proto.end(), message_form), end; it != end; ++it) {
    const std::string name = (*it)[1];
    if (name == "ScanResult" || name == "ScanToken") continue;
    ++type;
    if (!name.ends_with("Stmt")) {
      EXPECT_EQ(kind_of(static_cast<Type>(type)), Kind::unknown) << name;
      continue;
    }
    ++statements;
    const bool elsewhere = parts.find(" " + name + " ") != std::string::npos;
    EXPECT_EQ(kind_of(static_cast<Type>(type)) == Kind::unknown, elsewhere) << name;
  }
  EXPECT_GT(statements, 110u);
}

}  // namespace
}  // namespace sluice::sql
