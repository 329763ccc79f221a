// A model in process, measured on command, so that a script can interleave it with other engines.
//
//   measured_model MODEL SAMPLES.npz MODE BATCH      MODE: fp32 | bf16 | int8 | int8-all | dynamic
//
// int8-all keeps every layer in int8, whatever that does to the outputs: for models of random
// weights, whose accuracy means nothing. Prints "ready"; then for each line "SECONDS" on the
// standard input runs the model on one thread for that long and prints the median seconds of a run.

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "base/status.h"
#include "runtime/calibration_data.h"
#include "runtime/load.h"

namespace octet {
namespace {

using Clock = std::chrono::steady_clock;

// The first `batch` samples side by side, repeated if there are fewer.
absl::StatusOr<std::vector<Tensor>> Batch(const runtime::CalibrationData& data, int64_t batch) {
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < data.samples[0].size(); ++i) {
    Shape shape = data.samples[0][i].shape();
    shape[0] = batch;
    OCTET_ASSIGN_OR_RETURN(Tensor tensor, Tensor::Allocate(data.samples[0][i].dtype(), shape));
    const size_t row = data.samples[0][i].byte_size();
    for (int64_t b = 0; b < batch; ++b) {
      const Tensor& sample = data.samples[static_cast<size_t>(b) % data.samples.size()][i];
      std::memcpy(tensor.mutable_data() + static_cast<size_t>(b) * row, sample.data(), row);
    }
    inputs.push_back(std::move(tensor));
  }
  return inputs;
}

// Copying the inputs in is part of a run, as it is for other engines.
absl::StatusOr<double> MedianSeconds(runtime::ExecutionContext& context,
                                     const runtime::InputRows& inputs, double seconds) {
  const runtime::InputRows* const callers[] = {&inputs};
  std::vector<double> runs;
  const Clock::time_point start = Clock::now();
  for (Clock::time_point begin = start;
       runs.size() < 3 || std::chrono::duration<double>(begin - start).count() < seconds;) {
    OCTET_RETURN_IF_ERROR(context.Load(callers));
    OCTET_RETURN_IF_ERROR(context.Execute());
    const Clock::time_point end = Clock::now();
    runs.push_back(std::chrono::duration<double>(end - begin).count());
    begin = end;
  }
  std::nth_element(runs.begin(), runs.begin() + runs.size() / 2, runs.end());
  return runs[runs.size() / 2];
}

absl::Status Run(const std::vector<std::string>& arguments) {
  int64_t batch = 0;
  if (arguments.size() != 4 || !absl::SimpleAtoi(arguments[3], &batch)) {
    return absl::InvalidArgumentError("MODEL SAMPLES.npz MODE BATCH");
  }
  runtime::LoadOptions options;
  options.mode = arguments[2] == "fp32"   ? runtime::Mode::kFloat32
                 : arguments[2] == "bf16" ? runtime::Mode::kBFloat16
                                          : runtime::Mode::kInt8;
  options.dynamic = arguments[2] == "dynamic";
  options.calibration_path = arguments[1];
  if (arguments[2] == "int8-all") options.quantization.on_fail = runtime::OnFail::kWarn;
  options.max_batch_size = batch;
  OCTET_ASSIGN_OR_RETURN(const auto model, runtime::LoadModel(arguments[0], options));
  OCTET_ASSIGN_OR_RETURN(
      const runtime::CalibrationData data,
      runtime::ReadCalibrationData(arguments[1], model->inputs(), model->batchable(), 64));
  OCTET_ASSIGN_OR_RETURN(const std::vector<Tensor> inputs, Batch(data, batch));
  runtime::InputRows rows{.rows = batch};
  for (const Tensor& input : inputs) {
    rows.inputs.push_back({.shape = input.shape(), .pieces = {{input.data(), input.byte_size()}}});
  }
  OCTET_ASSIGN_OR_RETURN(const auto context, model->NewContext());
  if (options.mode != runtime::Mode::kFloat32) {
    std::cerr << arguments[0] << " " << arguments[2] << ": "
              << 100 * model->summary().int8_mac_share << " % of MACs in int8, output SQNR "
              << model->summary().output_sqnr_db << " dB\n";
  }
  std::cout << "ready" << std::endl;
  for (double seconds = 0; std::cin >> seconds;) {
    OCTET_ASSIGN_OR_RETURN(const double median, MedianSeconds(*context, rows, seconds));
    std::cout << median << std::endl;
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace octet

int main(int argc, char** argv) {
  const absl::Status status = octet::Run({argv + 1, argv + argc});
  if (!status.ok()) std::cerr << "measured_model: " << status.message() << "\n";
  return status.ok() ? 0 : 1;
}
