#include "daemon/session/copy_columns.h"

#include <algorithm>
#include <string_view>

namespace sluice::session {
namespace {

using policies::NameKind;

constexpr uint8_t kDelimiters[] = {'\t', ',', ';', '|'};

// The row without its line end.
std::span<uint8_t> without_end(std::span<uint8_t> row) {
  while (!row.empty() && (row.back() == '\n' || row.back() == '\r')) row = row.first(row.size() - 1);
  return row;
}

// Calls on_field with each field, the quotes of CSV left out.
template <typename Byte, typename OnField>
void each_field(std::span<Byte> row, uint8_t delimiter, OnField on_field) {
  size_t start = 0;
  bool quoted = false;
  for (size_t at = 0; at <= row.size(); ++at) {
    if (at < row.size() && row[at] == '"' && delimiter != '\t') quoted = !quoted;
    if (at < row.size() && (quoted || row[at] != delimiter)) continue;
    std::span<Byte> field = row.subspan(start, at - start);
    if (field.size() >= 2 && field.front() == '"' && field.back() == '"') field = field.subspan(1, field.size() - 2);
    on_field(field);
    start = at + 1;
  }
}

bool may_be_name(std::span<const uint8_t> field) {
  const auto fits = [](uint8_t c) { return c >= ' '; };
  const bool digits = std::all_of(field.begin(), field.end(), [](uint8_t c) { return c >= '0' && c <= '9'; });
  return !field.empty() && !digits && std::all_of(field.begin(), field.end(), fits);
}

}  // namespace

void CopyColumns::read_header(std::span<const uint8_t> row) {
  while (!row.empty() && (row.back() == '\n' || row.back() == '\r')) row = row.first(row.size() - 1);
  const auto most = std::max_element(std::begin(kDelimiters), std::end(kDelimiters), [row](uint8_t a, uint8_t b) {
    return std::count(row.begin(), row.end(), a) < std::count(row.begin(), row.end(), b);
  });
  delimiter_ = *most;
  bool names = true, card = false, matters = false;
  each_field(row, delimiter_, [&](std::span<const uint8_t> field) {
    names = names && may_be_name(field) && field.size() <= kFieldBytesMax && names_.size() < kColumnsMax;
    if (!names) return;
    const NameKind kind = policies::name_kind({reinterpret_cast<const char*>(field.data()), field.size()});
    names_.push_back(kind);
    card = card || kind == NameKind::pan || kind == NameKind::cvv || kind == NameKind::expiry;
    matters = matters || kind == NameKind::pan || policies::is_secret(kind);
  });
  for (NameKind& name : names_) {
    if (name == NameKind::code && !card) name = NameKind::none;
  }
  if (!names || !matters) names_.clear();
}

void CopyColumns::split(std::span<uint8_t> row) {
  size_t column = 0;
  each_field(without_end(row), delimiter_, [&](std::span<uint8_t> field) {
    const NameKind name = column < names_.size() ? names_[column] : NameKind::none;
    ++column;
    const std::string_view text(reinterpret_cast<const char*>(field.data()), field.size());
    if (field.empty() || text == "\\N") return;
    if (name == NameKind::pan || policies::is_secret(name)) found_.push_back({field, name});
  });
}

}  // namespace sluice::session
