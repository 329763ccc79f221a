#include "server/commands/inspect.h"

#include <utility>

#include "server/commands/model_command.h"

namespace octet::server {
namespace {

constexpr char kDetails[] =
    R"(Shows what would serve MODEL: inputs and outputs, kernels, layouts, bytes, the time of each
node, and the share of the multiply-accumulates in int8.

Examples:
  octet inspect model.onnx
  octet inspect model.onnx --config octet.yaml
  octet inspect model.onnx --shape input=8x3x224x224

Exit codes: 0 done, 1 the model cannot be served, 2 wrong arguments or configuration.
)";

}  // namespace

absl::StatusOr<InspectOptions> ParseInspectOptions(const Arguments& arguments) {
  OCTET_ASSIGN_OR_RETURN(ModelOptions model, ParseModelOptions(arguments));
  OCTET_ASSIGN_OR_RETURN(std::vector<InputShape> shapes, ParseInputShapes(arguments));
  return InspectOptions{std::move(model), std::move(shapes)};
}

Command InspectCommand(std::function<absl::Status(const InspectOptions&, Console&)> inspect) {
  return {.name = "inspect",
          .summary = "Show how a model would be served: kernels, layouts, bytes, times",
          .details = kDetails,
          .arguments = {ModelArgument(), ConfigArgument(), ShapeArgument()},
          .prepare = PrepareModelCommand<InspectOptions>(ParseInspectOptions, std::move(inspect))};
}

}  // namespace octet::server
