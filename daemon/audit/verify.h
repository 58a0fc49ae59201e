// Proves a log directory: every CRC, every hash, continuity from the first segment on, nothing unaccounted for.
// tampered: something is there that no crash leaves behind. incomplete: what is there is in order, but a part is
// missing, or the log was not closed and nobody is writing it. While a daemon writes, the log is intact up to its last
// whole record. Without a head that was kept elsewhere, a log whose end was removed at the border of a clean stop looks
// like an older log; `kept_head` is what tells. Reads only; scans segments in parallel. Exit status of `sluice audit
// verify`: intact 0, tampered 4, incomplete 5, cannot verify 2.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/base/result.h"

namespace sluice::audit {

enum class Verdict : uint8_t { intact, tampered, incomplete, cannot_verify };

// Size and root of the log at some moment, kept where the log's host cannot change it. The text form is that of a C2SP
// tlog-checkpoint: origin ("sluice.log/<log id>"), size, root in base64, one per line; what follows (signatures) is not
// looked at.
struct LogHead {
  std::string log_id;  // hex
  uint64_t size = 0;   // leaves
  std::string root;    // 32 raw bytes
};
[[nodiscard]] Result<LogHead> parse_head(std::string_view text);
[[nodiscard]] std::string format_head(const LogHead& head);

struct VerifyReport {
  Verdict verdict = Verdict::cannot_verify;
  std::string reason;            // one sentence
  uint64_t events = 0;           // events covered
  uint64_t records = 0;          // leaves covered: events, texts, and what describes segments
  uint64_t first_bad_index = 0;  // where verdict is tampered
  std::string bad_file;
  uint64_t segments = 0;
  uint64_t bytes = 0;
  std::string log_id;
  std::string root_hash;  // hex, RFC 6962 Merkle tree head over all leaves
  int64_t first_time_ns = 0;
  int64_t last_time_ns = 0;
};

[[nodiscard]] VerifyReport verify(const std::string& directory);
[[nodiscard]] VerifyReport verify(const std::string& directory, const std::optional<LogHead>& kept_head);

}  // namespace sluice::audit
