#include "daemon/session/copy_columns.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace sluice::session {

using policies::NameKind;

namespace {

constexpr uint8_t kDelimiters[] = {'\t', ',', ';', '|'};

// The row without its line end.
template <typename Byte>
std::span<Byte> without_end(std::span<Byte> row) {
  while (!row.empty() && (row.back() == '\n' || row.back() == '\r')) row = row.first(row.size() - 1);
  return row;
}

std::string_view text_of(std::span<const uint8_t> field) {
  return {reinterpret_cast<const char*>(field.data()), field.size()};
}

bool may_be_name(std::span<const uint8_t> field) {
  const auto fits = [](uint8_t c) { return c >= ' '; };
  const bool digits = std::all_of(field.begin(), field.end(), [](uint8_t c) { return c >= '0' && c <= '9'; });
  return !field.empty() && !digits && std::all_of(field.begin(), field.end(), fits);
}

}  // namespace

// Calls on_field with each field, the quotes of CSV left out.
template <typename Byte, typename OnField>
void CopyColumns::each_field(std::span<Byte> row, const RowFormat& format, OnField on_field) {
  size_t start = 0;
  bool quoted = false;
  for (size_t at = 0; at <= row.size(); ++at) {
    if (at < row.size()) {
      const uint8_t c = row[at];
      const bool escapes = format.quote == 0 || (quoted && format.escape != format.quote);
      if (escapes && c == format.escape) {
        ++at;
        if (at < row.size()) continue;
      } else if (format.quote != 0 && c == format.quote) {
        quoted = !quoted;
        continue;
      } else if (quoted || c != format.delimiter) {
        continue;
      }
    }
    std::span<Byte> field = row.subspan(start, std::min(at, row.size()) - start);
    if (format.quote != 0 && field.size() >= 2 && field.front() == format.quote && field.back() == format.quote)
      field = field.subspan(1, field.size() - 2);
    on_field(field);
    start = at + 1;
  }
}

void CopyColumns::begin() {
  names_.clear();
  kinds_.clear();
  format_ = {};
  first_ = true;
}

void CopyColumns::name(CopyNames names) {
  const sql::CopyFormat& format = names.format;
  if (!format.certain || names.names.size() > kColumnsMax) return;
  names_ = std::move(names.names);
  format_.delimiter = static_cast<uint8_t>(format.delimiter);
  if (format.kind == sql::CopyFormat::Kind::csv) {
    format_.quote = static_cast<uint8_t>(format.quote);
    format_.escape = static_cast<uint8_t>(format.escape);
  }
  for (const std::string& name : names_) kinds_.push_back(policies::name_kind(name));
  keep_kinds(true);
}

// What means other things too means a code beside a card. Where no name matters, nothing is kept.
void CopyColumns::keep_kinds(bool names_are_certain) {
  const auto is_of_card = [](NameKind kind) {
    return kind == NameKind::pan || kind == NameKind::cvv || kind == NameKind::expiry;
  };
  const bool card = std::any_of(kinds_.begin(), kinds_.end(), is_of_card);
  for (NameKind& kind : kinds_) {
    if (kind == NameKind::code && !card) kind = NameKind::none;
  }
  const auto matters = [](NameKind kind) { return kind == NameKind::pan || policies::is_secret(kind); };
  if (!names_are_certain || std::none_of(kinds_.begin(), kinds_.end(), matters)) kinds_.clear();
}

std::span<const CopyColumns::Field> CopyColumns::secrets_of(std::span<uint8_t> row) {
  found_.clear();
  const bool first = std::exchange(first_, false);
  if (first && names_.empty()) {
    guess_header(row);
  } else if (first && is_header(row)) {
    complete_names(row);
  } else if (!kinds_.empty()) {
    split(row);
  }
  return found_;
}

bool CopyColumns::is_header(std::span<const uint8_t> row) const {
  size_t column = 0;
  bool same = true;
  each_field(without_end(row), format_, [&](std::span<const uint8_t> field) {
    // Where only the server knows the name, anything may be it.
    same = same && column < names_.size() && (names_[column].empty() || names_[column] == text_of(field));
    ++column;
  });
  return same && column == names_.size();
}

// Names that only the server knew (`cvv::text` is called cvv).
void CopyColumns::complete_names(std::span<const uint8_t> header) {
  kinds_.clear();
  size_t column = 0;
  each_field(without_end(header), format_, [&](std::span<const uint8_t> field) {
    const std::string& known = names_[column++];
    kinds_.push_back(policies::name_kind(known.empty() && may_be_name(field) ? text_of(field) : known));
  });
  keep_kinds(true);
}

void CopyColumns::guess_header(std::span<const uint8_t> row) {
  row = without_end(row);
  const auto most = std::max_element(std::begin(kDelimiters), std::end(kDelimiters), [row](uint8_t a, uint8_t b) {
    return std::count(row.begin(), row.end(), a) < std::count(row.begin(), row.end(), b);
  });
  format_.delimiter = *most;
  if (*most != '\t') format_.quote = format_.escape = '"';
  bool names = true;
  each_field(row, format_, [&](std::span<const uint8_t> field) {
    names = names && may_be_name(field) && field.size() <= kFieldBytesMax && kinds_.size() < kColumnsMax;
    if (names) kinds_.push_back(policies::name_kind(text_of(field)));
  });
  keep_kinds(names);
}

void CopyColumns::split(std::span<uint8_t> row) {
  size_t column = 0;
  each_field(without_end(row), format_, [&](std::span<uint8_t> field) {
    const NameKind name = kind_of(column);
    ++column;
    if (field.empty() || text_of(field) == "\\N") return;
    if (name == NameKind::pan || policies::is_secret(name)) found_.push_back({field, name});
  });
}

}  // namespace sluice::session
