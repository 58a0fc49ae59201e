#include "daemon/session/analysed_statement.h"

#include <openssl/sha.h>

#include "daemon/command/statement.h"

namespace sluice::session {

AnalysedRef make_statement(std::string_view text, sql::Analysis analysis, policies::CardScanner& scanner) {
  auto statement = std::make_shared<AnalysedStatement>();
  statement->facts = command::facts_of(analysis);
  statement->masked_text = text;
  policies::mask_text(scanner, statement->masked_text);
  statement->text_sha256.resize(SHA256_DIGEST_LENGTH);
  SHA256(reinterpret_cast<const unsigned char*>(statement->masked_text.data()), statement->masked_text.size(),
         reinterpret_cast<unsigned char*>(statement->text_sha256.data()));
  statement->may_change_settings = analysis.may_change_settings;
  statement->depends_on_settings = analysis.depends_on_settings;
  statement->prepares = std::move(analysis.prepares);
  statement->executes = std::move(analysis.executes);
  statement->deallocates = std::move(analysis.deallocates);
  statement->copies_in = analysis.copies_in;
  statement->only_executes_open = analysis.only_executes_open;
  auto stored = std::make_shared<events::StoredText>();
  stored->sha256 = statement->text_sha256;
  stored->masked = statement->masked_text;
  statement->stored = std::move(stored);
  return statement;
}

}  // namespace sluice::session
