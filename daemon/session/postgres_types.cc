#include "daemon/session/postgres_types.h"

namespace sluice::session {

using policies::ValueFormat;
using policies::ValueType;

ValueType value_type_of(uint32_t type_oid) {
  switch (type_oid) {
    case 17:  // bytea
      return ValueType::bytea;
    case 20:    // int8
    case 21:    // int2
    case 23:    // int4
    case 5069:  // xid8
      return ValueType::integer;
    case 700:  // float4
    case 701:  // float8
      return ValueType::floating;
    case 1700:  // numeric
      return ValueType::numeric;
    case 114:  // json
      return ValueType::json;
    case 3802:  // jsonb
      return ValueType::jsonb;
    case 18:    // "char"
    case 19:    // name
    case 25:    // text
    case 142:   // xml
    case 705:   // unknown
    case 1042:  // bpchar
    case 1043:  // varchar
    case 2275:  // cstring
      return ValueType::text;
    case 143:   // xml[]
    case 1002:  // "char"[]
    case 1003:  // name[]
    case 1009:  // text[]
    case 1014:  // bpchar[]
    case 1015:  // varchar[]
    case 1263:  // cstring[]
      return ValueType::text_array;
    case 199:   // json[]
    case 1001:  // bytea[]
    case 1005:  // int2[]
    case 1007:  // int4[]
    case 1016:  // int8[]
    case 1021:  // float4[]
    case 1022:  // float8[]
    case 1231:  // numeric[]
    case 3807:  // jsonb[]
      return ValueType::array;
    default:
      return ValueType::opaque;
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
