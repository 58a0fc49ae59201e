// A side that departs from the protocol: takes the messages that an honest side would say and leaves out, repeats,
// exchanges, inserts or damages some, as the fuzzer's input says. Most stay, so that the conversation goes on and a lie
// meets every state.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "tests/fuzz/choices.h"
#include "tests/fuzz/postgres_model_server.h"
#include "tests/unit/daemon/session/postgres_messages.h"

namespace sluice::session::fuzzing {

namespace fe = sluice::session::testing::fe;

class Liar {
 public:
  enum class As : uint8_t { client, server };
  Liar(As as, sluice::fuzzing::Choices& choices) : as_(as), choices_(choices) {}

  // `messages`: whole ones, each with a tag. What it says instead.
  std::string tell(const std::string& messages) {
    std::string said;
    for (size_t at = 0; at < messages.size();) {
      const size_t size = 1 + length_of(messages, at);
      said += one(messages.substr(at, size));
      at += size;
    }
    said += held_back_;
    held_back_.clear();
    return said;
  }
  // A message out of place.
  std::string unasked() { return as_ == As::client ? client_message() : server_message(); }

 private:
  static constexpr uint8_t kTruths = 176;  // of 256

  static size_t length_of(const std::string& messages, size_t at) {
    size_t length = 0;
    for (size_t i = 1; i <= 4; ++i) length = length << 8 | static_cast<uint8_t>(messages[at + i]);
    return length;
  }
  static std::string with_length(std::string message, uint32_t length) {
    for (size_t i = 4; i >= 1; --i, length >>= 8) message[i] = static_cast<char>(length & 0xff);
    return message;
  }
  static std::string resized(const std::string& message) {
    return with_length(message, static_cast<uint32_t>(message.size() - 1));
  }
  std::string some_bytes(size_t at_most) {
    const auto bytes = choices_.take(choices_.next() % at_most);
    return {bytes.begin(), bytes.end()};
  }

  std::string one(std::string message) {
    std::string before = std::exchange(held_back_, {});
    const uint8_t what = choices_.next();
    const size_t body = message.size() - postgres::kHeaderBytes;
    if (what < kTruths) return message + before;
    switch (what % 12) {
      case 0:
        return before;
      case 1:
        return message + message + before;
      case 2:
        held_back_ = message;
        return before;
      case 3:
        message[0] = static_cast<char>(choices_.next());
        break;
      case 4:
        message = with_length(message, static_cast<uint32_t>(message.size() - 1) + choices_.next() - 128);
        break;
      case 5: {
        constexpr std::array<uint32_t, 8> kLengths = {0, 3, 4, 5, 1u << 29u, 0x7fffffff, 0x80000000, 0xffffffff};
        message = with_length(message, kLengths[choices_.next() % kLengths.size()]);
        break;
      }
      case 6:
        if (body > 0) {
          const size_t at = (choices_.next() << 8 | choices_.next()) % body;
          message[postgres::kHeaderBytes + at] = static_cast<char>(choices_.next());
        }
        break;
      case 7:
        message.resize(message.size() - choices_.next() % (body + 1));
        message = resized(message);
        break;
      case 8:
        message = resized(message + some_bytes(64));
        break;
      case 9:
        return unasked() + message + before;
      case 10:
        return message + some_bytes(16) + before;
      default:
        if (body >= 2) {  // the number of columns, parameters, formats
          message[postgres::kHeaderBytes] = static_cast<char>(choices_.next());
          message[postgres::kHeaderBytes + 1] = static_cast<char>(choices_.next());
        }
        break;
    }
    return message + before;
  }

  std::string server_message() {
    const std::string pan(kPan);
    switch (choices_.next() % 28) {
      case 0:
        return be::authentication(choices_.next() % 14, "salt");
      case 1:
        return be::key_data();
      case 2:
        return be::ready("ITEX"[choices_.next() % 4]);
      case 3:
        return be::row_description({{"c", 25, 0}, {pan, 20, 1}, {"d", choices_.next(), 7}});
      case 4:
        return be::row({pan, std::nullopt, ""});
      case 5:
        return be::row({testing::int8(4111111111111111)});
      case 6:
        return be::complete("SELECT 1");
      case 7:
        return be::parse_complete();
      case 8:
        return be::bind_complete();
      case 9:
        return be::close_complete();
      case 10:
        return be::no_data();
      case 11:
        return be::suspended();
      case 12:
        return be::empty_query();
      case 13:
        return be::error("42601", pan);
      case 14:
        return be::fatal("57P01", pan);
      case 15:
        return be::report('N', {{'M', pan}, {'?', pan}});
      case 16:
        return be::notification(pan, pan);
      case 17:
        return be::parameter("server_version", pan);
      case 18:
        return be::parameter("standard_conforming_strings", "off") + be::parameter("client_encoding", "SJIS");
      case 19:
        return be::copy_response("GHW"[choices_.next() % 3]);
      case 20:
        return be::binary_copy_response("GHW"[choices_.next() % 3], choices_.next());
      case 21:
        return be::copy_data(pan);
      case 22:
        return be::copy_data(pan.substr(0, 9)) + be::copy_data(pan.substr(9));
      case 23:
        return be::copy_done();
      case 24:
        return be::function_result(pan);
      case 25:
        return be::parameter_description({25, 20});
      case 26:
        return testing::message('v', testing::W().u32(0x30000).u32(1).cstring("_pq_.option"));
      default:
        return testing::message(static_cast<char>(choices_.next()), testing::W().text(pan));
    }
  }
  std::string client_message() {
    switch (choices_.next() % 12) {
      case 0:
        return fe::password("secret");
      case 1:
        return fe::copy_data("1\n");
      case 2:
        return fe::copy_done();
      case 3:
        return fe::copy_fail("no");
      case 4:
        return fe::terminate();
      case 5:
        return fe::startup({{"user", "u"}});
      case 6:
        return fe::request(80877103);  // SSLRequest
      case 7:
        return fe::bind("p", "s", {std::string(kPan)}, fe::Format::binary, fe::Format::binary);
      case 8:
        return fe::execute("p", choices_.next());
      case 9:
        return fe::describe(static_cast<char>(choices_.next()), "s");
      case 10:
        return fe::function_call(1, {"x", "y"}, fe::Format::binary);
      default:
        return testing::message(static_cast<char>(choices_.next()), testing::W().text("rows"));
    }
  }

  As as_;
  sluice::fuzzing::Choices& choices_;
  std::string held_back_;
};

}  // namespace sluice::session::fuzzing
