#include "daemon/session/analysed_statement.h"

#include <atomic>

#include "daemon/command/statement.h"

namespace sluice::session {

namespace {
std::atomic<uint64_t> last_serial{0};
}  // namespace

AnalysedRef make_statement(command::MaskedText masked, sql::Analysis analysis) {
  auto statement = std::make_shared<AnalysedStatement>();
  statement->serial = last_serial.fetch_add(1, std::memory_order_relaxed) + 1;
  statement->facts = command::facts_of(analysis);
  statement->masked_text = masked.text;
  statement->text_sha256 = masked.sha256;
  statement->may_change_settings = analysis.may_change_settings;
  statement->depends_on_settings = analysis.depends_on_settings;
  statement->prepares = std::move(analysis.prepares);
  statement->executes = std::move(analysis.executes);
  statement->deallocates = std::move(analysis.deallocates);
  statement->carries_mask = masked.carried_mask;
  statement->secrets = masked.secrets;
  statement->copies_in = analysis.copies_in;
  statement->changes_names = analysis.lineage.changes_names;
  statement->lineage = std::move(analysis.lineage);
  statement->only_executes_open = analysis.only_executes_open;
  auto stored = std::make_shared<events::StoredText>();
  stored->sha256 = std::move(masked.sha256);
  stored->masked = std::move(masked.text);
  stored->scanned_clean = masked.scanned_clean ? 1 : 0;
  statement->stored = std::move(stored);
  return statement;
}

}  // namespace sluice::session
