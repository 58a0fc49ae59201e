// What the command line answers to scripts. One meaning per number, for every command (docs/operate.md).
#pragma once

namespace sluice::cli {

enum ExitStatus : int {
  kSuccess = 0,
  kNo = 1,           // the answer is "no": not found, refused, card data found
  kUsage = 2,        // wrong usage or configuration, or the thing asked for cannot be read
  kUnreachable = 3,  // the daemon cannot be reached
  kTampered = 4,     // the audit log was tampered with
  kIncomplete = 5,   // the audit log is incomplete
};

}  // namespace sluice::cli
