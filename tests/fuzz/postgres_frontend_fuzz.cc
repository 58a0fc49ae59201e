// Bytes of a client, as start-up packets and as messages: no decoder reads past its message, and each takes it whole or
// not at all.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "parsers/postgres/framing.h"
#include "parsers/postgres/frontend.h"
#include "parsers/postgres/startup.h"

using namespace sluice::postgres;

namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

// Reads the first and the last byte of a borrowed piece, so that the sanitizer sees where it points.
template <typename Piece>
void touch(const Piece& piece) {
  if (!piece.empty()) check(piece.front() + piece.back() >= -512);
}

void decode(uint8_t tag, std::span<const uint8_t> body) {
  if (const auto query = decode_query(body); tag == frontend::kQuery && query) touch(query->text);
  if (const auto parse = decode_parse(body)) {
    touch(parse->name);
    touch(parse->text);
    check(parse->type_oids().size() * 4 == parse->parameter_types.size());
  }
  if (const auto target = decode_named_target(body)) touch(target->name);
  if (const auto execute = decode_execute(body)) touch(execute->portal);
  Bind bind;
  FunctionCall call;
  for (const uint64_t whole : {uint64_t{body.size()}, body.size() + 1000}) {
    if (decode_bind(body, whole, bind)) {
      for (const Parameter& parameter : bind.parameters) {
        check(parameter.bytes.size() <= parameter.bytes_total && parameter.bytes_total <= whole);
        touch(parameter.bytes);
      }
      check((bind.results.rule == ResultFormats::Rule::unknown) == (whole != body.size()));
    }
    if (decode_function_call(body, whole, call)) {
      for (const Parameter& parameter : call.arguments) touch(parameter.bytes);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::span<const uint8_t> rest(data, size);
  const StartupPacket packet = read_startup(rest);
  if (packet.kind == StartupKind::startup_message) {
    check(packet.total_bytes <= size);
    for (const auto& [name, value] : packet.parameters) {
      touch(name);
      touch(value);
    }
  }
  while (!rest.empty()) {
    const Frame frame = peek_frame(rest, kFrontendBounds);
    if (frame.state != FrameState::ok) break;
    const size_t here = std::min(frame.total_bytes(), rest.size());
    check(here >= kHeaderBytes);
    decode(frame.tag, rest.subspan(kHeaderBytes, here - kHeaderBytes));
    rest = rest.subspan(here);
  }
  return 0;
}
