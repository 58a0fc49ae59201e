#include "policies/rules/session_policy.h"

#include <array>
#include <bit>
#include <cassert>
#include <cstdint>
#include <exception>
#include <new>
#include <span>
#include <utility>

#include "policies/rules/verdict.h"

namespace sluice::policies {
namespace {

constexpr size_t kWays = 8;              // entries that one address can be in
constexpr size_t kRememberedLeast = 64;  // size of the first table; it doubles while it is too small
static_assert(std::has_single_bit(kRememberedLeast) && std::has_single_bit(kRememberedMax) &&
              kRememberedLeast >= kWays);

void append_field(std::string& key, std::string_view field) {
  key += std::to_string(field.size());
  key += ':';
  key += field;
}

// Everything that match_subject() looks at, and nothing else (not the pid).
std::string subject_key(const Subject& subject) {
  std::string key;
  append_field(key, subject.target);
  append_field(key, subject.protocol);
  key += std::to_string(static_cast<unsigned>(subject.direction)) + ',' + std::to_string(subject.attested.uid) + ',' +
         std::to_string(subject.attested.gid) + ',';
  const AttestedIdentity& attested = subject.attested;
  for (const std::string* field :
       {&attested.user, &attested.group, &attested.exe, &attested.exe_sha256, &attested.unit, &attested.container,
        &attested.cgroup, &subject.claimed.db_user, &subject.claimed.application}) {
    append_field(key, *field);
  }
  return key;
}

}  // namespace

// The rules for one subject, and what was decided with them.
class SubjectPolicy {
 public:
  SubjectPolicy(std::shared_ptr<const PolicySet> set, const Subject& subject)
      : set_(std::move(set)), candidates_(candidates_for(*set_, subject)), has_target_(!subject.target.empty()) {}

  [[nodiscard]] const std::shared_ptr<const PolicySet>& set() const { return set_; }

  [[nodiscard]] Decision decide(const StatementFacts& facts) const {
    std::string error;
    const Verdict verdict = compute(facts, error);
    return verdict.decision(*set_, std::move(error));
  }

  [[nodiscard]] Decision decide(const std::shared_ptr<const StatementFacts>& facts) {
    if (const Remembered* entry = find(facts)) return entry->verdict.decision(*set_);
    std::string error;
    const Verdict verdict = compute(*facts, error);
    if (error.empty()) remember(facts, verdict);
    return verdict.decision(*set_, std::move(error));
  }

 private:
  struct Remembered {
    uintptr_t address = 0;
    std::weak_ptr<const StatementFacts> owner;  // its control block outlives the object: the pair is never reused
    Verdict verdict;
  };

  static bool same_owner(const std::weak_ptr<const StatementFacts>& a, const std::shared_ptr<const StatementFacts>& b) {
    return !a.owner_before(b) && !b.owner_before(a);
  }

  [[nodiscard]] Verdict compute(const StatementFacts& facts, std::string& error) const {
    if (!has_target_) {
      error = "the command names no target";
      return Verdict{};
    }
    try {  // allocation is all that can throw here; out of memory refuses the command
      return Verdict::of(*set_, candidates_, facts, error);
    } catch (const std::exception& exception) {
      error = exception.what();
      return Verdict{};
    }
  }

  // The entries that may hold what is at `address`. REQUIRES: the table is not empty.
  [[nodiscard]] std::span<Remembered, kWays> ways_of(uintptr_t address) {
    assert(std::has_single_bit(remembered_.size()));
    const uint64_t hash = (address >> 4) * 0x9E3779B97F4A7C15ull;  // 2^64 / golden ratio: its upper bits are mixed well
    const size_t set = (hash >> 40) & (remembered_.size() / kWays - 1);
    return std::span<Remembered, kWays>(&remembered_[set * kWays], kWays);
  }

  [[nodiscard]] const Remembered* find(const std::shared_ptr<const StatementFacts>& facts) {
    if (remembered_.empty()) return nullptr;
    const auto address = reinterpret_cast<uintptr_t>(facts.get());
    for (const Remembered& entry : ways_of(address)) {
      if (entry.address == address && same_owner(entry.owner, facts)) return &entry;
    }
    return nullptr;
  }

  // A free or expired entry for `address`, or null.
  [[nodiscard]] Remembered* room_for(uintptr_t address) {
    for (Remembered& entry : ways_of(address)) {
      if (entry.owner.expired()) return &entry;
    }
    return nullptr;
  }

  void remember(const std::shared_ptr<const StatementFacts>& facts, const Verdict& verdict) {
    const auto address = reinterpret_cast<uintptr_t>(facts.get());
    try {
      if (remembered_.empty()) remembered_.resize(kRememberedLeast);
      while (room_for(address) == nullptr && remembered_.size() < kRememberedMax) grow();
    } catch (const std::bad_alloc&) {
      if (remembered_.empty()) return;  // decided all the same, only not remembered
    }
    Remembered* entry = room_for(address);
    if (entry == nullptr) entry = &ways_of(address)[next_way_++ % kWays];
    *entry = Remembered{address, facts, verdict};
  }

  // Twice the size, with what is still alive.
  void grow() {
    std::vector<Remembered> before(remembered_.size() * 2);
    before.swap(remembered_);
    for (Remembered& entry : before) {
      if (entry.owner.expired()) continue;
      Remembered* room = room_for(entry.address);
      if (room != nullptr) *room = std::move(entry);
    }
  }

  std::shared_ptr<const PolicySet> set_;
  std::vector<Candidate> candidates_;
  bool has_target_;
  std::vector<Remembered> remembered_;  // made with the first decision: an idle session has none
  size_t next_way_ = 0;
};

PolicyCache::PolicyCache() = default;
PolicyCache::~PolicyCache() = default;

std::shared_ptr<SubjectPolicy> PolicyCache::subject(const std::shared_ptr<const PolicySet>& set,
                                                    const Subject& subject) {
  if (set_ != set) {  // sessions that still use the old set hold their part of it themselves
    subjects_.clear();
    set_ = set;
  }
  std::string key = subject_key(subject);
  if (const auto found = subjects_.find(key); found != subjects_.end()) return found->second;
  auto made = std::make_shared<SubjectPolicy>(set, subject);
  if (subjects_.size() >= kSubjectsMax) {
    std::erase_if(subjects_, [](const auto& entry) { return entry.second.use_count() == 1; });
  }
  if (subjects_.size() < kSubjectsMax) subjects_.emplace(std::move(key), made);
  return made;
}

SessionPolicy::SessionPolicy(std::shared_ptr<const PolicySet> set, const Subject& subject, PolicyCache* cache) {
  assert(set != nullptr);
  subject_ = cache != nullptr ? cache->subject(set, subject) : std::make_shared<SubjectPolicy>(std::move(set), subject);
}

Decision SessionPolicy::decide(const std::shared_ptr<const StatementFacts>& facts) {
  assert(facts != nullptr);
  return subject_->decide(facts);
}

Decision SessionPolicy::decide(const StatementFacts& facts) const {
  return std::as_const(*subject_).decide(facts);
}

const std::shared_ptr<const PolicySet>& SessionPolicy::set() const {
  return subject_->set();
}

}  // namespace sluice::policies
