#include "daemon/uncovered_connections.h"

#include <arpa/inet.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <map>

namespace sluice {
namespace {

using events::EventOutcome;
using events::EventType;

std::string text_of(const interception::SteeredEndpoint& endpoint) {
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(endpoint.family, endpoint.address, text, sizeof text);
  const std::string port = std::to_string(endpoint.port);
  return endpoint.family == AF_INET ? std::string(text) + ":" + port : "[" + std::string(text) + "]:" + port;
}

std::string describe(const interception::UncoveredConnection& connection) {
  std::string text = text_of(connection.socket.local) + " to " + text_of(connection.socket.remote) + " of uid " +
                     std::to_string(connection.socket.uid);
  if (connection.holder.pid != 0) text += ", pid " + std::to_string(connection.holder.pid);
  if (!connection.holder.exe.empty()) text += " " + connection.holder.exe;
  if (!connection.own_namespace) text += ", in another network namespace";
  return text;
}

control::UncoveredView view_of(const interception::UncoveredConnection& connection, const std::string& target) {
  control::UncoveredView view;
  view.id = std::to_string(connection.socket.inode);
  view.target = target;
  view.origin = text_of(connection.socket.local);
  view.destination = text_of(connection.socket.remote);
  view.uid = connection.socket.uid;
  view.pid = connection.holder.pid == 0 ? -1 : connection.holder.pid;
  view.exe = connection.holder.exe;
  view.can_be_ended = connection.own_namespace;
  return view;
}

}  // namespace

Status UncoveredConnections::start() {
  auto thread = Thread::start("uncovered", kSmallStackBytes, [this] { run(); });
  if (!thread) return tl::unexpected(thread.error());
  thread_ = std::move(*thread);
  return {};
}

void UncoveredConnections::stop() {
  {
    const std::lock_guard lock(wake_mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void UncoveredConnections::run() {
  std::string told;
  std::unique_lock lock(wake_mutex_);
  while (!stopping_) {
    lock.unlock();
    if (!look().has_value() && problem() != told) {
      told = problem();
      spdlog::error("{}", told);
    }
    lock.lock();
    wake_.wait_for(lock, std::chrono::milliseconds(kLookMs), [this] { return stopping_; });
  }
}

Result<std::vector<UncoveredConnections::Found>> UncoveredConnections::find() {
  const auto targets = targets_.current();
  const std::vector<interception::SteeredTarget> steered = steered_targets(*targets);
  interception::UncoveredSearch search;
  search.targets = steered;
  search.is_own = [this](uint64_t cookie) { return steering_.is_exempt(cookie); };
  search.cgroup_path = cgroup_path_;
  search.known = &holders_;
  auto connections = interception::find_uncovered(search, broker_);
  problem_ = connections ? std::string() : "uncovered connections cannot be looked for: " + connections.error().message;
  if (!connections) return tl::unexpected(connections.error());
  std::map<std::string, uint64_t> counted;
  for (const config::Target& target : *targets) counted[target.name] = 0;
  std::vector<Found> found;
  for (interception::UncoveredConnection& connection : *connections) {
    const std::string& name = (*targets)[connection.target].name;
    ++counted[name];
    found.push_back({std::move(connection), name});
  }
  holders_.clear();
  for (const Found& one : found) {
    if (one.connection.holder.pid != 0) holders_[one.connection.socket.inode] = one.connection.holder;
  }
  counts_.assign(counted.begin(), counted.end());
  record_new(found);
  return found;
}

void UncoveredConnections::record_new(const std::vector<Found>& found) {
  std::set<uint64_t> now;
  std::map<std::string, std::pair<uint64_t, std::string>> fresh;  // by target: how many, and the first of them
  for (const Found& one : found) {
    now.insert(one.connection.socket.inode);
    if (seen_.count(one.connection.socket.inode) != 0) continue;
    auto& [count, names] = fresh[one.target];
    if (++count <= kNamedMax) names += (names.empty() ? "" : "; ") + describe(one.connection);
  }
  for (const auto& [target, news] : fresh) {
    events::EventBuilder event =
        recorder_.own(EventType::uncovered_connection, EventOutcome::failure, "target:" + target);
    const char* const what = looked_ ? "open past Sluice: " : "open since before Sluice began to enforce: ";
    recorder_.publish(event.detail(what + news.second).counter("open", news.first));
  }
  seen_ = std::move(now);
  looked_ = true;
}

Result<std::vector<control::UncoveredView>> UncoveredConnections::look() {
  const std::lock_guard lock(mutex_);
  auto found = find();
  if (!found) return tl::unexpected(found.error());
  std::vector<control::UncoveredView> views;
  for (const Found& one : *found) views.push_back(view_of(one.connection, one.target));
  return views;
}

std::vector<std::pair<std::string, uint64_t>> UncoveredConnections::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

std::string UncoveredConnections::problem() const {
  const std::lock_guard lock(mutex_);
  return problem_;
}

Result<control::EndResult> UncoveredConnections::end(const control::EndRequest& wanted, const events::Actor& caller) {
  const std::lock_guard lock(mutex_);
  auto found = find();
  if (!found) return tl::unexpected(found.error());
  control::EndResult result;
  for (const Found& one : *found) {
    const std::string id = std::to_string(one.connection.socket.inode);
    const bool named = wanted.all || (!wanted.target.empty() && one.target == wanted.target) ||
                       std::find(wanted.ids.begin(), wanted.ids.end(), id) != wanted.ids.end();
    if (!named) continue;
    const Status ended = one.connection.own_namespace
                             ? interception::destroyed(broker_.destroy(one.connection.socket))
                             : fail("it is in another network namespace; `ss -K` ends it there");
    events::EventBuilder event =
        recorder_.of(caller, EventType::uncovered_connection, ended ? EventOutcome::refused : EventOutcome::failure,
                     "target:" + one.target);
    recorder_.publish(
        event.detail(ended ? "ended on request: " + describe(one.connection)
                           : "could not be ended: " + ended.error().message + ": " + describe(one.connection)));
    result.connections.push_back({view_of(one.connection, one.target), ended ? std::string() : ended.error().message});
  }
  return result;
}

}  // namespace sluice
