// Which statement node is which kind. What is not listed is no statement; a test holds the list against the library's
// .proto.
#include "parsers/sql/walker.h"

namespace sluice::sql {

Kind kind_of(tree::Type type) {
  using tree::Type;
  switch (type) {
    case Type::SelectStmt:
      return Kind::select;
    case Type::InsertStmt:
      return Kind::insert;
    case Type::UpdateStmt:
      return Kind::update;
    case Type::DeleteStmt:
      return Kind::delete_;
    case Type::MergeStmt:
      return Kind::merge;
    case Type::TruncateStmt:
      return Kind::truncate;
    case Type::CopyStmt:
      return Kind::copy;

    case Type::CompositeTypeStmt:
    case Type::CreateAmStmt:
    case Type::CreateCastStmt:
    case Type::CreateConversionStmt:
    case Type::CreateDomainStmt:
    case Type::CreateEnumStmt:
    case Type::CreateEventTrigStmt:
    case Type::CreateExtensionStmt:
    case Type::CreateFdwStmt:
    case Type::CreateForeignServerStmt:
    case Type::CreateForeignTableStmt:
    case Type::CreateFunctionStmt:
    case Type::CreateOpClassStmt:
    case Type::CreateOpFamilyStmt:
    case Type::CreatePLangStmt:
    case Type::CreatePolicyStmt:
    case Type::CreatePublicationStmt:
    case Type::CreateRangeStmt:
    case Type::CreateRoleStmt:
    case Type::CreateSchemaStmt:
    case Type::CreateSeqStmt:
    case Type::CreateStatsStmt:
    case Type::CreateStmt:
    case Type::CreateSubscriptionStmt:
    case Type::CreateTableAsStmt:
    case Type::CreateTableSpaceStmt:
    case Type::CreateTransformStmt:
    case Type::CreateTrigStmt:
    case Type::CreateUserMappingStmt:
    case Type::CreatedbStmt:
    case Type::DefineStmt:
    case Type::ImportForeignSchemaStmt:
    case Type::IndexStmt:
    case Type::RuleStmt:
    case Type::ViewStmt:
      return Kind::create;

    case Type::AlterCollationStmt:
    case Type::AlterDatabaseRefreshCollStmt:
    case Type::AlterDatabaseSetStmt:
    case Type::AlterDatabaseStmt:
    case Type::AlterDefaultPrivilegesStmt:
    case Type::AlterDomainStmt:
    case Type::AlterEnumStmt:
    case Type::AlterEventTrigStmt:
    case Type::AlterExtensionContentsStmt:
    case Type::AlterExtensionStmt:
    case Type::AlterFdwStmt:
    case Type::AlterForeignServerStmt:
    case Type::AlterFunctionStmt:
    case Type::AlterObjectDependsStmt:
    case Type::AlterObjectSchemaStmt:
    case Type::AlterOpFamilyStmt:
    case Type::AlterOperatorStmt:
    case Type::AlterOwnerStmt:
    case Type::AlterPolicyStmt:
    case Type::AlterPublicationStmt:
    case Type::AlterRoleSetStmt:
    case Type::AlterRoleStmt:
    case Type::AlterSeqStmt:
    case Type::AlterStatsStmt:
    case Type::AlterSubscriptionStmt:
    case Type::AlterSystemStmt:
    case Type::AlterTSConfigurationStmt:
    case Type::AlterTSDictionaryStmt:
    case Type::AlterTableMoveAllStmt:
    case Type::AlterTableSpaceOptionsStmt:
    case Type::AlterTableStmt:
    case Type::AlterTypeStmt:
    case Type::AlterUserMappingStmt:
    case Type::ReassignOwnedStmt:
    case Type::RenameStmt:
    case Type::ReplicaIdentityStmt:
      return Kind::alter;

    case Type::DropOwnedStmt:
    case Type::DropRoleStmt:
    case Type::DropStmt:
    case Type::DropSubscriptionStmt:
    case Type::DropTableSpaceStmt:
    case Type::DropUserMappingStmt:
    case Type::DropdbStmt:
      return Kind::drop;

    case Type::CallStmt:
      return Kind::call;
    case Type::DoStmt:
      return Kind::do_;
    case Type::ExplainStmt:
      return Kind::explain;
    case Type::PrepareStmt:
      return Kind::prepare;
    case Type::ExecuteStmt:
      return Kind::execute;
    case Type::DeclareCursorStmt:
      return Kind::declare;
    case Type::FetchStmt:
      return Kind::fetch;
    case Type::ConstraintsSetStmt:
    case Type::VariableSetStmt:
      return Kind::set;
    case Type::VariableShowStmt:
      return Kind::show;
    case Type::LockStmt:
      return Kind::lock;
    case Type::CommentStmt:
    case Type::SecLabelStmt:
      return Kind::comment;
    case Type::ListenStmt:
    case Type::UnlistenStmt:
      return Kind::listen;
    case Type::NotifyStmt:
      return Kind::notify;

    case Type::CheckPointStmt:
    case Type::ClosePortalStmt:
    case Type::ClusterStmt:
    case Type::DeallocateStmt:
    case Type::DiscardStmt:
    case Type::LoadStmt:
    case Type::RefreshMatViewStmt:
    case Type::ReindexStmt:
      return Kind::other;

    // Their kind depends on what they say; statement_rules.cc adds it. PLAssignStmt, ReturnStmt, RawStmt and
    // SetOperationStmt are parts of statements.
    case Type::GrantStmt:
    case Type::GrantRoleStmt:
    case Type::TransactionStmt:
    case Type::VacuumStmt:
    default:
      return Kind::unknown;
  }
}

}  // namespace sluice::sql
