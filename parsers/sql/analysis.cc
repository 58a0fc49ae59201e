#include "parsers/sql/analysis.h"

#include <pthread.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "parsers/sql/encoding.h"
#include "parsers/sql/grammar.h"
#include "parsers/sql/lineage_walker.h"
#include "parsers/sql/plpgsql.h"
#include "parsers/sql/prescan.h"
#include "parsers/sql/walker.h"

namespace sluice::sql {
namespace {

namespace in = tree::in;

constexpr size_t kBodyDepthMax = 4;  // DO blocks in DO blocks
constexpr size_t kStackBytesPerToken =
    1200;  // measured: 1+1+… takes about 280 in the grammar, 900 in an unoptimised walk
constexpr size_t kStackBytesReserve = 1u << 20;
constexpr size_t kTokensAnywhere = 2'000;  // so few tokens fit any ordinary stack

// The bytes of stack left below the caller, measured once per thread.
size_t stack_left() {
  thread_local const char* const lowest = [] {
    pthread_attr_t attributes;
    void* address = nullptr;
    size_t size = 0;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) return static_cast<const char*>(nullptr);
    if (pthread_attr_getstack(&attributes, &address, &size) != 0) address = nullptr;
    pthread_attr_destroy(&attributes);
    return static_cast<const char*>(address);
  }();
  const char here = 0;
  return lowest == nullptr
             ? 0
             : static_cast<size_t>(reinterpret_cast<uintptr_t>(&here) - reinterpret_cast<uintptr_t>(lowest));
}

void make_unknown(Analysis& out, std::string_view why) {
  out = Analysis{};  // the defaults are the careful ones
  out.kinds.push_back(Kind::unknown);
  out.why_unknown = why;
}

// Null where the text may go to the grammar: then `bare` is the text without its comments.
const char* check(std::string_view text, Conforming conforming, const AnalysisLimits& limits, std::string& bare) {
  if (text.size() > limits.text_bytes_max) return "longer than the analysis reads";
  const Prescan scan = prescan(text, conforming, {limits.tokens_max, limits.nesting_max}, bare);
  if (scan.overlong_operator) return "an operator longer than a name may be";
  if (scan.too_many_tokens) return "more tokens than the analysis reads";
  if (scan.too_deep) return "nested deeper than the analysis reads";
  if (scan.unterminated) return "a string or comment that does not end";
  if (scan.tokens > kTokensAnywhere && stack_left() < kStackBytesReserve + scan.tokens * kStackBytesPerToken) {
    return "not enough stack for its analysis";
  }
  if (!scan.has_comments) bare = text;
  return nullptr;
}

// One analysis: the text itself, and the texts found inside it.
class Run final : public TextAnalyzer {
 public:
  Run(Analysis& out, Conforming conforming, const AnalysisLimits& limits, bool names_exact)
      : out_(out), conforming_(conforming), limits_(limits), walker_(out, *this, names_exact), lineage_(out.lineage) {}

  // Null: done; otherwise why the whole text is unknown.
  const char* text(std::string_view text) {
    std::string bare;
    if (const char* why = check(text, conforming_, limits_, bare); why != nullptr) return why;
    const Parsed parsed(bare, conforming_);
    if (!parsed.ok()) return "the grammar of PostgreSQL 15 refuses it";
    tree::FieldCursor cursor(parsed.root());
    tree::Field field;
    while (cursor.next(field)) {
      if (field.number != in::parse_result::stmts) continue;
      if (++out_.statements > limits_.statements_max) return "more statements than the analysis reads";
      const tree::Message statement = field.message().child(in::raw_stmt::stmt);
      walker_.statement(statement);
      lineage_.statement(statement);
    }
    return cursor.damaged() || walker_.damaged() ? "a parse tree that could not be read" : nullptr;
  }

  bool body(std::string_view, std::string_view text) override {
    std::string bare;
    if (depth_ >= kBodyDepthMax || check(text, conforming_, limits_, bare) != nullptr) return false;
    ++depth_;
    const bool read = block(bare);
    --depth_;
    return read;
  }

 private:
  bool block(std::string_view text) {
    Block found;
    if (!read_block(text, conforming_, found)) return false;
    out_.may_change_settings = false;
    for (const BlockText& one : found.texts) {
      if (!nested(one)) return false;
    }
    if (found.commits) walker_.add_kind(Kind::commit);
    if (found.rolls_back) walker_.add_kind(Kind::rollback);
    // PL/pgSQL reads the SQL in a body again when it comes to it, under the settings of that moment.
    const bool rereads = out_.may_change_settings && text.find('\\') != std::string_view::npos;
    out_.may_change_settings = true;
    return found.whole && !rereads;
  }

  bool nested(const BlockText& one) {
    const bool expression = one.form == BlockText::Form::expression;
    const Parsed parsed(expression ? "SELECT " + one.text : one.text, conforming_);
    if (!parsed.ok()) return false;
    tree::FieldCursor cursor(parsed.root());
    tree::Field field;
    size_t statements = 0;
    while (cursor.next(field)) {
      if (field.number != in::parse_result::stmts) continue;
      const tree::Message statement = field.message().child(in::raw_stmt::stmt);
      expression ? walker_.expression(statement) : walker_.statement(statement);
      lineage_.inner_statement(statement);
      ++statements;
    }
    return statements == 1 && !cursor.damaged() && !walker_.damaged();
  }

  Analysis& out_;
  const Conforming conforming_;
  const AnalysisLimits& limits_;
  Walker walker_;
  LineageWalker lineage_;
  size_t depth_ = 0;
};

}  // namespace

bool text_depends_on_settings(std::string_view text) {
  return (!text.empty() && std::memchr(text.data(), '\\', text.size()) != nullptr) || !all_ascii(text);
}

Analysis analyze(std::string_view text, const TextSettings& settings, const AnalysisLimits& limits) {
  Analysis out;
  if (text.size() > limits.text_bytes_max) {
    make_unknown(out, "longer than the analysis reads");
    return out;
  }
  const bool depends = text_depends_on_settings(text);
  if (depends && !settings.certain) {
    make_unknown(out, "its reading depends on settings that are not certain");
    return out;
  }
  Utf8Text utf8;
  to_utf8(text, settings.client_encoding, utf8);
  if (!utf8.ok) {
    make_unknown(out, utf8.why);
    return out;
  }
  out.kinds_complete = out.relations_complete = out.functions_complete = true;
  out.may_change_settings = false;
  const auto conforming = settings.standard_conforming_strings ? Conforming::yes : Conforming::no;
  if (const char* why = Run(out, conforming, limits, utf8.names_exact).text(utf8.text); why != nullptr)
    make_unknown(out, why);
  if (!out.relations_complete) out.lineage.complete = false;
  const auto runs = [&](Kind kind) { return std::find(out.kinds.begin(), out.kinds.end(), kind) != out.kinds.end(); };
  if (!out.kinds_complete && (runs(Kind::do_) || runs(Kind::call))) out.lineage.changes_names = true;
  out.depends_on_settings = depends;
  return out;
}

}  // namespace sluice::sql
