// What a PL/pgSQL block runs: the SQL statements and expressions in it, as texts. The library's grammar finds them;
// because its description of a block is known to leave parts out, every word that can begin something in SQL must be
// accounted for by the texts it hands on, or the block counts as not wholly seen. Pure; recurses with the block's
// nesting.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "parsers/sql/prescan.h"

namespace sluice::sql {

struct BlockText {
  enum class Form : bool { statement, expression };
  std::string text;
  Form form = Form::statement;
};

struct Block {
  std::vector<BlockText> texts;
  bool whole = false;    // the texts are all there is
  bool commits = false;  // COMMIT or ROLLBACK, which PL/pgSQL runs itself
  bool rolls_back = false;
};

// Reads the body of a DO block. False: the grammar refused it.
[[nodiscard]] bool read_block(std::string_view body, Conforming conforming, Block& block);

}  // namespace sluice::sql
