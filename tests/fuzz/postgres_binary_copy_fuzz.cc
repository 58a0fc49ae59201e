// A stream of COPY in binary format in any pieces. Must hold: every byte is accounted for; the pieces that the stream
// comes in change neither the fields nor where it is malformed; what is malformed stays so; no field is longer than it
// says. Input: number of columns, seed of the cuts; then the stream.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "parsers/postgres/binary_copy.h"

using sluice::postgres::BinaryCopyReader;
using Kind = BinaryCopyReader::PieceKind;

namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

struct Read {
  std::vector<std::string> fields;
  bool malformed = false;
  bool complete = false;
  bool operator==(const Read&) const = default;
};

Read read(std::span<const uint8_t> bytes, uint16_t columns, uint32_t seed) {
  BinaryCopyReader reader(columns);
  Read result;
  size_t left = 0;  // of the field
  while (!bytes.empty()) {
    seed = seed * 1664525 + 1013904223;
    const size_t wanted = seed == 0 ? bytes.size() : 1 + (seed >> 16) % 9;
    std::span<const uint8_t> part = bytes.first(std::min(wanted, bytes.size()));
    bytes = bytes.subspan(part.size());
    while (!part.empty()) {
      const BinaryCopyReader::Piece piece = reader.next(part);
      check(piece.size <= part.size());
      if (piece.kind == Kind::malformed) {
        check(piece.size == 0 && !piece.why.empty() && reader.next(part).kind == Kind::malformed);
        result.malformed = true;
        return result;
      }
      check(piece.size > 0);
      if (piece.kind == Kind::field) {
        check(piece.column < columns && piece.begins == (left == 0));
        if (piece.begins) {
          left = piece.field_bytes;
          result.fields.emplace_back();
        }
        check(piece.size <= left);
        left -= piece.size;
        check(piece.ends == (left == 0) && reader.within_field() == (left != 0));
        result.fields.back().append(part.begin(), part.begin() + static_cast<ptrdiff_t>(piece.size));
      } else {
        check(left == 0);
      }
      part = part.subspan(piece.size);
    }
  }
  result.complete = reader.complete();
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  static constexpr uint8_t kHeader[] = {'P', 'G', 'C', 'O', 'P', 'Y', '\n', 0xff, '\r', '\n',
                                        0,   0,   0,   0,   0,   0,   0,    0,    0};
  // A signature is seldom hit on; half of the inputs begin behind it.
  std::vector<uint8_t> stream;
  if (data[1] % 2 == 0) stream.assign(std::begin(kHeader), std::end(kHeader));
  stream.insert(stream.end(), data + 2, data + size);
  const uint16_t columns = data[0] % 5;
  const Read one_by_one = read(stream, columns, 1);
  check(read(stream, columns, data[1] * 2654435761u + 7) == one_by_one);
  check(read(stream, columns, 0xdeadbeef) == one_by_one);
  return 0;
}
