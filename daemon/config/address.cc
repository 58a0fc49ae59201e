#include "daemon/config/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <span>
#include <utility>

namespace sluice::config {
namespace {

constexpr unsigned kMappedPrefixBits = 96;
constexpr std::array<uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
constexpr std::string_view kForms =
    "an address is `10.0.0.5:5432`, `10.0.0.0/16:5432`, `[fd00::5]:5432` or `[fd00::/64]:5432`";

template <typename Number>
bool parse_number(std::string_view text, Number& number) {
  const char* end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, number);
  return !text.empty() && code == std::errc{} && stop == end;
}

// "host", "host/bits" or "[host/bits]" and port, taken apart but not yet read.
struct Parts {
  std::string_view host;
  std::string_view bits;  // empty: none
  std::string_view port;
  bool bracketed = false;
};

std::optional<AddressError> split(std::string_view text, Parts& parts) {
  if (text.starts_with("unix:")) {
    return AddressError{"not yet supported: Unix socket addresses",
                        "clients on that socket are not covered by this version"};
  }
  std::string_view rest;
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == std::string_view::npos) return AddressError{"`[` without `]`", std::string(kForms)};
    parts.bracketed = true;
    parts.host = text.substr(1, close - 1);
    rest = text.substr(close + 1);
    if (rest.starts_with('/')) {  // [fd00::]/64:5432
      parts.bits = rest.substr(1, rest.find(':') - 1);
      rest = rest.substr(std::min(rest.find(':'), rest.size()));
      if (parts.bits.empty()) return AddressError{"a `/` without a prefix length", std::string(kForms)};
    }
  } else {
    if (std::count(text.begin(), text.end(), ':') > 1) {
      return AddressError{"an IPv6 address needs brackets",
                          "`[" + std::string(text.substr(0, text.rfind(':'))) + "]:PORT`"};
    }
    const size_t colon = std::min(text.find(':'), text.size());
    parts.host = text.substr(0, colon);
    rest = text.substr(colon);
  }
  if (const size_t slash = parts.host.find('/'); slash != std::string_view::npos) {
    if (!parts.bits.empty()) return AddressError{"two prefix lengths", std::string(kForms)};
    parts.bits = parts.host.substr(slash + 1);
    parts.host = parts.host.substr(0, slash);
    if (parts.bits.empty()) return AddressError{"a `/` without a prefix length", std::string(kForms)};
  }
  if (rest.empty() || rest == ":")
    return AddressError{"the port is missing", "`" + std::string(text) + (rest.empty() ? ":" : "") + "5432`?"};
  if (!rest.starts_with(':')) return AddressError{"nothing but `:PORT` may follow the `]`", std::string(kForms)};
  parts.port = rest.substr(1);
  return std::nullopt;
}

bool is_zero(std::span<const uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

// Clears the bits behind the prefix; false where there were any.
bool clear_host_bits(std::span<uint8_t> bytes, unsigned prefix_bits) {
  bool clean = true;
  for (unsigned bit = prefix_bits; bit < bytes.size() * 8; ++bit) {
    const auto mask = static_cast<uint8_t>(0x80u >> (bit % 8));
    clean = clean && (bytes[bit / 8] & mask) == 0;
    bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] & ~mask);
  }
  return clean;
}

std::span<const uint8_t> address_bytes(const Endpoint& endpoint) {
  return std::span(endpoint.bytes).first(endpoint.family == Endpoint::Family::ipv4 ? 4 : 16);
}

std::string network_text(const Endpoint& endpoint) {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  const bool v4 = endpoint.family == Endpoint::Family::ipv4;
  ::inet_ntop(v4 ? AF_INET : AF_INET6, endpoint.bytes, buffer.data(), buffer.size());
  const std::string network = std::string(buffer.data()) + "/" + std::to_string(endpoint.prefix_bits);
  return v4 ? network : "[" + network + "]";
}

std::optional<AddressError> read_host(const Parts& parts, Endpoint& endpoint) {
  const std::string host(parts.host);  // inet_pton wants a NUL
  if (host.find('%') != std::string::npos) return AddressError{"addresses with a zone (`%`) are not supported", ""};
  if (::inet_pton(AF_INET6, host.c_str(), endpoint.bytes) == 1) {
    endpoint.family = Endpoint::Family::ipv6;
    endpoint.prefix_bits = 128;
    return std::nullopt;
  }
  std::memset(endpoint.bytes, 0, sizeof endpoint.bytes);
  if (::inet_pton(AF_INET, host.c_str(), endpoint.bytes) == 1) {
    if (parts.bracketed) return AddressError{"brackets are for IPv6 addresses", "take them away"};
    endpoint.family = Endpoint::Family::ipv4;
    endpoint.prefix_bits = 32;
    return std::nullopt;
  }
  const bool name_like = std::any_of(host.begin(), host.end(), [](char c) {
    return (c >= 'g' && c <= 'z') || (c >= 'G' && c <= 'Z') || c == '-' || c == '_';
  });
  if (name_like) {
    return AddressError{
        "`" + host + "` is a host name; targets have addresses",
        "what a name means can change behind Sluice's back; write what it stands for: getent ahosts " + host};
  }
  return AddressError{"`" + host + "` is no IP address", std::string(kForms)};
}

// REQUIRES: endpoint has its prefix.
std::optional<AddressError> normalise_mapped(Endpoint& endpoint) {
  const bool mapped = endpoint.family == Endpoint::Family::ipv6 &&
                      std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), std::begin(endpoint.bytes));
  if (!mapped) return std::nullopt;
  if (endpoint.prefix_bits < kMappedPrefixBits) {
    return AddressError{"a v4-mapped network has at least 96 prefix bits", "write the IPv4 network instead"};
  }
  std::array<uint8_t, 4> v4{};
  std::copy_n(endpoint.bytes + kMappedPrefix.size(), v4.size(), v4.begin());
  std::memset(endpoint.bytes, 0, sizeof endpoint.bytes);
  std::copy(v4.begin(), v4.end(), endpoint.bytes);
  endpoint.family = Endpoint::Family::ipv4;
  endpoint.prefix_bits = static_cast<uint8_t>(endpoint.prefix_bits - kMappedPrefixBits);
  return std::nullopt;
}

}  // namespace

std::optional<AddressError> parse_endpoint(std::string_view text, Endpoint& endpoint) {
  if (text.empty() || text.size() > kAddressBytesMax)
    return AddressError{"an address has 1 to 128 bytes", std::string(kForms)};
  Parts parts;
  if (auto error = split(text, parts)) return error;
  Endpoint read;
  read.text = text;
  if (auto error = read_host(parts, read)) return error;
  if (!parse_number(parts.port, read.port) || read.port == 0) {
    return AddressError{"`" + std::string(parts.port) + "` is no port: they go from 1 to 65535", ""};
  }
  const bool is_network = !parts.bits.empty();
  if (is_network) {
    unsigned bits = 0;
    if (!parse_number(parts.bits, bits) || bits > read.prefix_bits) {
      return AddressError{"`" + std::string(parts.bits) + "` is no prefix length: they go from 0 to " +
                              std::to_string(read.prefix_bits),
                          ""};
    }
    read.prefix_bits = static_cast<uint8_t>(bits);
  }
  if (auto error = normalise_mapped(read)) return error;
  const bool v4 = read.family == Endpoint::Family::ipv4;
  const std::span<uint8_t> bytes = std::span(read.bytes).first(v4 ? 4 : 16);
  if (!clear_host_bits(bytes, read.prefix_bits)) {
    return AddressError{"the address has bits behind its prefix",
                        "the network is `" + network_text(read) + ":" + std::to_string(read.port) + "`"};
  }
  if (!is_network && is_zero(bytes)) {
    return AddressError{"`" + std::string(parts.host) + "` is no address that a client connects to",
                        v4 ? "127.0.0.1, or 0.0.0.0/0 for every address" : "::1, or ::/0 for every address"};
  }
  if ((v4 && read.prefix_bits >= 4 && bytes[0] >= 224) || (!v4 && read.prefix_bits >= 8 && bytes[0] == 0xFF)) {
    return AddressError{"multicast, reserved and broadcast addresses have no connections", ""};
  }
  endpoint = std::move(read);
  return std::nullopt;
}

std::optional<AddressError> check_listen_address(std::string_view text) {
  const AddressError form{"`" + std::string(text) + "` is no address to listen on",
                          "an IP address and a port: `127.0.0.1:9464` or `[::1]:9464`"};
  if (text.empty() || text.size() > kAddressBytesMax) return form;
  Parts parts;
  if (split(text, parts) || !parts.bits.empty()) return form;
  std::array<uint8_t, sizeof(in6_addr)> bytes{};
  const std::string host(parts.host);
  if (inet_pton(parts.bracketed ? AF_INET6 : AF_INET, host.c_str(), bytes.data()) != 1) return form;
  uint16_t port = 0;
  if (!parse_number(parts.port, port) || port == 0) return form;
  return std::nullopt;
}

bool before(const Endpoint& a, const Endpoint& b) {
  if (a.family != b.family) return a.family < b.family;
  if (a.port != b.port) return a.port < b.port;
  const std::span<const uint8_t> left = address_bytes(a);
  const std::span<const uint8_t> right = address_bytes(b);
  const int order = std::memcmp(left.data(), right.data(), left.size());
  return order != 0 ? order < 0 : a.prefix_bits < b.prefix_bits;
}

bool overlap(const Endpoint& a, const Endpoint& b) {
  if (a.family != b.family || a.port != b.port) return false;
  const unsigned common = std::min(a.prefix_bits, b.prefix_bits);
  const std::span<const uint8_t> left = address_bytes(a);
  const std::span<const uint8_t> right = address_bytes(b);
  if (!std::equal(left.begin(), left.begin() + common / 8, right.begin())) return false;
  const auto mask = static_cast<uint8_t>(0xFF00u >> (common % 8));
  return common % 8 == 0 || ((left[common / 8] ^ right[common / 8]) & mask) == 0;
}

}  // namespace sluice::config
