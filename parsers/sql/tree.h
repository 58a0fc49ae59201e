// Reads a parse tree in the serialized form that libpg_query gives (Protocol Buffers wire format) without unpacking it:
// a Message is a span of bytes and its type, and every field of every message can be visited by a table made from the
// .proto. So a walk cannot forget a node type. Views borrow from the bytes. Pure; no allocation. Damaged bytes end the
// iteration and are reported, never guessed at. Source: protobuf.dev/programming-guides/encoding.
#pragma once

#include <pg_query.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice::sql::tree {

// The field numbers in the table belong to one version of the library.
static_assert(PG_VERSION_NUM == 150001, "regenerate tree_schema.inc (make_tree_schema.py) for this libpg_query");

#include "parsers/sql/tree_schema.inc"

enum class Shape : uint8_t { number, text, message };

class Message;

struct Field {
  uint32_t number = 0;
  Shape shape = Shape::number;
  Type type = Type::none;  // of a message
  uint64_t value = 0;      // of a number
  std::string_view bytes;  // of a text or message

  [[nodiscard]] Message message() const;
};

class Message {
 public:
  Message() = default;
  Message(Type type, std::string_view bytes) : type_(type), bytes_(bytes) {}

  [[nodiscard]] Type type() const { return type_; }
  [[nodiscard]] bool present() const { return type_ != Type::none; }
  [[nodiscard]] std::string_view bytes() const { return bytes_; }

  // The field with that number; where it is absent: 0, "", a message that is not present, as proto3 defines.
  // Messages of type Node come unwrapped: what is returned is the node inside.
  [[nodiscard]] uint64_t number(uint32_t field) const;
  [[nodiscard]] std::string_view text(uint32_t field) const;
  [[nodiscard]] Message child(uint32_t field) const;
  [[nodiscard]] size_t count(uint32_t field) const;
  [[nodiscard]] Message last(uint32_t field) const;

  // The node inside a Node; any other message is itself.
  [[nodiscard]] Message unwrapped() const;

 private:
  [[nodiscard]] bool find(uint32_t number, Field& field) const;
  Type type_ = Type::none;
  std::string_view bytes_;
};

// Visits the fields of a message in the order in which they were written.
class FieldCursor {
 public:
  explicit FieldCursor(const Message& message) : type_(message.type()), rest_(message.bytes()) {}
  // False at the end, and where the bytes are damaged or say something that the table does not know: see damaged().
  [[nodiscard]] bool next(Field& field);
  [[nodiscard]] bool damaged() const { return damaged_; }

 private:
  [[nodiscard]] bool varint(uint64_t& value);
  [[nodiscard]] bool fail() {
    damaged_ = true;
    return false;
  }
  Type type_;
  std::string_view rest_;
  bool damaged_ = false;
};

inline Message Field::message() const {
  return shape == Shape::message ? Message(type, bytes) : Message();
}

}  // namespace sluice::sql::tree
