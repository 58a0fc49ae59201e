// A PostgreSQL server that keeps to the protocol, for the fuzzer of the session machine. What it answers to a text
// depends on the text and on nothing else: its words (rows, fail, COPYOUT …) say what happens. Every value, notice and
// error that it sends holds kPan.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "parsers/postgres/framing.h"
#include "parsers/postgres/frontend.h"
#include "tests/unit/daemon/session/postgres_messages.h"

namespace sluice::session::fuzzing {

namespace be = sluice::session::testing::be;

inline constexpr std::string_view kPan = "4111111111111111";

[[noreturn]] inline void broken(const char* what, const std::string& detail = {}) {
  std::fprintf(stderr, "invariant broken: %s %s\n", what, detail.c_str());
  std::abort();
}

inline std::span<const uint8_t> view(const std::string& bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

// A server that keeps to the protocol. What it answers to a text depends on the text and on nothing else.
class Server {
 public:
  // What it may be sent. A proxy that keeps to the protocol sends it nothing else than what is well-formed; one that a
  // lying server led astray may, and then it ends the session.
  enum class Sent : uint8_t { what_is_well_formed, anything };
  explicit Server(Sent sent) : sent_(sent) {}

  std::string take(const std::string& bytes) {
    if (gone_) return {};
    in_ += bytes;
    std::string out;
    size_t at = 0;
    for (;;) {
      const auto rest = view(in_).subspan(at);
      const auto frame = postgres::peek_frame(rest, postgres::kFrontendBounds);
      if (frame.state == postgres::FrameState::incomplete || frame.total_bytes() > rest.size()) break;
      if (frame.state != postgres::FrameState::ok) return out + leave("a frame that is none");
      at += frame.total_bytes();
      out += one(frame.tag, rest.subspan(postgres::kHeaderBytes, frame.body_bytes));
      if (gone_) return out;
    }
    in_.erase(0, at);
    return out;
  }

 private:
  std::string leave(const char* why) {
    if (sent_ == Sent::what_is_well_formed) broken("the server was sent nonsense:", why);
    gone_ = true;
    return {};
  }
  static bool has(const std::string& text, const char* word) { return text.find(word) != text.npos; }
  static size_t columns(const std::string& text) { return has(text, "rows") ? 1 + text.size() % 3 : 0; }
  static std::string description(const std::string& text) {
    return be::row_description(std::vector<be::Column>(columns(text), be::Column{"c"}));
  }
  static std::string rows(const std::string& text) {
    std::string out;
    const size_t size = has(text, "large") ? 36'000 : text.size() % 40;
    for (size_t row = 0; columns(text) > 0 && row < 2; ++row) {
      out += be::row(testing::Values(columns(text), std::string(size, '.') + std::string(kPan)));
      if (has(text, "async")) out += async();
    }
    return out;
  }
  // What may come between any two messages.
  static std::string async() {
    const std::string pan(kPan);
    return be::notification("channel", pan) + be::parameter("application_name", pan) +
           be::report('N', {{'S', "NOTICE"}, {'M', pan}, {'D', pan}});
  }
  static std::string copied(const std::string& text) {
    const bool binary = has(text, "BINARY");
    const std::string pan(kPan);
    const std::string row = "1\t" + pan + "\n";
    const std::string filler(has(text, "large") ? 40'000 : 3, '.');
    const std::string stream =
        binary ? testing::binary_copy::header() + testing::binary_copy::row({pan, std::nullopt}) +
                     testing::binary_copy::row({filler + pan, "x"}) + testing::binary_copy::trailer()
               : row + row;
    const size_t cut = text.size() % stream.size(), more = std::min(stream.size(), cut + 1 + text.size() % 7);
    return (binary ? be::binary_copy_response('H', 2) : be::copy_response('H')) + be::copy_data(stream.substr(0, cut)) +
           (has(text, "async") ? async() : "") + be::copy_data(stream.substr(cut, more - cut)) + be::copy_data("") +
           be::copy_data(stream.substr(more)) + be::copy_done();
  }
  std::string fail(const std::string& code) { return be::error(code, "failed near " + std::string(kPan)); }
  // Runs a statement, without its RowDescription.
  std::string run(const std::string& text) {
    std::string out;
    if (has(text, "notice")) out += be::report('N', {{'S', "NOTICE"}, {'M', std::string(kPan)}});
    if (has(text, "SET")) out += be::parameter("standard_conforming_strings", has(text, "on") ? "on" : "off");
    if (has(text, "fail") || has(text, "pg_catalog.sluice_")) return out + fail("42883");
    if (has(text, "COPYIN")) {
      copying_ = true;
      return out + (has(text, "BINARY") ? be::binary_copy_response('G', 2) : be::copy_response('G'));
    }
    if (has(text, "COPYOUT")) {
      out += copied(text);
    } else {
      out += rows(text);
    }
    if (has(text, "DEALLOCATE")) statements_.clear();
    return out + be::complete("DONE 1");
  }
  std::string one(uint8_t tag, std::span<const uint8_t> body) {
    if (copying_) return copy(tag);
    if (tag == 'S') {
      skipping_ = false;
      portals_.clear();
      return be::ready();
    }
    if (skipping_) return {};
    std::string out;
    switch (tag) {
      case 'Q': {
        const auto decoded = postgres::decode_query(body);
        if (!decoded) return leave("malformed Query");
        const std::string text(decoded->text);
        query_ = true;
        if (text.empty()) return be::empty_query() + be::ready();
        if (columns(text) > 0 && !has(text, "fail") && !has(text, "COPY")) out = description(text);
        out += run(text);
        portals_.clear();
        return copying_ ? out : out + be::ready();
      }
      case 'F': {
        postgres::FunctionCall call;
        if (!postgres::decode_function_call(body, body.size(), call)) return leave("malformed FunctionCall");
        return (call.function_oid == 0 ? fail("42883") : be::function_result(kPan)) + be::ready();
      }
      case 'P': {
        const auto parse = postgres::decode_parse(body);
        if (!parse) return leave("malformed Parse");
        const std::string name(parse->name), text(parse->text);
        if (name.empty()) statements_.erase(name);
        if (has(text, "pg_catalog.sluice_") || has(text, "syntax") || statements_.count(name) != 0) {
          out = fail("42601");
        } else {
          statements_[name] = text;
          out = be::parse_complete();
        }
        break;
      }
      case 'B': {
        postgres::Bind bind;
        if (!postgres::decode_bind(body, body.size(), bind)) return leave("malformed Bind");
        const auto found = statements_.find(std::string(bind.statement));
        if (found == statements_.end()) {
          out = fail("26000");
        } else {
          portals_[std::string(bind.portal)] = found->second;
          out = be::bind_complete();
        }
        break;
      }
      case 'D': {
        const auto target = postgres::decode_named_target(body);
        if (!target) return leave("malformed Describe");
        const bool statement = target->kind == postgres::NameKind::statement;
        auto& names = statement ? statements_ : portals_;
        const auto found = names.find(std::string(target->name));
        if (found == names.end()) {
          out = fail("26000");
        } else {
          if (statement) out = be::parameter_description({25});
          out += columns(found->second) > 0 && !has(found->second, "COPY") ? description(found->second) : be::no_data();
        }
        break;
      }
      case 'E': {
        const auto execute = postgres::decode_execute(body);
        if (!execute) return leave("malformed Execute");
        const auto found = portals_.find(std::string(execute->portal));
        query_ = false;
        if (found == portals_.end()) {
          out = fail("34000");
        } else if (execute->row_limit == 1 && has(found->second, "parts")) {
          out = rows(found->second) + be::suspended();
        } else {
          out = run(found->second);
        }
        break;
      }
      case 'C': {
        const auto target = postgres::decode_named_target(body);
        if (!target) return leave("malformed Close");
        (target->kind == postgres::NameKind::statement ? statements_ : portals_).erase(std::string(target->name));
        out = be::close_complete();
        break;
      }
      default:
        break;
    }
    skipping_ = skipping_ || failed(out);
    return out;
  }
  static bool failed(const std::string& out) {
    bool error = false;
    for (size_t at = 0; at < out.size();) {
      const auto rest = view(out).subspan(at);
      error = error || rest[0] == 'E';
      at += postgres::peek_frame(rest, postgres::kBackendBounds).total_bytes();
    }
    return error;
  }
  std::string copy(uint8_t tag) {
    if (tag == 'd' || tag == 'H' || tag == 'S') return {};
    copying_ = false;
    std::string out = tag == 'c' ? be::complete("COPY 1") : fail("57014");
    if (tag != 'c' && tag != 'f') return leave("a command, during COPY");
    if (query_) return out + be::ready();
    skipping_ = tag != 'c';
    return out;
  }

  const Sent sent_;
  bool gone_ = false;
  std::string in_;
  bool skipping_ = false;
  bool copying_ = false;
  bool query_ = false;
  std::map<std::string, std::string> statements_;
  std::map<std::string, std::string> portals_;
};

}  // namespace sluice::session::fuzzing
