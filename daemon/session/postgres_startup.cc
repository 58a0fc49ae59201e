// From the first byte to ReadyForQuery. Encryption is declined, replication refused; the exchange of secrets goes by
// untouched and unrecorded.
#include <algorithm>

#include "daemon/session/postgres_machine.h"

namespace sluice::session {
namespace {
constexpr uint8_t kEncryptionDeclined[] = {'N'};
constexpr size_t kCancelHeaderBytes = 8;  // length and code; then process id and secret
}  // namespace

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
      if (refusal_) {
        end_session(refusal_->reason, {}, refusal_->message);  // the protocol has no answer to a cancel request
        return taken;
      }
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
  if (refusal_) return give_refusal();
  policies::ClaimedIdentity identity;
  identity.db_user = packet.parameter("user");
  identity.database = packet.parameter("database");
  if (identity.database.empty()) identity.database = identity.db_user;
  identity.application = packet.parameter("application_name");
  gate_.claimed(identity);
  for (const auto& [name, value] : packet.parameters) {
    if (name != "replication" || !postgres::asks_for_replication(value)) continue;
    // What the session claims stands in its authentication event, and it comes to none.
    std::string detail = "replication=";
    detail.append(value).append(" for user ").append(identity.db_user);
    gate_.note(SessionNote::refused_replication, detail);
    end_session(CloseReason::refused, "42501", "replication connections are not allowed through Sluice");
    return;
  }
  const auto permit = policies::Permit::for_upkeep(policies::Upkeep::startup);
  stage_ = Stage::authentication;
  // What a later minor version or an option would change about the protocol is not known here, so the server is not
  // asked for it; the client hears what it would from a server that does not know it either.
  minor_ = std::min(packet.minor, postgres::kProtocolMinorMax);
  Negotiation refused{packet.minor, {}};
  std::vector<std::pair<std::string_view, std::string_view>> known;
  for (const auto& parameter : packet.parameters) {
    if (parameter.first.starts_with(postgres::kProtocolOptionPrefix)) {
      refused.options.emplace_back(parameter.first);
    } else {
      known.push_back(parameter);
    }
  }
  if (minor_ == packet.minor && refused.options.empty()) {
    actions.to_server(message, permit);
    return;
  }
  negotiation_ = std::make_unique<Negotiation>(std::move(refused));
  actions.to_server_copy(postgres::build_startup(minor_, known), permit);
}

void PostgresMachine::tell_negotiation(uint16_t minor, Actions& actions) {
  actions.to_client_copy(postgres::build_negotiate_version(minor, negotiation_->options));
  negotiation_.reset();
}

// The server speaks only an older minor version. It was asked for no options, so it cannot lack any.
PostgresMachine::Relay PostgresMachine::on_negotiated_version(ConstBytes body) {
  const auto version = postgres::decode_negotiate_version(body);
  if (!version || version->minor >= minor_ || version->unknown_options != 0 || negotiated_ || authenticated_)
    return unexpected(postgres::backend::kNegotiateProtocolVersion);
  negotiated_ = true;
  if (!negotiation_) return Relay::forward;
  replacement_ = postgres::build_negotiate_version(static_cast<uint16_t>(version->minor), negotiation_->options);
  negotiation_.reset();
  return Relay::swallow;
}

PostgresMachine::Relay PostgresMachine::on_key_data(ConstBytes body) {
  if (!authenticated_ || !backend_key_.empty()) return unexpected(postgres::backend::kBackendKeyData);
  backend_key_.assign(body.begin(), body.end());
  gate_.cancel_key(body);
  return Relay::forward;
}

void PostgresMachine::on_cancel_request(Bytes message, Actions& actions, size_t& taken) {
  CommandRequest request;
  request.stage = sluice::session::Stage::cancel;
  request.cancel_key = message.subspan(kCancelHeaderBytes);
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
  if (passed->delivered) {
    gate_.complete(passed->command, {}, {});
    end_session(CloseReason::finished, {}, {});
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
