#include "daemon/audit/event_query.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/audit/event_record.h"
#include "daemon/audit/filter.h"
#include "daemon/audit/segment_reader.h"
#include "daemon/audit/segment_scan.h"
#include "daemon/events/event.pb.h"

namespace sluice::audit {
namespace {

// How far an event's time may lie from the time its segment was begun (clock set back, log failing for long), for
// leaving whole segments out by time.
constexpr int64_t kClockSlackNs = 24 * 3600LL * 1'000'000'000;

// The segment's first record, without reading more than it.
std::optional<SegmentRecord> header_of(const std::string& path) {
  const auto reader = SegmentReader::open(path);
  if (!reader || !reader->prefix_valid()) return std::nullopt;
  const auto body = reader->read_body_at(kPrefixBytes);
  if (!body) return std::nullopt;
  const auto kind = body_kind(static_cast<uint8_t>((*body)[0]));
  if (!kind.has_value() || kind->kind != RecordKind::segment) return std::nullopt;
  return decode_segment(std::string_view(*body).substr(1));
}

// Whether an event that is passed over may carry a session's context and has to be parsed all the same. Our builder
// writes the type first; what starts otherwise is parsed.
bool may_carry_context(std::string_view payload) {
  constexpr char kTypeTag = 0x08;
  if (payload.size() < 2 || payload[0] != kTypeTag) return true;
  return payload[1] == events::SESSION_STARTED || payload[1] == events::AUTHENTICATION;
}

int64_t plus_slack(int64_t ns) {
  return ns > INT64_MAX - kClockSlackNs ? INT64_MAX : ns + kClockSlackNs;
}

}  // namespace

struct EventStream::State {
  enum class Outcome : uint8_t { go_on, finished };

  State(std::string directory_, EventQuery query_, Filter filter_)
      : directory(std::move(directory_)),
        query(std::move(query_)),
        filter(std::move(filter_)),
        next_index(query.from_index) {}

  Result<Outcome> enter_first();
  Result<bool> enter_next();
  Status enter(const std::string& name);
  Result<Outcome> read_segment(const std::function<bool(std::string_view)>& line);
  Result<Outcome> take_event(uint64_t index, std::string_view payload,
                             const std::function<bool(std::string_view)>& line);
  Status take_context(std::string_view payload);
  void load_text(EventRecord& record) const;
  [[nodiscard]] std::string path(const std::string& segment) const { return directory + "/" + segment; }

  const std::string directory;
  const EventQuery query;
  const Filter filter;
  uint64_t next_index;  // first index that was not looked at
  uint64_t matched = 0;

  std::optional<SegmentReader> reader;
  std::string name;    // of the segment that is read
  uint64_t index = 0;  // of the next record
  bool segment_done = false;
  std::unordered_map<uint64_t, std::unique_ptr<events::Event>> contexts;  // by session
  std::unordered_map<std::string, uint64_t> texts;                        // hash → offset of the record
  events::Event event;
  mutable std::string text;       // the last text that was loaded …
  mutable std::string text_hash;  // … and its hash
  std::string line_buffer;
};

Status EventStream::State::enter(const std::string& segment) {
  auto opened = SegmentReader::open(path(segment));
  if (!opened) return tl::unexpected(opened.error());
  if (!opened->prefix_valid())
    return fail(path(segment) + ": not a segment of format version 1 (`sluice audit verify` tells more)");
  reader = std::move(*opened);
  name = segment;
  segment_done = false;
  contexts.clear();
  texts.clear();
  text_hash.clear();
  index = *parse_segment_name(segment);
  return {};
}

// Finds the segment to start with: the last one that begins at or before the first index wanted, or later by time.
Result<EventStream::State::Outcome> EventStream::State::enter_first() {
  const auto listing = list_log(directory);
  if (!listing) return tl::unexpected(listing.error());
  const std::vector<std::string>& names = listing->segments;
  if (names.empty()) return Outcome::finished;
  const auto behind = std::upper_bound(
      names.begin(), names.end(), query.from_index,
      [](uint64_t wanted, const std::string& segment) { return wanted < *parse_segment_name(segment); });
  size_t first = behind == names.begin() ? 0 : static_cast<size_t>(behind - names.begin()) - 1;
  if (query.since_ns != INT64_MIN) {
    for (; first + 1 < names.size(); ++first) {
      const auto next = header_of(path(names[first + 1]));
      if (!next.has_value() || plus_slack(next->created_ns) >= query.since_ns) break;
    }
  }
  if (const Status status = enter(names[first]); !status) return tl::unexpected(status.error());
  return Outcome::go_on;
}

// Goes to the segment behind the current one. False: there is none yet.
Result<bool> EventStream::State::enter_next() {
  const auto listing = list_log(directory);
  if (!listing) return tl::unexpected(listing.error());
  const auto next = std::upper_bound(listing->segments.begin(), listing->segments.end(), name);
  if (next == listing->segments.end()) return false;
  const std::string& segment = *next;
  if (query.until_ns != INT64_MAX) {
    const auto header = header_of(path(segment));
    if (header.has_value() && header->created_ns > plus_slack(query.until_ns)) return false;
  }
  const uint64_t expected = index;
  if (const Status status = enter(segment); !status) return tl::unexpected(status.error());
  // The segment before was given up: what it had beyond this index stands here again.
  if (index < expected) next_index = std::min(next_index, index);
  return true;
}

Status EventStream::State::take_context(std::string_view payload) {
  if (payload.size() <= sizeof(uint64_t)) return fail(name + ": a session context without its event");
  auto context = std::make_unique<events::Event>();
  payload.remove_prefix(sizeof(uint64_t));
  if (!context->ParseFromArray(payload.data(), static_cast<int>(payload.size())))
    return fail(name + ": a session context cannot be read");
  const uint64_t session = context->session();
  contexts[session] = std::move(context);
  return {};
}

void EventStream::State::load_text(EventRecord& record) const {
  const std::string& hash = record.event->text_sha256();
  if (record.has_text || hash.empty()) return;
  if (hash != text_hash) {
    const auto found = texts.find(hash);
    if (found == texts.end()) return;
    auto body = reader->read_body_at(found->second);
    if (!body)
      return;  // trimmed or damaged under our hands; the event is shown without its text, verify tells the rest
    text = body->substr(std::min(body->size(), 1 + kHashBytes));
    text_hash = hash;
  }
  record.text = text;
  record.has_text = true;
}

Result<EventStream::State::Outcome> EventStream::State::take_event(uint64_t at, std::string_view payload,
                                                                   const std::function<bool(std::string_view)>& line) {
  if (at < next_index && !may_carry_context(payload)) return Outcome::go_on;
  event.Clear();
  if (!event.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return fail(path(name) + ": record " + std::to_string(at) + " is no event that this version can read");
  }
  EventRecord record;
  record.index = at;
  record.event = &event;
  if (event.type() == events::SESSION_STARTED || event.type() == events::AUTHENTICATION) {
    contexts[event.session()] = std::make_unique<events::Event>(event);
    record.context = &event;
  } else if (event.session() == 0) {
    record.context = &event;
  } else if (const auto found = contexts.find(event.session()); found != contexts.end()) {
    record.context = found->second.get();
  }
  if (at < next_index) return Outcome::go_on;
  if (event.time() < query.since_ns || event.time() > query.until_ns) return Outcome::go_on;
  const std::function<void(EventRecord&)> load = [this](EventRecord& wanted) { load_text(wanted); };
  if (!filter.matches(EventSubject(record, load))) return Outcome::go_on;
  load_text(record);
  line_buffer.clear();
  append_json(record, line_buffer);
  ++matched;
  const bool more = line(line_buffer);
  return more && (query.limit == 0 || matched < query.limit) ? Outcome::go_on : Outcome::finished;
}

// Reads on in the current segment. go_on: its end is reached; segment_done says whether for good.
Result<EventStream::State::Outcome> EventStream::State::read_segment(
    const std::function<bool(std::string_view)>& line) {
  RecordView record;
  for (;;) {
    const auto step = reader->next(record);
    if (!step) return tl::unexpected(step.error());
    if (*step == SegmentReader::Step::damaged) {
      // At the end of the log this is a record that is being written, or was when the host went down. Elsewhere it is
      // damage.
      const auto listing = list_log(directory);
      if (!listing) return tl::unexpected(listing.error());
      const bool is_last = listing->segments.empty() || listing->segments.back() <= name;
      if (is_last) return Outcome::go_on;
      if (const Status status = reader->refresh(); !status) return tl::unexpected(status.error());
      const auto again = reader->next(record);
      if (again && *again == SegmentReader::Step::damaged) {
        return fail(path(name) + ": damaged at record " + std::to_string(index) +
                    " (`sluice audit verify` tells more)");
      }
      if (!again || *again == SegmentReader::Step::end) return Outcome::go_on;
    } else if (*step == SegmentReader::Step::end) {
      return Outcome::go_on;
    }
    const uint64_t at = index++;
    Result<Outcome> outcome = Outcome::go_on;
    switch (record.kind) {
      case RecordKind::event:
        outcome = take_event(at, record.payload, line);
        break;
      case RecordKind::context:
        if (const Status status = take_context(record.payload); !status) return tl::unexpected(status.error());
        break;
      case RecordKind::text:
        if (record.payload.size() >= kHashBytes)
          texts[std::string(record.payload.substr(0, kHashBytes))] = record.offset;
        break;
      case RecordKind::seal:
        segment_done = true;
        break;
      default:
        break;
    }
    next_index = std::max(next_index, index);
    if (!outcome || *outcome == Outcome::finished) return outcome;
  }
}

EventStream::EventStream() = default;
EventStream::~EventStream() = default;
EventStream::EventStream(EventStream&&) noexcept = default;
EventStream& EventStream::operator=(EventStream&&) noexcept = default;

Result<EventStream> EventStream::open(const std::string& directory, const EventQuery& query) {
  auto filter = Filter::parse(query.filter);
  if (!filter) return tl::unexpected(filter.error());
  EventStream stream;
  stream.state_ = std::make_unique<State>(directory, query, std::move(*filter));
  return stream;
}

Result<QueryResult> EventStream::run(const std::function<bool(std::string_view)>& line) {
  State& state = *state_;
  const auto result = [&state] { return QueryResult{state.next_index, state.matched}; };
  if (!state.reader.has_value()) {
    const auto entered = state.enter_first();
    if (!entered) return tl::unexpected(entered.error());
    if (*entered == State::Outcome::finished) return result();
  } else if (const Status status = state.reader->refresh(); !status) {
    return tl::unexpected(status.error());
  }
  for (;;) {
    const auto outcome = state.read_segment(line);
    if (!outcome) return tl::unexpected(outcome.error());
    if (*outcome == State::Outcome::finished) return result();
    const auto entered = state.enter_next();
    if (!entered) return tl::unexpected(entered.error());
    if (!*entered) return result();
  }
}

Result<QueryResult> query_events(const std::string& directory, const EventQuery& query,
                                 const std::function<bool(std::string_view)>& line) {
  auto stream = EventStream::open(directory, query);
  if (!stream) return tl::unexpected(stream.error());
  return stream->run(line);
}

}  // namespace sluice::audit
