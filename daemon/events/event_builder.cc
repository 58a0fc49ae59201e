#include "daemon/events/event_builder.h"

#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cstring>
#include <functional>

#include "daemon/events/wire.h"

namespace sluice::events {
namespace {

// Field numbers of sluice.events.Event (event.proto).
enum Field : uint32_t {
  kType = 1,
  kTime = 2,
  kOutcome = 3,
  kSession = 4,
  kAttested = 5,
  kClaimed = 6,
  kOrigin = 7,
  kResource = 8,
  kDestination = 9,
  kCommand = 10,
  kTextSha256 = 11,
  kStage = 12,
  kKinds = 13,
  kRelations = 14,
  kFunctions = 15,
  kBindValues = 16,
  kRule = 17,
  kPolicyVersion = 18,
  kRows = 19,
  kBytes = 20,
  kErrorCode = 21,
  kFindings = 22,
  kDetail = 23,
  kCounters = 24,
  kSelfMasked = 25,
  kEntriesOmitted = 26,
  kBytesOmitted = 27,
  kSessionName = 28,
};

constexpr size_t kSessionIdDigits = 16;

struct Span {
  size_t at;
  size_t size;
};

// Remembers the textual parts of recent events that the scanner found clean. Most events of a workload carry the same
// rule, policy version, relation and stage again and again; comparing them is several times cheaper than scanning them
// [measured].
class CleanMemo {
 public:
  static constexpr size_t kBytesMax = 512;  // larger ones are scanned every time

  // The parts of `event` joined with their lengths, so that no two different lists of parts look alike.
  void load(const std::string& event, std::span<const Span> parts) {
    key_.clear();
    for (const Span& part : parts) {
      if (key_.size() + part.size + sizeof part.size > kBytesMax) {
        key_.clear();
        return;
      }
      key_.append(reinterpret_cast<const char*>(&part.size), sizeof part.size);
      key_.append(event, part.at, part.size);
    }
  }
  [[nodiscard]] bool is_clean(const policies::CardScanner& scanner) {
    if (key_.empty()) return false;
    slot_ = std::hash<std::string_view>()(key_) % entries_.size();
    const Entry& entry = entries_[slot_];
    return entry.scanner == &scanner && entry.key == key_;
  }
  void keep(const policies::CardScanner& scanner) {
    if (key_.empty()) return;
    entries_[slot_].scanner = &scanner;
    entries_[slot_].key = key_;
  }

 private:
  struct Entry {
    const policies::CardScanner* scanner = nullptr;
    std::string key;
  };
  std::array<Entry, 64> entries_;
  std::string key_;
  size_t slot_ = 0;
};

bool is_lower_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string sha256_of(std::string_view bytes) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

}  // namespace

struct EventBuilder::State {
  State() { out.reserve(512); }

  void reset() {
    out.clear();
    texts.clear();
    text.reset();
    bind_values = entries_omitted = bytes_omitted = 0;
    relations = functions = findings = counters = 0;
    session = 0;
    context = false;
    shared = {};
    self_masked = 0;
  }

  // A field that holds text from outside: cut at its limit, remembered for the scan.
  void textual(uint32_t field, std::string_view value) {
    if (value.empty()) return;
    textual_always(field, value);
  }
  void textual_always(uint32_t field, std::string_view value) {
    if (value.size() > kFieldBytesMax) {
      bytes_omitted += value.size() - kFieldBytesMax;
      value = value.substr(0, kFieldBytesMax);
    }
    const size_t at = WireWriter(out).bytes(field, value);
    if (!value.empty()) texts.push_back({at, value.size()});
  }

  // Whether one more list entry may be added; counts the one left out otherwise.
  bool admit(size_t& count, size_t count_max) {
    if (count < count_max && out.size() < kEventBytesMax) {
      ++count;
      return true;
    }
    ++entries_omitted;
    return false;
  }

  void actor(const Actor& who) {
    WireWriter wire(out);
    const policies::AttestedIdentity& attested = who.attested;
    size_t begin = wire.begin_message(kAttested);
    if (attested.pid >= 0) wire.signed_varint(1, attested.pid);
    if (attested.uid >= 0) wire.signed_varint(2, attested.uid);
    if (attested.gid >= 0) wire.signed_varint(3, attested.gid);
    textual(4, attested.user);
    textual(5, attested.group);
    textual(6, attested.exe);
    textual(7, attested.exe_sha256);
    textual(8, attested.unit);
    textual(9, attested.container);
    textual(10, attested.cgroup);
    wire.end_message(begin);
    begin = wire.begin_message(kClaimed);
    textual(1, who.claimed.db_user);
    textual(2, who.claimed.database);
    textual(3, who.claimed.application);
    wire.end_message(begin);
  }

  uint64_t scan_fields(policies::CardScanner& scanner, std::span<const Span> spans);
  uint64_t scan_text(policies::CardScanner& scanner);

  EventType type = EventType::daemon_started;
  std::string out;
  std::vector<Span> texts;
  StoredTextRef text;
  uint64_t session = 0;
  bool context = false;
  size_t bind_values = 0, relations = 0, functions = 0, findings = 0, counters = 0;
  uint64_t entries_omitted = 0, bytes_omitted = 0;
  uint64_t self_masked = 0;  // by scans before the last one

  struct {  // where begin_shared() was called
    size_t bytes = 0, texts = 0;
    uint64_t entries_omitted = 0, bytes_omitted = 0;
  } shared;
};

namespace {

// Working memory of a thread, so that an event costs no allocation but its own bytes. States go back when a builder
// ends; more than kStatesKept at once is allowed and costs an allocation.
template <typename State>
struct Workspace {
  static constexpr size_t kStatesKept = 4;
  std::vector<std::unique_ptr<State>> free;
  CleanMemo memo;
  std::vector<policies::ValueView> views;
  std::vector<policies::Finding> found;

  static Workspace& of_this_thread() {
    thread_local Workspace workspace;
    return workspace;
  }
  std::unique_ptr<State> take() {
    if (free.empty()) return std::make_unique<State>();
    std::unique_ptr<State> state = std::move(free.back());
    free.pop_back();
    return state;
  }
  void give_back(std::unique_ptr<State> state) {
    constexpr size_t kBytesKept = 64 * 1024;
    if (free.size() >= kStatesKept || state->out.capacity() > kBytesKept) return;
    state->reset();
    free.push_back(std::move(state));
  }
};

policies::ValueView view_of(char* bytes, size_t size) {
  policies::ValueView view;
  view.bytes = {reinterpret_cast<uint8_t*>(bytes), size};
  return view;
}

}  // namespace

// Scans textual bytes of the event and masks what it finds in place. Returns how much it found.
uint64_t EventBuilder::State::scan_fields(policies::CardScanner& scanner, std::span<const Span> spans) {
  if (spans.empty()) return 0;
  auto& workspace = Workspace<State>::of_this_thread();
  workspace.memo.load(out, spans);
  if (workspace.memo.is_clean(scanner)) return 0;
  workspace.views.clear();
  for (const Span& span : spans) workspace.views.push_back(view_of(out.data() + span.at, span.size));
  scanner.scan(workspace.views, workspace.found, {});
  if (workspace.found.empty()) {
    workspace.memo.keep(scanner);
    return 0;
  }
  scanner.mask(workspace.views, workspace.found, policies::MaskStyle::bin6_last4);
  return workspace.found.size();
}

// The same for the statement's text, once per text. A text that was not clean is replaced by a masked copy with its own
// hash.
uint64_t EventBuilder::State::scan_text(policies::CardScanner& scanner) {
  if (text == nullptr) return 0;
  const bool fits = text->masked.size() <= kTextBytesMax;
  std::atomic_ref<uint8_t> scanned_clean(text->scanned_clean);
  if (fits && scanned_clean.load(std::memory_order_relaxed) != 0) return 0;
  if (!fits) bytes_omitted += text->masked.size() - kTextBytesMax;
  auto copy = std::make_shared<StoredText>();
  copy->masked = text->masked.substr(0, kTextBytesMax);
  auto& workspace = Workspace<State>::of_this_thread();
  workspace.views.assign(1, view_of(copy->masked.data(), copy->masked.size()));
  scanner.scan(workspace.views, workspace.found, {});
  if (workspace.found.empty() && fits) {
    scanned_clean.store(1, std::memory_order_relaxed);
    return 0;
  }
  if (!workspace.found.empty()) scanner.mask(workspace.views, workspace.found, policies::MaskStyle::bin6_last4);
  copy->sha256 = sha256_of(copy->masked);
  copy->scanned_clean = 1;
  text = std::move(copy);
  return workspace.found.size();
}

uint64_t session_reference(std::string_view id) {
  uint64_t reference = 0;
  if (id.size() == kSessionIdDigits && is_lower_hex(id)) {
    for (const char c : id) reference = reference * 16 + static_cast<uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
  } else {
    const std::string digest = sha256_of(id);
    std::memcpy(&reference, digest.data(), sizeof reference);
  }
  return reference == 0 ? 1 : reference;
}

EventBuilder::EventBuilder(EventType type, UtcTime time, EventOutcome outcome, const SessionInfo& session)
    : state_(Workspace<State>::of_this_thread().take()) {
  assert(!session.id.empty());
  state_->type = type;
  state_->session = session.reference != 0 ? session.reference : session_reference(session.id);
  state_->context = carries_context(type);
  WireWriter wire(state_->out);
  wire.varint(kType, static_cast<uint64_t>(type) + 1);
  wire.fixed64(kTime, static_cast<uint64_t>(time.ns));
  wire.varint(kOutcome, static_cast<uint64_t>(outcome) + 1);
  wire.fixed64(kSession, state_->session);
  if (!state_->context) return;
  state_->actor(session.actor);
  state_->textual(kOrigin, session.origin);
  state_->textual(kResource, session.target);
  state_->textual(kDestination, session.destination);
  if (session.id.size() != kSessionIdDigits || !is_lower_hex(session.id)) state_->textual(kSessionName, session.id);
}

EventBuilder::EventBuilder(EventType type, UtcTime time, EventOutcome outcome, const Actor& actor,
                           std::string_view origin, std::string_view resource)
    : state_(Workspace<State>::of_this_thread().take()) {
  state_->type = type;
  WireWriter wire(state_->out);
  wire.varint(kType, static_cast<uint64_t>(type) + 1);
  wire.fixed64(kTime, static_cast<uint64_t>(time.ns));
  wire.varint(kOutcome, static_cast<uint64_t>(outcome) + 1);
  state_->actor(actor);
  state_->textual(kOrigin, origin);
  state_->textual(kResource, resource);
}

EventBuilder::~EventBuilder() {
  if (state_ != nullptr) Workspace<State>::of_this_thread().give_back(std::move(state_));
}

EventBuilder::EventBuilder(EventBuilder&&) noexcept = default;

EventBuilder& EventBuilder::command(uint64_t command_id) {
  WireWriter(state_->out).varint(kCommand, command_id);
  return *this;
}

EventBuilder& EventBuilder::text(StoredTextRef text) {
  state_->text = std::move(text);
  return *this;
}

EventBuilder& EventBuilder::stage(std::string_view stage) {
  state_->textual(kStage, stage);
  return *this;
}

EventBuilder& EventBuilder::kinds(std::span<const policies::StatementKind> kinds) {
  // Words of our own vocabulary: nothing in them to scan, and at most one of each.
  for (const policies::StatementKind kind : kinds.first(std::min(kinds.size(), policies::kStatementKindCount))) {
    WireWriter(state_->out).bytes(kKinds, policies::to_string(kind));
  }
  return *this;
}

EventBuilder& EventBuilder::relations(std::span<const policies::Relation> relations) {
  WireWriter wire(state_->out);
  for (const policies::Relation& relation : relations) {
    if (!state_->admit(state_->relations, kListEntriesMax)) continue;
    const size_t begin = wire.begin_message(kRelations);
    state_->textual(1, relation.schema);
    state_->textual(2, relation.name);
    wire.varint(3, static_cast<uint64_t>(relation.access) + 1);
    wire.end_message(begin);
  }
  return *this;
}

EventBuilder& EventBuilder::functions(std::span<const std::string> functions) {
  for (const std::string& function : functions) {
    if (state_->admit(state_->functions, kListEntriesMax)) state_->textual_always(kFunctions, function);
  }
  return *this;
}

EventBuilder& EventBuilder::bind_value(std::string_view masked, uint64_t bytes_total) {
  if (!state_->admit(state_->bind_values, kBindValuesMax)) return *this;
  WireWriter wire(state_->out);
  const size_t begin = wire.begin_message(kBindValues);
  if (bytes_total != UINT64_MAX) {
    state_->textual_always(1, masked);
    wire.varint(2, bytes_total);
  }
  wire.end_message(begin);
  return *this;
}

EventBuilder& EventBuilder::rule(std::string_view name, std::string_view policy_version) {
  state_->textual(kRule, name);
  state_->textual(kPolicyVersion, policy_version);
  return *this;
}

EventBuilder& EventBuilder::rows(uint64_t rows) {
  WireWriter(state_->out).varint(kRows, rows);
  return *this;
}

EventBuilder& EventBuilder::bytes(uint64_t bytes) {
  WireWriter(state_->out).varint(kBytes, bytes);
  return *this;
}

EventBuilder& EventBuilder::error_code(std::string_view code) {
  state_->textual(kErrorCode, code);
  return *this;
}

EventBuilder& EventBuilder::finding(const FindingSummary& finding) {
  if (!state_->admit(state_->findings, kListEntriesMax)) return *this;
  WireWriter wire(state_->out);
  const size_t begin = wire.begin_message(kFindings);
  state_->textual(1, finding.kind);
  state_->textual(2, finding.brand);
  state_->textual(3, finding.where);
  wire.varint(4, finding.count);
  wire.end_message(begin);
  return *this;
}

EventBuilder& EventBuilder::detail(std::string_view text) {
  state_->textual(kDetail, text);
  return *this;
}

EventBuilder& EventBuilder::counter(std::string_view name, uint64_t value) {
  if (!state_->admit(state_->counters, kListEntriesMax)) return *this;
  WireWriter wire(state_->out);
  const size_t begin = wire.begin_message(kCounters);
  state_->textual(1, name);
  wire.varint(2, value);
  wire.end_message(begin);
  return *this;
}

void EventBuilder::begin_shared() {
  State& state = *state_;
  state.shared = {state.out.size(), state.texts.size(), state.entries_omitted, state.bytes_omitted};
}

SharedFields EventBuilder::end_shared(policies::CardScanner& scanner) {
  State& state = *state_;
  SharedFields fields;
  fields.masked_ = state.scan_fields(scanner, std::span(state.texts).subspan(state.shared.texts));
  state.texts.resize(state.shared.texts);
  state.self_masked += fields.masked_;
  fields.bytes_ = state.out.substr(state.shared.bytes);
  fields.relations_ = state.relations;
  fields.functions_ = state.functions;
  fields.entries_omitted_ = state.entries_omitted - state.shared.entries_omitted;
  fields.bytes_omitted_ = state.bytes_omitted - state.shared.bytes_omitted;
  return fields;
}

EventBuilder& EventBuilder::shared(const SharedFields& fields) {
  State& state = *state_;
  assert(state.relations == 0 && state.functions == 0);
  state.out.append(fields.bytes_);
  state.relations = fields.relations_;
  state.functions = fields.functions_;
  state.entries_omitted += fields.entries_omitted_;
  state.bytes_omitted += fields.bytes_omitted_;
  state.self_masked += fields.masked_;
  return *this;
}

EncodedEvent EventBuilder::build(policies::CardScanner& scanner, uint64_t& self_findings) {
  State& state = *state_;
  const uint64_t found = state.self_masked + state.scan_fields(scanner, state.texts) + state.scan_text(scanner);
  self_findings += found;
  WireWriter wire(state.out);
  if (state.text != nullptr) {
    assert(state.text->sha256.size() == SHA256_DIGEST_LENGTH);
    wire.bytes(kTextSha256, state.text->sha256);
  }
  if (found > 0) wire.varint(kSelfMasked, found);
  if (state.entries_omitted > 0) wire.varint(kEntriesOmitted, state.entries_omitted);
  if (state.bytes_omitted > 0) wire.varint(kBytesOmitted, state.bytes_omitted);
  EncodedEvent event;
  event.bytes = state.out;
  event.text = std::move(state.text);
  event.type = state.type;
  event.session = state.session;
  event.context = state.context;
  return event;
}

}  // namespace sluice::events
