// The stream of COPY in binary format (PostgreSQL manual, COPY, "Binary Format"): a signature, flags and a header
// extension (no version defines one: only an empty one is taken), then rows, each a count of fields and the fields with
// their lengths, then the trailer -1. CopyData messages cut it anywhere. The reader takes the stream in any pieces and
// says of each byte whether it is structure or belongs to a field. Lifetime: one per COPY. Limits: it holds at most
// eight bytes; a field may be as long as its length says.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sluice::postgres {

class BinaryCopyReader {
 public:
  enum class PieceKind : uint8_t { structure, field, malformed };
  // The bytes at the front of what was given. A field may come in many pieces.
  struct Piece {
    PieceKind kind = PieceKind::structure;
    size_t size = 0;           // bytes; 0 only where malformed
    bool begins = false;       // field: its first piece
    bool ends = false;         // field: its last piece
    uint16_t column = 0;       // field: from 0
    uint32_t field_bytes = 0;  // field: its whole length
    std::string_view why;      // malformed
  };

  BinaryCopyReader() = default;
  // Each row has this many fields, as CopyOutResponse and CopyInResponse say.
  explicit BinaryCopyReader(uint16_t columns) : columns_(columns) {}

  // REQUIRES: bytes is not empty. Once malformed it stays so.
  [[nodiscard]] Piece next(std::span<const uint8_t> bytes);

  // The trailer has come: nothing may follow.
  [[nodiscard]] bool complete() const { return state_ == State::complete; }
  [[nodiscard]] bool within_field() const { return state_ == State::field; }

 private:
  enum class State : uint8_t { signature, flags, extension_length, row, length, field, complete, malformed };

  [[nodiscard]] Piece read_signature(std::span<const uint8_t> bytes);
  [[nodiscard]] Piece fail(std::string_view why);
  [[nodiscard]] bool gathered(std::span<const uint8_t> bytes, size_t wanted, Piece& piece);
  void next_field();

  State state_ = State::signature;
  uint16_t columns_ = 0;
  uint16_t column_ = 0;
  uint8_t have_ = 0;  // bytes gathered of a number, or seen of the signature
  std::array<uint8_t, 4> number_{};
  uint32_t left_ = 0;  // of the field
  uint32_t field_bytes_ = 0;
  std::string_view why_;
};

}  // namespace sluice::postgres
