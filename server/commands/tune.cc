#include "server/commands/tune.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/commands/model_command.h"
#include "server/config/spelling.h"

namespace octet::server {
namespace {

constexpr char kDetails[] =
    R"(Quantizes MODEL in one way after the other, beginning with that of --config, and measures each:
accuracy on the samples that calibrate none of them, bytes of the weights as served, and the median
time of a run on one thread. Prints those that no other one beats in all three (the Pareto front),
and chooses the best by --objective of those that hold the accuracy target.

Examples:
  octet tune model.onnx --calibration samples --seconds 60 --output tuned.yaml
  octet tune model.onnx --config octet.yaml --objective bytes --output tuned.yaml

Exit codes: 0 done, 1 the model could not be measured, 2 wrong arguments or configuration.
)";

absl::StatusOr<TuneObjective> ParseObjective(const std::string& text) {
  if (text.empty() || text == "latency") return TuneObjective::kLatency;
  if (text == "bytes") return TuneObjective::kBytes;
  if (text == "accuracy") return TuneObjective::kAccuracy;
  return absl::InvalidArgumentError(
      absl::StrCat("--objective: must be latency, bytes or accuracy, not ", Quoted(text)));
}

}  // namespace

absl::StatusOr<TuneOptions> ParseTuneOptions(const Arguments& arguments) {
  TuneOptions options;
  OCTET_ASSIGN_OR_RETURN(options.model, ParseModelOptions(arguments));
  // What float32 is to be compared with.
  QuantizationConfig& quantization = options.model.settings.quantization;
  if (quantization.mode == QuantizationMode::kFloat32) quantization.mode = QuantizationMode::kInt8;
  OCTET_ASSIGN_OR_RETURN(options.seconds, arguments.GetReal("--seconds", 0, 86'400, 120));
  OCTET_ASSIGN_OR_RETURN(options.objective, ParseObjective(arguments.Get("--objective")));
  options.output = arguments.Get("--output");
  return options;
}

Command TuneCommand(std::function<absl::Status(const TuneOptions&, Console&)> tune) {
  return {
      .name = "tune",
      .summary = "Find the quantization settings that serve a model best",
      .details = kDetails,
      .arguments = {ModelArgument(),
                    CalibrationArgument(),
                    ConfigArgument(),
                    {.name = "--seconds", .value = "N", .help = "Time for measuring (default 120)"},
                    {.name = "--objective",
                     .value = "NAME",
                     .help = "latency (default), bytes or accuracy"},
                    {.name = "--output",
                     .value = "FILE",
                     .help = "Where the chosen configuration is written (YAML)"}},
      .prepare = PrepareModelCommand<TuneOptions>(ParseTuneOptions, std::move(tune))};
}

}  // namespace octet::server
