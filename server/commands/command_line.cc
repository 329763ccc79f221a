#include "server/commands/command_line.h"

#include <CLI/CLI.hpp>

#include <list>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace octet::server {
namespace {

constexpr char kDescription[] =
    "Octet serves float32 ONNX models on x86 CPUs, quantized to int8 when they are loaded.\n";

constexpr char kFooter[] = R"(
Examples:
  octet serve --model-repository models
  octet serve --config octet.yaml --grpc-port 9001
  octet config explain octet.yaml

`octet COMMAND --help` describes a command.

Exit codes: 0 done, 1 failed while running, 2 wrong arguments or configuration.
)";

// Where CLI11 puts what was given. It keeps pointers to these: they must not move.
struct Slot {
  const Argument* argument = nullptr;
  std::string value;
  std::vector<std::string> values;
  CLI::Option* option = nullptr;
};

// A command as CLI11 knows it.
struct Registration {
  const Command* command = nullptr;
  CLI::App* app = nullptr;
  std::list<Slot> slots;
};

// The groups that commands of two words stand in, by their name.
using Groups = std::map<std::string, CLI::App*>;

CLI::App* AddApp(CLI::App& root, const Command& command, Groups& groups) {
  const std::vector<std::string> words = absl::StrSplit(command.name, ' ');
  CLI::App* parent = &root;
  if (words.size() == 2) {
    CLI::App*& group = groups[words[0]];
    if (group == nullptr) {
      group = root.add_subcommand(words[0]);
      group->require_subcommand(1);
    }
    // The overview shows what is in the group.
    const std::string others = group->get_description();
    group->description(absl::StrCat(others, others.empty() ? "" : " | ", words[1]));
    parent = group;
  }
  CLI::App* app = parent->add_subcommand(words.back(), command.summary);
  app->footer(absl::StrCat("\n", command.details));
  return app;
}

void AddArgument(CLI::App& app, const Argument& argument, Slot& slot) {
  slot.argument = &argument;
  if (argument.name.front() == '-' && argument.value.empty()) {
    slot.option = app.add_flag(argument.name, argument.help)->disable_flag_override();
    return;
  }
  slot.option = argument.repeated ? app.add_option(argument.name, slot.values, argument.help)
                                  : app.add_option(argument.name, slot.value, argument.help);
  // One value for each time that the flag is there, so that what follows is not swallowed.
  if (argument.repeated) slot.option->allow_extra_args(false);
  slot.option->type_name(argument.value);
  slot.option->required(argument.required);
}

Arguments GivenArguments(const Registration& registration) {
  Arguments given;
  for (const Slot& slot : registration.slots) {
    if (slot.option->count() == 0) continue;
    if (!slot.argument->repeated) given.Add(slot.argument->name, slot.value);
    for (const std::string& value : slot.values) given.Add(slot.argument->name, value);
  }
  return given;
}

void PrintError(Console& console, absl::string_view message) {
  console.error << "octet: " << std::string(message) << "\n";
}

int Run(const Registration& registration, Console& console) {
  const absl::StatusOr<Action> action = registration.command->prepare(GivenArguments(registration));
  if (!action.ok()) {
    PrintError(console, action.status().message());
    return kExitUsage;
  }
  const absl::Status status = (*action)(console);
  if (status.ok()) return kExitOk;
  PrintError(console, status.message());
  return kExitFailure;
}

}  // namespace

int RunCommandLine(std::span<const Command> commands, const std::vector<std::string>& arguments,
                   Console& console) {
  CLI::App root(kDescription, "octet");
  root.require_subcommand(1);
  root.footer(kFooter);
  Groups groups;
  std::list<Registration> registrations;
  for (const Command& command : commands) {
    Registration& registration = registrations.emplace_back();
    registration.command = &command;
    registration.app = AddApp(root, command, groups);
    for (const Argument& argument : command.arguments) {
      AddArgument(*registration.app, argument, registration.slots.emplace_back());
    }
  }
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 wants it
    root.parse(std::move(reversed));
  } catch (const CLI::Success& help) {  // --help
    root.exit(help, console.out, console.error);
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    PrintError(console, error.what());
    console.error << "See `octet --help`.\n";
    return kExitUsage;
  }
  for (const Registration& registration : registrations) {
    if (registration.app->parsed()) return Run(registration, console);
  }
  return kExitUsage;
}

}  // namespace octet::server
