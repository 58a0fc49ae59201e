#include "daemon/recorder.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>

#include "daemon/identity/resolver.h"

namespace sluice {
namespace {

constexpr uint32_t kDurableWaitMs = 2'000;

events::Actor this_process() {
  events::Actor self;
  self.attested.pid = getpid();
  self.attested.uid = getuid();
  self.attested.gid = getgid();
  self.attested.user = identity::system_names().user_name(getuid());
  std::array<char, PATH_MAX> path;
  const ssize_t length = readlink("/proc/self/exe", path.data(), path.size());
  if (length > 0) self.attested.exe.assign(path.data(), static_cast<size_t>(length));
  return self;
}

}  // namespace

Result<std::unique_ptr<Recorder>> Recorder::create(audit::AuditLog& log, const Clock& clock) {
  std::string why;
  auto scanner = policies::CardScanner::create(why);
  if (scanner == nullptr) return fail("card scanner: " + why);
  UniqueFd event(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!event.valid()) return fail_errno("create eventfd", errno);
  return std::unique_ptr<Recorder>(new Recorder(log, clock, std::move(scanner), std::move(event)));
}

Recorder::Recorder(audit::AuditLog& log, const Clock& clock, std::unique_ptr<policies::CardScanner> scanner,
                   UniqueFd durable_event)
    : log_(log),
      clock_(clock),
      self_(this_process()),
      scanner_(std::move(scanner)),
      durable_event_(std::move(durable_event)),
      ring_(log.add_ring(durable_event_.get())) {}

events::EventBuilder Recorder::own(events::EventType type, events::EventOutcome outcome,
                                   std::string_view resource) const {
  return {type, {clock_.utc_ns()}, outcome, self_, "local", resource};
}

events::EventBuilder Recorder::of(const events::Actor& actor, events::EventType type, events::EventOutcome outcome,
                                  std::string_view resource) const {
  return {type, {clock_.utc_ns()}, outcome, actor, "control-socket", resource};
}

void Recorder::publish(events::EventBuilder& event) {
  const std::lock_guard lock(mutex_);
  flush_locked();
  events::EncodedEvent encoded = event.build(*scanner_, self_findings_);
  if (waiting_.empty() && ring_.publish(encoded).has_value()) return;
  if (waiting_.size() >= kWaitingMax) {
    ++lost_;
    return;
  }
  waiting_.push_back(std::move(encoded));
}

Status Recorder::publish_durably(events::EventBuilder& event) {
  publish(event);
  {
    const std::lock_guard lock(mutex_);
    if (!waiting_.empty()) return fail("the audit log takes no events at the moment");
  }
  return log_.flush(kDurableWaitMs);
}

void Recorder::flush_waiting() {
  const std::lock_guard lock(mutex_);
  flush_locked();
}

void Recorder::flush_locked() {
  while (!waiting_.empty()) {
    if (!ring_.publish(waiting_.front()).has_value()) return;
    waiting_.pop_front();
  }
  if (lost_ == 0) return;
  events::EventBuilder loss = own(events::EventType::loss, events::EventOutcome::failure, "audit-log");
  loss.detail("events of the daemon itself found no room").counter("events", lost_);
  if (ring_.publish(loss.build(*scanner_, self_findings_)).has_value()) lost_ = 0;
}

uint64_t Recorder::self_findings() const {
  const std::lock_guard lock(mutex_);
  return self_findings_;
}

}  // namespace sluice
