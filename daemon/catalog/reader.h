// Reads the catalog of one target's server over a connection of Sluice's own (libpq), on a thread of its own, and
// answers a Catalog with what it found: at the start, when a session has changed names, when a session met a number
// that is not known, and every kRefreshMs.
//
// The login needs no more than CONNECT: the catalog tables are readable by everybody. The connection sets itself read
// only. The DSN may name a password file or a service; it is never logged, and neither is what libpq says of it beyond
// its error message. Lifetime: start() to the end; the Catalog outlives sessions that hold it, and knows nothing any
// more once its reader has ended. Limits: kConnectTimeoutS, kStatementTimeoutMs, snapshot.h's.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/base/thread.h"
#include "daemon/base/unique_fd.h"
#include "daemon/catalog/catalog.h"
#include "daemon/catalog/own_connect.h"

namespace sluice::catalog {

struct ReaderOptions {
  std::string target;
  std::string dsn;
  SocketRegistry sockets;
  // The catalog cannot be read any more (with the reason), or can again (empty). On the reader's thread; only changes.
  std::function<void(const std::string& target, const std::string& why)> report;
};

class Reader {
 public:
  static constexpr uint64_t kRefreshMs = 5'000;
  static constexpr uint64_t kRetryMs = 1'000;
  static constexpr int kConnectTimeoutS = 5;
  static constexpr int kStatementTimeoutMs = 30'000;

  [[nodiscard]] static Result<std::unique_ptr<Reader>> start(ReaderOptions options);
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  [[nodiscard]] const std::shared_ptr<Catalog>& catalog() const { return catalog_; }
  [[nodiscard]] const std::string& dsn() const { return options_.dsn; }

 private:
  class Connection;

  explicit Reader(ReaderOptions options);
  void run();
  [[nodiscard]] bool read(Rows& rows, std::string& why);

  const ReaderOptions options_;
  const std::shared_ptr<Catalog> catalog_;
  std::unique_ptr<Connection> connection_;  // the reader's thread
  std::mutex socket_mutex_;
  int socket_ = -1;  // of the connection, so that stop can end its waits
  bool stopping_ = false;
  Thread thread_;
};

// Why libpq cannot read `dsn`; empty where it can. Never quotes it.
[[nodiscard]] std::string reject_dsn(const std::string& dsn);

}  // namespace sluice::catalog
