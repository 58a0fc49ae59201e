// Whatever bytes a segment has: reading, recovery and verify neither crash nor run away, and agree with each other.
// What recovery accepts is an intact log once it is closed; what verify calls intact can be opened. The first byte of
// the input chooses (bit 0): raw bytes of a file, or bodies that get a valid frame (so that the fuzzer comes past the
// CRC).
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "daemon/audit/event_query.h"
#include "daemon/audit/file_system.h"
#include "daemon/audit/log_format.h"
#include "daemon/audit/recovery.h"
#include "daemon/audit/segment_scan.h"
#include "daemon/audit/verify.h"

namespace {

using namespace sluice::audit;

constexpr uint8_t kBoot = 7;

const std::string& directory() {
  static const std::string path = [] {
    std::string name = (std::filesystem::temp_directory_path() / "sluice-fuzz-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    return name;
  }();
  return path;
}

// Bodies from the input: a length byte, then so many bytes; the first record is a good description of a segment.
std::string framed(std::string_view input) {
  std::string file = encode_prefix();
  SegmentRecord header;
  header.boot_id.fill(kBoot);
  append_record(file, RecordKind::segment, true, encode(header));
  while (!input.empty()) {
    const size_t length = std::min<size_t>(static_cast<uint8_t>(input[0]), input.size() - 1);
    input.remove_prefix(1);
    if (length > 0) {
      const auto kind = body_kind(static_cast<uint8_t>(input[0]));
      append_record(file, kind.has_value() ? kind->kind : RecordKind::event, kind.has_value() && kind->after_commit,
                    input.substr(1, length - 1));
    }
    input.remove_prefix(length);
  }
  return file;
}

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string bytes = (data[0] & 1) != 0 ? std::string(input) : framed(input);
  const std::string name = segment_name(0);
  std::ofstream(directory() + "/" + name, std::ios::binary | std::ios::trunc) << bytes;

  const VerifyReport before = verify(directory());
  static_cast<void>(query_events(directory(), {}, [](std::string_view) { return true; }));
  static_cast<void>(scan_sealed_quickly(directory(), name));

  const sluice::UniqueFd fd(::open(directory().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  BootId boot{};
  boot.fill((data[0] & 2) != 0 ? kBoot : 1);  // the same boot as the writer's, or another one
  const auto position = recover_log(real_file_system(), {directory(), fd.get(), boot, 0});
  const VerifyReport after = verify(directory());
  if (before.verdict == Verdict::intact) {
    require(position.has_value(), "an intact log can be opened");
    require(after.root_hash == before.root_hash, "opening an intact log does not change it");
  }
  if (position.has_value()) {
    const bool whole = after.verdict == Verdict::intact || after.verdict == Verdict::incomplete;
    require(whole, "what recovery accepts is in order");
  } else {
    require(after.verdict == before.verdict, "what recovery refuses it leaves alone");
  }
  return 0;
}
