#include "server/commands/quantize.h"

#include <utility>

#include "server/commands/model_command.h"

namespace octet::server {
namespace {

constexpr char kDetails[] =
    R"(Does what the server does when it loads MODEL, without serving it: imports, calibrates,
quantizes, measures. Prints the report; with --report also writes it as report.txt, report.json
and report.html, a page for the browser.
Without --config the model is quantized to int8 with every default.

What was decided is kept as quantization.cache says, by default as a .qpack file beside the model: a
server with the same settings, data, build and instruction set starts from it without quantizing.

Samples are .npz, .npy or ONNX test-data .pb files; without --calibration, those of the folder
`calibration` beside the model are taken.

Examples:
  octet quantize model.onnx
  octet quantize model.onnx --calibration samples --report report
  octet quantize model.onnx --config octet.yaml
  octet quantize model.onnx --compare-algorithms
  octet quantize model.onnx --config octet.yaml --output cache/model.qpack
  octet quantize model.onnx --calibration samples --save-calibration model.qcal

Exit codes: 0 done, 1 the model could not be quantized, 2 wrong arguments or configuration.
)";

}  // namespace

absl::StatusOr<QuantizeOptions> ParseQuantizeOptions(const Arguments& arguments) {
  OCTET_ASSIGN_OR_RETURN(ModelOptions model, ParseModelOptions(arguments));
  // Without a file nobody has asked for float32.
  if (!arguments.Has("--config")) model.settings.quantization.mode = QuantizationMode::kInt8;
  if (arguments.Has("--save-calibration")) {
    model.settings.quantization.calibration.save = arguments.Get("--save-calibration");
  }
  return QuantizeOptions{std::move(model), arguments.Has("--compare-algorithms"),
                         arguments.Get("--output"), arguments.Get("--report")};
}

Command QuantizeCommand(std::function<absl::Status(const QuantizeOptions&, Console&)> quantize) {
  return {
      .name = "quantize",
      .summary = "Quantize a model and report what that does to it, without serving",
      .details = kDetails,
      .arguments = {ModelArgument(),
                    CalibrationArgument(),
                    ConfigArgument(),
                    {.name = "--compare-algorithms",
                     .help = "Also print what every algorithm makes of this model"},
                    {.name = "--output",
                     .value = "FILE",
                     .help = "The .qpack file to write, which a server starts from"},
                    {.name = "--save-calibration",
                     .value = "FILE",
                     .help = "The .qcal file to write: what the samples show, without them"},
                    {.name = "--report",
                     .value = "DIR",
                     .help = "Folder for report.txt, report.json and report.html"}},
      .prepare = PrepareModelCommand<QuantizeOptions>(ParseQuantizeOptions, std::move(quantize))};
}

}  // namespace octet::server
