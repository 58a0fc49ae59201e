#include "daemon/audit/event_record.h"

#include <array>
#include <cstdio>

#include "daemon/audit/log_format.h"
#include "daemon/base/rfc3339.h"
#include "daemon/events/event_builder.h"

namespace sluice::audit {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

struct Utf8 {
  size_t size = 0;  // 0: not UTF-8 here
  uint32_t code = 0;
};

// The character at the front of `text` (RFC 3629: shortest form, no surrogates, up to U+10FFFF).
Utf8 decode_utf8(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return {1, first};
  const size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < size) return {};
  uint32_t code = first & (0xff >> (size + 1));
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3f);
  }
  static constexpr std::array<uint32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kLeast[size] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return {};
  return {size, code};
}

// Control characters, line separators, and those that change the direction of text.
bool must_escape(uint32_t code) {
  return code < 0x20 || (code >= 0x7f && code <= 0x9f) || (code >= 0x200b && code <= 0x200f) ||
         (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

std::string_view type_word(const events::Event& event) {
  const int value = event.type() - 1;
  if (value < 0 || static_cast<size_t>(value) >= events::kEventTypeCount) return "unknown";
  return to_string(static_cast<events::EventType>(value));
}

std::string_view outcome_word(const events::Event& event) {
  switch (event.outcome()) {
    case events::SUCCESS:
      return "success";
    case events::REFUSED:
      return "refused";
    default:
      return "failure";  // what is not known to have succeeded has not
  }
}

// Writes members of one object, with the commas.
class Object {
 public:
  explicit Object(std::string& out) : out_(out) { out_.push_back('{'); }
  void close() { out_.push_back('}'); }

  std::string& member(std::string_view name) {
    if (!first_) out_.push_back(',');
    first_ = false;
    out_.push_back('"');
    out_.append(name);
    out_.append("\":");
    return out_;
  }
  void text(std::string_view name, std::string_view value) { append_json_string(value, member(name)); }
  void text_or_null(std::string_view name, std::string_view value) {
    if (value.empty()) {
      member(name).append("null");
    } else {
      text(name, value);
    }
  }
  template <typename Number>
  void number(std::string_view name, Number value) {
    member(name).append(std::to_string(value));
  }
  void null(std::string_view name) { member(name).append("null"); }

 private:
  std::string& out_;
  bool first_ = true;
};

template <typename List, typename Append>
void append_list(const List& list, std::string& out, Append append) {
  out.push_back('[');
  bool first = true;
  for (const auto& entry : list) {
    if (!first) out.push_back(',');
    first = false;
    append(entry);
  }
  out.push_back(']');
}

void append_identity(const events::Event* context, std::string& out) {
  if (context == nullptr) {
    out.append("null");
    return;
  }
  Object identity(out);
  const events::Attested& who = context->attested();
  Object attested(identity.member("attested"));
  who.has_pid() ? attested.number("pid", who.pid()) : attested.null("pid");
  attested.text_or_null("exe", who.exe());
  who.has_uid() ? attested.number("uid", who.uid()) : attested.null("uid");
  attested.text_or_null("user", who.user());
  who.has_gid() ? attested.number("gid", who.gid()) : attested.null("gid");
  attested.text_or_null("group", who.group());
  attested.text_or_null("unit", who.unit());
  attested.text_or_null("container", who.container());
  attested.text_or_null("cgroup", who.cgroup());
  attested.text_or_null("exe_sha256", who.exe_sha256());
  attested.close();
  Object claimed(identity.member("claimed"));
  claimed.text_or_null("user", context->claimed().user());
  claimed.text_or_null("database", context->claimed().database());
  claimed.text_or_null("application", context->claimed().application());
  claimed.close();
  identity.null("verified");
  identity.close();
}

std::string full_name(const events::Relation& relation) {
  return relation.schema().empty() ? relation.name() : relation.schema() + "." + relation.name();
}

constexpr uint32_t kAccessRead = 1;  // of Relation.access; everything else writes too

void append_command(const EventRecord& record, std::string& out) {
  const events::Event& event = *record.event;
  if (event.command() == 0 && event.text_sha256().empty() && event.stage().empty()) {
    out.append("null");
    return;
  }
  Object command(out);
  command.number("id", event.command());
  if (record.has_text) {
    command.text("text", record.text);
  } else {
    command.null("text");
  }
  command.text_or_null("stage", event.stage());
  append_list(event.kinds(), command.member("kinds"), [&](const std::string& kind) { append_json_string(kind, out); });
  append_list(event.relations(), command.member("relations"),
              [&](const events::Relation& relation) { append_json_string(full_name(relation), out); });
  std::vector<std::string> written;
  for (const events::Relation& relation : event.relations()) {
    if (relation.access() != kAccessRead) written.push_back(full_name(relation));
  }
  append_list(written, command.member("writes"), [&](const std::string& name) { append_json_string(name, out); });
  if (!event.functions().empty()) {
    append_list(event.functions(), command.member("functions"),
                [&](const std::string& name) { append_json_string(name, out); });
  }
  if (!event.bind_values().empty()) {
    append_list(event.bind_values(), command.member("bind_values"), [&](const events::BindValue& value) {
      if (!value.has_masked()) {
        out.append("null");
        return;
      }
      Object object(out);
      object.text("masked", value.masked());
      object.number("bytes_total", value.bytes_total());
      object.close();
    });
  }
  const auto* hash = reinterpret_cast<const uint8_t*>(event.text_sha256().data());
  if (!event.text_sha256().empty()) command.text("text_sha256", to_hex(hash, event.text_sha256().size()));
  command.close();
}

void append_extras(const events::Event& event, Object& object) {
  if (!event.counters().empty()) {
    Object counters(object.member("counters"));
    for (const events::Counter& counter : event.counters()) {
      std::string name;
      append_json_string(counter.name(), name);
      counters.number(std::string_view(name).substr(1, name.size() - 2), counter.value());
    }
    counters.close();
  }
  if (event.self_masked() > 0) object.number("self_masked", event.self_masked());
  if (event.entries_omitted() > 0) object.number("entries_omitted", event.entries_omitted());
  if (event.bytes_omitted() > 0) object.number("bytes_omitted", event.bytes_omitted());
}

}  // namespace

void append_json_string(std::string_view text, std::string& out) {
  out.push_back('"');
  while (!text.empty()) {
    const Utf8 character = decode_utf8(text);
    if (character.size == 0) {
      out.append(kReplacement);
      text.remove_prefix(1);
      continue;
    }
    if (character.code == '"' || character.code == '\\') {
      out.push_back('\\');
      out.push_back(static_cast<char>(character.code));
    } else if (must_escape(character.code)) {
      char escape[12];
      std::snprintf(escape, sizeof escape, "\\u%04x", character.code);
      out.append(escape);
    } else {
      out.append(text.substr(0, character.size));
    }
    text.remove_prefix(character.size);
  }
  out.push_back('"');
}

std::string session_id(const events::Event& event, const events::Event* context) {
  if (!event.session_name().empty()) return event.session_name();
  if (context != nullptr && !context->session_name().empty()) return context->session_name();
  uint8_t bytes[8];
  for (size_t i = 0; i < sizeof bytes; ++i) bytes[i] = static_cast<uint8_t>(event.session() >> (56 - 8 * i));
  return to_hex(bytes, sizeof bytes);
}

void append_json(const EventRecord& record, std::string& out) {
  const events::Event& event = *record.event;
  static const events::Event kNothing;
  const events::Event& context = record.context != nullptr ? *record.context : kNothing;
  Object object(out);
  object.number("index", record.index);
  object.text("time", format_rfc3339(event.time()));
  object.text("type", type_word(event));
  event.session() != 0 ? object.text("session", session_id(event, record.context)) : object.null("session");
  // Of a session the resource is its target; of the daemon it is what the event names.
  object.text_or_null("target", context.resource());
  object.text_or_null("origin", context.origin());
  object.text_or_null("destination", context.destination());
  append_identity(record.context, object.member("identity"));
  append_command(record, object.member("command"));
  object.text("outcome", outcome_word(event));
  object.text_or_null("rule", event.rule());
  object.text_or_null("policy_version", event.policy_version());
  event.has_rows() ? object.number("rows", event.rows()) : object.null("rows");
  event.has_bytes() ? object.number("bytes", event.bytes()) : object.null("bytes");
  object.text_or_null("error_code", event.error_code());
  append_list(event.findings(), object.member("findings"), [&](const events::Finding& finding) {
    Object entry(out);
    entry.text("kind", finding.kind());
    entry.text("brand", finding.brand());
    entry.text("where", finding.where());
    entry.number("count", finding.count());
    entry.close();
  });
  object.text_or_null("detail", event.detail());
  append_extras(event, object);
  object.close();
}

std::string_view EventSubject::keep(std::string text) const {
  kept_.push_back(std::make_unique<std::string>(std::move(text)));
  return *kept_.back();
}

void EventSubject::values(FilterKey key, std::vector<std::string_view>& out) const {
  const events::Event& event = *record_.event;
  static const events::Event kNothing;
  const events::Event& context = record_.context != nullptr ? *record_.context : kNothing;
  const events::Attested& who = context.attested();
  const auto text = [&out](std::string_view value) {
    if (!value.empty()) out.push_back(value);
  };
  const auto number = [&](bool there, auto value) {
    if (there) out.push_back(keep(std::to_string(value)));
  };
  switch (key) {
    case FilterKey::index:
      return number(true, record_.index);
    case FilterKey::type:
      return text(type_word(event));
    case FilterKey::session:
      if (event.session() != 0) out.push_back(keep(session_id(event, record_.context)));
      return;
    case FilterKey::target:
      return text(context.resource());
    case FilterKey::outcome:
      return text(outcome_word(event));
    case FilterKey::rule:
      return text(event.rule());
    case FilterKey::policy_version:
      return text(event.policy_version());
    case FilterKey::origin:
      return text(context.origin());
    case FilterKey::destination:
      return text(context.destination());
    case FilterKey::user:
      return text(who.user());
    case FilterKey::uid:
      return number(who.has_uid(), who.uid());
    case FilterKey::gid:
      return number(who.has_gid(), who.gid());
    case FilterKey::group:
      return text(who.group());
    case FilterKey::pid:
      return number(who.has_pid(), who.pid());
    case FilterKey::exe:
      return text(who.exe());
    case FilterKey::exe_sha256:
      return text(who.exe_sha256());
    case FilterKey::unit:
      return text(who.unit());
    case FilterKey::container:
      return text(who.container());
    case FilterKey::cgroup:
      return text(who.cgroup());
    case FilterKey::db_user:
      return text(context.claimed().user());
    case FilterKey::database:
      return text(context.claimed().database());
    case FilterKey::application:
      return text(context.claimed().application());
    case FilterKey::command_id:
      return number(event.command() != 0, event.command());
    case FilterKey::text:
      load_text_(record_);
      if (record_.has_text) out.push_back(record_.text);
      return;
    case FilterKey::stage:
      return text(event.stage());
    case FilterKey::kind:
      for (const std::string& kind : event.kinds()) text(kind);
      return;
    case FilterKey::relation:
      for (const events::Relation& relation : event.relations()) {
        text(relation.name());
        if (!relation.schema().empty()) out.push_back(keep(full_name(relation)));
      }
      return;
    case FilterKey::function:
      for (const std::string& function : event.functions()) text(function);
      return;
    case FilterKey::error_code:
      return text(event.error_code());
    case FilterKey::detail:
      return text(event.detail());
    case FilterKey::finding_kind:
      for (const events::Finding& finding : event.findings()) text(finding.kind());
      return;
    case FilterKey::finding_brand:
      for (const events::Finding& finding : event.findings()) text(finding.brand());
      return;
    case FilterKey::finding_where:
      for (const events::Finding& finding : event.findings()) text(finding.where());
      return;
    case FilterKey::rows:
      return number(event.has_rows(), event.rows());
    case FilterKey::bytes:
      return number(event.has_bytes(), event.bytes());
  }
}

}  // namespace sluice::audit
