// What `sluice try` saw, from the audit log of its daemon: on stderr, because stdout is the command's. One thread.
#pragma once

#include "daemon/cli/context.h"
#include "daemon/cli/try_scratch.h"

namespace sluice::cli {

inline constexpr size_t kRefusalsShownMax = 20;

void print_try_summary(const Context& context, const TryScratch& scratch, const config::Config& config);

}  // namespace sluice::cli
