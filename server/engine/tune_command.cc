#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/file.h"
#include "base/status.h"
#include "kernels/cpu.h"
#include "runtime/evaluate.h"
#include "runtime/held_out.h"
#include "runtime/load.h"
#include "runtime/plan.h"
#include "server/commands/tune.h"
#include "server/config/quantization_yaml.h"
#include "server/engine/example_inputs.h"
#include "server/engine/load_options.h"
#include "server/engine/run_times.h"
#include "server/engine/tuning.h"

namespace octet::server {
namespace {

constexpr double kTimedSeconds = 0.2;  // of runs, for each configuration
constexpr size_t kMostMeasuringSamples = 64;

// What every configuration is measured with.
class Bench {
 public:
  Bench(const TuneOptions& options, Console& console)
      : options_(options), console_(console), start_(absl::Now()) {}

  absl::Status Prepare() {
    ModelConfig settings = options_.model.settings;
    settings.quantization.mode = QuantizationMode::kFloat32;
    OCTET_ASSIGN_OR_RETURN(const runtime::PreparedModel model,
                           runtime::PrepareModel(options_.model.path, ToLoadOptions(settings, 1)));
    OCTET_RETURN_IF_ERROR(ReadSamples(model));
    kernels::WeightCache weights;
    OCTET_ASSIGN_OR_RETURN(exact_, runtime::RunAll(model.graph, samples_.samples, weights));
    return absl::OkStatus();
  }

  absl::StatusOr<TuningMeasurement> Measure(const QuantizationConfig& config,
                                            const std::string& changes) {
    const absl::Time begin = absl::Now();
    absl::StatusOr<TuningMeasurement> measured = MeasureNow(config);
    const absl::Duration took = absl::Now() - begin;
    longest_ = std::max(longest_, took);
    console_.error << absl::StrFormat("%6.1f s  %s: ", absl::ToDoubleSeconds(absl::Now() - start_),
                                      changes);
    if (measured.ok()) {
      console_.error << absl::StrFormat("%.1f dB, %d bytes, %.3f ms", measured->accuracy.sqnr_db,
                                        measured->weight_bytes, measured->milliseconds)
                     << std::endl;
    } else {
      console_.error << measured.status().message() << std::endl;
    }
    return measured;
  }

  // Whether another configuration as slow as the slowest so far would go beyond the time given.
  bool OutOfTime() const { return Left() < longest_; }

 private:
  absl::Duration Left() const { return absl::Seconds(options_.seconds) - (absl::Now() - start_); }

  // Those that no configuration calibrates with: the validation data, or what quantizing holds out.
  absl::Status ReadSamples(const runtime::PreparedModel& model) {
    const QuantizationConfig& quantization = options_.model.settings.quantization;
    const runtime::LoadOptions load = ToLoadOptions(options_.model.settings, 1);
    const std::string where = quantization.calibration.path.empty()
                                  ? runtime::CalibrationBeside(options_.model.path)
                                  : quantization.calibration.path;
    runtime::CalibrationData data;
    if (!where.empty()) {
      OCTET_ASSIGN_OR_RETURN(
          data, runtime::ReadCalibrationData(where, model.inputs, model.batchable,
                                             load.calibration_samples, load.preprocessing));
    }
    if (!quantization.accuracy.validation.empty()) {
      OCTET_ASSIGN_OR_RETURN(
          runtime::CalibrationData validation,
          runtime::ReadCalibrationData(quantization.accuracy.validation, model.inputs,
                                       model.batchable, kMostMeasuringSamples, load.preprocessing));
      samples_ = runtime::WithoutSeen(data.samples, validation);
    } else {
      samples_ = runtime::HoldOut(data, load.quantization.held_out_share).held_out;
    }
    if (samples_.samples.size() > kMostMeasuringSamples) {
      samples_.samples.resize(kMostMeasuringSamples);
      if (!samples_.labels.empty()) samples_.labels.resize(kMostMeasuringSamples);
    }
    if (!samples_.samples.empty()) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat(
        options_.model.path,
        ": tuning measures accuracy, and there is no sample for that: a folder `calibration` "
        "beside the model, --calibration, or quantization.accuracy.validation"));
  }

  absl::StatusOr<TuningMeasurement> MeasureNow(const QuantizationConfig& config) {
    ModelConfig settings = options_.model.settings;
    settings.quantization = config;
    runtime::LoadOptions load = ToLoadOptions(settings, 1);
    load.self_check = false;
    load.quantization.search_seconds =
        std::clamp(absl::ToDoubleSeconds(Left()), 0.0, load.quantization.search_seconds);
    OCTET_ASSIGN_OR_RETURN(const runtime::PreparedModel model,
                           runtime::PrepareModel(options_.model.path, load));
    TuningMeasurement measured;
    kernels::WeightCache weights;
    OCTET_ASSIGN_OR_RETURN(const auto outputs,
                           runtime::RunAll(model.graph, samples_.samples, weights));
    measured.accuracy = runtime::CompareOutputs(exact_, outputs, samples_.labels);
    kernels::WeightCache served;
    OCTET_ASSIGN_OR_RETURN(const std::shared_ptr<const runtime::Plan> plan,
                           runtime::MakePlan(model.graph, model.example_shapes, served));
    measured.weight_bytes = served.bytes();
    OCTET_ASSIGN_OR_RETURN(runtime::PlanRunner runner, runtime::PlanRunner::Create(plan));
    const std::vector<Tensor> inputs = ExampleInputs(model, model.example_shapes);
    OCTET_RETURN_IF_ERROR(runner.Run(inputs).status());  // warm up
    OCTET_ASSIGN_OR_RETURN(const std::vector<double> runs,
                           MeasureRuns(runner, inputs, kTimedSeconds));
    measured.milliseconds = runs[runs.size() / 2] * 1e3;
    return measured;
  }

  const TuneOptions& options_;
  Console& console_;
  const absl::Time start_;
  absl::Duration longest_;
  runtime::CalibrationData samples_;
  std::vector<std::vector<Tensor>> exact_;
};

std::string Row(const TuningPoint& point, const runtime::AccuracyTarget& target) {
  const TuningMeasurement& measured = point.measured;
  return absl::StrFormat("%10.4f %12d %8.1f dB  %-32s %s", measured.milliseconds,
                         measured.weight_bytes, measured.accuracy.sqnr_db,
                         runtime::DescribeMeasured(target, measured.accuracy), point.changes);
}

void Print(const std::vector<TuningPoint>& points, size_t chosen,
           const runtime::AccuracyTarget& target, Console& console) {
  const std::vector<size_t> front = ParetoFront(points, target);
  console.out << absl::StrFormat("%d configurations measured; no other is better in all of:\n\n",
                                 points.size())
              << absl::StrFormat("%10s %12s %11s  %-32s %s\n", "ms", "weight bytes", "output",
                                 "accuracy", "settings");
  for (const size_t i : front) console.out << Row(points[i], target) << "\n";
  console.out << "\nchosen:\n" << Row(points[chosen], target) << "\n";
  if (!Holds(target, points[chosen].measured.accuracy)) {
    console.out << "which misses the target, " << runtime::Describe(target)
                << ", as everything that was measured\n";
  }
}

// Where the file lies must not change what its paths mean.
std::string Absolute(const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  return path.empty() || error ? path : absolute.lexically_normal().string();
}

absl::Status Write(const std::string& file, const TuningPoint& point,
                   const runtime::AccuracyTarget& target) {
  QuantizationConfig config = point.config;
  config.calibration.path = Absolute(config.calibration.path);
  config.accuracy.validation = Absolute(config.accuracy.validation);
  const TuningMeasurement& measured = point.measured;
  return WriteFile(
      file, absl::StrFormat("# Chosen by `octet tune` on %s: %.4f ms, %d bytes of "
                            "weights, %s.\n%s",
                            kernels::InstructionSet(), measured.milliseconds, measured.weight_bytes,
                            runtime::DescribeMeasured(target, measured.accuracy),
                            QuantizationYaml(config)));
}

}  // namespace

absl::Status Tune(const TuneOptions& options, Console& console) {
  Bench bench(options, console);
  OCTET_RETURN_IF_ERROR(bench.Prepare());
  const runtime::AccuracyTarget target =
      ToLoadOptions(options.model.settings, 1).quantization.accuracy;
  OCTET_ASSIGN_OR_RETURN(
      const std::vector<TuningPoint> points,
      Explore({.start = options.model.settings.quantization,
               .target = target,
               .objective = options.objective,
               .measure = [&](const auto& config,
                              const auto& changes) { return bench.Measure(config, changes); },
               .out_of_time = [&] { return bench.OutOfTime(); }}));
  const size_t chosen = Choose(points, target, options.objective);
  Print(points, chosen, target, console);
  return options.output.empty() ? absl::OkStatus() : Write(options.output, points[chosen], target);
}

}  // namespace octet::server
