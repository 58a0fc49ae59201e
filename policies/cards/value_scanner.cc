#include "policies/cards/value_scanner.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "policies/cards/array_header.h"
#include "policies/cards/binary_types.h"
#include "policies/cards/digit_prefilter.h"
#include "policies/cards/encoded_bytes.h"
#include "policies/cards/numbers.h"
#include "policies/cards/value_part.h"

namespace sluice::policies::cards {
namespace {

// A number that comes in parts is put together up to this size; anything longer is no number with a card number in it.
constexpr size_t kScalarBytesMax = 64;
static_assert(kScalarBytesMax >= kNumberTextBytesMax && kScalarBytesMax >= kNumericBinaryBytesMax);

// Bytes of unknown type that come in parts are held up to here: a number or the header of an array is seen whole.
constexpr size_t kOpaqueHeldBytes = 64;
static_assert(kOpaqueHeldBytes >= kScalarBytesMax && kOpaqueHeldBytes >= kArrayHeaderBytesMax + 4);

constexpr size_t kNumericBinaryBytesMin = 10;  // header and one group
constexpr size_t kArrayBinaryBytesMin = 32;    // header, one dimension, one element of eight bytes
constexpr size_t kFloatTextBytesMin = 5;       // "4e+15"

// How often the walk over quotes is asked to stop earlier.
constexpr int kQuotedAttemptsMax = 8;

// A shorter value holds no card number: by type, in text and in binary.
struct BytesMin {
  size_t text = kPanDigitsMin, binary = kPanDigitsMin;
};
constexpr std::array<BytesMin, kValueTypeCount> make_bytes_min() {
  std::array<BytesMin, kValueTypeCount> min{};
  const auto of = [&min](ValueType type) -> BytesMin& { return min[static_cast<size_t>(type)]; };
  of(ValueType::integer).binary = kInt8Bytes;
  of(ValueType::numeric).binary = kNumericBinaryBytesMin;
  of(ValueType::floating) = {kFloatTextBytesMin, kFloat8Bytes};
  of(ValueType::opaque).binary = of(ValueType::integer_range).binary = of(ValueType::geometric).binary = kInt8Bytes;
  of(ValueType::bytea).binary = kPackedBytesMin;
  of(ValueType::opaque).binary = kPackedBytesMin;
  of(ValueType::inert).binary = SIZE_MAX;
  return min;
}
constexpr std::array<BytesMin, kValueTypeCount> kBytesMin = make_bytes_min();

// Values of which a short one may stand under its key.
[[nodiscard]] bool holds_keys(const ValueView& value) {
  switch (value.type) {
    case ValueType::text:
    case ValueType::copy_row:
    case ValueType::json:
    case ValueType::jsonb:
    case ValueType::array:
    case ValueType::text_array:
      return true;
    case ValueType::opaque:
      return value.format == ValueFormat::text;
    default:
      return false;
  }
}

[[nodiscard]] bool is_too_short(const ValueView& value) {
  const BytesMin& min = kBytesMin[static_cast<size_t>(value.type)];
  const bool too_short = value.bytes.size() < (value.format == ValueFormat::text ? min.text : min.binary);
  return too_short && !(holds_keys(value) && may_hold_key(value.bytes));
}

[[nodiscard]] bool is_scalar(ValueType type) {
  return type == ValueType::integer || type == ValueType::numeric || type == ValueType::floating;
}

// Are these bytes looked at as characters alone, or as characters and numbers among them?
[[nodiscard]] bool is_text(const ValueView& value) {
  return value.type == ValueType::text || value.type == ValueType::copy_row;
}
[[nodiscard]] bool has_characters(const ValueView& value) {
  switch (value.type) {
    case ValueType::text:
    case ValueType::copy_row:
    case ValueType::json:
    case ValueType::jsonb:
    case ValueType::bytea:
      return true;
    case ValueType::floating:  // an exponent stands for digits
      return false;
    default:
      return value.format == ValueFormat::text;
  }
}

// Looks a little further than at what the scan itself takes in.
[[nodiscard]] bool may_hold_packed(std::span<const uint8_t> bytes) {
  return find_packed(bytes) || find_in_message(bytes) || find_object(bytes, 0);
}

// The quick no for what is no text: true where this whole value holds no card number, decided in nanoseconds.
bool cannot_hold(const ValueView& value, TextScanner& text) {
  const std::span<const uint8_t> bytes = value.bytes;
  const auto few_digits = [&] { return !has_enough_digits(bytes) && !text.may_hide(bytes); };
  switch (value.type) {
    case ValueType::opaque:
      if (bytes.size() == kInt8Bytes) return !find_in_eight_bytes(bytes) && !find_packed_in_unknown(bytes);
      return !has_enough_digits(bytes) && !find_in_numeric(bytes) && !is_composite(bytes) && !may_hold_packed(bytes) &&
             few_digits();
    case ValueType::integer_range:
      return !is_composite(bytes) && few_digits();
    case ValueType::inert:
      return true;
    case ValueType::integer:
      return bytes.size() == kInt8Bytes ? !find_in_int8(bytes) : few_digits();
    case ValueType::numeric:
      return bytes.size() > kNumericBinaryBytesMax && few_digits();
    case ValueType::array:
    case ValueType::text_array:
      return bytes.size() < kArrayBinaryBytesMin && few_digits();
    default:
      return false;
  }
}

}  // namespace

std::unique_ptr<ValueScanner> ValueScanner::create(Engine engine, DetectorOptions options, std::string& why) {
  std::unique_ptr<ValueScanner> scanner(new ValueScanner);
  scanner->secrets_ = options.secrets;
  scanner->text_ = TextScanner::create(engine, options.keys, why);
  return scanner->text_ == nullptr ? nullptr : std::move(scanner);
}

size_t ValueScanner::scan(const ValueView& value, uint32_t index, std::vector<Finding>& findings) {
  if (value.part == ValuePart::whole) {
    if (value.name == NameKind::none && (is_too_short(value) || is_settled_at_a_glance(value, index, findings))) {
      return value.bytes.size();
    }
    Part part{value.bytes, value.type,   value.format, Ending::complete, {},  0,
              index,       value.column, &findings,    value.name,       true};
    scan_part(part);
    return value.bytes.size();
  }
  assert(value.stream != nullptr);
  const Ending ending = value.part == ValuePart::last ? Ending::complete : Ending::more_follows;
  Part part{value.bytes, value.type, value.format, ending, {}, 0, index, value.column, &findings, value.name};
  std::memcpy(&part.memory, value.stream->bytes, sizeof(StreamMemory));
  // A number that was held until it was whole.
  if (ending == Ending::complete && is_scalar(value.type) && part.memory.mode == 0 && part.memory.begun == 0) {
    ValueView whole = value;
    whole.part = ValuePart::whole;
    return scan(whole, index, findings);
  }
  const size_t decided = scan_part(part);
  std::memcpy(value.stream->bytes, &part.memory, sizeof(StreamMemory));
  return ending == Ending::complete ? value.bytes.size() : decided;
}

// What most fields of a result need: one look.
bool ValueScanner::is_settled_at_a_glance(const ValueView& value, uint32_t index, std::vector<Finding>& findings) {
  if (!has_characters(value)) return value.format == ValueFormat::binary && cannot_hold(value, *text_);
  const bool text = is_text(value);
  text_found_.clear();
  switch (text_->glance(value.bytes, value.type == ValueType::copy_row ? Tabs::part : Tabs::join, text_found_)) {
    case Glance::few:
      return value.type != ValueType::bytea || value.format == ValueFormat::text || !may_hold_packed(value.bytes);
    case Glance::nothing:
      return text;
    case Glance::cards:
      if (!text) return false;
      for (const TextFinding& found : text_found_) {
        findings.push_back({index, static_cast<uint32_t>(found.start), found.candidate.digits, FindingKind::pan,
                            found.candidate.brand, found.candidate.digits, value.column, FindingForm::characters,
                            found.candidate.last_kept});
      }
      return true;
    case Glance::ask:
      break;
  }
  return false;
}

// A value that its column's name says is a code or PIN. False where it is none, and is to be looked at as any other.
bool ValueScanner::cover_value(Part& part) {
  enum : uint8_t { kUndecided = 0, kHex = 2, kNoHex = 3 };
  const bool continued = !part.whole && part.memory.begun != 0;
  const bool more = part.ending == Ending::more_follows;
  if (part.name != NameKind::cvv && !part.whole) return false;
  if (is_scalar(part.type) && part.format == ValueFormat::binary && more) return false;  // it is held until it is whole
  std::optional<FindingForm> form = cover_for(part.name, part.type, part.format, part.bytes);
  if (!form) return false;
  if (part.type == ValueType::bytea && part.format == ValueFormat::text) {
    // Of the first part its front tells which form all of them have.
    if (part.memory.mode == kUndecided) part.memory.mode = *form == FindingForm::covered_hex ? kHex : kNoHex;
    form = part.memory.mode == kHex ? FindingForm::covered_hex : FindingForm::covered_number;
  }
  part.memory.begun = 1;
  if (is_uncovered(part.bytes, *form)) part.add_secret(0, part.bytes.size(), secret_kind(part.name), *form, continued);
  return true;
}

size_t ValueScanner::scan_part(Part& part) {
  if (is_secret(part.name) && cover_value(part)) return part.bytes.size();
  const bool binary = part.format == ValueFormat::binary;
  switch (part.type) {
    case ValueType::integer:
    case ValueType::numeric:
    case ValueType::floating:
      return scan_scalar(part);
    case ValueType::opaque:
    case ValueType::integer_range:
      return binary ? scan_opaque(part) : scan_characters(part);
    case ValueType::inert:
      return binary ? part.bytes.size() : scan_characters(part);
    case ValueType::geometric:
      return binary ? scan_geometric(part) : scan_quoted_characters(part);
    case ValueType::json:
      return scan_quoted_characters(part);
    case ValueType::jsonb:
      return binary ? scan_jsonb(part) : scan_quoted_characters(part);
    case ValueType::bytea:
      return binary ? scan_bytes(part) : scan_bytea_text(part);
    case ValueType::array:
      return binary ? scan_array(part) : scan_quoted_characters(part);
    case ValueType::text_array:
      return binary ? scan_array(part) : scan_characters(part);
    case ValueType::text:
    case ValueType::copy_row:
      break;
  }
  return scan_characters(part);
}

size_t ValueScanner::scan_characters(Part& part) {
  if (find_short_in_column(part)) return part.bytes.size();
  const size_t first_finding = part.findings->size();
  const Tabs tabs = part.type == ValueType::copy_row ? Tabs::part : Tabs::join;
  const size_t decided = look_for_text(part, tabs);
  together_.clear();
  const size_t settled = look_for_hidden(part, decided, first_finding, tabs);
  keep_settled(part, settled, first_finding);
  return settled;
}

// Twelve digits, all of a value in a column that is named as one of card numbers: too short for the other looks.
bool ValueScanner::find_short_in_column(Part& part) {
  if (!part.whole || part.name != NameKind::pan || part.bytes.size() != kContextDigitsMin) return false;
  const auto found = find_in_number_text(part.bytes, Said::card);
  if (!found || found->length != part.bytes.size()) return false;
  part.add(*found, FindingForm::characters);
  return true;
}

size_t ValueScanner::look_for_text(Part& part, Tabs tabs) {
  text_found_.clear();
  const size_t decided =
      text_->scan(TextView(part.bytes, &part.memory.left, tabs, part.name), part.ending, text_found_);
  for (const TextFinding& found : text_found_) {
    part.add(found.start, found.candidate.end - found.start, found.candidate.digits, found.candidate.brand,
             FindingForm::characters, found.candidate.last_kept, found.candidate.tail);
  }
  return decided;
}

size_t ValueScanner::scan_quoted_characters(Part& part) {
  const size_t first_finding = part.findings->size();
  QuoteState state{part.memory.quoted != 0, part.memory.escaped != 0, part.memory.in_long_token != 0};
  const QuoteState state_before = state;
  quoted_found_.clear();
  together_.clear();
  const TextView text(part.bytes, &part.memory.left, Tabs::join, part.name);
  size_t decided = scan_quoted(*text_, text, part.ending, state, text_found_, quoted_found_);
  for (const QuotedFinding& found : quoted_found_) {
    part.add(found.offset, found.length, found.digits, found.brand, found.form, found.last_kept, found.tail);
  }
  size_t settled = look_for_hidden(part, decided, first_finding, Tabs::join);
  // The walk over quotes stops only where it may, and the text may not be cut everywhere: a place that suits both.
  for (int attempt = 0; settled != decided && attempt < kQuotedAttemptsMax; ++attempt) {
    state = state_before;
    decided = stop_quoted(text, settled, state);
    settled = hidden_.settle(decided);
  }
  part.memory.quoted = state.quoted ? 1 : 0;
  part.memory.escaped = state.escaped ? 1 : 0;
  part.memory.in_long_token = state.in_long_token ? 1 : 0;
  keep_settled(part, decided, first_finding);
  return decided;
}

// The second look, after the plain one. Returns how many bytes can be decided now.
size_t ValueScanner::look_for_hidden(Part& part, size_t decided, size_t first_finding, Tabs tabs) {
  hidden_found_.clear();
  any_sign_ = text_->mark_signs(part.bytes, signs_);
  if (!text_->tagged().empty()) look_for_tags(part, first_finding, tabs);
  if (!any_sign_ && part.ending == Ending::complete) return decided;
  if (part.ending == Ending::more_follows) hold_open_tags(part);
  const PlainLook plain{std::span(*part.findings).subspan(first_finding), part.base, decided, together_};
  return hidden_.scan(*text_, TextView(part.bytes, &part.memory.left, tabs), signs_, part.memory.left,
                      part.memory.hidden, plain, part.ending, hidden_found_);
}

// Keeps what ends within the decided bytes, of both looks, adds the third look, and moves the memory on behind them.
void ValueScanner::keep_settled(Part& part, size_t decided, size_t first_finding) {
  std::vector<Finding>& findings = *part.findings;
  const bool more = part.ending == Ending::more_follows;
  if (more) {
    while (findings.size() > first_finding && findings.back().offset - part.base + findings.back().length > decided)
      findings.pop_back();
    hidden_.remember(decided, part.memory.hidden);
  }
  join_findings(part, decided, first_finding);
  const bool streamed = more || part.memory.left.size > 0;
  if (any_sign_ || streamed || findings.size() > first_finding) look_for_secrets(part, decided, first_finding);
  if (more) part.memory.left.append(part.bytes.first(decided));
}

// Puts what the second look found among what the first did.
void ValueScanner::join_findings(Part& part, size_t decided, size_t first_finding) {
  std::vector<Finding>& findings = *part.findings;
  const size_t plain_end = findings.size();
  for (const HiddenFinding& hidden : hidden_found_) {
    if (hidden.end > decided) break;
    part.add(hidden.start, hidden.end - hidden.start, hidden.candidate.digits, hidden.candidate.brand, hidden.form,
             hidden.candidate.last_kept, hidden.candidate.tail);
  }
  if (findings.size() != plain_end) part.put_in_order(first_finding);
}

// A number is looked at as a whole, so its first parts are held back.
size_t ValueScanner::scan_scalar(Part& part) {
  enum : uint8_t { kUndecided = 0, kTooLong = 1 };
  const bool binary = part.format == ValueFormat::binary;
  if (part.memory.mode == kUndecided) {
    if (part.bytes.size() > kScalarBytesMax) {
      part.memory.mode = kTooLong;
    } else if (part.ending == Ending::more_follows) {
      return 0;
    }
  }
  if (part.memory.mode == kUndecided) {
    std::optional<NumberFinding> found;
    FindingForm form = FindingForm::decimal;
    const Said said = part.name == NameKind::pan ? Said::card : Said::nothing;
    if (!binary) {
      found = find_in_number_text(part.bytes, said);
    } else if (part.type == ValueType::numeric) {
      found = find_in_numeric(part.bytes, said), form = FindingForm::numeric_binary;
    } else if (part.type == ValueType::floating) {
      found = find_in_float8(part.bytes, said), form = FindingForm::float8_binary;
    } else {
      found = find_in_int8(part.bytes, said), form = FindingForm::int8_binary;
    }
    if (found) {
      part.add(*found, form);
      return part.bytes.size();
    }
  }
  // No number, or not one as its type says: whatever it is, it is looked at as bytes.
  return scan_characters(part);
}

// Bytes of which nobody said what they are, in binary: every form that they have exactly, and characters at last.
size_t ValueScanner::scan_opaque(Part& part) {
  enum : uint8_t { kUndecided = 0, kCharacters = 1, kJsonb = 2, kArray = 3 };
  const auto as_array = [this, &part] {
    const size_t decided = scan_array(part);
    part.memory.opaque_as = kArray;
    return decided;
  };
  const auto as_jsonb = [this, &part] {
    const size_t decided = scan_jsonb(part);
    part.memory.opaque_as = kJsonb;
    return decided;
  };
  if (part.memory.opaque_as == kArray) return as_array();
  if (part.memory.opaque_as == kJsonb) return as_jsonb();
  if (part.memory.opaque_as == kCharacters) return scan_bytes(part);
  if (part.ending == Ending::complete) {
    if (part.bytes.size() == kInt8Bytes) {
      if (const auto found = find_in_eight_bytes(part.bytes)) {
        part.add(found->number, found->form);
        return part.bytes.size();
      }
      if (const auto packed = find_packed_in_unknown(part.bytes)) add_whole(part, *packed);
      return part.bytes.size();
    }
    if (const auto numeric = find_in_numeric(part.bytes)) {
      part.add(*numeric, FindingForm::numeric_binary);
      return part.bytes.size();
    }
    if (scan_composite(part)) return part.bytes.size();
  } else if (part.bytes.size() <= kOpaqueHeldBytes) {
    return 0;
  } else if (begins_as_array(part.bytes)) {
    return as_array();
  }
  if (begins_as_jsonb(part.bytes)) return as_jsonb();
  part.memory.opaque_as = kCharacters;
  return scan_bytes(part);
}

// Coordinates are float8 (point_send, path_send, poly_send …): behind the closed flag and the count of a path, behind
// the count of a polygon, and from the first byte on in all others. Parts of larger ones are looked at as characters.
size_t ValueScanner::scan_geometric(Part& part) {
  enum : uint8_t { kWhole = 0, kInParts = 1 };
  const size_t before = part.bytes.size() % kFloat8Bytes;
  if (part.memory.mode == kInParts || part.ending == Ending::more_follows) {
    part.memory.mode = kInParts;
    return scan_characters(part);
  }
  for (size_t at = before; at < part.bytes.size(); at += kFloat8Bytes) {
    if (const auto found = find_in_float8(part.bytes.subspan(at, kFloat8Bytes)))
      part.behind(at).add(*found, FindingForm::float8_binary);
  }
  return part.bytes.size();
}

// jsonb on the wire (jsonb_recv): one version byte, then the text.
size_t ValueScanner::scan_jsonb(Part& part) {
  const size_t skipped = part.memory.begun != 0 || part.bytes.empty() ? 0 : 1;
  Part text = part.behind(skipped);
  text.memory.begun |= static_cast<uint8_t>(skipped);
  const size_t decided = skipped + scan_quoted_characters(text);
  part.memory = text.memory;
  return decided;
}

}  // namespace sluice::policies::cards
