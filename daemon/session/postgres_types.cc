#include "daemon/session/postgres_types.h"

#include <algorithm>

namespace sluice::session {

using policies::ValueFormat;
using policies::ValueType;

void settle_column_names(Shape& columns) {
  using policies::NameKind;
  const bool card = std::any_of(columns.begin(), columns.end(), [](const ColumnShape& column) {
    return column.name == NameKind::pan || column.name == NameKind::cvv || column.name == NameKind::expiry;
  });
  for (ColumnShape& column : columns) {
    // What no longer matters is dropped, so that values are looked at the quick way.
    const bool matters = column.name == NameKind::pan || policies::is_secret(column.name);
    if (!matters || (column.name == NameKind::code && !card)) column.name = NameKind::none;
  }
}

ValueType guess_value_type(uint64_t bytes_total, bool binary) {
  return binary && (bytes_total == 2 || bytes_total == 4 || bytes_total == 8) ? ValueType::integer : ValueType::opaque;
}

ShapeRef with_formats(const Shape& columns, const postgres::ResultFormats& formats) {
  using Rule = postgres::ResultFormats::Rule;
  if (formats.rule == Rule::unknown) return nullptr;
  if (formats.rule == Rule::per_column && formats.binary.size() != columns.size()) return nullptr;
  auto shape = std::make_shared<Shape>(columns);
  for (size_t i = 0; i < shape->size(); ++i) {
    const bool binary = formats.rule == Rule::all_binary || (formats.rule == Rule::per_column && formats.binary[i]);
    (*shape)[i].format = binary ? ValueFormat::binary : ValueFormat::text;
  }
  return shape;
}

}  // namespace sluice::session
