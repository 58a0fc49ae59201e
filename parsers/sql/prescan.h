// A cheap look at a statement text before the grammar sees it: how many tokens, how deeply nested. libpg_query recurses
// over what it parsed and grows quadratically with depth, so its input is bounded beforehand, by a scanner that follows
// the lexical rules of PostgreSQL (src/backend/parser/scan.l of 15: strings and their continuation, dollar quotes,
// nested comments). It may count a token more than the server's scanner does (operators, numbers), never one less.
//
// It also takes the comments out. libpg_query hands comments to its grammar as tokens (for tools that show them), so
// that it reads a text with comments otherwise than the server: a comment between the parts of a continued string
// splits it in two, one in NOT /**/ LIKE is an error, a comment of /*/*/*… takes minutes, and many of them overflow the
// stack. Without comments, both read the same. Pure; allocates only where there is a comment.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sluice::sql {

enum class Conforming : bool { no, yes };  // standard_conforming_strings

struct PrescanLimits {
  size_t tokens_max = 0;
  size_t nesting_max = 0;
};

struct Prescan {
  size_t tokens = 0;
  size_t nesting = 0;  // deepest of ( [ and CASE
  bool too_many_tokens = false;
  bool too_deep = false;
  bool unterminated = false;       // an open quote or comment at the end; the server refuses it
  bool overlong_operator = false;  // longer than a name may be; the server's scanner takes cubic time over "++++…"
  bool has_comments = false;
};

// How often the words occur that begin something in SQL, and how many parentheses open. Used to check that what another
// reader of the same text (the PL/pgSQL grammar) handed on is all there is.
inline constexpr std::string_view kCountedWords[] = {
    "select",  "from",    "insert", "update",  "delete",  "merge",   "truncate", "copy",     "create", "alter",
    "drop",    "grant",   "revoke", "call",    "table",   "join",    "values",   "with",     "set",    "reset",
    "lock",    "do",      "load",   "comment", "execute", "prepare", "perform",  "security", "import", "refresh",
    "cluster", "reindex", "vacuum", "explain", "discard", "notify",  "listen",
};
inline constexpr size_t kCountedWordCount = sizeof(kCountedWords) / sizeof(kCountedWords[0]);
struct WordCounts {
  size_t words[kCountedWordCount] = {};
  size_t parentheses = 0;
};
// Adds what `text` holds outside strings, quoted identifiers and comments.
void count_words(std::string_view text, Conforming conforming, WordCounts& counts);

// Stops at the first limit passed. `text` is valid UTF-8 without NUL. Where it has comments, `bare` becomes the text
// with a space in the place of each; otherwise `bare` is left alone.
[[nodiscard]] Prescan prescan(std::string_view text, Conforming conforming, const PrescanLimits& limits,
                              std::string& bare);

}  // namespace sluice::sql
