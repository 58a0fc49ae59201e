// What one session's gate knows of columns: which of them policy masks, what the target's catalog says, what the names
// of prepared statements and cursors stand for, and whether names in a text can be trusted at this moment. Makes the
// plans by which the machine masks results.
//
// Names are trusted while the catalog's snapshot is fresh and this session has changed none since its last transaction
// ended. Without trust, and where the catalog cannot be read, what only names can tell is untraceable.
// Lifetime: one per session, with its gate. Threading: its worker. Limits: kNamesMax cursors and prepared statements,
// kMeaningsMax meanings of one; past them a name is untraceable.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "daemon/catalog/catalog.h"
#include "daemon/session/analysed_statement.h"
#include "daemon/session/gate.h"
#include "policies/rules/columns.h"

namespace sluice::session {

class SessionColumns {
 public:
  // `uncommitted`: names were changed in the transaction that is open.
  SessionColumns(std::shared_ptr<catalog::Catalog> catalog, bool uncommitted);
  ~SessionColumns();
  SessionColumns(const SessionColumns&) = delete;
  SessionColumns& operator=(const SessionColumns&) = delete;

  // A policy came into force.
  void set_masks(std::shared_ptr<const policies::ColumnMasks> masks, bool rules_name_columns);
  [[nodiscard]] bool masks() const { return masks_ != nullptr; }
  [[nodiscard]] uint64_t epoch() const;

  // A reading of the catalog is about to end; what is decided after it is decided better.
  [[nodiscard]] bool must_wait() const;
  // The facts that `when: columns` is decided on: with what the catalog knows. Null: the statement's own will do.
  [[nodiscard]] std::shared_ptr<const policies::StatementFacts> facts_for(const policies::StatementFacts& facts,
                                                                          uint64_t serial);
  // Why the statement has to be refused, because of what policy says of results whose origin cannot be told; or empty.
  [[nodiscard]] std::string_view refusal(const AnalysedStatement* statement);
  enum class Runs : uint8_t { no, yes };
  void let_go(const AnalysedRef& statement, std::string_view statement_name, Runs runs);
  void names_settled(Gate::Transaction transaction);

  [[nodiscard]] ColumnPlanRef plan(const ResultRequest& request);
  // What the catalog says, fresh or not; null where there is none, or it cannot be read.
  [[nodiscard]] std::shared_ptr<const catalog::Snapshot> snapshot() const { return knowing().snapshot; }
  [[nodiscard]] bool withholds(const AnalysedStatement* statement, const ServerReport& report);

 private:
  static constexpr size_t kNamesMax = 1'024;
  static constexpr size_t kMeaningsMax = 8;
  static constexpr size_t kFactsKeptMax = 256;

  struct Meaning {
    AnalysedRef statement;
    const sql::StatementOutput* output = nullptr;  // within it
    bool operator==(const Meaning&) const = default;
  };
  struct Meanings {
    std::vector<Meaning> all;
    bool too_many = false;
  };
  using Names = std::unordered_map<std::string, Meanings>;
  struct Knowing {  // keeps alive what `names` borrows
    std::shared_ptr<const catalog::Snapshot> snapshot;
    command::NameKnowledge names;
  };

  void note_change();
  static void add(Names& names, std::string_view name, Meaning meaning);
  [[nodiscard]] Knowing knowing() const;
  void resolve_named(const command::ColumnResolver& resolver, const Names& names, const std::string& name,
                     std::span<const command::ResultColumn> columns, std::vector<command::ColumnVerdict>& verdicts);

  std::shared_ptr<catalog::Catalog> catalog_;  // null: the target has none
  std::shared_ptr<const policies::ColumnMasks> masks_;
  bool rules_name_columns_ = false;
  uint64_t policy_count_ = 0;
  Names prepared_, cursors_;
  bool uncommitted_ = false;  // this session changed names in the transaction that is open
  bool changing_ = false;     // and a command that may do so, or commit it, is under way
  uint64_t facts_epoch_ = 0;
  std::unordered_map<uint64_t, std::shared_ptr<const policies::StatementFacts>> facts_;  // by serial of the statement
};

}  // namespace sluice::session
