// How commands end: completed, failed, or skipped by the server after an error until Sync.
#include "daemon/session/postgres_machine.h"

namespace sluice::session {

void PostgresMachine::complete(Pending& pending, Outcome outcome, std::string_view error_code) {
  (void)masker_.flush();
  const CommandId command = std::exchange(pending.command, 0);
  if (command == 0) return;  // refused, or not recorded; what was found stays for the next that is
  gate_.complete(command, {outcome, pending.rows, pending.bytes, error_code}, masker_.take_findings());
}

// Names that SQL made or took away stand for nothing that we know, whether it succeeded or not.
void PostgresMachine::settle_names(const Pending& pending) {
  for (const std::string& name : pending.statement_names) statements_.settle(name, nullptr);
  if (pending.clears_statements) statements_.settle_clear();
}

// The server refused it, or does not even look at it.
void PostgresMachine::drop_command(Pending& pending, Fate fate, std::string_view error_code) {
  complete(pending, Outcome::failure, error_code);
  settle_names(pending);
  copy_decided(pending);
  switch (pending.kind) {
    case PendingKind::parse:
      // The unnamed statement is let go of before the new text is looked at (exec_parse_message).
      if (fate == Fate::failed && pending.name.empty()) {
        statements_.settle(pending.name, nullptr);
        break;
      }
      [[fallthrough]];
    case PendingKind::close_statement:
      statements_.undo(pending.name);
      break;
    case PendingKind::bind:
      if (pending.stand_in) break;
      if (pending.portal->command != 0) {
        gate_.complete(std::exchange(pending.portal->command, 0), {Outcome::failure, 0, 0, error_code}, {});
      }
      if (fate == Fate::failed) {
        portals_.settle(pending.name, nullptr);  // how far the server came is not known
      } else {
        portals_.undo(pending.name);
      }
      break;
    case PendingKind::close_portal:
      portals_.undo(pending.name);
      break;
    default:
      break;
  }
  resolved_ = std::max(resolved_, pending.ends_segment() ? pending.segment : 0);
}

// The oldest command, one of the extended protocol, failed: the server ignores everything up to the next Sync.
void PostgresMachine::fail_segment(std::string_view error_code) {
  Fate fate = Fate::failed;
  while (!pending_.empty() && pending_.front().kind != PendingKind::sync) {
    drop_command(pending_.front(), fate, error_code);
    pop_head();
    fate = Fate::skipped;
  }
  if (pending_.empty()) discarding_ = true;
}

// A Describe was answered; scratch_shape_ has the columns.
void PostgresMachine::described(const Pending& head) {
  const PreparedRef prepared = head.portal ? head.portal->prepared : head.prepared;
  if (masker_.columns()) {
    auto columns = std::make_shared<DescribedColumns>();
    describe_columns(*columns);
    if (prepared) prepared->described = columns;
    if (head.portal) head.portal->described = std::move(columns);
  }
  if (prepared && !prepared->columns_known) {
    Shape text = scratch_shape_;
    for (ColumnShape& column : text) column.format = policies::ValueFormat::text;
    prepared->columns = std::make_shared<Shape>(std::move(text));
    prepared->columns_known = true;
  }
  if (!head.portal) return;
  // Repeated executions share one shape.
  ShapeRef shape;
  if (prepared && *prepared->columns == scratch_shape_) {
    shape = prepared->columns;
  } else if (prepared && prepared->columns_binary && *prepared->columns_binary == scratch_shape_) {
    shape = prepared->columns_binary;
  } else {
    shape = std::make_shared<Shape>(scratch_shape_);
  }
  head.portal->shape = std::move(shape);
}

void PostgresMachine::pop_head() {
  if (pending_.front().stand_in) --stand_ins_;
  pending_.pop_front();
  if (wait_ == Wait::server) wait_ = Wait::none;
}

// Memory that one large command needed does not stay with an idle session.
void PostgresMachine::release_scratch() {
  masker_.release();
  if (values_.capacity() > kKeptMax) values_ = {};
  if (bind_.parameters.capacity() > kKeptMax) bind_ = {};
  if (call_.arguments.capacity() > kKeptMax) call_ = {};
  if (columns_.capacity() > kKeptMax) columns_ = {};
  if (scratch_shape_.capacity() > kKeptMax) scratch_shape_ = {};
}

// What was found in messages that belong to no command.
void PostgresMachine::report_loose_findings() {
  if (pending_.empty() && masker_.has_findings()) gate_.complete(0, {}, masker_.take_findings());
}

}  // namespace sluice::session
