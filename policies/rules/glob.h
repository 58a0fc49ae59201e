// Name patterns of the policy language: `*` is any run of characters (also `/` and `.`), `?` one byte, everything else
// itself, compared byte for byte. Lifetime: a Glob owns its pattern. Threading: immutable. Limits: kPatternBytesMax;
// matching needs no memory and at most pattern × text steps.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sluice::policies {

inline constexpr size_t kPatternBytesMax = 512;

class Glob {
 public:
  Glob() = default;  // matches everything
  [[nodiscard]] static Glob pattern(std::string text);
  // `*` and `?` stand for themselves.
  [[nodiscard]] static Glob literal(std::string text);

  [[nodiscard]] bool matches(std::string_view text) const;
  [[nodiscard]] bool matches_everything() const { return form_ == Form::everything; }
  [[nodiscard]] bool is_literal() const { return form_ == Form::literal; }
  [[nodiscard]] const std::string& text() const { return text_; }
  // True only where everything that `other` matches is matched by this one; false also where that cannot be told.
  [[nodiscard]] bool covers(const Glob& other) const;

 private:
  enum class Form : uint8_t { everything, literal, wildcards };
  Form form_ = Form::everything;
  std::string text_ = "*";
};

}  // namespace sluice::policies
