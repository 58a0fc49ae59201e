// Refusals, against a small server that keeps the state of transactions and pipelines as PostgreSQL does.
#include <gmock/gmock.h>

#include "parsers/postgres/framing.h"
#include "parsers/postgres/frontend.h"
#include "tests/unit/daemon/session/postgres_harness.h"

namespace sluice::session::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Answers what it is sent: BEGIN, COMMIT, ROLLBACK, anything else as a statement without rows. Calls of unknown
// functions, statements and portals fail; in an aborted transaction everything but COMMIT and ROLLBACK does.
class SmallServer {
 public:
  std::string answer(const std::string& bytes) {
    std::string out;
    for (size_t at = 0; at < bytes.size();) {
      const std::vector<uint8_t> rest(bytes.begin() + static_cast<ptrdiff_t>(at), bytes.end());
      const auto frame = postgres::peek_frame(rest, postgres::kFrontendBounds);
      EXPECT_EQ(frame.state, postgres::FrameState::ok);
      const std::vector<uint8_t> body(rest.begin() + 5, rest.begin() + static_cast<ptrdiff_t>(frame.total_bytes()));
      at += frame.total_bytes();
      out += one(frame.tag, body);
    }
    return out;
  }
  char status = 'I';
  std::vector<std::string> ran;

 private:
  std::string fail(const std::string& code, const std::string& text) {
    if (status == 'T') status = 'E';
    return be::error(code, text);
  }
  // Analysis of a text: empty where it is fine.
  std::string analyse(const std::string& text) {
    const bool ends = text == "ROLLBACK" || text == "COMMIT";
    if (status == 'E' && !ends) return fail("25P02", "current transaction is aborted");
    if (text.find("pg_catalog.sluice_") != text.npos) return fail("42883", "function " + text + " does not exist");
    return {};
  }
  std::string run(const std::string& text) {
    if (const std::string error = analyse(text); !error.empty()) return error;
    ran.push_back(text);
    if (text == "BEGIN") status = 'T';
    if (text == "ROLLBACK" || text == "COMMIT") status = 'I';
    return be::complete(text);
  }
  std::string one(uint8_t tag, const std::vector<uint8_t>& body) {
    if (tag == 'S') {
      skipping_ = false;
      return be::ready(status);
    }
    if (skipping_) return {};
    std::string out;
    switch (tag) {
      case 'Q':
        out = run(std::string(postgres::decode_query(body)->text));
        return out + be::ready(status);
      case 'F':
        out = fail("42883", "function with OID 0 does not exist");
        return out + be::ready(status);
      case 'P': {
        const auto parse = postgres::decode_parse(body);
        if (parse->name.empty()) statements_.erase("");
        out = analyse(std::string(parse->text));
        if (out.empty()) statements_[std::string(parse->name)] = parse->text, out = be::parse_complete();
        break;
      }
      case 'B': {
        postgres::Bind bind;
        EXPECT_TRUE(postgres::decode_bind(body, body.size(), bind));
        const auto found = statements_.find(std::string(bind.statement));
        if (found == statements_.end()) {
          out = fail("26000", "prepared statement \"" + std::string(bind.statement) + "\" does not exist");
        } else {
          portals_[std::string(bind.portal)] = found->second;
          out = be::bind_complete();
        }
        break;
      }
      case 'D':
        out = be::no_data();
        break;
      case 'E': {
        const std::string portal(postgres::decode_execute(body)->portal);
        out = portals_.count(portal) != 0 ? run(portals_[portal])
                                          : fail("34000", "portal \"" + portal + "\" does not exist");
        break;
      }
      default:
        break;
    }
    skipping_ = out.starts_with("E");
    return out;
  }

  bool skipping_ = false;
  std::map<std::string, std::string> statements_;
  std::map<std::string, std::string> portals_;
};

class PostgresRefusal : public AnySplit {
 protected:
  void SetUp() override {
    session.start();
    gate.refuse["DROP TABLE customers"] = 1;
  }
  // The client says it, the server answers; what the client reads.
  std::string say(const std::string& bytes) {
    session.forget();
    session.client(bytes);
    while (!session.to_server.empty()) {
      const std::string asked = std::exchange(session.to_server, {});
      session.server(server.answer(asked));
    }
    EXPECT_THAT(session.to_client, Not(HasSubstr("sluice_"))) << "the stand-in's name must not reach the client";
    EXPECT_EQ(session.closed, CloseReason::none);
    return session.to_client;
  }
  const std::string kRefused = be::error("42501", "blocked by rule \"r\"");
  SmallServer server;
};
INSTANTIATE_TEST_SUITE_P(Splits, PostgresRefusal, ::testing::Values(0, 1, 7));

TEST_P(PostgresRefusal, AQueryOutsideOfATransaction) {
  EXPECT_EQ(say(fe::query("DROP TABLE customers")), kRefused + be::ready('I'));
  EXPECT_EQ(say(fe::query("SELECT 1")), be::complete("SELECT 1") + be::ready('I'));
  EXPECT_EQ(server.ran, std::vector<std::string>{"SELECT 1"});
  EXPECT_EQ(gate.completed.size(), 1u) << "the refused one was recorded by the gate";
}

TEST_P(PostgresRefusal, AQueryAbortsItsTransaction) {
  EXPECT_EQ(say(fe::query("BEGIN")), be::complete("BEGIN") + be::ready('T'));
  EXPECT_EQ(say(fe::query("DROP TABLE customers")), kRefused + be::ready('E'));
  const std::string aborted = be::error("25P02", "current transaction is aborted") + be::ready('E');
  EXPECT_EQ(say(fe::query("DROP TABLE customers")), aborted) << "an aborted transaction says so, whatever is asked";
  EXPECT_EQ(say(fe::query("SELECT 1")), aborted);
  EXPECT_EQ(say(fe::query("ROLLBACK")), be::complete("ROLLBACK") + be::ready('I'));
}

TEST_P(PostgresRefusal, AParseSkipsItsSegment) {
  EXPECT_EQ(say(fe::parse("", "DROP TABLE customers") + fe::bind("", "") + fe::describe('P', "") + fe::execute("") +
                fe::sync()),
            kRefused + be::ready('I'));
  EXPECT_EQ(gate.submitted.size(), 1u) << "what the server will not look at needs no decision";
  EXPECT_EQ(server.ran.size(), 0u);
}

TEST_P(PostgresRefusal, APipelineSkipsToTheNextSync) {
  const std::string ok = fe::parse("", "SELECT 1") + fe::bind("", "") + fe::execute("");
  const std::string did = be::parse_complete() + be::bind_complete() + be::complete("SELECT 1");
  EXPECT_EQ(say(ok + fe::parse("s", "DROP TABLE customers") + ok + fe::sync() + ok + fe::sync()),
            did + kRefused + be::ready('I') + did + be::ready('I'));
  EXPECT_EQ(server.ran, (std::vector<std::string>{"SELECT 1", "SELECT 1"}));
}

TEST_P(PostgresRefusal, AnEarlierErrorOfThePipelineComesFirst) {
  session.client(fe::bind("", "missing") + fe::parse("", "DROP TABLE customers") + fe::sync());
  session.server(be::error("26000", "prepared statement \"missing\" does not exist") + be::ready());
  EXPECT_THAT(session.to_client, Not(HasSubstr("42501")));
  EXPECT_EQ(session.machine->phase(), Phase::idle);
}

TEST_P(PostgresRefusal, AtBind) {
  EXPECT_EQ(say(fe::parse("s", "SELECT 1") + fe::sync()), be::parse_complete() + be::ready('I'));
  gate.refuse_stages[Stage::bind] = 1;
  EXPECT_EQ(say(fe::bind("", "s") + fe::execute("") + fe::sync()), kRefused + be::ready('I'));
  gate.refuse_stages.clear();
  EXPECT_EQ(say(fe::bind("", "s") + fe::execute("") + fe::sync()),
            be::bind_complete() + be::complete("SELECT 1") + be::ready('I'));
}

TEST_P(PostgresRefusal, AtExecute) {
  gate.refuse_stages[Stage::execute] = 1;
  EXPECT_EQ(say(fe::parse("", "SELECT 1") + fe::bind("", "") + fe::execute("") + fe::sync()),
            be::parse_complete() + be::bind_complete() + kRefused + be::ready('I'));
  EXPECT_EQ(gate.completed.at(2).outcome, Outcome::failure);
  EXPECT_EQ(server.ran.size(), 0u);
}

TEST_P(PostgresRefusal, AFunctionCall) {
  gate.refuse_stages[Stage::function_call] = 1;
  EXPECT_EQ(say(fe::function_call(1598, {}, fe::Format::text)), kRefused + be::ready('I'));
}

TEST_P(PostgresRefusal, ARefusedNameKeepsTheServersMeaning) {
  EXPECT_EQ(say(fe::parse("s", "SELECT 1") + fe::sync()), be::parse_complete() + be::ready('I'));
  EXPECT_EQ(say(fe::parse("s", "DROP TABLE customers") + fe::sync()), kRefused + be::ready('I'));
  EXPECT_EQ(say(fe::bind("", "s") + fe::execute("") + fe::sync()),
            be::bind_complete() + be::complete("SELECT 1") + be::ready('I'));
  EXPECT_EQ(gate.submitted.back().text, "SELECT 1");
}

TEST_P(PostgresRefusal, ATextOverItsLimitIsNeverForwarded) {
  Session small(GetParam(), 1000);
  small.start();
  const std::string huge = "/*" + std::string(100'000, 'c') + "*/ DROP TABLE customers";
  small.client(fe::query(huge) + fe::query("SELECT 1"));
  EXPECT_THAT(small.to_server, Not(HasSubstr("cccc")));
  EXPECT_THAT(small.to_server, HasSubstr("SELECT 1"));
  SmallServer far;
  small.server(far.answer(small.to_server));
  EXPECT_THAT(small.to_client, HasSubstr("54000"));
  EXPECT_THAT(small.to_client, Not(HasSubstr("sluice_")));
  EXPECT_EQ(far.ran, std::vector<std::string>{"SELECT 1"});
  EXPECT_EQ(small.gate.submitted.size(), 1u);
  EXPECT_EQ(small.machine->phase(), Phase::idle);
}

TEST_P(PostgresRefusal, AParseOverItsLimit) {
  Session small(GetParam(), 1000);
  small.start();
  small.client(fe::parse("s", std::string(100'000, 'c')) + fe::bind("", "s") + fe::sync());
  SmallServer far;
  small.server(far.answer(small.to_server));
  EXPECT_THAT(small.to_client, HasSubstr("54000"));
  EXPECT_EQ(small.machine->phase(), Phase::idle);
}

TEST_P(PostgresRefusal, NamesThatTheServerWouldCutAreRefused) {
  const std::string answer = say(fe::parse(std::string(64, 'n'), "SELECT 1") + fe::sync());
  EXPECT_THAT(answer, HasSubstr("42622"));
  EXPECT_EQ(gate.submitted.size(), 0u);
  EXPECT_EQ(say(fe::parse(std::string(63, 'n'), "SELECT 1") + fe::sync()), be::parse_complete() + be::ready('I'));
}

TEST_P(PostgresRefusal, AStandInThatIsNotRefusedEndsTheSession) {
  session.client(fe::query("DROP TABLE customers"));
  session.server(be::row_description({{"a"}}) + be::row({"surprise"}) + be::complete("SELECT 1") + be::ready());
  EXPECT_EQ(session.closed, CloseReason::protocol_violation);
}

TEST_P(PostgresRefusal, NoticesThatNameTheStandInAreSwallowed) {
  session.client(fe::query("DROP TABLE customers"));
  const std::string text(
      postgres::decode_query(std::vector<uint8_t>(session.to_server.begin() + 5, session.to_server.end()))->text);
  session.server(be::report('N', {{'S', "LOG"}, {'M', "statement: " + text}}) + be::error("42883", text) + be::ready());
  EXPECT_EQ(session.to_client, kRefused + be::ready());
}

TEST_P(PostgresRefusal, OtherErrorsOfAStandInStayWhatTheyAre) {
  session.client(fe::query("DROP TABLE customers"));
  const std::string canceled = be::error("57014", "canceling statement due to user request") + be::ready();
  session.server(canceled);
  EXPECT_EQ(session.to_client, canceled);
}

TEST_P(PostgresRefusal, EveryStandInHasAnotherName) {
  session.client(fe::query("DROP TABLE customers"));
  const std::string first = std::exchange(session.to_server, {});
  session.server(be::error("42883", "x") + be::ready());
  session.client(fe::query("DROP TABLE customers"));
  EXPECT_NE(session.to_server, first);
}

}  // namespace
}  // namespace sluice::session::testing
