// Masks fields of COPY … TO STDOUT that hold protected columns, where they stand, before the data is looked at further.
// Text and CSV: every byte of the field becomes a star, quotes around it and an empty field stay, and so do \N and a
// backslash that begins a field.
// Binary: stars as well, of whatever type the field is. Where the format of the rows is not known for certain, every
// byte but line feeds becomes a star. Lifetime: one per COPY. Threading: none. Limits: a few bytes of state.
#pragma once

#include <cstdint>
#include <span>

#include "daemon/session/gate.h"
#include "daemon/session/postgres_masker.h"

namespace sluice::session {

class CopyMasks {
 public:
  enum class Bytes : uint8_t { ascii_safe, mixed };  // mixed: an encoding whose later bytes may look like ASCII
  // REQUIRES: `plan` is not null.
  CopyMasks(ColumnPlanRef plan, Bytes bytes);

  // The next bytes of rows in text or CSV.
  void mask(std::span<uint8_t> bytes, PostgresMasker& masker);
  // The next bytes of a field in binary.
  void mask_field(std::span<uint8_t> bytes, uint16_t column, bool begins, PostgresMasker& masker);

 private:
  void mask_text(std::span<uint8_t> bytes, PostgresMasker& masker);
  void mask_csv(std::span<uint8_t> bytes, PostgresMasker& masker);
  [[nodiscard]] command::ColumnVerdict verdict(size_t column) const;
  void next_field();
  void next_row();
  void count(PostgresMasker& masker);

  ColumnPlanRef plan_;
  bool certain_;
  size_t column_ = 0;
  bool masks_ = false;    // the field under way
  bool counted_ = false;  // and it was counted
  uint8_t bytes_ = 0;     // of it that have come, up to two
  bool escaped_ = false;  // the byte before was an escape
  bool quoted_ = false;
  bool after_quote_ = false;  // within quotes a quote came: the end, or the first of two
};

}  // namespace sluice::session
