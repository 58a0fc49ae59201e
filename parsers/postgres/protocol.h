// Names and numbers of the PostgreSQL frontend/backend protocol, versions 3.0 and 3.2 (PostgreSQL manual, chapter
// "Frontend/Backend Protocol"), and the largest size that we take for each kind of message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice::postgres {

// Tags of messages from the client.
namespace frontend {
inline constexpr uint8_t kBind = 'B', kClose = 'C', kCopyData = 'd', kCopyDone = 'c', kCopyFail = 'f', kDescribe = 'D',
                         kExecute = 'E', kFlush = 'H', kFunctionCall = 'F', kParse = 'P', kPassword = 'p', kQuery = 'Q',
                         kSync = 'S', kTerminate = 'X';
}  // namespace frontend

// Tags of messages from the server.
namespace backend {
inline constexpr uint8_t kAuthentication = 'R', kBackendKeyData = 'K', kBindComplete = '2', kCloseComplete = '3',
                         kCommandComplete = 'C', kCopyData = 'd', kCopyDone = 'c', kCopyInResponse = 'G',
                         kCopyOutResponse = 'H', kCopyBothResponse = 'W', kDataRow = 'D', kEmptyQueryResponse = 'I',
                         kErrorResponse = 'E', kFunctionCallResponse = 'V', kNegotiateProtocolVersion = 'v',
                         kNoData = 'n', kNoticeResponse = 'N', kNotificationResponse = 'A', kParameterDescription = 't',
                         kParameterStatus = 'S', kParseComplete = '1', kPortalSuspended = 's', kReadyForQuery = 'Z',
                         kRowDescription = 'T';
}  // namespace backend

// Codes that stand where a start-up packet has its version.
inline constexpr uint32_t kCancelRequestCode = 80877102;
inline constexpr uint32_t kSslRequestCode = 80877103;
inline constexpr uint32_t kGssEncRequestCode = 80877104;
inline constexpr uint16_t kProtocolMajor = 3;
inline constexpr uint16_t kProtocolMinorMax = 2;  // newest minor version whose messages we know
// Start-up parameters of this prefix ask for extensions of the protocol.
inline constexpr std::string_view kProtocolOptionPrefix = "_pq_.";

// Authentication requests (first field of 'R').
enum class Auth : uint32_t {
  ok = 0,
  kerberos_v5 = 2,
  cleartext = 3,
  md5 = 5,
  gss = 7,
  gss_continue = 8,
  sspi = 9,
  sasl = 10,
  sasl_continue = 11,
  sasl_final = 12,
};

// Bounds in bytes. The server's own: PQ_LARGE_MESSAGE_LIMIT, PQ_SMALL_MESSAGE_LIMIT, MAX_STARTUP_PACKET_LENGTH.
inline constexpr uint32_t kLargeBodyMax = 0x3fffffff - 4;
inline constexpr uint32_t kSmallBodyMax = 10000 - 4;
inline constexpr uint32_t kStartupPacketMax = 10000;
inline constexpr uint32_t kPasswordBodyMax = 65536;
inline constexpr uint32_t kCancelKeyMax = 256;
// What a server says in one piece and we have to hold in one piece (errors, notices, function results).
inline constexpr uint32_t kHeldBodyMax = 16u << 20;
// Names of statements and portals are keys of NAMEDATALEN bytes in the server; what is longer is cut there without a
// word, so two different names could mean the same thing.
inline constexpr size_t kNameBytesMax = 63;

}  // namespace sluice::postgres
