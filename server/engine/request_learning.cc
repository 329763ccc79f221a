#include "server/engine/request_learning.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "runtime/border.h"
#include "runtime/held_out.h"
#include "server/engine/request_samples.h"

namespace octet::server {
namespace {

using runtime::CalibrationData;
using runtime::CompiledModel;
using runtime::ExecutionContext;
using runtime::InputRows;
using runtime::LoadOptions;
using Model = std::shared_ptr<const CompiledModel>;

constexpr double kHeldOutShare = 0.25;
constexpr int kTimedRuns = 20;
constexpr double kLeastSpeedup = 1.03;  // less is noise

class LearningModel : public CompiledModel {
 public:
  LearningModel(Model served, std::shared_ptr<RequestSamples> samples)
      : served_(std::move(served)), samples_(std::move(samples)) {}

  const std::vector<runtime::TensorSpec>& inputs() const override { return served_->inputs(); }
  const std::vector<runtime::TensorSpec>& outputs() const override { return served_->outputs(); }
  bool batchable() const override { return served_->batchable(); }
  const std::vector<int64_t>& batch_sizes() const override { return served_->batch_sizes(); }
  runtime::MemoryLedger memory() const override { return served_->memory(); }
  const runtime::ModelSummary& summary() const override { return served_->summary(); }
  std::optional<runtime::LearningStatistics> learning() const override {
    return samples_->statistics();
  }
  absl::StatusOr<std::unique_ptr<ExecutionContext>> NewContext() const override;

 private:
  const Model served_;
  const std::shared_ptr<RequestSamples> samples_;
};

class LearningContext : public ExecutionContext {
 public:
  LearningContext(std::shared_ptr<RequestSamples> samples,
                  std::unique_ptr<ExecutionContext> context)
      : samples_(std::move(samples)), context_(std::move(context)) {}

  absl::Status Load(std::span<const InputRows* const> callers) override {
    callers_.assign(callers.begin(), callers.end());
    return context_->Load(callers);
  }

  // The callers' bytes are theirs until they have been answered, which is after this.
  absl::Status Execute() override {
    OCTET_RETURN_IF_ERROR(context_->Execute());
    if (!samples_->wants()) return absl::OkStatus();
    for (const InputRows* const caller : callers_) samples_->Offer(*caller);
    return absl::OkStatus();
  }

  Shape OutputShape(int output, int caller) const override {
    return context_->OutputShape(output, caller);
  }

  void Store(int output, int caller, std::span<std::byte> bytes) const override {
    context_->Store(output, caller, bytes);
  }

 private:
  const std::shared_ptr<RequestSamples> samples_;
  const std::unique_ptr<ExecutionContext> context_;
  std::vector<const InputRows*> callers_;
};

absl::StatusOr<std::unique_ptr<ExecutionContext>> LearningModel::NewContext() const {
  OCTET_ASSIGN_OR_RETURN(std::unique_ptr<ExecutionContext> context, served_->NewContext());
  if (!samples_->wants()) return context;
  return std::make_unique<LearningContext>(samples_, std::move(context));
}

// A sample as a client would send it.
absl::StatusOr<std::vector<Tensor>> AsRequest(const std::vector<Tensor>& sample,
                                              const CompiledModel& model) {
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < sample.size(); ++i) {
    OCTET_ASSIGN_OR_RETURN(Tensor tensor,
                           Tensor::Allocate(model.inputs()[i].dtype, sample[i].shape()));
    runtime::ToBorder(tensor.dtype(), {sample[i].data(), sample[i].byte_size()},
                      tensor.mutable_data());
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

absl::StatusOr<double> SecondsOfRun(const std::vector<Tensor>& sample, ExecutionContext& context) {
  InputRows rows;
  for (const Tensor& tensor : sample) {
    runtime::InputTensor& input = rows.inputs.emplace_back();
    input.shape = tensor.shape();
    input.pieces.push_back({tensor.data(), tensor.byte_size()});
  }
  const InputRows* const callers[] = {&rows};
  OCTET_RETURN_IF_ERROR(context.Load(callers));
  const auto start = std::chrono::steady_clock::now();
  OCTET_RETURN_IF_ERROR(context.Execute());
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// In turns, so that what else the cores do hits both; the fastest run is least hit.
absl::Status MeasureTimes(const CompiledModel& before, const CompiledModel& after,
                          const CalibrationData& data, LearnedMeasures& measures) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<Tensor> sample, AsRequest(data.samples.at(0), before));
  OCTET_ASSIGN_OR_RETURN(const auto old_context, before.NewContext());
  OCTET_ASSIGN_OR_RETURN(const auto new_context, after.NewContext());
  measures.seconds_before = measures.seconds_after = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kTimedRuns; ++i) {
    OCTET_ASSIGN_OR_RETURN(const double old_run, SecondsOfRun(sample, *old_context));
    OCTET_ASSIGN_OR_RETURN(const double new_run, SecondsOfRun(sample, *new_context));
    measures.seconds_before = std::min(measures.seconds_before, old_run);
    measures.seconds_after = std::min(measures.seconds_after, new_run);
  }
  return absl::OkStatus();
}

// One attempt to make what replaces a served model.
class Learner {
 public:
  Learner(ModelSource source, const QuantizationConfig& settings, LoadOptions options,
          FinishModel finish, std::weak_ptr<const CompiledModel> served,
          std::shared_ptr<RequestSamples> samples)
      : source_(std::move(source)),
        calibration_(settings.calibration),
        options_(std::move(options)),
        finish_(std::move(finish)),
        served_(std::move(served)),
        samples_(std::move(samples)),
        // Of all copies; where none was ever called, the samples are still there.
        dropped_(nullptr, [samples = samples_](std::nullptr_t) { samples->Resume(); }) {
    options_.cache = {};  // what requests have taught is for this process
    options_.save_statistics.clear();
  }

  absl::StatusOr<Model> operator()(const ModelSource&, const ProgressFn& progress) {
    options_.progress = [&](absl::string_view stage, const std::string& detail) {
      if (progress) progress(absl::StrCat("learning from requests: ", stage, ": ", detail));
    };
    absl::StatusOr<Model> model = Make();
    if (!model.ok()) {
      samples_->Finish(absl::StrCat("stays as it is: ", model.status().message()));
    }
    return model;
  }

 private:
  absl::StatusOr<Model> Make() {
    const CalibrationData data = samples_->Take();
    const size_t count = data.samples.size();
    runtime::SampleSplit split = runtime::HoldOut(data, kHeldOutShare);
    split.held_out.source = "requests";
    const auto held_out = std::make_shared<const CalibrationData>(std::move(split.held_out));
    LoadOptions options = options_;
    options.dynamic = false;
    if (options.validation_path.empty()) options.validation = held_out;
    options.samples = std::make_shared<const CalibrationData>(
        CalibrationData{.samples = std::move(split.calibrating), .source = data.source});
    OCTET_ASSIGN_OR_RETURN(const Model learned, runtime::LoadModel(source_.file.string(), options));
    const runtime::ModelSummary& summary = learned->summary();
    if (summary.accuracy.verdict != "met" || summary.mode == "fp32") {
      return absl::FailedPreconditionError(
          absl::StrCat("calibrated with ", count,
                       " samples of requests it misses the accuracy target, or cannot prove it: ",
                       summary.accuracy.description));
    }
    std::string state =
        absl::StrFormat("calibrated with %d samples of requests: %s, output SQNR %.1f dB", count,
                        summary.calibration, summary.output_sqnr_db);
    if (calibration_.source != CalibrationSource::kTraffic) {
      OCTET_ASSIGN_OR_RETURN(const LearnedMeasures measures, Measure(*learned, held_out));
      const std::string why = WhyNoGain(measures);
      if (!why.empty()) return absl::FailedPreconditionError(absl::StrCat(state, ", but ", why));
      absl::StrAppendFormat(&state, " (before %.1f dB), %.2f times as fast",
                            measures.sqnr_db_before,
                            measures.seconds_before / measures.seconds_after);
    }
    const auto done = std::make_shared<RequestSamples>(RequestSampling{.samples = count},
                                                       learned->inputs(), learned->batchable());
    done->Finish(std::move(state), count);
    return finish_(std::make_shared<LearningModel>(learned, done));
  }

  absl::StatusOr<LearnedMeasures> Measure(const CompiledModel& learned,
                                          const std::shared_ptr<const CalibrationData>& held_out) {
    const Model served = served_.lock();
    if (served == nullptr) return absl::CancelledError("the model is no longer served");
    LearnedMeasures measures{.sqnr_db_before = served->summary().output_sqnr_db,
                             .sqnr_db_after = learned.summary().output_sqnr_db};
    if (options_.validation_path.empty()) {  // else it was measured with that when it was loaded
      LoadOptions options = options_;
      options.dynamic = true;
      options.validation = held_out;
      options.quantization = WithoutStaticRules(std::move(options.quantization));
      options.quantization.on_fail = runtime::OnFail::kWarn;  // as it is
      options.self_check = false;
      OCTET_ASSIGN_OR_RETURN(const runtime::PreparedModel before,
                             runtime::PrepareModel(source_.file.string(), options));
      measures.sqnr_db_before = before.quantization ? before.quantization->output_sqnr_db : 0;
    }
    OCTET_RETURN_IF_ERROR(MeasureTimes(*served, learned, *held_out, measures));
    return measures;
  }

  const ModelSource source_;
  const CalibrationConfig calibration_;
  LoadOptions options_;
  const FinishModel finish_;
  const std::weak_ptr<const CompiledModel> served_;
  const std::shared_ptr<RequestSamples> samples_;
  const std::shared_ptr<void> dropped_;
};

}  // namespace

bool LearnsFromRequests(const QuantizationConfig& settings, const runtime::ModelSummary& model) {
  const CalibrationConfig& calibration = settings.calibration;
  if (calibration.source != CalibrationSource::kTraffic && !calibration.learn_from_traffic) {
    return false;
  }
  // "none": the guard has refused int8 without samples.
  return model.calibration == "dynamic" || model.calibration == "none";
}

runtime::QuantizeOptions WithoutStaticRules(runtime::QuantizeOptions options) {
  for (runtime::LayerRule& rule : options.layers) {
    if (rule.dynamic == false) rule.dynamic.reset();
  }
  return options;
}

std::shared_ptr<const CompiledModel> WithLearning(const ModelSource& source,
                                                  const QuantizationConfig& settings,
                                                  const LoadOptions& options, ReplaceModel replace,
                                                  FinishModel finish, Model served) {
  const RequestSampling sampling{.samples = static_cast<size_t>(settings.calibration.samples),
                                 .every = settings.calibration.sample_every};
  const auto samples =
      std::make_shared<RequestSamples>(sampling, served->inputs(), served->batchable());
  // The samples must not keep themselves alive.
  const std::weak_ptr<RequestSamples> weak = samples;
  samples->OnEnough([=, replace = std::move(replace), finish = std::move(finish),
                     model = std::weak_ptr<const CompiledModel>(served)] {
    const auto enough = weak.lock();
    if (enough == nullptr) return true;
    return replace(source, Learner(source, settings, options, finish, model, enough));
  });
  return std::make_shared<LearningModel>(std::move(served), samples);
}

std::string WhyNoGain(const LearnedMeasures& measures) {
  const double speedup = measures.seconds_before / measures.seconds_after;
  if (speedup >= kLeastSpeedup || measures.sqnr_db_after > measures.sqnr_db_before) return "";
  return absl::StrFormat(
      "it is neither faster (%.2f times as fast) nor nearer to float32 than before (%.1f dB)",
      speedup, measures.sqnr_db_before);
}

}  // namespace octet::server
