// The filter language of `sluice events --filter`: comparisons of keys joined by and, or, not and parentheses.
//   type=command_blocked and target=payments-* and identity.user=alice and command.text~"cards"
// Operators: = and != (with `*` as wildcard), ~ (regular expression, linear time), < <= > >= on numbers. A key of a
// list matches where one entry does; != where none does. Limits below; grammar and keys in docs/events.md. A Filter is
// immutable but owns matcher scratch: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"

namespace sluice::audit {

enum class FilterKey : uint8_t {
  index,
  type,
  session,
  target,
  outcome,
  rule,
  policy_version,
  origin,
  destination,
  user,
  uid,
  gid,
  group,
  pid,
  exe,
  exe_sha256,
  unit,
  container,
  cgroup,
  db_user,
  database,
  application,
  command_id,
  text,
  stage,
  kind,
  relation,
  function,
  error_code,
  detail,
  finding_kind,
  finding_brand,
  finding_where,
  rows,
  bytes,
};

// What a filter is asked about: the values of a key, none or several.
class FilterSubject {
 public:
  virtual ~FilterSubject() = default;
  // Appends to `out`; the views stay valid while the subject does.
  virtual void values(FilterKey key, std::vector<std::string_view>& out) const = 0;
};

class Filter {
 public:
  static constexpr size_t kBytesMax = 4096;
  static constexpr size_t kDepthMax = 32;
  static constexpr size_t kComparisonsMax = 64;
  static constexpr size_t kPatternBytesMax = 256;

  // An empty text matches everything. Errors name the position ("at 6: …") and what is possible there.
  [[nodiscard]] static Result<Filter> parse(std::string_view text);
  ~Filter();
  Filter(Filter&&) noexcept;
  Filter& operator=(Filter&&) noexcept;

  [[nodiscard]] bool matches(const FilterSubject& subject) const;

 private:
  struct Node;
  class Parser;
  Filter();
  std::unique_ptr<Node> root_;
};

// Whether `text` is what `pattern` says, `*` standing for any bytes.
[[nodiscard]] bool glob_matches(std::string_view pattern, std::string_view text);

}  // namespace sluice::audit
