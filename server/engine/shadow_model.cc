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
#include "runtime/served_ranges.h"
#include "server/models/background_thread.h"

namespace octet::server {
namespace {

using runtime::CompiledModel;
using runtime::InputRows;
using runtime::ShadowStatistics;

constexpr size_t kMostWaiting = 2;
// Requests that the accuracy is a mean of.
constexpr size_t kWindow = 256;
constexpr size_t kWorstLayers = 5;

// A request with the answer it got: copies.
struct Sample {
  int64_t rows = 1;
  std::vector<Tensor> inputs, outputs;
};

bool BeginsWith(const std::vector<runtime::TensorSpec>& b,
                const std::vector<runtime::TensorSpec>& a) {
  if (b.size() < a.size()) return false;
  return std::equal(a.begin(), a.end(), b.begin(), [](const auto& x, const auto& y) {
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

// The ranges of the values that float32's outputs behind the served ones show; none if one of them
// is not known.
std::vector<runtime::ServedRange> WatchedRanges(const CompiledModel& served,
                                                const CompiledModel& float32) {
  std::vector<runtime::ServedRange> watched;
  const auto known = served.summary().ranges;
  for (size_t i = served.outputs().size(); known != nullptr && i < float32.outputs().size(); ++i) {
    const auto found =
        std::find_if(known->ranges.begin(), known->ranges.end(),
                     [&](const auto& range) { return range.layer == float32.outputs()[i].name; });
    if (found == known->ranges.end()) return {};
    watched.push_back(*found);
  }
  return watched;
}

class ShadowedModel : public CompiledModel {
 public:
  ShadowedModel(std::shared_ptr<const CompiledModel> served,
                std::shared_ptr<const CompiledModel> float32, double sample_rate)
      : served_(std::move(served)),
        float32_(std::move(float32)),
        sample_rate_(sample_rate),
        watched_(WatchedRanges(*served_, *float32_)),
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
    statistics.worst_clipping = WorstClipping();
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
    absl::StatusOr<std::vector<double>> clipped = ClippedShares(**context);
    if (!clipped.ok()) return CountFailure();
    const runtime::AccuracyValues values = runtime::CompareOutputs({*exact}, {sample.outputs}, {});
    const MutexLock lock(mutex_);
    ++counts_.compared;
    window_.push_back(values);
    if (window_.size() > kWindow) window_.pop_front();
    clipped_.push_back(*std::move(clipped));
    if (clipped_.size() > kWindow) clipped_.pop_front();
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

  // What of the values that the float32 run shows is beyond what is served.
  absl::StatusOr<std::vector<double>> ClippedShares(
      const runtime::ExecutionContext& context) const {
    std::vector<double> shares;
    for (size_t i = 0; i < watched_.size(); ++i) {
      const auto output = static_cast<int>(outputs().size() + i);
      OCTET_ASSIGN_OR_RETURN(Tensor tensor,
                             Tensor::Allocate(DataType::kFloat32, context.OutputShape(output, 0)));
      context.Store(output, 0, {tensor.mutable_data(), tensor.byte_size()});
      shares.push_back(runtime::ClippedShare(tensor.As<float>(), watched_[i]));
    }
    return shares;
  }

  std::vector<ShadowStatistics::Clipping> WorstClipping() const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::vector<ShadowStatistics::Clipping> all;
    for (size_t i = 0; i < watched_.size(); ++i) {
      double sum = 0;
      for (const std::vector<double>& shares : clipped_) sum += shares[i];
      all.push_back({watched_[i].layer, sum / static_cast<double>(clipped_.size())});
    }
    std::stable_sort(all.begin(), all.end(),
                     [](const auto& a, const auto& b) { return a.share > b.share; });
    all.resize(std::min(all.size(), kWorstLayers));
    return all;
  }

  const std::shared_ptr<const CompiledModel> served_, float32_;
  const double sample_rate_;
  const std::vector<runtime::ServedRange> watched_;  // in the order of float32's further outputs

  mutable Mutex mutex_;
  mutable CondVar work_;
  mutable std::deque<Sample> waiting_ ABSL_GUARDED_BY(mutex_);  // the first is being compared
  mutable ShadowStatistics counts_ ABSL_GUARDED_BY(mutex_);
  std::deque<runtime::AccuracyValues> window_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::vector<double>> clipped_ ABSL_GUARDED_BY(mutex_);  // of the same, by watched_
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
  if (sample_rate <= 0 || served->inputs().size() != float32->inputs().size() ||
      !BeginsWith(float32->inputs(), served->inputs()) ||
      !BeginsWith(float32->outputs(), served->outputs())) {
    return served;
  }
  return std::make_shared<ShadowedModel>(std::move(served), std::move(float32), sample_rate);
}

}  // namespace octet::server
