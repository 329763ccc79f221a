// Runs a model over samples in process and writes the outputs, for scripts that judge them.
//
//   run_model MODEL SAMPLES.npz OUTPUT_FOLDER [--int8 | --dynamic] [--calibration PATH] [--batch N]
//
// Writes OUTPUT_FOLDER/NAME_INDEX.bin per output and sample: dense little-endian elements; and
// prints a line "INDEX NAME TYPE SHAPE" for each.

#include <cstdio>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "runtime/calibration_data.h"
#include "runtime/evaluate.h"
#include "runtime/load.h"
#include "runtime/quantize_report.h"

namespace octet {
namespace {

absl::Status Run(const std::vector<std::string>& arguments) {
  if (arguments.size() < 3) return absl::InvalidArgumentError("MODEL SAMPLES OUTPUT_FOLDER");
  runtime::LoadOptions options;
  for (size_t i = 3; i < arguments.size(); ++i) {
    if (arguments[i] == "--int8") options.int8 = true;
    if (arguments[i] == "--dynamic") options.int8 = options.dynamic = true;
    if (arguments[i] == "--calibration") options.calibration_path = arguments.at(++i);
  }
  OCTET_ASSIGN_OR_RETURN(const runtime::PreparedModel model,
                         runtime::PrepareModel(arguments[0], options));
  if (model.quantization) std::cerr << runtime::ReportText(*model.quantization);
  OCTET_ASSIGN_OR_RETURN(
      const runtime::CalibrationData data,
      runtime::ReadCalibrationData(arguments[1], model.inputs, model.batchable, 1 << 20));
  kernels::WeightCache weights;
  OCTET_ASSIGN_OR_RETURN(const auto outputs, runtime::RunAll(model.graph, data.samples, weights));
  for (size_t s = 0; s < outputs.size(); ++s) {
    for (size_t o = 0; o < outputs[s].size(); ++o) {
      const Tensor& tensor = outputs[s][o];
      OCTET_RETURN_IF_ERROR(
          WriteFile(absl::StrCat(arguments[2], "/", o, "_", s, ".bin"),
                    {reinterpret_cast<const char*>(tensor.data()), tensor.byte_size()}));
      std::cout << s << " " << o << " " << model.outputs[o].name << " " << Name(tensor.dtype())
                << " " << ToText(tensor.shape()) << "\n";
    }
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace octet

int main(int argc, char** argv) {
  const absl::Status status = octet::Run({argv + 1, argv + argc});
  if (!status.ok()) std::cerr << "run_model: " << status.message() << "\n";
  return status.ok() ? 0 : 1;
}
