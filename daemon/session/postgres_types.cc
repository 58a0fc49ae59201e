#include "daemon/session/postgres_types.h"

namespace sluice::session {

using policies::ValueFormat;
using policies::ValueType;

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
