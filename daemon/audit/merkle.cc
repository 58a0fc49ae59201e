// OpenSSL's one-block interface is used although 3.0 calls it deprecated: the EVP interface costs a few hundred
// nanoseconds of locking and look-ups per digest, which is more than the hashing of a leaf itself.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "daemon/audit/merkle.h"

#include <openssl/sha.h>

#include <bit>
#include <cassert>
#include <utility>

namespace sluice::audit {
namespace {
constexpr uint8_t kLeafPrefix = 0x00;
constexpr uint8_t kNodePrefix = 0x01;
}  // namespace

Hash sha256(std::string_view bytes) {
  Hash hash;
  SHA256(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), hash.data());
  return hash;
}

Hash leaf_hash(std::string_view leaf) {
  Hash hash;
  SHA256_CTX context;
  SHA256_Init(&context);
  SHA256_Update(&context, &kLeafPrefix, 1);
  SHA256_Update(&context, leaf.data(), leaf.size());
  SHA256_Final(hash.data(), &context);
  return hash;
}

Hash node_hash(const Hash& left, const Hash& right) {
  Hash hash;
  SHA256_CTX context;
  SHA256_Init(&context);
  SHA256_Update(&context, &kNodePrefix, 1);
  SHA256_Update(&context, left.data(), left.size());
  SHA256_Update(&context, right.data(), right.size());
  SHA256_Final(hash.data(), &context);
  return hash;
}

std::optional<Frontier> Frontier::from(uint64_t size, std::vector<Hash> nodes) {
  if (nodes.size() != static_cast<size_t>(std::popcount(size))) return std::nullopt;
  Frontier frontier;
  frontier.size_ = size;
  frontier.nodes_ = std::move(nodes);
  return frontier;
}

void Frontier::append(const Hash& leaf) {
  nodes_.push_back(leaf);
  // Every trailing one bit of the old size is a full subtree that the new one completes.
  for (uint64_t rest = size_; (rest & 1) != 0; rest >>= 1) {
    const Hash right = nodes_.back();
    nodes_.pop_back();
    nodes_.back() = node_hash(nodes_.back(), right);
  }
  ++size_;
  assert(nodes_.size() == static_cast<size_t>(std::popcount(size_)));
}

Hash Frontier::root() const {
  if (nodes_.empty()) return sha256({});
  Hash hash = nodes_.back();
  for (size_t i = nodes_.size() - 1; i > 0; --i) hash = node_hash(nodes_[i - 1], hash);
  return hash;
}

}  // namespace sluice::audit
