#include "server/engine/shadow_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "runtime/accuracy_metrics.h"
#include "server/models/background_thread.h"

namespace octet::server {
namespace {

using runtime::CompiledModel;
using runtime::InputRows;
using runtime::ShadowStatistics;

constexpr size_t kMostWaiting = 2;
// Requests that the accuracy is a mean of.
constexpr size_t kWindow = 256;

// A request with the answer it got: copies.
struct Sample {
  int64_t rows = 1;
  std::vector<Tensor> inputs, outputs;
};

bool SameTensors(const std::vector<runtime::TensorSpec>& a,
                 const std::vector<runtime::TensorSpec>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.name == y.name && x.dtype == y.dtype && x.shape == y.shape;
  });
}

// Warm-up runs; and nothing can be told of noise beside no signal.
bool AllZero(const Sample& sample) {
  return std::all_of(sample.inputs.begin(), sample.inputs.end(), [](const Tensor& input) {
    return std::all_of(input.data(), input.data() + input.byte_size(),
                       [](std::byte byte) { return byte == std::byte{0}; });
  });
}

absl::StatusOr<std::vector<Tensor>> CopyInputs(const InputRows& rows,
                                               const std::vector<runtime::TensorSpec>& specs) {
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < rows.inputs.size(); ++i) {
    OCTET_ASSIGN_OR_RETURN(Tensor tensor, Tensor::Allocate(specs[i].dtype, rows.inputs[i].shape));
    std::byte* to = tensor.mutable_data();
    for (const auto& piece : rows.inputs[i].pieces) {
      std::memcpy(to, piece.data(), piece.size());
      to += piece.size();
    }
    inputs.push_back(std::move(tensor));
  }
  return inputs;
}

absl::StatusOr<std::vector<Tensor>> CopyOutputs(const runtime::ExecutionContext& context,
                                                int caller,
                                                const std::vector<runtime::TensorSpec>& specs) {
  std::vector<Tensor> outputs;
  for (size_t i = 0; i < specs.size(); ++i) {
    OCTET_ASSIGN_OR_RETURN(
        Tensor tensor,
        Tensor::Allocate(specs[i].dtype, context.OutputShape(static_cast<int>(i), caller)));
    context.Store(static_cast<int>(i), caller, {tensor.mutable_data(), tensor.byte_size()});
    outputs.push_back(std::move(tensor));
  }
  return outputs;
}

class ShadowedModel : public CompiledModel {
 public:
  ShadowedModel(std::shared_ptr<const CompiledModel> served,
                std::shared_ptr<const CompiledModel> float32, double sample_rate)
      : served_(std::move(served)),
        float32_(std::move(float32)),
        sample_rate_(sample_rate),
        thread_([this] { RunInBackground([this] { CompareAll(); }); }) {}

  ~ShadowedModel() override {
    {
      const MutexLock lock(mutex_);
      ending_ = true;
    }
    work_.NotifyAll();
    thread_.join();
  }

  const std::vector<runtime::TensorSpec>& inputs() const override { return served_->inputs(); }
  const std::vector<runtime::TensorSpec>& outputs() const override { return served_->outputs(); }
  bool batchable() const override { return served_->batchable(); }
  const std::vector<int64_t>& batch_sizes() const override { return served_->batch_sizes(); }
  runtime::MemoryLedger memory() const override { return served_->memory(); }
  const runtime::ModelSummary& summary() const override { return served_->summary(); }

  std::optional<runtime::LearningStatistics> learning() const override {
    return served_->learning();
  }

  absl::StatusOr<std::unique_ptr<runtime::ExecutionContext>> NewContext() const override;

  std::optional<ShadowStatistics> shadow() const override {
    const MutexLock lock(mutex_);
    ShadowStatistics statistics = counts_;
    statistics.weight_bytes = float32_->memory().served_weight_bytes;
    if (window_.empty()) return statistics;
    double noise = 0;
    size_t decisions = 0, agreed = 0;
    for (const runtime::AccuracyValues& values : window_) {
      noise += values.relative_error * values.relative_error;
      decisions += values.decisions;
      agreed += values.agreed;
    }
    noise /= static_cast<double>(window_.size());
    statistics.output_sqnr_db = noise > 0 ? std::min(99.0, -10 * std::log10(noise)) : 99;
    if (decisions > 0) {
      statistics.agreement = static_cast<double>(agreed) / static_cast<double>(decisions);
    }
    return statistics;
  }

  double sample_rate() const { return sample_rate_; }

  bool HasRoom() const {
    const MutexLock lock(mutex_);
    if (waiting_.size() < kMostWaiting) return true;
    ++counts_.passed_over;
    return false;
  }

  void Add(Sample sample) const {
    {
      const MutexLock lock(mutex_);
      if (waiting_.size() >= kMostWaiting) return;
      waiting_.push_back(std::move(sample));
    }
    work_.NotifyOne();
  }

  void CountFailure() const {
    const MutexLock lock(mutex_);
    ++counts_.failed;
  }

 private:
  void CompareAll() {
    absl::StatusOr<std::unique_ptr<runtime::ExecutionContext>> context = float32_->NewContext();
    while (true) {
      Sample sample;
      {
        const MutexLock lock(mutex_);
        while (waiting_.empty() && !ending_) work_.Wait(mutex_);
        if (ending_) return;
        sample = std::move(waiting_.front());
      }
      if (!AllZero(sample)) Compare(sample, context);
      const MutexLock lock(mutex_);
      waiting_.pop_front();
    }
  }

  void Compare(const Sample& sample,
               absl::StatusOr<std::unique_ptr<runtime::ExecutionContext>>& context) {
    const absl::StatusOr<std::vector<Tensor>> exact =
        context.ok() ? RunFloat(sample, **context)
                     : absl::StatusOr<std::vector<Tensor>>(context.status());
    if (!exact.ok()) return CountFailure();
    const runtime::AccuracyValues values = runtime::CompareOutputs({*exact}, {sample.outputs}, {});
    const MutexLock lock(mutex_);
    ++counts_.compared;
    window_.push_back(values);
    if (window_.size() > kWindow) window_.pop_front();
  }

  absl::StatusOr<std::vector<Tensor>> RunFloat(const Sample& sample,
                                               runtime::ExecutionContext& context) const {
    InputRows rows{.inputs = {}, .rows = sample.rows};
    for (const Tensor& input : sample.inputs) {
      runtime::InputTensor& tensor = rows.inputs.emplace_back();
      tensor.shape = input.shape();
      tensor.pieces.push_back({input.data(), input.byte_size()});
    }
    const InputRows* const callers[] = {&rows};
    OCTET_RETURN_IF_ERROR(context.Load(callers));
    OCTET_RETURN_IF_ERROR(context.Execute());
    return CopyOutputs(context, 0, outputs());
  }

  const std::shared_ptr<const CompiledModel> served_, float32_;
  const double sample_rate_;

  mutable Mutex mutex_;
  mutable CondVar work_;
  mutable std::deque<Sample> waiting_ ABSL_GUARDED_BY(mutex_);  // the first is being compared
  mutable ShadowStatistics counts_ ABSL_GUARDED_BY(mutex_);
  std::deque<runtime::AccuracyValues> window_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses all of the above
};

class ShadowedContext : public runtime::ExecutionContext {
 public:
  ShadowedContext(const ShadowedModel& model, std::unique_ptr<runtime::ExecutionContext> context)
      : model_(model), context_(std::move(context)), random_(std::random_device()()) {}

  absl::Status Load(std::span<const InputRows* const> callers) override {
    callers_.assign(callers.begin(), callers.end());
    return context_->Load(callers);
  }

  // The callers' bytes are theirs until they have been answered, which is after this.
  absl::Status Execute() override {
    OCTET_RETURN_IF_ERROR(context_->Execute());
    std::bernoulli_distribution sampled(model_.sample_rate());
    for (size_t caller = 0; caller < callers_.size(); ++caller) {
      if (!sampled(random_) || !model_.HasRoom()) continue;
      if (!Copy(static_cast<int>(caller)).ok()) model_.CountFailure();
    }
    return absl::OkStatus();
  }

  Shape OutputShape(int output, int caller) const override {
    return context_->OutputShape(output, caller);
  }

  void Store(int output, int caller, std::span<std::byte> bytes) const override {
    context_->Store(output, caller, bytes);
  }

 private:
  absl::Status Copy(int caller) const {
    const InputRows& rows = *callers_[static_cast<size_t>(caller)];
    Sample sample{.rows = rows.rows, .inputs = {}, .outputs = {}};
    OCTET_ASSIGN_OR_RETURN(sample.inputs, CopyInputs(rows, model_.inputs()));
    OCTET_ASSIGN_OR_RETURN(sample.outputs, CopyOutputs(*context_, caller, model_.outputs()));
    model_.Add(std::move(sample));
    return absl::OkStatus();
  }

  const ShadowedModel& model_;
  const std::unique_ptr<runtime::ExecutionContext> context_;
  std::vector<const InputRows*> callers_;
  std::minstd_rand random_;
};

absl::StatusOr<std::unique_ptr<runtime::ExecutionContext>> ShadowedModel::NewContext() const {
  OCTET_ASSIGN_OR_RETURN(std::unique_ptr<runtime::ExecutionContext> context, served_->NewContext());
  return std::make_unique<ShadowedContext>(*this, std::move(context));
}

}  // namespace

std::shared_ptr<const CompiledModel> WithShadow(std::shared_ptr<const CompiledModel> served,
                                                std::shared_ptr<const CompiledModel> float32,
                                                double sample_rate) {
  if (sample_rate <= 0 || !SameTensors(served->inputs(), float32->inputs()) ||
      !SameTensors(served->outputs(), float32->outputs())) {
    return served;
  }
  return std::make_shared<ShadowedModel>(std::move(served), std::move(float32), sample_rate);
}

}  // namespace octet::server
