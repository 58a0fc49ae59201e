// Codes and PINs in the text of statements that the record keeps.
#include "policies/cards/statement_secrets.h"

#include <gtest/gtest.h>

namespace sluice::policies::testing {
namespace {

std::string recorded(std::string text, size_t cards = 0) {
  mask_written_secrets(text, secrets_written_by(text, cards));
  return text;
}

TEST(StatementSecrets, WhatIsWrittenBesideTheNameOfACodeIsMasked) {
  EXPECT_EQ(recorded("INSERT INTO cards (id, cvv) VALUES (7, '123'), (8, 4567)"),
            "INSERT INTO cards (id, cvv) VALUES (7, '***'), (8, ****)");
  EXPECT_EQ(recorded("insert into a (pin) values ('123456')"), "insert into a (pin) values ('******')");
  EXPECT_EQ(recorded("INSERT INTO cards VALUES (1, '411111******1111', '123')", 1),
            "INSERT INTO cards VALUES (1, '411111******1111', '***')");
  EXPECT_EQ(recorded("INSERT INTO c (card_number, cid) VALUES ($1, '123')"),
            "INSERT INTO c (card_number, cid) VALUES ($1, '***')");
}

TEST(StatementSecrets, OtherStatementsAndNumbersStay) {
  for (const char* text :
       {"SELECT cvv FROM cards WHERE id = 1234", "INSERT INTO orders (cid) VALUES (1234)",
        "INSERT INTO t (a) VALUES (1234)", "INSERT INTO c (cvv) VALUES ($123, a123, 12, 12345, 123.45)",
        "UPDATE shipping SET pincode = 1234"}) {
    EXPECT_EQ(recorded(text), text);
  }
}

}  // namespace
}  // namespace sluice::policies::testing
