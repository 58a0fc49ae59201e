// The Merkle tree of the log (RFC 6962 section 2.1): leaf hash SHA-256(0x00 ‖ leaf), node hash SHA-256(0x01 ‖ left ‖
// right). Only the frontier is kept: the roots of the full subtrees that the leaves so far fall into, the largest
// first. Pure values; not thread safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace sluice::audit {

inline constexpr size_t kHashBytes = 32;
using Hash = std::array<uint8_t, kHashBytes>;

[[nodiscard]] Hash sha256(std::string_view bytes);
[[nodiscard]] Hash leaf_hash(std::string_view leaf);
[[nodiscard]] Hash node_hash(const Hash& left, const Hash& right);

class Frontier {
 public:
  static constexpr size_t kNodesMax = 64;

  // The frontier of `size` leaves from its nodes; nullopt where their number does not fit the size (one per bit set).
  [[nodiscard]] static std::optional<Frontier> from(uint64_t size, std::vector<Hash> nodes);

  void append(const Hash& leaf);
  [[nodiscard]] uint64_t size() const { return size_; }
  [[nodiscard]] const std::vector<Hash>& nodes() const { return nodes_; }
  // Merkle tree hash of all leaves; of none: SHA-256 of nothing.
  [[nodiscard]] Hash root() const;
  bool operator==(const Frontier&) const = default;

 private:
  uint64_t size_ = 0;
  std::vector<Hash> nodes_;
};

}  // namespace sluice::audit
