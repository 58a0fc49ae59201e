// What the events of a command say of its statement and of the decision, serialised and scanned: most commands of a
// workload repeat it word for word. Lifetime: one per worker. Not thread safe. Limits: kEntries descriptions of at most
// kBytesMax; a newer one takes the place of an older one. Nothing is borrowed: a statement is known by its serial
// number.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/events/event_builder.h"
#include "daemon/session/gate.h"

namespace sluice::session {

class DescriptionCache {
 public:
  static constexpr size_t kEntries = 256;
  static constexpr size_t kBytesMax = 2048;

  struct Key {
    uint64_t statement = 0;  // AnalysedStatement::serial
    Stage stage = Stage::query;
    std::string_view rule;
    std::string_view policy_version;
  };

  // Null where it is not known. Valid until the next keep().
  [[nodiscard]] const events::SharedFields* find(const Key& key) const;
  void keep(const Key& key, events::SharedFields fields);

 private:
  struct Entry {
    uint64_t statement = 0;  // 0: empty
    Stage stage = Stage::query;
    std::string rule, policy_version;
    events::SharedFields fields;
  };
  static size_t slot(const Key& key) { return (key.statement * 4 + static_cast<size_t>(key.stage)) % kEntries; }

  std::array<Entry, kEntries> entries_;
};

}  // namespace sluice::session
