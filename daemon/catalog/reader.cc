#include "daemon/catalog/reader.h"

#include <libpq-fe.h>
#include <sys/socket.h>

#include <charconv>
#include <cstring>
#include <utility>

#include "parsers/sql/analysis.h"

namespace sluice::catalog {
namespace {

struct ClearResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
using ResultRef = std::unique_ptr<PGresult, ClearResult>;

// pg_get_viewdef() writes names without schema where the search_path shows them: it has to show none.
constexpr const char* kSettings =
    "SET default_transaction_read_only = on; SET search_path = ''; SET statement_timeout = 30000; "
    "SET client_min_messages = error; SET idle_in_transaction_session_timeout = 60000";
constexpr const char* kBegin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
constexpr const char* kRelations =
    "SELECT c.oid, n.nspname, c.relname, c.relkind, CASE WHEN c.relkind IN ('v', 'm') AND n.nspname NOT IN "
    "('pg_catalog', 'information_schema') THEN pg_catalog.pg_get_viewdef(c.oid) ELSE '' END "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') AND n.nspname <> 'pg_toast' ORDER BY 1";
constexpr const char* kColumns =
    "SELECT a.attrelid, a.attnum, a.attname, a.attgenerated <> '' FROM pg_catalog.pg_attribute a JOIN "
    "pg_catalog.pg_class c ON c.oid = a.attrelid WHERE a.attnum > 0 AND NOT a.attisdropped AND c.oid >= 16384 AND "
    "c.relkind IN ('r', 'v', 'm', 'f', 'p') ORDER BY 1, 2";
constexpr const char* kInherits = "SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits ORDER BY 1, 2";

uint32_t number(const PGresult* result, int row, int column) {
  const char* const text = PQgetvalue(result, row, column);
  uint32_t value = 0;
  std::from_chars(text, text + std::strlen(text), value);
  return value;
}

// One line, without the DSN's own words: libpq's messages name host, port and user, never a password.
std::string one_line(const char* text) {
  std::string line(text);
  while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
  for (char& c : line) {
    if (c == '\n') c = ' ';
  }
  return line;
}

}  // namespace

std::string reject_dsn(const std::string& dsn) {
  PQconninfoOption* const options = PQconninfoParse(dsn.c_str(), nullptr);
  if (options == nullptr) return "libpq cannot read it";
  PQconninfoFree(options);
  return {};
}

class Reader::Connection {
 public:
  Connection(PGconn* connection, std::vector<UniqueFd> sockets, const SocketRegistry& registry)
      : connection_(connection), sockets_(std::move(sockets)), registry_(registry) {}
  ~Connection() {
    PQfinish(connection_);
    for (const UniqueFd& socket : sockets_) registry_.forget(socket.get());
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] PGconn* get() const { return connection_; }
  [[nodiscard]] int socket() const { return sockets_.empty() ? PQsocket(connection_) : sockets_.back().get(); }

  // Null with `why` set where it failed.
  [[nodiscard]] ResultRef run(const char* text, std::string& why) const {
    ResultRef result(PQexec(connection_, text));
    const ExecStatusType status = PQresultStatus(result.get());
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) return result;
    why = one_line(PQerrorMessage(connection_));
    return nullptr;
  }

 private:
  PGconn* const connection_;
  std::vector<UniqueFd> sockets_;  // duplicates, registered
  const SocketRegistry& registry_;
};

Reader::Reader(ReaderOptions options) : options_(std::move(options)), catalog_(std::make_shared<Catalog>()) {}

Result<std::unique_ptr<Reader>> Reader::start(ReaderOptions options) {
  std::unique_ptr<Reader> reader(new Reader(std::move(options)));
  Reader* const one = reader.get();
  // The stack is the grammar's: definitions of views are analysed.
  auto thread = Thread::start("catalog", sql::kAnalysisStackBytes, [one] { one->run(); });
  if (!thread) return within("catalog", thread.error());
  reader->thread_ = std::move(*thread);
  return reader;
}

Reader::~Reader() {
  catalog_->stop();
  {
    const std::lock_guard lock(socket_mutex_);
    stopping_ = true;
    if (socket_ >= 0) ::shutdown(socket_, SHUT_RDWR);
  }
  thread_.join();
}

void Reader::run() {
  FormerNames former;
  Rows last;
  bool reported = false;
  bool known = false;
  uint64_t wait_ms = kRefreshMs;
  for (;;) {
    const Catalog::Request request = catalog_->wait(wait_ms);
    if (request.stopping) break;
    Rows rows;
    std::string why;
    const bool read_it = read(rows, why);
    if (read_it && known && rows == last) {
      catalog_->confirm(request);
    } else {
      known = read_it;
      catalog_->answer(request, read_it ? Snapshot::build(rows, former) : nullptr);
      if (read_it) last = std::move(rows);
    }
    if (!read_it) connection_.reset();
    if (reported == read_it && options_.report) options_.report(options_.target, why);
    reported = !read_it;
    wait_ms = read_it ? kRefreshMs : kRetryMs;
  }
  connection_.reset();
  catalog_->answer({UINT64_MAX, true}, nullptr);
}

bool Reader::read(Rows& rows, std::string& why) {
  if (connection_ == nullptr) {
    const std::string timeout = std::to_string(kConnectTimeoutS);
    const char* const keys[] = {"connect_timeout", "dbname", "application_name", "tcp_user_timeout", nullptr};
    const char* const values[] = {timeout.c_str(), options_.dsn.c_str(), "sluice catalog", "30000", nullptr};
    OwnConnects own(options_.sockets);
    PGconn* const made = PQconnectdbParams(keys, values, 1);
    connection_ = std::make_unique<Connection>(made, own.take(), options_.sockets);
    if (PQstatus(made) != CONNECTION_OK) {
      why = own.why().empty() ? one_line(PQerrorMessage(made)) : own.why();
      connection_.reset();
      return false;
    }
    if (PQsetClientEncoding(made, "UTF8") != 0 || connection_->run(kSettings, why) == nullptr) return false;
  }
  {
    const std::lock_guard lock(socket_mutex_);
    if (stopping_) return false;
    socket_ = connection_->socket();
  }
  const ResultRef begun = connection_->run(kBegin, why);
  const ResultRef relations = begun ? connection_->run(kRelations, why) : nullptr;
  const ResultRef columns = relations ? connection_->run(kColumns, why) : nullptr;
  const ResultRef inherits = columns ? connection_->run(kInherits, why) : nullptr;
  const ResultRef ended = inherits ? connection_->run("COMMIT", why) : nullptr;
  {
    const std::lock_guard lock(socket_mutex_);
    socket_ = -1;
  }
  if (!ended) return false;
  if (static_cast<size_t>(PQntuples(relations.get())) > kRelationsMax ||
      static_cast<size_t>(PQntuples(columns.get())) > kColumnsMax) {
    why = "the server has more relations or columns than are read";
    return false;
  }
  for (int i = 0; i < PQntuples(relations.get()); ++i) {
    const PGresult* const from = relations.get();
    rows.relations.push_back({number(from, i, 0), PQgetvalue(from, i, 1), PQgetvalue(from, i, 2),
                              *PQgetvalue(from, i, 3), PQgetvalue(from, i, 4)});
  }
  for (int i = 0; i < PQntuples(columns.get()); ++i) {
    const PGresult* const from = columns.get();
    rows.columns.push_back({number(from, i, 0), static_cast<uint16_t>(number(from, i, 1)), PQgetvalue(from, i, 2),
                            *PQgetvalue(from, i, 3) == 't'});
  }
  for (int i = 0; i < PQntuples(inherits.get()); ++i)
    rows.inherits.emplace_back(number(inherits.get(), i, 0), number(inherits.get(), i, 1));
  return true;
}

}  // namespace sluice::catalog
