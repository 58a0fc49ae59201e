// Looks into one value as its type and format say, and turns what the text and number detectors find into findings on
// the value's own bytes. One ValueScanner per thread. docs/masking.md lists what is looked into.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "policies/cards/card_scanner.h"
#include "policies/cards/hidden_text.h"
#include "policies/cards/packed_digits.h"
#include "policies/cards/quoted_text.h"
#include "policies/cards/secrets.h"
#include "policies/cards/text_scanner.h"
#include "policies/cards/value.h"

namespace sluice::policies::cards {

// What StreamState holds between the parts of a value.
struct StreamMemory {
  LeftContext left;
  HiddenMemory hidden;
  uint8_t begun = 0;
  uint8_t mode = 0;  // each type's own
  uint8_t quoted = 0, escaped = 0, in_long_token = 0;
  uint8_t element_type = 0;
  uint8_t element_mode = 0, element_begun = 0;
  uint8_t depth = 0;        // of containers around this value
  uint8_t opaque_as = 0;    // what bytes of unknown type are taken for
  uint8_t secret_left = 0;  // bytes at the front of the next part that belong to a finding of secrets.h
  FindingKind secret_kind = {};
  FindingForm secret_form = {};
  uint16_t card_reach = 0;  // bytes that names still are beside the last card number; 0: none was near
  uint32_t elements_left = 0;
  uint32_t element_left = 0;  // bytes of the array element that are still to come
};
static_assert(sizeof(StreamMemory) <= sizeof(StreamState::bytes));

struct Part;  // value_part.h

class ValueScanner {
 public:
  [[nodiscard]] static std::unique_ptr<ValueScanner> create(Engine engine, DetectorOptions options, std::string& why);

  // Appends the findings of one value (or part of one), in order, with `index` as their value. Returns how many bytes
  // are decided.
  size_t scan(const ValueView& value, uint32_t index, std::vector<Finding>& findings);

 private:
  ValueScanner() = default;
  bool is_settled_at_a_glance(const ValueView& value, uint32_t index, std::vector<Finding>& findings);
  size_t scan_part(Part& part);
  size_t scan_characters(Part& part);
  size_t scan_bytes(Part& part);
  static bool find_short_in_column(Part& part);
  size_t look_for_text(Part& part, Tabs tabs);
  void look_for_tags(Part& part, size_t first_finding, Tabs tabs);
  void hold_open_tags(const Part& part);
  void hold_packed(std::span<const uint8_t> bytes);
  void cover_what_masks_pack(Part& part, size_t first_finding);
  void add_whole(Part& part, const PackedFinding& packed);
  enum class Held : uint8_t { bytes, text };
  void choose_fillers(Part& part, std::span<const uint8_t> bytes, size_t first_finding,
                      std::span<const PackedFinding> all, Held held, Tabs tabs);
  void choose_filler(const Part& part, std::span<const uint8_t> bytes, std::span<const Finding> findings, Finding& mine,
                     const PackedFinding& packed, size_t from, Held held, Tabs tabs);
  size_t look_for_hidden(Part& part, size_t decided, size_t first_finding, Tabs tabs);
  void keep_settled(Part& part, size_t decided, size_t first_finding);
  void join_findings(Part& part, size_t decided, size_t first_finding);
  void look_for_secrets(Part& part, size_t decided, size_t first_finding);
  void look_at_keys(Part& part, const TextView& text, size_t decided, size_t first_finding, size_t cards_end);
  bool cover_value(Part& part);
  size_t scan_quoted_characters(Part& part);
  size_t scan_scalar(Part& part);
  size_t scan_opaque(Part& part);
  size_t scan_geometric(Part& part);
  size_t scan_jsonb(Part& part);
  size_t scan_bytea_text(Part& part);
  size_t scan_hex(Part& part, size_t from);
  size_t scan_octal_escapes(Part& part);
  size_t scan_array(Part& part);
  size_t scan_element(Part& part, size_t at);
  bool scan_composite(Part& part);

  KeyedSecrets secrets_ = KeyedSecrets::everywhere;
  std::unique_ptr<TextScanner> text_;
  std::vector<TextFinding> text_found_;
  std::vector<QuotedFinding> quoted_found_;
  HiddenText hidden_;
  std::vector<HiddenFinding> hidden_found_;
  SignBlocks signs_;
  bool any_sign_ = false;
  std::vector<PackedFinding> packed_, tagged_;
  bool in_bytes_ = false;  // what is looked at as characters may hold numbers in binary too
  std::vector<uint8_t> beside_;
  std::vector<Unsettled> together_;  // stretches within which the value must not be cut
  std::vector<uint8_t> with_packed_masked_;
  std::vector<uint8_t> decoded_;
  std::vector<uint32_t> decoded_from_;
};

}  // namespace sluice::policies::cards
