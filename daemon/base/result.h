// Results of operations that can fail for reasons outside our control (system calls, files, peers).
// An Error is a sentence for a person; context is put in front as it rises: "load policy: open F: permission denied".
// Our own bugs are assertions, never Errors. Nothing here throws.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace sluice {

struct Error {
  std::string message;
};

template <typename T>
using Result = tl::expected<T, Error>;
using Status = tl::expected<void, Error>;

// fail("open /x: denied") is what a failing function returns.
[[nodiscard]] inline tl::unexpected<Error> fail(std::string message) {
  return tl::unexpected<Error>(Error{std::move(message)});
}

// fail_errno("open /x", errno) → "open /x: Permission denied".
[[nodiscard]] tl::unexpected<Error> fail_errno(std::string_view what, int error_number);

// The same error with context in front of it.
[[nodiscard]] inline tl::unexpected<Error> within(std::string_view context, const Error& error) {
  return tl::unexpected<Error>(Error{std::string(context) + ": " + error.message});
}

}  // namespace sluice
