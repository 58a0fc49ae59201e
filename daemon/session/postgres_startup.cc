// From the first byte to ReadyForQuery. Encryption is declined, replication refused; the exchange of secrets goes by
// untouched and unrecorded.
#include "daemon/session/postgres_machine.h"

namespace sluice::session {
namespace {
constexpr uint8_t kEncryptionDeclined[] = {'N'};
}

size_t PostgresMachine::on_startup(Bytes bytes, Actions& actions) {
  using postgres::StartupKind;
  const postgres::StartupPacket packet = postgres::read_startup(bytes);
  size_t taken = packet.total_bytes;
  const Bytes message = bytes.first(std::min(taken, bytes.size()));
  switch (packet.kind) {
    case StartupKind::incomplete:
      return 0;
    case StartupKind::ssl_request:
    case StartupKind::gss_enc_request: {
      bool& asked = packet.kind == StartupKind::ssl_request ? ssl_asked_ : gss_asked_;
      if (asked) {
        violation("encryption was asked for twice");
        return taken;
      }
      asked = true;
      actions.to_client_copy(kEncryptionDeclined);
      return taken;
    }
    case StartupKind::cancel_request:
      on_cancel_request(message, actions, taken);
      return taken;
    case StartupKind::startup_message:
      on_startup_message(packet, message, actions);
      return taken;
    case StartupKind::direct_tls:
      gate_.note(SessionNote::protocol_violation, "direct TLS is not supported yet");
      end_session(CloseReason::protocol_violation, {}, "direct TLS is not supported yet");
      return bytes.size();
    case StartupKind::unsupported_version:
      gate_.note(SessionNote::protocol_violation, "unsupported frontend protocol");
      end_session(CloseReason::protocol_violation, "0A000",
                  "unsupported frontend protocol " + std::to_string(packet.major) + "." + std::to_string(packet.minor) +
                      ": server supports 3.0 to 3.2");
      return bytes.size();
    case StartupKind::malformed:
      violation("invalid start-up packet");
      return bytes.size();
  }
  return 0;
}

void PostgresMachine::on_startup_message(const postgres::StartupPacket& packet, Bytes message, Actions& actions) {
  policies::ClaimedIdentity identity;
  identity.db_user = packet.parameter("user");
  identity.database = packet.parameter("database");
  if (identity.database.empty()) identity.database = identity.db_user;
  identity.application = packet.parameter("application_name");
  gate_.claimed(identity);
  for (const auto& [name, value] : packet.parameters) {
    if (name != "replication" || !postgres::asks_for_replication(value)) continue;
    gate_.note(SessionNote::refused_replication, value);
    end_session(CloseReason::refused, "42501", "replication connections are not allowed through Sluice");
    return;
  }
  version_settled_ = packet.minor <= postgres::kProtocolMinorMax;
  actions.to_server(message, policies::Permit::for_upkeep(policies::Upkeep::startup));
  stage_ = Stage::authentication;
}

void PostgresMachine::on_cancel_request(Bytes message, Actions& actions, size_t& taken) {
  CommandRequest request;
  request.stage = sluice::session::Stage::cancel;
  Refused refused;
  const std::optional<Passed> passed = ask(request, refused);
  if (wait_ != Wait::none) {
    taken = 0;
    return;
  }
  stage_ = Stage::cancel;
  if (!passed) {
    end_session(CloseReason::refused, {}, refused.message);  // the protocol has no answer to a cancel request
    return;
  }
  cancel_command_ = passed->command;
  actions.to_server(message, passed->permit);
}

// A password message, or the next step of SASL or GSSAPI. Passed on only where the server asked for it.
PostgresMachine::Verdict PostgresMachine::on_authentication_answer(Bytes message, Actions& actions) {
  if (!authentication_wanted_) return wait_for_server(actions);
  authentication_wanted_ = false;
  actions.to_server(message, policies::Permit::for_upkeep(policies::Upkeep::authentication));
  return Verdict::done;
}

PostgresMachine::Relay PostgresMachine::on_authentication(ConstBytes body) {
  using postgres::Auth;
  const std::optional<Auth> auth = postgres::decode_authentication(body);
  if (!auth || authenticated_) {
    violation("unexpected or unknown authentication message from the server");
    return Relay::swallow;
  }
  if (wait_ == Wait::server) wait_ = Wait::none;
  if (!version_settled_) {
    violation("the server takes a protocol version that is not supported yet");
    return Relay::swallow;
  }
  if (*auth == Auth::ok) {
    authenticated_ = true;
    authentication_wanted_ = false;
    gate_.note(SessionNote::authenticated, {});
  } else {
    authentication_wanted_ = *auth != Auth::sasl_final;
  }
  return Relay::forward;
}

}  // namespace sluice::session
