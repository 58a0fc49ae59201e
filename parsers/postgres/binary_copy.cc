#include "parsers/postgres/binary_copy.h"

#include <algorithm>
#include <cassert>

namespace sluice::postgres {
namespace {

constexpr std::array<uint8_t, 11> kSignature = {'P', 'G', 'C', 'O', 'P', 'Y', '\n', 0xff, '\r', '\n', 0};
// Bits 16 to 31 of the flags change the format. None of them is in use: bit 16 told of OIDs until PostgreSQL 11.
constexpr uint32_t kCriticalFlags = 0xffff0000;
constexpr uint16_t kTrailer = 0xffff;
constexpr uint32_t kNull = UINT32_MAX;

}  // namespace

BinaryCopyReader::Piece BinaryCopyReader::fail(std::string_view why) {
  state_ = State::malformed;
  why_ = why;
  Piece piece;
  piece.kind = PieceKind::malformed;
  piece.why = why;
  return piece;
}

// Gathers a big-endian number of `wanted` bytes into number_. True once it is whole.
bool BinaryCopyReader::gathered(std::span<const uint8_t> bytes, size_t wanted, Piece& piece) {
  piece.size = std::min(wanted - have_, bytes.size());
  std::copy_n(bytes.begin(), piece.size, number_.begin() + have_);
  have_ = static_cast<uint8_t>(have_ + piece.size);
  if (have_ < wanted) return false;
  have_ = 0;
  return true;
}

BinaryCopyReader::Piece BinaryCopyReader::read_signature(std::span<const uint8_t> bytes) {
  Piece piece;
  piece.size = std::min(kSignature.size() - have_, bytes.size());
  if (!std::equal(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(piece.size), kSignature.begin() + have_))
    return fail("COPY file signature not recognized");
  have_ = static_cast<uint8_t>(have_ + piece.size);
  if (have_ == kSignature.size()) {
    have_ = 0;
    state_ = State::flags;
  }
  return piece;
}

void BinaryCopyReader::next_field() {
  ++column_;
  state_ = column_ == columns_ ? State::row : State::length;
}

BinaryCopyReader::Piece BinaryCopyReader::next(std::span<const uint8_t> bytes) {
  assert(!bytes.empty());
  Piece piece;
  const auto number = [this] {
    return static_cast<uint32_t>(number_[0]) << 24 | static_cast<uint32_t>(number_[1]) << 16 |
           static_cast<uint32_t>(number_[2]) << 8 | number_[3];
  };
  switch (state_) {
    case State::signature:
      return read_signature(bytes);
    case State::flags:
      if (!gathered(bytes, 4, piece)) return piece;
      if ((number() & kCriticalFlags) != 0) return fail("unrecognized critical flags in COPY file header");
      state_ = State::extension_length;
      return piece;
    case State::extension_length:
      if (!gathered(bytes, 4, piece)) return piece;
      // Bytes that no version gives a meaning to, and that readers skip, would go by unseen.
      if (number() != 0) return fail("COPY file header with an extension");
      state_ = State::row;
      return piece;
    case State::row: {
      if (!gathered(bytes, 2, piece)) return piece;
      const auto count = static_cast<uint16_t>(number_[0] << 8 | number_[1]);
      if (count == kTrailer) {
        state_ = State::complete;
      } else if (count != columns_) {
        return fail("row field count does not match the number of columns");
      } else if (count != 0) {
        column_ = 0;
        state_ = State::length;
      }
      return piece;
    }
    case State::length:
      if (!gathered(bytes, 4, piece)) return piece;
      if (number() > INT32_MAX && number() != kNull) return fail("invalid field size");
      if (number() == kNull || number() == 0) {
        next_field();
      } else {
        left_ = field_bytes_ = number();
        state_ = State::field;
      }
      return piece;
    case State::field:
      piece.kind = PieceKind::field;
      piece.size = std::min<size_t>(left_, bytes.size());
      piece.begins = left_ == field_bytes_;
      left_ -= static_cast<uint32_t>(piece.size);
      piece.ends = left_ == 0;
      piece.column = column_;
      piece.field_bytes = field_bytes_;
      if (piece.ends) next_field();
      return piece;
    case State::complete:
      return fail("received copy data after EOF marker");
    case State::malformed:
      return fail(why_);
  }
  return fail("internal state of COPY");
}

}  // namespace sluice::postgres
