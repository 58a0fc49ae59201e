#include "parsers/postgres/framing.h"

namespace sluice::postgres {
namespace {

constexpr uint32_t kColumnsMax = 1664;  // MaxTupleAttributeNumber

constexpr BoundsTable frontend_bounds() {
  using namespace frontend;
  BoundsTable table{};
  table[kQuery] = {1, kLargeBodyMax};
  table[kParse] = {4, kLargeBodyMax};
  table[kBind] = {8, kLargeBodyMax};
  table[kFunctionCall] = {10, kLargeBodyMax};
  table[kDescribe] = {2, kSmallBodyMax};
  table[kClose] = {2, kSmallBodyMax};
  table[kExecute] = {5, kSmallBodyMax};
  table[kFlush] = table[kSync] = table[kTerminate] = table[kCopyDone] = {0, 0};
  table[kCopyData] = {0, kLargeBodyMax};
  table[kCopyFail] = {1, kSmallBodyMax};
  table[kPassword] = {0, kPasswordBodyMax};
  return table;
}

constexpr BoundsTable backend_bounds() {
  using namespace backend;
  BoundsTable table{};
  table[kAuthentication] = {4, 4 + kPasswordBodyMax};
  table[kBackendKeyData] = {4 + 4, 4 + kCancelKeyMax};
  table[kNegotiateProtocolVersion] = {8, kPasswordBodyMax};
  table[kParameterStatus] = {2, kHeldBodyMax};
  table[kErrorResponse] = table[kNoticeResponse] = {1, kHeldBodyMax};
  table[kNotificationResponse] = {6, kHeldBodyMax};
  table[kRowDescription] = {2, kHeldBodyMax};
  table[kParameterDescription] = {2, 2 + 4 * 65535};
  table[kParseComplete] = table[kBindComplete] = table[kCloseComplete] = table[kNoData] = {0, 0};
  table[kEmptyQueryResponse] = table[kPortalSuspended] = table[kCopyDone] = {0, 0};
  table[kCommandComplete] = {1, kSmallBodyMax};
  table[kDataRow] = {2, kLargeBodyMax};
  table[kCopyData] = {0, kLargeBodyMax};
  table[kCopyInResponse] = table[kCopyOutResponse] = table[kCopyBothResponse] = {3, 3 + 2 * kColumnsMax};
  table[kFunctionCallResponse] = {4, kHeldBodyMax};
  table[kReadyForQuery] = {1, 1};
  return table;
}

}  // namespace

constexpr BoundsTable kFrontendTable = frontend_bounds();
constexpr BoundsTable kBackendTable = backend_bounds();
const BoundsTable kFrontendBounds = kFrontendTable;
const BoundsTable kBackendBounds = kBackendTable;

}  // namespace sluice::postgres
