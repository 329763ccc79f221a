// A subcommand of `octet` as a row: what it is called, what it takes, what it does.
//
// A command first prepares (arguments and configuration: what fails here is the user's mistake,
// exit code 2) and then acts (what fails here has gone wrong at run time, exit code 1).

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace octet::server {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;  // something went wrong while running
inline constexpr int kExitUsage = 2;    // wrong arguments or configuration

// Where a command writes: results to `out`, everything else to `error`.
struct Console {
  std::ostream& out;
  std::ostream& error;
};

struct Argument {
  std::string name;   // "--config", or "MODEL" for one without a dash
  std::string value;  // a flag's value as the help shows it: "FILE"; empty: it takes none
  std::string help;
  bool required = false;
  bool repeated = false;  // may be given more than once
};

// The arguments of one call, by name.
class Arguments {
 public:
  void Add(const std::string& name, std::string value);

  bool Has(const std::string& name) const { return values_.contains(name); }
  // The value, or "" if it was not given.
  std::string Get(const std::string& name) const;
  std::vector<std::string> All(const std::string& name) const;
  // InvalidArgument "--threads: must be an integer from 1 to 64, not 'x'"; `otherwise` if it was
  // not given.
  absl::StatusOr<int64_t> GetInteger(const std::string& name, int64_t least, int64_t most,
                                     int64_t otherwise) const;
  absl::StatusOr<double> GetReal(const std::string& name, double least, double most,
                                 double otherwise) const;

 private:
  std::map<std::string, std::vector<std::string>> values_;
};

using Action = std::function<absl::Status(Console&)>;

struct Command {
  std::string name;     // "serve"; "config check" is the command check in the group config
  std::string summary;  // one line
  std::string details;  // examples and the like, under the help
  std::vector<Argument> arguments;
  std::function<absl::StatusOr<Action>(const Arguments&)> prepare;
};

}  // namespace octet::server
