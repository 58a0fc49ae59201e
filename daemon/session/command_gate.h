// The gate of a session: has texts analysed, policy decide, and the intent recorded, before anything is let go.
// Lifetime: one per session, on its worker. Everything that it says in the record goes through EventBuilder, which
// masks.
//
// Order of a command: log writable? → room in the ring? → analysed? → decided → recorded → permit. Each of the first
// three parks or refuses; nothing is recorded before the decision, so a command that is submitted again after Parked is
// recorded once.
#pragma once

#include <memory>
#include <string>
#include <variant>

#include "daemon/session/gate_context.h"
#include "daemon/session/prepared_names.h"
#include "daemon/session/session_columns.h"
#include "daemon/session/session_gate.h"

namespace sluice::session {

// What a session is about; stays the same for its life but for what the client claims.
struct SessionSubject {
  events::SessionInfo info;  // info.target is the target's name
  policies::Direction direction = policies::Direction::outbound;
  std::string protocol;
  uint64_t serial = 0;  // ticket of its analysis jobs
};

class CommandGate final : public SessionGate {
 public:
  // Records that the session started.
  CommandGate(GateContext& context, SessionSubject subject);

  [[nodiscard]] Answer submit(const CommandRequest& request) override;
  void complete(CommandId command, const Completion& completion, std::span<const FindingCount> findings) override;
  [[nodiscard]] MaskingInForce masking() override;
  [[nodiscard]] ColumnPlanRef plan_columns(const ResultRequest& request) override;
  [[nodiscard]] uint64_t columns_epoch() override;
  [[nodiscard]] bool withholds(const StatementRef& statement, const ServerReport& report) override;
  [[nodiscard]] std::optional<CopyNames> copy_names(const StatementRef& statement, size_t index,
                                                    size_t columns) override;
  void names_settled(Transaction transaction) override;
  void claimed(const policies::ClaimedIdentity& identity) override;
  void note(SessionNote kind, std::string_view detail) override;
  void cancel_key(std::span<const uint8_t> key) override;
  void set_waiting(bool waiting) override;
  bool take_cancel() override;

  [[nodiscard]] uint64_t barrier() const override { return barrier_; }
  void analysed(command::AnalysisAnswer answer) override;
  [[nodiscard]] const events::SessionInfo& info() const override { return subject_.info; }
  [[nodiscard]] const GateTotals& gate_totals() const override { return totals_; }
  void ended(CloseReason reason, std::string_view detail, const SessionTotals& totals) override;

 private:
  // The text that the session waits for. Its hash tells that what is submitted again is the same.
  struct Waiting {
    size_t text_bytes = 0;
    uint64_t text_hash = 0;
    uint64_t since_ns = 0;
    AnalysedRef answer;  // null while the analysis is under way
    std::string text;    // where its statement is to be kept for others
    TextSettings settings;
  };

  // Larger texts are masked by the analysis threads alone, even where nobody wants their analysis any more.
  static constexpr size_t kMaskedHereBytesMax = 1 << 20;
  // How long a command waits for a reading of the server's catalog; then what it gives back is masked the careful way.
  static constexpr uint64_t kCatalogWaitMaxMs = 2'000;

  // The statement of a text, or null where the session has to wait for its analysis.
  [[nodiscard]] AnalysedRef statement_of(const CommandRequest& request);
  [[nodiscard]] Answer decide(const CommandRequest& request, const AnalysedRef& statement);
  [[nodiscard]] Answer decide_function_call(const CommandRequest& request);
  [[nodiscard]] Answer decide_cancel(const CommandRequest& request);
  [[nodiscard]] bool waits_for_catalog();
  [[nodiscard]] Answer decide_on(const CommandRequest& request, const AnalysedRef& statement,
                                 const policies::StatementFacts& facts, const policies::Decision& decision);
  [[nodiscard]] Answer withdraw(const CommandRequest& request);
  [[nodiscard]] bool writes_mask_back(const CommandRequest& request, const AnalysedRef& statement,
                                      const policies::StatementFacts& facts) const;
  [[nodiscard]] Answer let_go(const CommandRequest& request, const AnalysedRef& statement,
                              const policies::StatementFacts& facts, const policies::Decision& decision);
  [[nodiscard]] Answer refuse(const CommandRequest& request, const AnalysedRef& statement,
                              const policies::StatementFacts& facts, std::string_view rule, std::string message,
                              std::string sqlstate);
  void describe(events::EventBuilder& event, const CommandRequest& request, const AnalysedRef& statement,
                const policies::StatementFacts& facts, std::string_view rule);
  void describe_statement(events::EventBuilder& event, Stage stage, const AnalysedRef& statement,
                          const policies::StatementFacts& facts, std::string_view rule);
  void keep(std::string_view text, const sql::TextSettings& settings, const AnalysedRef& statement);
  void remember_names(const CommandRequest& request, const AnalysedRef& statement);
  uint64_t publish(events::EventBuilder& event);
  [[nodiscard]] events::EventBuilder event(events::EventType type, events::EventOutcome outcome) const;
  void refresh_policy();

  GateContext& context_;
  SessionSubject subject_;
  TargetTally& tally_;
  std::unique_ptr<policies::SessionPolicy> policy_;
  uint64_t policy_generation_ = 0;
  MaskingInForce masking_;
  std::unique_ptr<SessionColumns> columns_;  // made where the target has a catalog, and when a policy names columns
  bool names_open_ = false;                  // names were changed in a transaction that is open
  uint64_t catalog_wait_since_ms_ = 0;
  std::unique_ptr<Waiting> waiting_;
  std::unique_ptr<PreparedNames> names_;  // made when the first name comes
  std::vector<uint8_t> cancel_key_;
  CancelDesk::SlotRef cancel_slot_;
  CommandId last_command_ = 0;
  uint64_t barrier_ = 0;
  GateTotals totals_;
  bool ended_ = false;
};

}  // namespace sluice::session
