#include "daemon/session/description_cache.h"

#include <utility>

namespace sluice::session {

const events::SharedFields* DescriptionCache::find(const Key& key) const {
  const Entry& entry = entries_[slot(key)];
  const bool same = entry.statement == key.statement && entry.stage == key.stage && entry.rule == key.rule &&
                    entry.policy_version == key.policy_version;
  return same ? &entry.fields : nullptr;
}

void DescriptionCache::keep(const Key& key, events::SharedFields fields) {
  if (fields.size() > kBytesMax) return;
  entries_[slot(key)] = {key.statement, key.stage, std::string(key.rule), std::string(key.policy_version),
                         std::move(fields)};
}

}  // namespace sluice::session
