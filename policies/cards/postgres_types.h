// What a PostgreSQL type means for the bytes of its values. One table for whoever has a type OID: the columns of a
// result, the elements of a binary array, the columns of a binary record. Pure; any thread.
#pragma once

#include <cstdint>

#include "policies/cards/value.h"

namespace sluice::policies {

// Built-in types by OID (pg_type.dat); they never change. Everything else is opaque.
[[nodiscard]] ValueType postgres_value_type(uint32_t type_oid);

}  // namespace sluice::policies
