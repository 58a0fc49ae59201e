// What the names of the columns of a COPY towards the client say: codes and PINs are known by them alone. The statement
// says the names, or the catalog; where neither does, the first row is taken for a header where a name in it says that
// codes or PINs stand in its column and every other field could be a name too. (The protocol does not say whether there
// is a header; a row of data that looks so makes a column be masked that need not be.) Lifetime: one per machine, used
// again for every COPY. Limit: kColumnsMax, kFieldBytesMax.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "daemon/session/gate.h"
#include "policies/cards/card_names.h"

namespace sluice::session {

class CopyColumns {
 public:
  // A COPY begins: nothing is known.
  void begin();
  // Its columns are called so. Before its first row.
  void name(CopyNames names);

  struct Field {
    std::span<uint8_t> bytes;
    policies::NameKind name;
  };
  // The fields of a whole row in text or CSV that stand under a name that matters; none of a header, or where there is
  // no such name. Valid until the next call.
  [[nodiscard]] std::span<const Field> secrets_of(std::span<uint8_t> row);
  // Of a field in binary.
  [[nodiscard]] policies::NameKind kind_of(size_t column) const {
    return column < kinds_.size() ? kinds_[column] : policies::NameKind::none;
  }

 private:
  static constexpr size_t kColumnsMax = 1664;   // of a PostgreSQL table or result
  static constexpr size_t kFieldBytesMax = 64;  // of a name (NAMEDATALEN), with its quotes
  struct RowFormat {
    uint8_t delimiter = '\t';
    uint8_t quote = 0;  // 0: there are none, and the escape stands everywhere
    uint8_t escape = '\\';
  };

  template <typename Byte, typename OnField>
  static void each_field(std::span<Byte> row, const RowFormat& format, OnField on_field);
  void keep_kinds(bool names_are_certain);
  [[nodiscard]] bool is_header(std::span<const uint8_t> row) const;
  void complete_names(std::span<const uint8_t> header);
  void guess_header(std::span<const uint8_t> row);
  void split(std::span<uint8_t> row);

  bool first_ = true;
  RowFormat format_;
  std::vector<std::string> names_;         // as the statement or the catalog says
  std::vector<policies::NameKind> kinds_;  // empty: nothing that matters
  std::vector<Field> found_;
};

}  // namespace sluice::session
