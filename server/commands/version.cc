#include "server/commands/version.h"

namespace octet::server {

Command VersionCommand(VersionLines lines) {
  return {.name = "version",
          .summary = "Print the version of Octet and of what it was built from",
          .details = "Exit code: 0.\n",
          .prepare = [lines = std::move(lines)](const Arguments&) -> absl::StatusOr<Action> {
            return [lines](Console& console) {
              for (const auto& [name, version] : lines) {
                console.out << name << ": " << version << "\n";
              }
              return absl::OkStatus();
            };
          }};
}

}  // namespace octet::server
