// The two entries of libpg_query that are used here, wrapped: memory is freed, settings are those of the session, and
// the text of an error stays inside (it quotes the statement). Threading: libpg_query keeps its state per thread.
#pragma once

#include <pg_query.h>

#include <string>
#include <string_view>

#include "parsers/sql/prescan.h"
#include "parsers/sql/tree.h"

namespace sluice::sql {

// A parsed text; owns the serialized tree.
class Parsed {
 public:
  // `text` without NUL, in UTF-8.
  Parsed(const std::string& text, Conforming conforming);
  ~Parsed();
  Parsed(const Parsed&) = delete;
  Parsed& operator=(const Parsed&) = delete;

  [[nodiscard]] bool ok() const { return result_.error == nullptr; }
  // The message of type ParseResult. REQUIRES: ok().
  [[nodiscard]] tree::Message root() const;

 private:
  PgQueryProtobufParseResult result_;
};

// The PL/pgSQL grammar's own tree of a DO block, as JSON. False: it could not be read.
[[nodiscard]] bool parse_plpgsql(const std::string& do_statement, Conforming conforming, std::string& json);

}  // namespace sluice::sql
