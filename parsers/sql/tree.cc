#include "parsers/sql/tree.h"

namespace sluice::sql::tree {
namespace {

constexpr uint32_t kWireVarint = 0, kWireFixed64 = 1, kWireBytes = 2, kWireFixed32 = 5;
constexpr uint16_t kShapeNumber = 0, kShapeText = 1;  // as in tree_schema.inc

}  // namespace

bool FieldCursor::varint(uint64_t& value) {
  value = 0;
  for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

bool FieldCursor::next(Field& field) {
  if (rest_.empty() || damaged_) return false;
  uint64_t tag = 0;
  if (!varint(tag)) return fail();
  const TypeFields& known = kTypeFields[static_cast<uint16_t>(type_)];
  const uint64_t number = tag >> 3;
  if (number == 0 || number > known.count) return fail();
  const uint16_t shape = kFields[known.first + number - 1];
  field.number = static_cast<uint32_t>(number);
  switch (tag & 7) {
    case kWireVarint:
      if (shape != kShapeNumber || !varint(field.value)) return fail();
      field.shape = Shape::number;
      return true;
    case kWireBytes: {
      uint64_t length = 0;
      if (!varint(length) || length > rest_.size()) return fail();
      field.bytes = rest_.substr(0, length);
      rest_.remove_prefix(length);
      // A packed list of numbers comes as bytes as well; nothing here reads one, but it is no damage.
      field.shape = shape > kShapeText ? Shape::message : Shape::text;
      field.type = shape > kShapeText ? static_cast<Type>(shape - 1) : Type::none;
      return true;
    }
    case kWireFixed64:
    case kWireFixed32: {
      const size_t length =
          (tag & 7) == kWireFixed64 ? 8 : 4;  // costs of plans: not in a raw tree, and never read here
      if (shape != kShapeNumber || rest_.size() < length) return fail();
      rest_.remove_prefix(length);
      field.shape = Shape::number;
      field.value = 0;
      return true;
    }
    default:
      return fail();
  }
}

bool Message::find(uint32_t number, Field& field) const {
  FieldCursor cursor(*this);
  while (cursor.next(field)) {
    if (field.number == number) return true;
    if (field.number > number) return false;  // the library writes fields in the order of their numbers
  }
  return false;
}

Message Message::unwrapped() const {
  if (type_ != Type::Node) return *this;
  Field field;
  FieldCursor cursor(*this);
  return cursor.next(field) ? field.message() : Message();
}

uint64_t Message::number(uint32_t number) const {
  Field field;
  return find(number, field) && field.shape == Shape::number ? field.value : 0;
}

std::string_view Message::text(uint32_t number) const {
  Field field;
  return find(number, field) && field.shape == Shape::text ? field.bytes : std::string_view();
}

Message Message::child(uint32_t number) const {
  Field field;
  return find(number, field) ? field.message().unwrapped() : Message();
}

size_t Message::count(uint32_t number) const {
  Field field;
  FieldCursor cursor(*this);
  size_t n = 0;
  while (cursor.next(field)) n += field.number == number;
  return n;
}

Message Message::last(uint32_t number) const {
  Field field;
  FieldCursor cursor(*this);
  Message found;
  while (cursor.next(field)) {
    if (field.number == number) found = field.message().unwrapped();
  }
  return found;
}

}  // namespace sluice::sql::tree
