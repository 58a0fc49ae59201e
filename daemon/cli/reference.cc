#include "daemon/cli/reference.h"

#include <CLI/CLI.hpp>

namespace sluice::cli {

using Json = nlohmann::ordered_json;

Json describe_commands(const CLI::App& app) {
  Json options = Json::array();
  Json arguments = Json::array();
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional()) {
      arguments.push_back({{"name", option->get_name(true)},
                           {"description", option->get_description()},
                           {"many", option->get_items_expected_max() > 1}});
      continue;
    }
    Json names = Json::array();
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    const bool takes_value = option->get_items_expected_max() > 0;
    options.push_back({{"names", std::move(names)},
                       {"value", takes_value ? Json(option->get_type_name()) : Json(nullptr)},
                       {"description", option->get_description()}});
  }
  Json commands = Json::array();
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!command->get_group().empty()) commands.push_back(describe_commands(*command));
  }
  return {{"name", app.get_name()},        {"description", app.get_description()}, {"footer", app.get_footer()},
          {"options", std::move(options)}, {"arguments", std::move(arguments)},    {"commands", std::move(commands)}};
}

}  // namespace sluice::cli
