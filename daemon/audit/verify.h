// Proves a log directory: every CRC, every hash, continuity from the first segment on, nothing unaccounted for.
// Exit status of `sluice audit verify`: intact 0, tampered 4, incomplete 5, cannot verify 2.
#pragma once

#include <cstdint>
#include <string>

namespace sluice::audit {

enum class Verdict : uint8_t { intact, tampered, incomplete, cannot_verify };

struct VerifyReport {
  Verdict verdict = Verdict::cannot_verify;
  std::string reason;          // one sentence
  uint64_t events = 0;         // leaves covered
  uint64_t first_bad_index = 0;// where verdict is tampered
  std::string bad_file;
  uint64_t segments = 0;
  uint64_t bytes = 0;
  std::string log_id;
  std::string root_hash;       // hex, RFC 6962 Merkle tree head over all leaves
  int64_t first_time_ns = 0;
  int64_t last_time_ns = 0;
};

[[nodiscard]] VerifyReport verify(const std::string& directory);

}  // namespace sluice::audit
