// Analysed statements by their exact text and the settings that their reading depends on, so that a statement that runs
// a thousand times a second is analysed once. A text whose reading depends on no setting is one entry for all settings.
//
// Lifetime and threading: one per worker, used on that worker's thread alone; values are shared_ptr to immutable data,
// so what a session holds outlives its eviction. Limits: entries and bytes (of the texts kept), least recently used
// goes first. A lookup allocates nothing. The hash is keyed, so that a client cannot choose texts that collide; a hit
// compares the whole text.
#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "parsers/sql/analysis.h"

namespace sluice::command {

// SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF") of the bytes, under a 128-bit key.
using HashKey = std::array<uint64_t, 2>;
[[nodiscard]] uint64_t keyed_hash(std::string_view bytes, const HashKey& key);

struct CacheLimits {
  size_t entries_max = 4096;
  size_t bytes_max = 16u << 20;
  size_t text_bytes_max = 64u << 10;  // a longer text is not kept: it would push out hundreds of ordinary ones
};

template <typename Statement>
class StatementCache {
 public:
  using Ref = std::shared_ptr<const Statement>;

  // `key` is random, drawn once per process by the caller (time and randomness are passed in).
  StatementCache(const HashKey& key, const CacheLimits& limits = {})
      : limits_(limits), index_(0, HashOf{key}, SameKey{}) {}
  StatementCache(const StatementCache&) = delete;
  StatementCache& operator=(const StatementCache&) = delete;

  // Whether the statement of a text of this size is kept at all.
  [[nodiscard]] bool keeps(size_t text_bytes) const { return text_bytes <= limits_.text_bytes_max; }

  // The statement kept for exactly this text under these settings, or null. Makes it the most recently used.
  [[nodiscard]] Ref find(std::string_view text, const sql::TextSettings& settings) {
    const auto found = keeps(text.size()) ? index_.find(key_of(text, settings)) : index_.end();
    if (found == index_.end()) {
      ++misses_;
      return nullptr;
    }
    ++hits_;
    recent_.splice(recent_.begin(), recent_, found->second);
    return found->second->statement;
  }

  // Keeps `statement`; replaces what was kept for the same text and settings. A text over text_bytes_max is not kept.
  void put(std::string_view text, const sql::TextSettings& settings, Ref statement) {
    if (!keeps(text.size())) return;
    const Key borrowed = key_of(text, settings);
    if (const auto found = index_.find(borrowed); found != index_.end()) {
      found->second->statement = std::move(statement);
      recent_.splice(recent_.begin(), recent_, found->second);
      return;
    }
    recent_.push_front(
        {std::string(text), std::string(borrowed.client_encoding), borrowed.flags, std::move(statement)});
    const Entry& entry = recent_.front();
    index_.emplace(Key{entry.text, entry.client_encoding, entry.flags}, recent_.begin());
    bytes_ += cost_of(entry);
    while (recent_.size() > limits_.entries_max || bytes_ > limits_.bytes_max) evict_oldest();
    assert(index_.size() == recent_.size());
  }

  // Forgets everything; what sessions hold stays valid.
  void clear() {
    index_.clear();
    recent_.clear();
    bytes_ = 0;
  }

  [[nodiscard]] size_t size() const { return recent_.size(); }
  [[nodiscard]] size_t bytes() const { return bytes_; }
  [[nodiscard]] uint64_t hits() const { return hits_; }
  [[nodiscard]] uint64_t misses() const { return misses_; }

 private:
  struct Entry {
    std::string text;
    std::string client_encoding;
    uint8_t flags = 0;
    Ref statement;
  };
  // Borrows from an entry (in the index) or from the caller (in a lookup).
  struct Key {
    std::string_view text;
    std::string_view client_encoding;
    uint8_t flags = 0;
  };
  struct HashOf {
    HashKey key;
    size_t operator()(const Key& k) const { return keyed_hash(k.text, key) ^ k.flags; }
  };
  struct SameKey {
    bool operator()(const Key& a, const Key& b) const {
      return a.flags == b.flags && a.client_encoding == b.client_encoding && a.text == b.text;
    }
  };
  enum Flag : uint8_t { depends = 1, conforming = 2, certain = 4 };

  static Key key_of(std::string_view text, const sql::TextSettings& settings) {
    if (!sql::text_depends_on_settings(text)) return {text, {}, 0};
    return {text, settings.client_encoding,
            static_cast<uint8_t>(depends | (settings.standard_conforming_strings ? conforming : 0) |
                                 (settings.certain ? certain : 0))};
  }
  static size_t cost_of(const Entry& entry) { return entry.text.size() + entry.client_encoding.size() + sizeof(Entry); }

  void evict_oldest() {
    const Entry& oldest = recent_.back();
    bytes_ -= cost_of(oldest);
    index_.erase(Key{oldest.text, oldest.client_encoding, oldest.flags});
    recent_.pop_back();
  }

  const CacheLimits limits_;
  std::list<Entry> recent_;  // most recently used first; nodes never move, so the index may borrow their strings
  std::unordered_map<Key, typename std::list<Entry>::iterator, HashOf, SameKey> index_;
  size_t bytes_ = 0;
  uint64_t hits_ = 0;
  uint64_t misses_ = 0;
};

}  // namespace sluice::command
