#include "runtime/sample_runner.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "runtime/parallel.h"

namespace octet::runtime {
namespace {

// Lets threads in one after the other, in the order of their numbers, until one has failed.
class Turns {
 public:
  // Runs `work` when all numbers below have been here. Cancelled, without, if one of them failed;
  // its own error is what counts.
  absl::Status Take(size_t number, const std::function<absl::Status()>& work) {
    const MutexLock lock(mutex_);
    while (next_ != number) changed_.Wait(mutex_);
    const absl::Status status = failed_ ? absl::CancelledError("an earlier sample failed") : work();
    failed_ = failed_ || !status.ok();
    ++next_;
    changed_.NotifyAll();
    return status;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  bool failed_ ABSL_GUARDED_BY(mutex_) = false;
};

graph::Graph WithOutputs(const graph::Graph& graph, std::span<const graph::ValueId> values) {
  graph::Graph observed = graph;
  for (const graph::ValueId value : values) {
    observed.AddOutput(value, graph.value(value).name, graph.value(value).type.dtype);
  }
  return observed;
}

std::string KeyOf(std::span<const Tensor> sample) {
  std::string key;
  for (const Tensor& input : sample) absl::StrAppend(&key, ToText(input.shape()));
  return key;
}

}  // namespace

absl::Status SampleRunner::Visit(std::span<const Tensor> sample, const OutputVisitor& visit) {
  const std::string key = KeyOf(sample);
  OCTET_ASSIGN_OR_RETURN(std::unique_ptr<PlanRunner> runner, Take(key, sample));
  absl::Status status = runner->RunVisiting(sample, visit);
  const MutexLock lock(mutex_);
  plans_[key].idle.push_back(std::move(runner));
  return status;
}

absl::StatusOr<std::unique_ptr<PlanRunner>> SampleRunner::Take(const std::string& key,
                                                               std::span<const Tensor> sample) {
  std::shared_ptr<const Plan> plan;
  {
    const MutexLock lock(mutex_);
    SharedPlan& shared = plans_[key];
    if (!shared.idle.empty()) {
      std::unique_ptr<PlanRunner> runner = std::move(shared.idle.back());
      shared.idle.pop_back();
      return runner;
    }
    // Under the lock: others wait for the plan rather than make it too.
    if (shared.plan == nullptr) {
      std::vector<Shape> shapes;
      for (const Tensor& input : sample) shapes.push_back(input.shape());
      OCTET_ASSIGN_OR_RETURN(shared.plan,
                             MakePlan(graph_, shapes, weights_, /*max_runs=*/1, first_early_));
    }
    plan = shared.plan;
  }
  OCTET_ASSIGN_OR_RETURN(PlanRunner created, PlanRunner::Create(std::move(plan)));
  return std::make_unique<PlanRunner>(std::move(created));
}

WatchedValues::WatchedValues(const graph::Graph& graph, std::span<const graph::ValueId> values,
                             kernels::WeightCache& weights)
    : observed_(WithOutputs(graph, values)),
      first_(graph.outputs().size()),
      count_(values.size()),
      runner_(observed_, weights, first_) {}

absl::Status WatchedValues::Visit(std::span<const Tensor> sample, const Visitor& visit) {
  return runner_.Visit(sample, [&](size_t output, const ConstTensorView& value) {
    return visit(output - first_, value);
  });
}

absl::Status WatchedValues::VisitAll(
    Samples samples, int threads,
    const std::function<absl::Status(size_t, size_t, const ConstTensorView&)>& visit,
    const std::function<absl::Status(size_t)>& before) {
  std::vector<Turns> turns(count_);
  return ParallelFor(threads, samples.size(), [&](size_t s) {
    std::vector<bool> visited(count_, false);
    absl::Status status = before ? before(s) : absl::OkStatus();
    if (status.ok()) {
      status = Visit(samples[s], [&](size_t i, const ConstTensorView& value) {
        visited[i] = true;
        return turns[i].Take(s, [&] { return visit(s, i, value); });
      });
    }
    // Nobody is to wait for what does not come.
    for (size_t i = 0; i < count_; ++i) {
      if (!visited[i]) turns[i].Take(s, [&] { return status; }).IgnoreError();
    }
    return status;
  });
}

}  // namespace octet::runtime
