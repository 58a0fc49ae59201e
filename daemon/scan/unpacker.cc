#include "daemon/scan/unpacker.h"

#include <archive.h>
#include <archive_entry.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "daemon/scan/limits.h"

namespace sluice::scan {
namespace {

constexpr size_t kBlockBytes = size_t{128} * 1024;

struct FreeArchive {
  void operator()(archive* reader) const { archive_read_free(reader); }
};
using Reader = std::unique_ptr<archive, FreeArchive>;

// What libarchive's callbacks work on.
struct Client {
  PackedInput& input;
  ExpansionBudget& budget;
  std::vector<uint8_t> block;
  bool gave_begun = false;
  uint64_t given = 0;
  bool ended = false;
  std::string failure;
};

la_ssize_t give_block(archive* reader, void* data, const void** out) {
  auto& client = *static_cast<Client*>(data);
  size_t count = 0;
  if (!client.gave_begun && !client.input.begun.empty()) {
    *out = client.input.begun.data();
    count = client.input.begun.size();
  } else {
    client.block.resize(kBlockBytes);
    const Result<size_t> read = client.input.source.read(client.block);
    if (!read) {
      client.failure = read.error().message;
      archive_set_error(reader, EIO, "%s", client.failure.c_str());
      return ARCHIVE_FATAL;
    }
    *out = client.block.data();
    count = *read;
    client.ended = count == 0;
  }
  client.gave_begun = true;
  client.given += count;
  if (client.input.outermost) client.budget.read_packed(count);
  return static_cast<la_ssize_t>(count);
}

la_int64_t seek(archive* reader, void* data, la_int64_t offset, int whence) {
  const off_t at = ::lseek(static_cast<Client*>(data)->input.seekable_fd, offset, whence);
  if (at >= 0) return at;
  archive_set_error(reader, errno, "cannot seek");
  return ARCHIVE_FATAL;
}

std::string error_of(archive* reader) {
  const char* text = archive_error_string(reader);
  return text != nullptr && *text != '\0' ? text : "cannot be unpacked";
}

class MemberSource final : public ByteSource {
 public:
  MemberSource(archive* reader, ExpansionBudget& budget) : reader_(reader), budget_(budget) {}

  [[nodiscard]] Result<size_t> read(std::span<uint8_t> room) override {
    if (budget_.exhausted()) return fail("expands too far");
    la_ssize_t count = ARCHIVE_RETRY;
    for (int tries = 0; count == ARCHIVE_RETRY && tries < kTriesMax; ++tries)
      count = archive_read_data(reader_, room.data(), room.size());
    if (count < 0) {
      failed_ = true;
      return fail(error_of(reader_));
    }
    if (const Status taken = budget_.take_expanded(static_cast<uint64_t>(count)); !taken)
      return tl::unexpected(taken.error());
    return static_cast<size_t>(count);
  }

  [[nodiscard]] bool failed() const { return failed_; }

 private:
  static constexpr int kTriesMax = 10;
  archive* reader_;
  ExpansionBudget& budget_;
  bool failed_ = false;
};

Result<Reader> open(Client& client) {
  Reader reader(archive_read_new());
  if (reader == nullptr) return fail("out of memory");
  archive* const raw = reader.get();
  // Only what a packing signature leads to; every format more is more code that hostile files can reach.
  archive_read_support_filter_gzip(raw);
  archive_read_support_filter_bzip2(raw);
  archive_read_support_filter_xz(raw);
  archive_read_support_filter_zstd(raw);
  archive_read_support_filter_lz4(raw);
  archive_read_support_filter_lzip(raw);
  archive_read_support_filter_compress(raw);
  archive_read_support_format_tar(raw);
  archive_read_support_format_zip(raw);
  archive_read_support_format_raw(raw);
  archive_read_support_format_empty(raw);
  // Tars behind one another are one to tar -i; what stands behind the first must not go unseen.
  archive_read_set_format_option(raw, "tar", "read_concatenated_archives", "1");
  archive_read_set_callback_data(raw, &client);
  archive_read_set_read_callback(raw, give_block);
  if (client.input.seekable_fd >= 0) archive_read_set_seek_callback(raw, seek);
  if (archive_read_open1(raw) != ARCHIVE_OK) return fail(error_of(raw));
  return reader;
}

std::string name_of(archive_entry* entry) {
  const char* name = archive_entry_pathname_utf8(entry);
  if (name == nullptr) name = archive_entry_pathname(entry);
  std::string text = name != nullptr ? name : "(name that cannot be read)";
  if (text.size() > kMemberNameBytesMax) text.resize(kMemberNameBytesMax);
  return text;
}

bool is_single(archive* reader) {
  return (archive_format(reader) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_RAW;
}

// Of a compressed text: bytes behind its end, which no decompressor shows.
Status check_rest(archive* reader, Client& client) {
  const uint64_t used = static_cast<uint64_t>(archive_filter_bytes(reader, -1));
  uint64_t rest = client.given > used ? client.given - used : 0;
  if (rest == 0 && !client.ended) {
    client.block.resize(kBlockBytes);
    const Result<size_t> more = client.input.source.read(client.block);
    if (!more) return tl::unexpected(more.error());
    rest = *more;
  }
  if (rest == 0) return {};
  return fail("something follows behind the end of the compressed data; it was not looked at");
}

}  // namespace

Status ExpansionBudget::take_expanded(uint64_t bytes) {
  expanded_ += bytes;
  const uint64_t allowed = bytes_max_ != 0 ? bytes_max_ : std::max(kExpandedFreeBytes, packed_ * kExpansionRatioMax);
  if (expanded_ <= allowed) return {};
  exhausted_ = true;
  return fail("expands to more than " + std::to_string(allowed) + " bytes; the rest was not looked at");
}

Status ExpansionBudget::take_member() {
  if (++members_ <= kMembersMax) return {};
  exhausted_ = true;
  return fail("more than " + std::to_string(kMembersMax) + " members; the rest was not looked at");
}

Status unpack(PackedInput& input, ExpansionBudget& budget, const OnMember& on_member,
              const OnMemberProblem& on_problem) {
  Client client{input, budget, {}, false, 0, false, {}};
  Result<Reader> reader = open(client);
  if (!reader) return tl::unexpected(reader.error());
  archive* const raw = reader->get();
  bool damage_said = false;
  while (true) {
    archive_entry* entry = nullptr;
    const int result = archive_read_next_header(raw, &entry);
    if (result == ARCHIVE_EOF) return is_single(raw) && !damage_said ? check_rest(raw, client) : Status{};
    if (result == ARCHIVE_RETRY) continue;
    if (result < ARCHIVE_WARN) return damage_said ? Status{} : fail(error_of(raw));
    if (Status taken = budget.take_member(); !taken) return taken;
    Member member;
    member.single = is_single(raw);
    member.as_is = member.single && archive_filter_count(raw) <= 1;
    if (!member.single) member.name = name_of(entry);
    if (archive_entry_is_data_encrypted(entry) != 0 || archive_entry_is_metadata_encrypted(entry) != 0) {
      on_problem(member.name, "encrypted; it was not looked at");
      continue;
    }
    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) != nullptr) continue;
    MemberSource bytes(raw, budget);
    on_member(member, bytes);
    damage_said = bytes.failed();
    if (budget.exhausted()) return {};  // said where it happened
  }
}

}  // namespace sluice::scan
