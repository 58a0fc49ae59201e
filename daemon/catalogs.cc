#include "daemon/catalogs.h"

#include <spdlog/spdlog.h>

#include <utility>

namespace sluice {

using events::EventOutcome;
using events::EventType;

Status Catalogs::replace(const std::vector<config::Target>& targets) {
  std::map<std::string, std::unique_ptr<catalog::Reader>> next;
  const auto is_kept = [this](const config::Target& target) {
    const auto kept = readers_.find(target.name);
    return kept != readers_.end() && kept->second->dsn() == target.catalog_dsn;
  };
  for (const config::Target& target : targets) {
    if (target.catalog_dsn.empty() || is_kept(target)) continue;
    catalog::ReaderOptions options;
    options.target = target.name;
    options.dsn = target.catalog_dsn;
    options.sockets = {[this](int fd) { return steering_.exempt(fd); }, [this](int fd) { steering_.forget(fd); }};
    options.report = [this](const std::string& name, const std::string& why) { report(name, why); };
    auto reader = catalog::Reader::start(std::move(options));
    if (!reader) return within("target " + target.name, reader.error());
    next.emplace(target.name, std::move(*reader));
  }
  // Those that are not taken over end after the lock is given back.
  const std::lock_guard lock(mutex_);
  for (const config::Target& target : targets) {
    if (!target.catalog_dsn.empty() && is_kept(target)) next.emplace(target.name, std::move(readers_[target.name]));
  }
  readers_.swap(next);
  return {};
}

std::shared_ptr<catalog::Catalog> Catalogs::of(const std::string& target) const {
  const std::lock_guard lock(mutex_);
  const auto found = readers_.find(target);
  return found == readers_.end() ? nullptr : found->second->catalog();
}

void Catalogs::report(const std::string& target, const std::string& why) {
  const std::string resource = "target:" + target;
  if (why.empty()) {
    spdlog::info("target {}: its catalog can be read again", target);
    events::EventBuilder event = recorder_.own(EventType::control_recovery, EventOutcome::success, resource);
    recorder_.publish(event.detail("the server's catalog can be read again"));
    return;
  }
  spdlog::error("target {}: its catalog cannot be read, what only it would tell of columns is masked: {}", target, why);
  events::EventBuilder event = recorder_.own(EventType::control_failure, EventOutcome::failure, resource);
  recorder_.publish(event.detail("the server's catalog cannot be read: " + why));
}

}  // namespace sluice
