// What the names of prepared statements and portals stand for, while commands about them are still in flight.
// The server decides what a name means; until it has answered, the newest unanswered command of the *same* segment (the
// messages up to one ReadyForQuery) counts, because it either holds or the whole segment fails. One of an earlier
// segment may have failed without this one failing, so the meaning is open until its ReadyForQuery has arrived.
// Lifetime: one table per session and kind. Limit: the caller bounds size().
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

namespace sluice::session {

template <typename Meaning>
class NameTable {
 public:
  enum class Known : uint8_t { yes, no, not_yet };
  using Ref = std::shared_ptr<Meaning>;

  // `yes`: `meaning` is set. `no`: nothing that we saw made this name. `not_yet`: an unanswered earlier segment
  // decides.
  [[nodiscard]] Known find(std::string_view name, uint64_t segment, Ref& meaning) const {
    if (clearing_ > 0 && clearing_segment_ != segment) return Known::not_yet;
    const auto found = entries_.find(name);
    if (found == entries_.end()) return Known::no;
    const Entry& entry = found->second;
    if (entry.in_flight > 0 && entry.newest_segment != segment) return Known::not_yet;
    meaning = entry.in_flight > 0 ? entry.newest : (clearing_ > 0 ? nullptr : entry.settled);
    return meaning ? Known::yes : Known::no;
  }

  // A command was sent that gives the name a meaning, or takes it away (null). Then exactly one settle() or undo().
  void begin(std::string_view name, Ref meaning, uint64_t segment) {
    auto found = entries_.find(name);
    if (found == entries_.end()) found = entries_.emplace(std::string(name), Entry{}).first;
    ++found->second.in_flight;
    found->second.newest = std::move(meaning);
    found->second.newest_segment = segment;
  }
  void settle(std::string_view name, Ref meaning) {
    const auto found = entries_.find(name);
    if (found == entries_.end()) return;
    found->second.settled = std::move(meaning);
    end_one(found);
  }
  void undo(std::string_view name) {
    const auto found = entries_.find(name);
    if (found != entries_.end()) end_one(found);
  }

  // The same for a command that may take away all names (DEALLOCATE ALL).
  void begin_clear(uint64_t segment) {
    ++clearing_;
    clearing_segment_ = segment;
    for (auto& [name, entry] : entries_) entry.newest.reset();
  }
  void settle_clear() {
    --clearing_;
    forget_settled();
  }

  // All names that no command in flight is about lose their meaning (a transaction ended and took its portals along).
  void forget_settled() {
    for (auto entry = entries_.begin(); entry != entries_.end();) {
      entry->second.settled.reset();
      entry = entry->second.in_flight == 0 ? entries_.erase(entry) : std::next(entry);
    }
  }

  [[nodiscard]] size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    Ref settled;  // acknowledged by the server
    Ref newest;   // by the newest command in flight; null: taken away
    uint32_t in_flight = 0;
    uint64_t newest_segment = 0;
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view name) const { return std::hash<std::string_view>{}(name); }
  };
  using Entries = std::unordered_map<std::string, Entry, Hash, std::equal_to<>>;

  void end_one(typename Entries::iterator found) {
    Entry& entry = found->second;
    if (--entry.in_flight > 0) return;
    entry.newest.reset();
    if (!entry.settled) entries_.erase(found);
  }

  Entries entries_;
  uint32_t clearing_ = 0;
  uint64_t clearing_segment_ = 0;
};

}  // namespace sluice::session
