#include "daemon/session/actions.h"

namespace sluice::session {

std::string_view to_string(CloseReason reason) {
  switch (reason) {
    case CloseReason::none:
      return "none";
    case CloseReason::finished:
      return "finished";
    case CloseReason::client_left:
      return "client_left";
    case CloseReason::server_left:
      return "server_left";
    case CloseReason::protocol_violation:
      return "protocol_violation";
    case CloseReason::refused:
      return "refused";
    case CloseReason::limit_exceeded:
      return "limit_exceeded";
    case CloseReason::timeout:
      return "timeout";
    case CloseReason::killed:
      return "killed";
    case CloseReason::shutdown:
      return "shutdown";
    case CloseReason::log_unavailable:
      return "log_unavailable";
    case CloseReason::internal_error:
      return "internal_error";
  }
  return "internal_error";
}

}  // namespace sluice::session
