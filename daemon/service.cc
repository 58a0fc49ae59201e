#include "daemon/service.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <thread>

#include "daemon/acceptor.h"
#include "daemon/audit/audit_log.h"
#include "daemon/base/clock.h"
#include "daemon/base/version.h"
#include "daemon/catalogs.h"
#include "daemon/command/analysis_pool.h"
#include "daemon/config/load_all.h"
#include "daemon/config/problem_format.h"
#include "daemon/control/metrics_server.h"
#include "daemon/control/server.h"
#include "daemon/identity/resolver.h"
#include "daemon/privilege/account.h"
#include "daemon/privilege/identity_change.h"
#include "daemon/privilege/syscall_filter.h"
#include "daemon/privileged_work.h"
#include "daemon/recorder.h"
#include "daemon/service_operations.h"
#include "daemon/target_table.h"
#include "daemon/upstreams.h"
#include "daemon/watcher.h"

namespace sluice {
namespace {

using events::EventOutcome;
using events::EventType;

constexpr int kExitFailed = 1;
constexpr int kExitConfiguration = 2;
// Between looks at whether the workers are done, while draining.
constexpr long kDrainLookMs = 50;

// Descriptors for as many sessions as the system grants.
void prepare_process() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0)
      spdlog::warn("descriptor limit stays at its default: {}", std::generic_category().message(errno));
  }
  signal(SIGPIPE, SIG_IGN);
}

sigset_t service_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  sigaddset(&set, SIGCHLD);  // the helper
  return set;
}

// Who the daemon becomes. A user that the configuration names has to be there; the one that packages make need not.
Result<privilege::Account> choose_account(const config::Config& config) {
  const privilege::Account own{"root", geteuid(), getegid()};
  const std::string& name = config.user.empty() ? config::kDefaultUser : config.user;
  auto found = privilege::find_account(name);
  if (!found) return tl::unexpected(found.error());
  if (found->has_value() && geteuid() == 0) return **found;
  if (geteuid() != 0) {
    spdlog::warn("not started as root: the daemon keeps its user {}", own.uid);
    return own;
  }
  if (!config.user.empty())
    return fail("there is no user " + name + ", which the configuration names; useradd --system makes one");
  spdlog::warn("there is no user {}: the daemon keeps user root, without root's capabilities (useradd --system {})",
               name, name);
  return own;
}

// Null where no machine speaks the protocol; the configuration does not accept such a target.
std::unique_ptr<session::Machine> make_machine(const std::string& protocol, session::Gate& gate,
                                               policies::CardScanner& scanner, const session::MachineLimits& limits) {
  if (protocol == "postgres") return session::make_postgres_machine(gate, scanner, limits);
  return nullptr;
}

// A worker with its thread.
struct Crew {
  std::unique_ptr<session::Worker> worker;
  std::atomic<bool> done{false};
  Thread thread;
};

class Service {
 public:
  explicit Service(const config::Config& config) : config_(config) {}

  [[nodiscard]] int run();

 private:
  [[nodiscard]] Status start();
  [[nodiscard]] Status take_directories();
  [[nodiscard]] Status give_up_root();
  [[nodiscard]] Status open_log();
  [[nodiscard]] Status start_steering();
  void report_acceleration();
  [[nodiscard]] Status start_workers();
  [[nodiscard]] Status start_acceptor();
  [[nodiscard]] int serve();
  void helper_is_gone();
  void drain();
  void stop();
  [[nodiscard]] std::vector<session::Worker*> workers() const;

  const config::Config& config_;
  std::shared_ptr<const policies::PolicySet> first_policies_;
  privilege::Account account_;
  UniqueFd audit_directory_;  // stays open: audit_path_ may lead through it
  std::string audit_path_;    // as the daemon's user reaches it
  UniqueFd bound_control_socket_;
  // In the order in which they need each other; taken down in the reverse.
  std::unique_ptr<PrivilegedWork> privileged_;
  std::unique_ptr<audit::AuditLog> log_;
  std::unique_ptr<Recorder> recorder_;
  std::unique_ptr<interception::Steering> steering_;
  std::vector<int> listeners_;
  TargetTable targets_;
  std::unique_ptr<session::PolicySource> policies_;
  std::unique_ptr<command::AnalysisPool> analysis_;
  std::unique_ptr<ShortCircuits> short_circuits_;
  std::unique_ptr<SteeredUpstreams> upstreams_;
  std::unique_ptr<Catalogs> catalogs_;
  std::vector<std::unique_ptr<Crew>> crews_;
  std::unique_ptr<Acceptor> acceptor_;
  std::unique_ptr<identity::Resolver> resolver_;
  std::unique_ptr<Watcher> watcher_;
  std::unique_ptr<UncoveredConnections> uncovered_;
  std::unique_ptr<ServiceOperations> operations_;
  std::unique_ptr<control::ControlServer> control_;
  std::unique_ptr<control::MetricsServer> metrics_;
};

int Service::run() {
  policies::Problems problems;
  first_policies_ = policies::load_policies(config_.policies_directory, config::target_names(config_), problems);
  if (!problems.empty())
    spdlog::log(first_policies_ ? spdlog::level::warn : spdlog::level::err, "{}", config::format_text(problems));
  if (first_policies_ == nullptr) return kExitConfiguration;

  const sigset_t signals = service_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // before the first thread, so that the main thread alone gets them
  prepare_process();
  auto account = choose_account(config_);
  if (!account) {
    spdlog::error("start: {}", account.error().message);
    return kExitConfiguration;
  }
  account_ = std::move(*account);
  if (Status started = start(); !started) {
    spdlog::error("start: {}", started.error().message);
    sd_notifyf(0, "STATUS=start failed: %s", started.error().message.c_str());
    if (recorder_ != nullptr) {
      events::EventBuilder event = recorder_->own(EventType::daemon_stopped, EventOutcome::failure, "daemon");
      recorder_->publish(event.detail("start: " + started.error().message));
    }
    if (steering_ != nullptr) steering_->stop();
    for (session::Worker* worker : workers()) worker->stop();
    stop();
    return kExitFailed;
  }
  const int status = serve();
  drain();
  stop();
  return status;
}

Status Service::start() {
  // Before steering, whose lock and listeners must not live on in another process.
  auto privileged = PrivilegedWork::start(config_);
  if (!privileged) return tl::unexpected(privileged.error());
  privileged_ = std::move(*privileged);
  const pthread_t main_thread = pthread_self();
  privileged_->helper().on_broken([main_thread] { pthread_kill(main_thread, SIGCHLD); });
  if (Status taken = take_directories(); !taken) return taken;
  // What fails here is recorded all the same, once there is a log.
  Status steered = start_steering();
  auto bound = control::bind_control_socket(config_.control_socket, account_.uid);
  if (bound) bound_control_socket_ = std::move(*bound);
  if (Status given_up = give_up_root(); !given_up) return within("give up root", given_up.error());
  if (Status opened = open_log(); !opened) return opened;
  if (!steered) return steered;
  if (!bound) return within("control socket", bound.error());
  report_acceleration();
  if (Status started = start_workers(); !started) return started;
  if (Status started = start_acceptor(); !started) return started;
  // Alive and able to serve: from here on connects are led to us.
  if (Status live = steering_->go_live(); !live) return within("go live", live.error());
  uncovered_ =
      std::make_unique<UncoveredConnections>(*steering_, targets_, *recorder_, *privileged_, config_.cgroup_path);
  if (Status looks = uncovered_->start(); !looks) return looks;
  operations_ = std::make_unique<ServiceOperations>(
      ServiceParts{config_, *steering_, targets_, *policies_, *log_, *recorder_, *acceptor_, *watcher_, *analysis_,
                   *uncovered_, *privileged_, *catalogs_, audit_path_, workers(), system_clock().utc_ns()});
  if (!config_.metrics.empty()) {
    control::MetricsServerOptions metrics;
    metrics.address = config_.metrics;
    auto served = control::MetricsServer::start(metrics, *operations_);
    if (!served) return within("metrics", served.error());
    metrics_ = std::move(*served);
  }
  control::ServerOptions options;
  options.socket_path = config_.control_socket;
  options.executable_path = [this](pid_t pid) { return privileged_->executable_path(pid); };
  auto control = control::ControlServer::start(options, *operations_, std::move(bound_control_socket_));
  if (!control) return within("control socket", control.error());
  control_ = std::move(*control);
  return {};
}

// Makes them, gives them to the daemon's user, and holds on to the one that it may not be able to reach by its path.
Status Service::take_directories() {
  if (Status given = privilege::give_directory(config_.state_directory, account_); !given) return given;
  if (Status given = privilege::give_directory(config_.audit.directory, account_); !given) return given;
  audit_directory_.reset(::open(config_.audit.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!audit_directory_.valid()) return fail_errno("open " + config_.audit.directory, errno);
  return {};
}

// From here on this process has nothing that its user does not have. No thread runs yet: capabilities are a thread's
// own.
Status Service::give_up_root() {
  const auto permitted = privilege::permitted_capabilities();
  if (!permitted) return tl::unexpected(permitted.error());
  privilege::CapabilitySet keep;
  if (steering_ != nullptr && permitted->has(CAP_BPF)) {
    // Old kernels want CAP_BPF for every use of a map: found by trying.
    if (Status set = privilege::set_effective({}); !set) return set;
    if (!steering_->works_with_present_capabilities()) keep = {CAP_BPF};
    if (Status set = privilege::set_effective(*permitted); !set) return set;
  }
  if (Status became = privilege::become(account_, keep); !became) return became;
  if (Status filtered = privilege::filter_system_calls(privilege::FilteredProcess::daemon); !filtered) return filtered;
  audit_path_ = privilege::reachable_path(config_.audit.directory, audit_directory_.get());
  spdlog::info(
      "runs as user {} ({}) with capabilities {}, no new privileges, {}; helper is process {}", account_.name,
      geteuid(), privilege::to_text(keep),
      privilege::filters_system_calls() ? "system calls filtered" : "NO system call filter (built with sanitizers)",
      privileged_->helper().pid());
  return {};
}

Status Service::open_log() {
  audit::LogOptions options;
  options.directory = audit_path_;
  options.durability =
      config_.audit.durability == config::Durability::strict ? audit::Durability::strict : audit::Durability::relaxed;
  char host[256] = {};
  if (gethostname(host, sizeof host - 1) == 0) options.host = host;
  auto log = audit::AuditLog::open(options);
  if (!log) return within("audit log", log.error());
  log_ = std::move(*log);
  auto recorder = Recorder::create(*log_, system_clock());
  if (!recorder) return tl::unexpected(recorder.error());
  recorder_ = std::move(*recorder);
  events::EventBuilder started = recorder_->own(EventType::daemon_started, EventOutcome::success, "daemon");
  recorder_->publish(
      started.detail(kVersion).rule({}, first_policies_->version()).counter("rules", first_policies_->rule_count()));
  if (const std::string recovered = log_->status().recovered; !recovered.empty()) {
    spdlog::warn("audit log: {}", recovered);
    events::EventBuilder event = recorder_->own(EventType::log_recovered, EventOutcome::success, "audit-log");
    recorder_->publish(event.detail(recovered));
  }
  return {};
}

Status Service::start_steering() {
  interception::SteeringOptions options;
  options.bpf_directory = config_.bpf_directory;
  options.cgroup_path = config_.cgroup_path;
  options.broker = privileged_.get();
  auto steering = interception::Steering::start(options);
  if (!steering) return within("steering", steering.error());
  steering_ = std::move(*steering);
  spdlog::info("{}", steering_->capability_line());
  steering_->prepare_acceleration(steered_targets(config_.targets));
  auto listeners = steering_->open_listeners();
  if (!listeners) return within("listeners", listeners.error());
  listeners_ = std::move(*listeners);
  return targets_.replace(*steering_, config_.targets);
}

// Which way each word of the configuration comes to, once, as a line and as an event.
void Service::report_acceleration() {
  const interception::AccelerationReport& report = steering_->acceleration();
  for (const auto& [word, accelerate] :
       {std::pair("auto", config::Accelerate::auto_), {"on", config::Accelerate::on}}) {
    const auto asks = [wanted = accelerate](const config::Target& target) { return target.accelerate == wanted; };
    if (std::none_of(config_.targets.begin(), config_.targets.end(), asks)) continue;
    const interception::Acceleration taken = report.of(wish_of(accelerate));
    const std::string line = std::string("accelerate: ") + word + " is " + std::string(to_string(taken)) + ": " +
                             report.why(wish_of(accelerate));
    spdlog::info("{}", line);
    events::EventBuilder event = recorder_->own(EventType::acceleration, EventOutcome::success, "daemon");
    recorder_->publish(event.detail(line));
  }
}

// Half of the processors: the clients, and often the server, need the others. More threads than there is work for cost:
// each sleeps more often, and waking one up is the dearest part of a transaction (docs/decisions/0060).
unsigned worker_count(const config::Config& config) {
  if (config.workers != 0) return config.workers;
  return std::clamp(std::thread::hardware_concurrency() / 2, 1u, static_cast<unsigned>(config::kWorkersMost));
}

Status Service::start_workers() {
  policies_ = std::make_unique<session::PolicySource>(first_policies_);
  auto analysis = command::AnalysisPool::start({});
  if (!analysis) return tl::unexpected(analysis.error());
  analysis_ = std::move(*analysis);
  short_circuits_ = std::make_unique<ShortCircuits>(*steering_);
  upstreams_ = std::make_unique<SteeredUpstreams>(*steering_, *short_circuits_);
  catalogs_ = std::make_unique<Catalogs>(*steering_, *recorder_);
  if (Status read = catalogs_->replace(config_.targets); !read) return read;
  const unsigned count = worker_count(config_);
  const auto cancels = std::make_shared<session::CancelDesk>();
  for (unsigned i = 0; i < count; ++i) {
    session::WorkerParts parts;
    std::string why;
    parts.scanner = policies::CardScanner::create(why);
    if (parts.scanner == nullptr) return fail("card scanner: " + why);
    parts.durable_event.reset(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!parts.durable_event.valid()) return fail_errno("create eventfd", errno);
    parts.ring = &log_->add_ring(parts.durable_event.get());
    parts.analysis = analysis_.get();
    parts.policies = policies_.get();
    parts.clock = &system_clock();
    parts.upstreams = upstreams_.get();
    parts.catalog_of = [this](const std::string& target) { return catalogs_->of(target); };
    parts.short_circuit_of = [this](int client) { return short_circuits_->of(client); };
    parts.short_circuited = [this](int client, int server) { return steering_->short_circuited(client, server); };
    parts.make_machine = make_machine;
    if (getrandom(parts.hash_key.data(), sizeof parts.hash_key, 0) != sizeof parts.hash_key)
      return fail_errno("random key", errno);
    parts.durability = config_.audit.durability == config::Durability::strict ? session::Durability::strict
                                                                              : session::Durability::relaxed;
    parts.cancels = cancels;
    auto worker = session::Worker::create(std::move(parts));
    if (!worker) return within("worker", worker.error());
    auto crew = std::make_unique<Crew>();
    crew->worker = std::move(*worker);
    Crew& member = *crew;
    crews_.push_back(std::move(crew));
    // The stack is the grammar's: short texts are analysed on the worker.
    auto thread = Thread::start("worker-" + std::to_string(i), sql::kAnalysisStackBytes, [&member] {
      member.worker->run();
      member.done.store(true, std::memory_order_release);
    });
    if (!thread) {
      crews_.pop_back();
      return tl::unexpected(thread.error());
    }
    member.thread = std::move(*thread);
  }
  return {};
}

Status Service::start_acceptor() {
  if (privileged_->executable_path(getpid()).empty()) return fail("identity: /proc cannot be read");
  resolver_ =
      std::make_unique<identity::Resolver>(privileged_->process_lookup(), identity::system_names(), system_clock());
  if (Status started = resolver_->start(); !started) return started;
  acceptor_ = std::make_unique<Acceptor>(*steering_, targets_, *resolver_, *recorder_, workers());
  if (Status started = acceptor_->start(listeners_); !started) return started;
  watcher_ =
      std::make_unique<Watcher>(Watcher::Watched{*steering_, targets_, *acceptor_, *recorder_, *log_, workers()});
  return watcher_->start();
}

std::vector<session::Worker*> Service::workers() const {
  std::vector<session::Worker*> all;
  for (const auto& crew : crews_) all.push_back(crew->worker.get());
  return all;
}

// 0: told to stop; 1: the helper is gone.
int Service::serve() {
  const size_t rules = first_policies_->rule_count();
  spdlog::info("sluice {} protects {} targets with {} rules, policy {}", kVersion, config_.targets.size(), rules,
               first_policies_->version());
  sd_notifyf(0, "READY=1\nSTATUS=protecting %zu targets", config_.targets.size());
  const sigset_t signals = service_signals();
  for (;;) {
    int received = 0;
    if (sigwait(&signals, &received) != 0) continue;
    if (received == SIGCHLD) {
      privileged_->helper().look_after_child();
      if (!privileged_->helper().is_broken()) continue;
      helper_is_gone();
      return kExitFailed;
    }
    if (received != SIGHUP) {
      spdlog::info("told to stop (signal {})", received);
      return 0;
    }
    sd_notify(0, "RELOADING=1");
    control::Caller caller;
    caller.pid = getpid();
    caller.uid = getuid();
    caller.gid = getgid();
    caller.user = identity::system_names().user_name(caller.uid);
    caller.exe = "SIGHUP";  // a signal does not say who sent it
    [[maybe_unused]] const control::ReloadResult result =
        operations_->reload(caller);  // has logged and recorded what came of it
    sd_notify(0, "READY=1");
  }
}

// Nobody can be identified, and no other helper can be had without root: whoever started the daemon starts it again.
void Service::helper_is_gone() {
  const std::string why = "the privileged helper is gone: " + privileged_->helper().failure();
  spdlog::error("{}; the daemon ends, when_down decides about new connections", why);
  events::EventBuilder event = recorder_->own(EventType::control_failure, EventOutcome::failure, "daemon");
  recorder_->publish(event.detail(why));
}

void Service::drain() {
  sd_notify(0, "STOPPING=1\nSTATUS=draining sessions");
  operations_->set_draining();
  events::EventBuilder draining = recorder_->own(EventType::daemon_draining, EventOutcome::success, "daemon");
  recorder_->publish(draining);
  steering_->stop();  // when_down decides about new connects from here on
  watcher_->acceptor_ends();
  acceptor_->stop();
  const auto all = workers();
  for (session::Worker* worker : all) worker->drain(kDrainTimeoutMs);
  const sigset_t signals = service_signals();
  for (bool hurried = false;
       !std::all_of(crews_.begin(), crews_.end(), [](const auto& crew) { return crew->done.load(); });) {
    const timespec pause{0, kDrainLookMs * 1'000'000};
    const int received = sigtimedwait(&signals, nullptr, &pause);
    if ((received != SIGTERM && received != SIGINT) || hurried) continue;
    hurried = true;
    spdlog::warn("told to stop again: sessions end now");
    for (session::Worker* worker : all) worker->stop();
  }
}

// Also after a start that failed half-way: whatever is not there is left out.
void Service::stop() {
  if (acceptor_ != nullptr) acceptor_->stop();
  resolver_.reset();  // answers what waits; the acceptor is still there to take the answers
  for (const auto& crew : crews_) crew->thread.join();
  if (watcher_ != nullptr) {
    watcher_->stop();
    watcher_->record_coverage();
  }
  metrics_.reset();
  control_.reset();
  if (operations_ != nullptr) {
    events::EventBuilder stopped = recorder_->own(EventType::daemon_stopped, EventOutcome::success, "daemon");
    if (Status recorded = recorder_->publish_durably(stopped); !recorded)
      spdlog::error("audit log: {}", recorded.error().message);
  }
  operations_.reset();
  uncovered_.reset();
  watcher_.reset();
  acceptor_.reset();
  crews_.clear();
  if (analysis_ != nullptr) analysis_->stop();
  catalogs_.reset();
  steering_.reset();
  recorder_.reset();
  log_.reset();  // seals the segment
  privileged_.reset();
  spdlog::info("stopped");
}

}  // namespace

int run_service(const config::Config& config) {
  // stderr belongs to the journal; whoever reads it adds the time there, so ours is short.
  auto logger = spdlog::stderr_logger_mt("sluice");
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  spdlog::set_default_logger(logger);
  Service service(config);
  return service.run();
}

}  // namespace sluice
