// How the columns of a PostgreSQL result are to be read: type OID and format to what the detector understands.
// A Shape is immutable once it is shared and outlives the rows that it describes.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "parsers/postgres/frontend.h"
#include "policies/cards/value.h"

namespace sluice::session {

struct ColumnShape {
  policies::ValueType type = policies::ValueType::opaque;
  policies::ValueFormat format = policies::ValueFormat::text;
  policies::NameKind name = policies::NameKind::none;  // what the column's name says
  bool operator==(const ColumnShape&) const = default;
};
using Shape = std::vector<ColumnShape>;

// A field of COPY in binary format: nothing says of what type it is.
inline constexpr ColumnShape kCopyFieldShape{policies::ValueType::opaque, policies::ValueFormat::binary};
using ShapeRef = std::shared_ptr<const Shape>;

// Names that mean codes beside a card and other things elsewhere (`cid`) mean something only where another column's
// name says that the row is about a card.
void settle_column_names(Shape& columns);

// The type under which a bind value of an undeclared type is looked at: binary integers have no other sign than their
// size.
[[nodiscard]] policies::ValueType guess_value_type(uint64_t bytes_total, bool binary);

// The same columns with the formats that a Bind asked for. Null where the formats are unknown or do not fit.
[[nodiscard]] ShapeRef with_formats(const Shape& columns, const postgres::ResultFormats& formats);

}  // namespace sluice::session
