// What the header of a COPY in text or CSV says of its columns. The protocol does not say whether there is one: the
// first row is taken for a header where a name in it says that codes or PINs stand in its column and every other field
// could be a name too. A row of data that looks so makes a column be masked that need not be. Lifetime: one per
// machine, used again for every COPY. Limit: kColumnsMax, kFieldBytesMax.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "policies/cards/card_names.h"

namespace sluice::session {

class CopyColumns {
 public:
  // A COPY begins: nothing is known.
  void begin() {
    names_.clear();
    first_ = true;
  }

  struct Field {
    std::span<uint8_t> bytes;
    policies::NameKind name;
  };
  // The fields of a whole row that stand under a name that matters; none of a header, or where there is no such name.
  // Valid until the next call.
  [[nodiscard]] std::span<const Field> secrets_of(std::span<uint8_t> row) {
    found_.clear();
    if (first_) {
      first_ = false;
      read_header(row);
    } else if (!names_.empty()) {
      split(row);
    }
    return found_;
  }

 private:
  static constexpr size_t kColumnsMax = 1664;   // of a PostgreSQL table or result
  static constexpr size_t kFieldBytesMax = 64;  // of a name (NAMEDATALEN), with its quotes

  void read_header(std::span<const uint8_t> row);
  void split(std::span<uint8_t> row);

  bool first_ = true;
  uint8_t delimiter_ = '\t';
  std::vector<policies::NameKind> names_;  // empty: nothing that matters
  std::vector<Field> found_;
};

}  // namespace sluice::session
