#include "parsers/postgres/startup.h"

#include <algorithm>
#include <array>

#include "parsers/base/byte_reader.h"

namespace sluice::postgres {
namespace {

constexpr uint8_t kTlsHandshakeRecord = 0x16;
constexpr size_t kPacketHeaderBytes = 8;

StartupPacket& fail(StartupPacket& packet) {
  packet.kind = StartupKind::malformed;
  return packet;
}

void read_parameters(parsers::ByteReader& reader, StartupPacket& packet) {
  for (;;) {
    const std::string_view name = reader.cstring();
    if (!reader.ok()) break;
    if (name.empty()) break;
    const std::string_view value = reader.cstring();
    packet.parameters.emplace_back(name, value);
  }
  // The list ends in an empty name, and that ends the packet (ProcessStartupPacket: "invalid startup packet layout").
  packet.kind = reader.done() ? StartupKind::startup_message : StartupKind::malformed;
}

}  // namespace

std::string_view StartupPacket::parameter(std::string_view name) const {
  // The server goes through the list in order and lets a later value win.
  const auto found =
      std::find_if(parameters.rbegin(), parameters.rend(), [name](const auto& pair) { return pair.first == name; });
  return found == parameters.rend() ? std::string_view{} : found->second;
}

StartupPacket read_startup(std::span<const uint8_t> bytes) {
  StartupPacket packet;
  if (bytes.empty()) return packet;
  if (bytes[0] == kTlsHandshakeRecord) {
    packet.kind = StartupKind::direct_tls;
    return packet;
  }
  // The first byte of a length within bounds is zero; whoever speaks another protocol is known by its first byte.
  if (bytes[0] != 0) return fail(packet);
  parsers::ByteReader reader(bytes);
  const uint32_t length = reader.u32();
  if (!reader.ok()) return packet;
  if (length < kPacketHeaderBytes || length > kStartupPacketMax) return fail(packet);
  packet.total_bytes = length;
  if (bytes.size() < length) return packet;

  parsers::ByteReader body(bytes.first(length).subspan(4));
  const uint32_t code = body.u32();
  packet.major = static_cast<uint16_t>(code >> 16);
  packet.minor = static_cast<uint16_t>(code);
  switch (code) {
    case kSslRequestCode:
      packet.kind = body.done() ? StartupKind::ssl_request : StartupKind::malformed;
      return packet;
    case kGssEncRequestCode:
      packet.kind = body.done() ? StartupKind::gss_enc_request : StartupKind::malformed;
      return packet;
    case kCancelRequestCode:
      // Process id, then a key of 4 bytes (3.0) or up to 256 (3.2).
      packet.kind = body.remaining() >= 8 && body.remaining() <= 4 + kCancelKeyMax ? StartupKind::cancel_request
                                                                                   : StartupKind::malformed;
      return packet;
    default:
      break;
  }
  if (packet.major != kProtocolMajor) {
    packet.kind = StartupKind::unsupported_version;
    return packet;
  }
  read_parameters(body, packet);
  return packet;
}

bool asks_for_replication(std::string_view value) {
  // parse_bool() of the server takes these for false; everything else, a misspelling included, is for us a yes.
  constexpr std::array<std::string_view, 6> kNo = {"false", "off", "no", "0", "f", "n"};
  std::string_view no_value = value;
  if (value.empty()) return true;
  return std::none_of(kNo.begin(), kNo.end(), [no_value](std::string_view no) {
    return no.size() == no_value.size() && std::equal(no.begin(), no.end(), no_value.begin(), [](char a, char b) {
             return a == (b >= 'A' && b <= 'Z' ? b + 32 : b);
           });
  });
}

}  // namespace sluice::postgres
