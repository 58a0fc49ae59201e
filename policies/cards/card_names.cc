#include "policies/cards/card_names.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace sluice::policies {
namespace {

constexpr size_t kNameBytesMax = 64;  // of a longer name the last ones
constexpr size_t kWordsMax = 5;       // that one entry of the list is put together from

struct Known {
  std::string_view words;  // joined
  NameKind kind;
};
using enum NameKind;

// By their letters, for the search.
constexpr Known kKnown[] = {
    {"cabal", pan},
    {"card", pan},
    {"cardaccountnumber", pan},
    {"cardcid", cvv},
    {"cardcode", code},
    {"cardcsc", cvv},
    {"cardcvc", cvv},
    {"cardcvv", cvv},
    {"cardexp", expiry},
    {"cardexpiry", expiry},
    {"cardno", pan},
    {"cardnr", pan},
    {"cardnum", pan},
    {"cardnumber", pan},
    {"cardpan", pan},
    {"cardpin", pin},
    {"cards", pan},
    {"cardsecuritycode", cvv},
    {"cardvalidationcode", cvv},
    {"cardvalidationvalue", cvv},
    {"cardverification", cvv},
    {"cardverificationcode", cvv},
    {"cardverificationnumber", cvv},
    {"cardverificationvalue", cvv},
    {"carta", pan},
    {"cartao", pan},
    {"carte", pan},
    {"cartebancaire", pan},
    {"cart\xC3\xA3o", pan},
    {"cav", cvv},
    {"cc", pan},
    {"cccvc", cvv},
    {"cccvv", cvv},
    {"ccexp", expiry},
    {"ccn", pan},
    {"ccno", pan},
    {"ccnr", pan},
    {"ccnum", pan},
    {"ccnumber", pan},
    {"ccv", cvv},
    {"cid", code},
    {"creditcard", pan},
    {"creditcardno", pan},
    {"creditcardnumber", pan},
    {"csc", code},
    {"cvc", cvv},
    {"cvccode", cvv},
    {"cvcvalue", cvv},
    {"cvd", code},
    {"cvn", code},
    {"cvv", cvv},
    {"cvvcode", cvv},
    {"cvvno", cvv},
    {"cvvnumber", cvv},
    {"cvvvalue", cvv},
    {"debitcard", pan},
    {"debitcardnumber", pan},
    {"ean", other},
    {"epoch", other},
    {"expdate", expiry},
    {"expirationdate", expiry},
    {"expiry", expiry},
    {"expirydate", expiry},
    {"expmonth", expiry},
    {"expyear", expiry},
    {"gtin", other},
    {"iccid", other},
    {"imei", other},
    {"invoiceid", other},
    {"invoiceno", other},
    {"invoicenumber", other},
    {"isbn", other},
    {"kaart", pan},
    {"kaartnummer", pan},
    {"karte", pan},
    {"kartennr", pan},
    {"kartennummer", pan},
    {"kartenpruefnummer", cvv},
    {"kartenpr\xC3\xBC"
     "fnummer",
     cvv},
    {"kreditkarte", pan},
    {"kreditkartennr", pan},
    {"kreditkartennummer", pan},
    {"maestro", pan},
    {"messageid", other},
    {"msisdn", other},
    {"numerocarte", pan},
    {"numerotarjeta", pan},
    {"orderid", other},
    {"orderno", other},
    {"ordernumber", other},
    {"pan", pan},
    {"pannumber", pan},
    {"parcelid", other},
    {"pin", pin},
    {"pinblock", pin},
    {"pinnumber", pin},
    {"primaryaccountnumber", pan},
    {"pruefnummer", code},
    {"pr\xC3\xBC"
     "fnummer",
     code},
    {"pvv", code},
    {"securitycode", code},
    {"shipmentid", other},
    {"snowflake", other},
    {"snowflakeid", other},
    {"spanid", other},
    {"tarjeta", pan},
    {"timestamp", other},
    {"traceid", other},
    {"trackingcode", other},
    {"trackingid", other},
    {"trackingno", other},
    {"trackingnumber", other},
    {"tweetid", other},
    {"uatp", pan},
    {"unionpay", pan},
    {"upc", other},
    {"validthru", expiry},
    {"verificationcode", code},
    {"verificationvalue", code},
    {"waybill", other},
};
constexpr bool sorted() {
  for (size_t i = 1; i < std::size(kKnown); ++i) {
    if (!(kKnown[i - 1].words < kKnown[i].words)) return false;
  }
  return true;
}
static_assert(sorted());

constexpr size_t kKnownBytesMax = [] {
  size_t longest = 0;
  for (const Known& known : kKnown) longest = std::max(longest, known.words.size());
  return longest;
}();

NameKind find_known(std::string_view words) {
  if (words.empty() || words.size() > kKnownBytesMax) return none;
  const Known* const at =
      std::lower_bound(std::begin(kKnown), std::end(kKnown), words,
                       [](const Known& known, std::string_view word) { return known.words < word; });
  return at != std::end(kKnown) && at->words == words ? at->kind : none;
}

constexpr bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}
constexpr bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
constexpr bool is_letter(char c) {
  return is_upper(c) || is_lower(c) || static_cast<uint8_t>(c) >= 0x80;
}

// The words of a text, joined in lower case, and where each of them begins.
struct Words {
  std::array<char, kNameBytesMax> letters;
  std::array<uint8_t, kNameBytesMax> begins;
  size_t size = 0, count = 0;

  explicit Words(std::string_view text) {
    bool within = false;
    for (size_t i = 0; i < text.size(); ++i) {
      const char c = text[i];
      if (!is_letter(c)) {
        within = false;
        continue;
      }
      const bool after_lower = i > 0 && is_lower(text[i - 1]);
      const bool last_of_capitals = i > 0 && is_upper(text[i - 1]) && i + 1 < text.size() && is_lower(text[i + 1]);
      if (!within || (is_upper(c) && (after_lower || last_of_capitals))) begins[count++] = static_cast<uint8_t>(size);
      within = true;
      letters[size++] = is_upper(c) ? static_cast<char>(c + ('a' - 'A')) : c;
    }
  }
  [[nodiscard]] std::string_view from(size_t word) const {
    return {letters.data() + begins[word], size - begins[word]};
  }
  [[nodiscard]] std::string_view word(size_t index) const {
    const size_t end = index + 1 < count ? begins[index + 1] : size;
    return {letters.data() + begins[index], end - begins[index]};
  }
};

// Most names end in two letters that no known one ends in.
struct Endings {
  bool known[26][26] = {};
  constexpr Endings() {
    for (const Known& each : kKnown) {
      const char first = each.words[each.words.size() - 2], second = each.words.back();
      if (is_lower(first) && is_lower(second)) known[first - 'a'][second - 'a'] = true;
    }
  }
};
constexpr Endings kEndings;

bool may_be_known(std::string_view name) {
  size_t end = name.size();
  while (end > 0 && !is_letter(name[end - 1])) --end;
  if (end < 2) return false;
  const auto first = static_cast<char>(name[end - 2] | 0x20), second = static_cast<char>(name[end - 1] | 0x20);
  return !is_lower(first) || !is_lower(second) || kEndings.known[first - 'a'][second - 'a'];
}

}  // namespace

NameKind name_kind(std::string_view name) {
  if (!may_be_known(name)) return none;
  if (name.size() > kNameBytesMax) name.remove_prefix(name.size() - kNameBytesMax);
  const Words words(name);
  // The longest of the last words that is known: `card_id` is not known for its `id`.
  for (size_t word = words.count > kWordsMax ? words.count - kWordsMax : 0; word < words.count; ++word) {
    if (const NameKind kind = find_known(words.from(word)); kind != none) return kind;
  }
  return none;
}

namespace cards {

bool ends_near_card_word(std::string_view text) {
  if (text.size() > kNameBytesMax) text.remove_prefix(text.size() - kNameBytesMax);
  const Words words(text);
  for (size_t i = words.count; i-- > 0;) {
    if (find_known(words.word(i)) == NameKind::pan) return true;
  }
  return false;
}

}  // namespace cards
}  // namespace sluice::policies
