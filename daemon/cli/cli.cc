#include "daemon/cli/cli.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include <CLI/CLI.hpp>

#include "daemon/cli/commands.h"
#include "daemon/cli/mask_command.h"
#include "daemon/cli/reference.h"
#include "daemon/cli/scan_command.h"
#include "daemon/cli/suggest.h"
#include "daemon/cli/table.h"

namespace sluice::cli {
namespace {

// Everything the parser fills in, and what is then to be done.
struct Parsed {
  explicit Parsed(Context& c) : context(c) {}
  Context& context;
  std::string session_id;
  bool past_sessions = false;
  std::string past_since;
  ConnectionsEndOptions connections_end;
  TryOptions attempt;
  EventsOptions events;
  AuditVerifyOptions audit_verify;
  std::vector<std::string> demo_arguments;
  MaskOptions mask;
  std::string mask_style = "bin6_last4";
  ScanOptions scan;
  std::function<int()> action;
};

// The parser itself would take -1 for a very large number.
std::string complain_unless_whole(const std::string& text) {
  const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  return digits ? std::string() : "'" + printable(text) + "' is not a whole number";
}

enum class Output { human_only, human_or_json };

// Options that every command takes, and its example.
CLI::App* add_command(CLI::App& parent, Parsed& parsed, const char* name, const char* what, const char* example,
                      Output output) {
  CLI::App* command = parent.add_subcommand(name, what);
  command
      ->add_option("--config", parsed.context.config_file,
                   std::string("configuration file (default ") + config::kDefaultConfigFile + ")")
      ->type_name("FILE");
  if (output == Output::human_or_json)
    command->add_flag("--json", parsed.context.json, "one JSON object, or one per line for lists");
  command->footer(std::string("Example:\n  ") + example);
  return command;
}

void add_host_commands(CLI::App& app, Parsed& parsed) {
  const Context& context = parsed.context;
  add_command(app, parsed, "run", "Runs the daemon in the foreground", "sluice run --config /etc/sluice/sluice.yaml",
              Output::human_only)
      ->callback([&] { parsed.action = [&] { return run_command(context); }; });
  add_command(app, parsed, "guard", "Attaches the kernel side in the when_down state, without a daemon (for boot)",
              "sluice guard --config /etc/sluice/sluice.yaml", Output::human_only)
      ->callback([&] { parsed.action = [&] { return guard_command(context); }; });
  add_command(app, parsed, "unload",
              "Detaches and unpins every eBPF program and map; targets are uncovered from then on",
              "sudo sluice unload", Output::human_or_json)
      ->callback([&] { parsed.action = [&] { return unload_command(context); }; });
  add_command(app, parsed, "check", "Validates configuration and policies; prints every problem as file:line:column",
              "sluice check --config ./sluice.yaml", Output::human_or_json)
      ->callback([&] { parsed.action = [&] { return check_command(context); }; });
  add_command(app, parsed, "doctor",
              "Says what this kernel and host can do, what is missing, and how to close each gap", "sudo sluice doctor",
              Output::human_or_json)
      ->callback([&] { parsed.action = [&] { return doctor_command(context); }; });
  CLI::App* attempt = add_command(
      app, parsed, "try",
      "Runs one command in a cgroup of its own with steering attached to that cgroup alone, and says what was seen",
      "sudo sluice try --policy ./policies -- psql -h 10.20.0.5 payments", Output::human_or_json);
  attempt->add_option("--policy", parsed.attempt.policies, "policies to try (default: what the configuration names)")
      ->type_name("DIR");
  attempt->add_option("COMMAND", parsed.attempt.command, "the command and its arguments, after --")->required();
  attempt->callback([&] { parsed.action = [&] { return try_command(context, parsed.attempt); }; });
  CLI::App* demo = add_command(app, parsed, "demo",
                               "A self-contained tour: a database with card data, an unchanged client, every effect",
                               "sudo sluice demo --yes", Output::human_only);
  demo->add_flag_callback(
      "--yes", [&] { parsed.demo_arguments.emplace_back("--yes"); }, "do not wait for Enter between the steps");
  demo->callback([&] { parsed.action = [&] { return demo_command(context, parsed.demo_arguments); }; });
  add_command(app, parsed, "version", "Prints the version", "sluice version", Output::human_or_json)->callback([&] {
    parsed.action = [&] { return version_command(context); };
  });
}

void add_daemon_commands(CLI::App& app, Parsed& parsed) {
  const Context& context = parsed.context;
  add_command(app, parsed, "status", "Health, targets, coverage, sinks and their lag, policy version",
              "sluice status --json | jq .targets", Output::human_or_json)
      ->callback([&] { parsed.action = [&] { return status_command(context); }; });
  add_command(app, parsed, "reload", "Reads configuration and policies again; what does not validate changes nothing",
              "sluice reload", Output::human_or_json)
      ->callback([&] { parsed.action = [&] { return reload_command(context); }; });

  CLI::App* sessions = add_command(app, parsed, "sessions", "Live and past sessions: list, show, kill",
                                   "sluice sessions kill 00f1e2d3c4b5a697", Output::human_or_json);
  sessions->require_subcommand(0, 1);
  const auto list = [&] {
    return sessions_list_command(context, parsed.past_sessions ? SessionSet::past : SessionSet::live,
                                 parsed.past_since);
  };
  sessions->callback([&parsed, list] {
    if (!parsed.action) parsed.action = list;
  });
  CLI::App* listing =
      add_command(*sessions, parsed, "list", "Live sessions, oldest first; with --past those that ended",
                  "sluice sessions list --past --since 1h", Output::human_or_json);
  CLI::Option* past = listing->add_flag("--past", parsed.past_sessions, "sessions that ended, from the log");
  listing->add_option("--since", parsed.past_since, "those that ended from this time on")
      ->type_name("TIME")
      ->needs(past);
  listing->callback([&parsed, list] { parsed.action = list; });
  CLI::App* show = add_command(*sessions, parsed, "show", "One session, live or past, with its events",
                               "sluice sessions show 00f1e2d3c4b5a697", Output::human_or_json);
  show->add_option("ID", parsed.session_id, "session id")->required();
  show->callback([&] { parsed.action = [&] { return sessions_show_command(context, parsed.session_id); }; });
  CLI::App* kill = add_command(*sessions, parsed, "kill", "Ends a live session; its client is told why",
                               "sluice sessions kill 00f1e2d3c4b5a697", Output::human_or_json);
  kill->add_option("ID", parsed.session_id, "session id")->required();
  kill->callback([&] { parsed.action = [&] { return sessions_kill_command(context, parsed.session_id); }; });
}

void add_connection_commands(CLI::App& app, Parsed& parsed) {
  const Context& context = parsed.context;
  CLI::App* connections =
      add_command(app, parsed, "connections",
                  "Connections to targets that are open and go past Sluice, because they are older than it: list, end",
                  "sluice connections end --target payments-db", Output::human_or_json);
  connections->require_subcommand(0, 1);
  const auto list = [&] { return connections_list_command(context); };
  connections->callback([&parsed, list] {
    if (!parsed.action) parsed.action = list;
  });
  add_command(*connections, parsed, "list", "Every one, with the process that holds it",
              "sluice connections list --json", Output::human_or_json)
      ->callback([&parsed, list] { parsed.action = list; });
  CLI::App* end =
      add_command(*connections, parsed, "end", "Ends some of them, so that their clients connect again, through Sluice",
                  "sluice connections end 48213", Output::human_or_json);
  end->add_option("ID", parsed.connections_end.ids, "ids as the list shows them");
  end->add_option("--target", parsed.connections_end.target, "all of this target")->type_name("NAME");
  end->add_flag("--all", parsed.connections_end.all, "all of all targets");
  end->callback([&] { parsed.action = [&] { return connections_end_command(context, parsed.connections_end); }; });
}

void add_log_commands(CLI::App& app, Parsed& parsed) {
  const Context& context = parsed.context;
  CLI::App* events = add_command(app, parsed, "events", "Searches and follows the audit log",
                                 "sluice events --since 1h --filter 'type=command_blocked and identity.user=alice'",
                                 Output::human_or_json);
  events
      ->add_option("--since", parsed.events.since,
                   "from this time on: RFC 3339, a date, today, or how long ago (15m, 1h, 7d)")
      ->type_name("TIME");
  events->add_option("--until", parsed.events.until, "up to this time")->type_name("TIME");
  events->add_option("--filter", parsed.events.filter, "conditions joined by `and`: key=value, globs with *, ~\"text\"")
      ->type_name("EXPR");
  events->add_option("--limit", parsed.events.limit, "at most this many; 0 for all")
      ->type_name("N")
      ->check(complain_unless_whole);
  CLI::Option* follow = events->add_flag("--follow,-f", parsed.events.follow, "go on as events are written");
  events->add_option("--dir", parsed.events.directory, "read this log directory, without a daemon")
      ->type_name("DIR")
      ->excludes(follow);
  events->callback([&] { parsed.action = [&] { return events_command(context, parsed.events); }; });

  CLI::App* audit = add_command(app, parsed, "audit", "Proves the integrity of the audit log", "sluice audit verify",
                                Output::human_only);
  audit->require_subcommand(1);
  CLI::App* verify = add_command(*audit, parsed, "verify",
                                 "Checks every byte, hash and segment; exit status 0 intact, 4 tampered, 5 incomplete",
                                 "sluice audit verify --dir /var/lib/sluice/audit --json", Output::human_or_json);
  verify->add_option("--dir", parsed.audit_verify.directory, "log directory (default: what the configuration names)")
      ->type_name("DIR");
  verify
      ->add_option("--head", parsed.audit_verify.head,
                   "a head that was kept elsewhere: the log has to contain it; - for standard input")
      ->type_name("FILE");
  verify->callback([&] { parsed.action = [&] { return audit_verify_command(context, parsed.audit_verify); }; });
}

void add_data_options(CLI::App& command, DataOptions& data) {
  command
      .add_option("--data", data.kinds,
                  "other data too: cvv (also away from cards), iban, email, ssn (joined by commas)")
      ->type_name("KINDS")
      ->delimiter(',')
      ->allow_extra_args(false);
  command.add_option("--pattern", data.patterns, "a pattern of your own too; may be given again")
      ->type_name("NAME=REGEX")
      ->allow_extra_args(false);
  command.add_flag(
      "--trust-keys", data.trust_keys,
      "a key such as order_id or imei makes a number no card's; only for texts that nobody wrote to deceive");
}

void add_scan_command(CLI::App& app, Parsed& parsed) {
  CLI::App* scan =
      add_command(app, parsed, "scan",
                  "Finds card data in files, directories, archives or standard input; exit status 1 where there is any",
                  "sluice scan --exclude '*.iso' --json /srv/exports backup.tar.zst", Output::human_or_json);
  ScanOptions& options = parsed.scan;
  add_data_options(*scan, options.data);
  scan->add_option("--include", options.include, "of directories, only files that match; may be given again")
      ->type_name("GLOB")
      ->allow_extra_args(false);
  scan->add_option("--exclude", options.exclude, "of directories, neither files nor directories that match")
      ->type_name("GLOB")
      ->allow_extra_args(false);
  scan->add_flag("--follow-links", options.follow_links, "in directories, follow symbolic links");
  scan->add_flag_callback(
      "--no-archives", [&options] { options.look_into_archives = false; },
      "search compressed files and archives as they are, without looking into them");
  scan->add_option("--max-file-size", options.file_bytes_max, "leave larger files out, and say so (10M, 2G)")
      ->type_name("SIZE")
      ->transform(CLI::AsSizeValue(false).description(""));
  scan->add_option("--max-expanded", options.expanded_bytes_max,
                   "look at no more than this of what a file expands to (default: by its ratio, from 1 GiB on)")
      ->type_name("SIZE")
      ->transform(CLI::AsSizeValue(false).description(""));
  scan->add_option("--max-findings", options.findings_per_file, "show at most this many findings of one file")
      ->type_name("N")
      ->check(complain_unless_whole);
  scan->add_option("--threads", options.threads, "files searched at once (default: one per core)")
      ->type_name("N")
      ->check(CLI::Range(1, 256).description(""));
  scan->add_option("FILE", options.files, "files or directories; - or none: standard input");
  scan->callback([&] {
    parsed.action = [&] {
      parsed.scan.json = parsed.context.json;
      return run_scan(parsed.scan);
    };
  });
}

void add_card_commands(CLI::App& app, Parsed& parsed) {
  CLI::App* mask = add_command(app, parsed, "mask", "Filter: text in, masked text out",
                               "sluice mask --report <export.csv >masked.csv", Output::human_only);
  mask->add_option("--style", parsed.mask_style, "bin6_last4 (default), last4, full or bin8_last4")
      ->type_name("STYLE")
      ->check(CLI::IsMember({"bin6_last4", "last4", "full", "bin8_last4"}));
  add_data_options(*mask, parsed.mask.data);
  mask->add_flag("--report", parsed.mask.report, "findings as JSON lines on stderr");
  mask->add_option("FILE", parsed.mask.files, "files; - or none: standard input");
  mask->callback([&] {
    parsed.action = [&] {
      parsed.mask.style = policies::parse_mask_style(parsed.mask_style).value_or(policies::MaskStyle::bin6_last4);
      return run_mask(parsed.mask);
    };
  });
  add_scan_command(app, parsed);
}

std::vector<std::string> names_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  return names;
}

// The parser's own message for an unknown command does not help; so the words are looked at first. True where one was
// complained about.
bool complain_about_unknown_command(const CLI::App& app, const std::vector<std::string>& arguments) {
  const CLI::App* at = &app;
  std::string path = "sluice";
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    if (word == "--config") {
      ++i;
      continue;
    }
    if (word.empty() || word[0] == '-') continue;
    const std::vector<std::string> names = names_of(*at);
    if (names.empty()) return false;
    const CLI::App* next = nullptr;
    for (const CLI::App* command : at->get_subcommands([](const CLI::App*) { return true; })) {
      if (command->get_name() == word) next = command;
    }
    if (next == nullptr) {
      const std::string suggestion = nearest(word, names);
      complain("'" + printable(word) + "' is not a command of `" + path + "`" +
               (suggestion.empty() ? "" : "; did you mean `" + suggestion + "`?"));
      complain("`" + path + " --help` lists the commands");
      return true;
    }
    at = next;
    path += " " + word;
  }
  return false;
}

// An option that does not exist, with the nearest that does.
std::string option_hint(const CLI::App& app, const std::vector<std::string>& arguments) {
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  std::vector<std::string> known;
  for (const CLI::Option* option : at->get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  }
  for (const std::string& word : arguments) {
    const std::string name = word.substr(0, word.find('='));
    if (name.rfind("--", 0) != 0 || std::find(known.begin(), known.end(), name) != known.end()) continue;
    const std::string suggestion = nearest(name, known);
    if (!suggestion.empty()) return "did you mean `" + suggestion + "`?";
  }
  return {};
}

}  // namespace

int run(const std::vector<std::string>& arguments, const Environment& environment) {
  Context context(environment, ::isatty(STDOUT_FILENO) == 1);
  Parsed parsed(context);
  CLI::App app(
      "Sluice makes access to cardholder data provable: masks, blocks and records what reaches protected targets.",
      "sluice");
  app.footer(
      "`sluice COMMAND --help` shows a command's options and an example.\n"
      "Exit status: 0 success, 1 no, 2 wrong usage or configuration, 3 daemon not reachable, 4 log tampered with, 5 "
      "log incomplete.");
  app.add_option("--config", context.config_file,
                 std::string("configuration file (default ") + config::kDefaultConfigFile + ")")
      ->type_name("FILE");
  app.set_version_flag("--version", [&]() -> std::string {
    (void)version_command(context);
    return {};
  });
  app.require_subcommand(1);
  add_host_commands(app, parsed);
  add_daemon_commands(app, parsed);
  add_connection_commands(app, parsed);
  add_log_commands(app, parsed);
  add_card_commands(app, parsed);

  // Not for people, so not in --help: what completion and manual are made from.
  app.add_subcommand("reference", "Every command and option, as JSON")->group("")->callback([&] {
    parsed.action = [&] { return print_line(to_line(describe_commands(app))) ? kSuccess : kUsage; };
  });

  if (complain_about_unknown_command(app, arguments)) return kUsage;
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 wants them
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    const CLI::App* at = &app;
    std::string path;
    while (!at->get_subcommands().empty()) {
      path += (path.empty() ? "" : " ") + at->get_name();
      at = at->get_subcommands().front();
    }
    std::fputs(at->help(path, CLI::AppFormatMode::Normal).c_str(), stdout);
    return kSuccess;
  } catch (const CLI::CallForVersion&) {
    return kSuccess;
  } catch (const CLI::ParseError& error) {
    complain(error.what());
    const std::string hint = option_hint(app, arguments);
    complain(hint.empty() ? "see `sluice --help` and `sluice COMMAND --help`" : hint);
    return kUsage;
  }
  int status = kUsage;
  try {
    if (parsed.action) status = parsed.action();
  } catch (const nlohmann::json::exception& error) {
    // Only from JSON of another shape than ours: something else answers on that socket.
    complain(std::string("the daemon's answer is not understood: ") + error.what());
    return kUnreachable;
  }
  // A full disk behind our output must not look like success.
  if (std::fflush(stdout) != 0 && status == kSuccess) {
    complain("the output could not be written");
    return kUsage;
  }
  return status;
}

}  // namespace sluice::cli
