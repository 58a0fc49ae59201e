// Human output: aligned columns, times and sizes as people read them, and nothing in it that could drive a terminal,
// because names and texts come from clients. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::cli {

// Control characters as \xNN, so that a client's text cannot move the cursor or rewrite a line. UTF-8 stays.
[[nodiscard]] std::string printable(std::string_view text);

// At most `width` characters, "…" at the end where something was cut.
[[nodiscard]] std::string shortened(std::string_view text, size_t width);

// "1.5 MB"; powers of 1000.
[[nodiscard]] std::string human_bytes(uint64_t bytes);

class Table {
 public:
  enum class Align { left, right };
  struct Column {
    std::string title;
    Align align = Align::left;
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // As many cells as there are columns. Cells are made printable here.
  void row(std::vector<std::string> cells);
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  // Title line and rows, each ended by a newline; two spaces between columns, none at the end of a line.
  [[nodiscard]] std::string text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace sluice::cli
