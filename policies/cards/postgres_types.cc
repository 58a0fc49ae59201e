#include "policies/cards/postgres_types.h"

namespace sluice::policies {
namespace {

// Numbers that count or name something of the server, dates and times, addresses, and containers of such.
bool is_inert(uint32_t type_oid) {
  switch (type_oid) {
    case 16:    // bool
    case 22:    // int2vector
    case 24:    // regproc
    case 26:    // oid
    case 27:    // tid
    case 28:    // xid
    case 29:    // cid
    case 30:    // oidvector
    case 650:   // cidr
    case 774:   // macaddr8
    case 790:   // money
    case 829:   // macaddr
    case 869:   // inet
    case 1082:  // date
    case 1083:  // time
    case 1114:  // timestamp
    case 1184:  // timestamptz
    case 1186:  // interval
    case 1266:  // timetz
    case 2950:  // uuid
    case 2970:  // txid_snapshot
    case 3220:  // pg_lsn
    case 5038:  // pg_snapshot
    case 3904:  // int4range
    case 3908:  // tsrange
    case 3910:  // tstzrange
    case 3912:  // daterange
    case 4451:  // int4multirange
    case 4533:  // tsmultirange
    case 4534:  // tstzmultirange
    case 4535:  // datemultirange
    case 651:   // cidr[]
    case 775:   // macaddr8[]
    case 791:   // money[]
    case 1000:  // bool[]
    case 1006:  // int2vector[]
    case 1010:  // tid[]
    case 1013:  // oidvector[]
    case 1028:  // oid[]
    case 1040:  // macaddr[]
    case 1041:  // inet[]
    case 1115:  // timestamp[]
    case 1182:  // date[]
    case 1183:  // time[]
    case 1185:  // timestamptz[]
    case 1187:  // interval[]
    case 1270:  // timetz[]
    case 2949:  // txid_snapshot[]
    case 2951:  // uuid[]
    case 3221:  // pg_lsn[]
    case 3905:  // int4range[]
    case 3909:  // tsrange[]
    case 3911:  // tstzrange[]
    case 3913:  // daterange[]
    case 5039:  // pg_snapshot[]
    case 6150:  // int4multirange[]
    case 6152:  // tsmultirange[]
    case 6153:  // tstzmultirange[]
    case 6155:  // datemultirange[]
      return true;
    default:
      return false;
  }
}

}  // namespace

ValueType postgres_value_type(uint32_t type_oid) {
  switch (type_oid) {
    case 17:  // bytea
      return ValueType::bytea;
    case 20:    // int8
    case 21:    // int2
    case 23:    // int4
    case 5069:  // xid8
      return ValueType::integer;
    case 3926:  // int8range
    case 4536:  // int8multirange
      return ValueType::integer_range;
    case 700:  // float4
    case 701:  // float8
      return ValueType::floating;
    case 1700:  // numeric
      return ValueType::numeric;
    case 600:  // point
    case 601:  // lseg
    case 602:  // path
    case 603:  // box
    case 604:  // polygon
    case 628:  // line
    case 718:  // circle
      return ValueType::geometric;
    case 114:  // json
      return ValueType::json;
    case 3802:  // jsonb
    case 4072:  // jsonpath: on the wire like jsonb
      return ValueType::jsonb;
    case 18:    // "char"
    case 19:    // name
    case 25:    // text
    case 142:   // xml
    case 705:   // unknown
    case 1042:  // bpchar
    case 1043:  // varchar
    case 1790:  // refcursor
    case 2275:  // cstring
      return ValueType::text;
    case 143:   // xml[]
    case 1002:  // "char"[]
    case 1003:  // name[]
    case 1009:  // text[]
    case 1014:  // bpchar[]
    case 1015:  // varchar[]
    case 1263:  // cstring[]
    case 2201:  // refcursor[]
      return ValueType::text_array;
    case 199:   // json[]
    case 271:   // xid8[]
    case 629:   // line[]
    case 719:   // circle[]
    case 1001:  // bytea[]
    case 1005:  // int2[]
    case 1007:  // int4[]
    case 1016:  // int8[]
    case 1017:  // point[]
    case 1018:  // lseg[]
    case 1019:  // path[]
    case 1020:  // box[]
    case 1021:  // float4[]
    case 1022:  // float8[]
    case 1027:  // polygon[]
    case 1231:  // numeric[]
    case 1561:  // bit[]
    case 1563:  // varbit[]
    case 2287:  // record[]
    case 3643:  // tsvector[]
    case 3645:  // tsquery[]
    case 3807:  // jsonb[]
    case 3907:  // numrange[]
    case 3927:  // int8range[]
    case 4073:  // jsonpath[]
    case 6151:  // nummultirange[]
    case 6157:  // int8multirange[]
      return ValueType::array;
    default:
      return is_inert(type_oid) ? ValueType::inert : ValueType::opaque;
  }
}

}  // namespace sluice::policies
