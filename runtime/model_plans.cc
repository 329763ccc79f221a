#include "runtime/model_plans.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace octet::runtime {
namespace {

constexpr size_t kReleasedFromBytes = 16 << 10;

std::string Key(std::span<const Shape> shapes, int64_t max_runs) {
  const std::string key = absl::StrJoin(shapes, "", [](std::string* out, const Shape& shape) {
    absl::StrAppend(out, ToText(shape));
  });
  return max_runs == 1 ? key : absl::StrCat(max_runs, " x ", key);
}

}  // namespace

ModelPlans::ModelPlans(graph::Graph graph, RebuildGraph rebuild,
                       std::unique_ptr<kernels::WeightCache> weights)
    : rebuild_(std::move(rebuild)),
      weights_(weights != nullptr ? std::move(weights) : std::make_unique<kernels::WeightCache>()),
      graph_(std::move(graph)) {
  graph_.HoldConstantsIn(nullptr);  // what is served is not to wait for a disk
}

void ModelPlans::Touch(Entry& entry) {
  recently_used_.splice(recently_used_.begin(), recently_used_, entry.used);
}

absl::StatusOr<std::shared_ptr<const Plan>> ModelPlans::Find(std::span<const Shape> shapes,
                                                             int64_t max_runs) {
  const std::string key = Key(shapes, max_runs);
  const auto find = [&]() -> std::shared_ptr<const Plan> {
    const MutexLock lock(mutex_);
    const auto found = plans_.find(key);
    if (found == plans_.end()) return nullptr;
    Touch(found->second);
    return found->second.plan;
  };
  if (auto plan = find()) return plan;
  const MutexLock compiling(compile_mutex_);
  if (auto plan = find()) return plan;  // another thread was faster
  OCTET_ASSIGN_OR_RETURN(std::shared_ptr<const Plan> plan, Make(shapes, max_runs));
  const MutexLock lock(mutex_);
  recently_used_.push_front(key);
  plans_[key] = {.plan = plan, .used = recently_used_.begin()};
  Evict();
  return plan;
}

absl::StatusOr<std::shared_ptr<const Plan>> ModelPlans::Pin(std::span<const Shape> shapes,
                                                            int64_t max_runs) {
  OCTET_ASSIGN_OR_RETURN(std::shared_ptr<const Plan> plan, Find(shapes, max_runs));
  const MutexLock lock(mutex_);
  if (const auto found = plans_.find(Key(shapes, max_runs)); found != plans_.end()) {
    found->second.pinned = true;
  }
  return plan;
}

absl::StatusOr<std::shared_ptr<const Plan>> ModelPlans::Make(std::span<const Shape> shapes,
                                                             int64_t max_runs) {
  absl::StatusOr<std::shared_ptr<const Plan>> plan = MakePlan(graph_, shapes, *weights_, max_runs);
  if (plan.status().code() == absl::StatusCode::kFailedPrecondition && rebuild_ != nullptr) {
    OCTET_ASSIGN_OR_RETURN(const graph::Graph whole, rebuild_());
    graph::Graph restored = graph_;
    OCTET_RETURN_IF_ERROR(restored.RestoreBytes(whole));
    plan = MakePlan(restored, shapes, *weights_, max_runs);
  }
  if (plan.ok() && (*plan)->memory.arena_bytes > kMaxArenaBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("activations for input shapes ", Key(shapes, max_runs), " need ",
                     (*plan)->memory.arena_bytes, " bytes, the limit is ", kMaxArenaBytes));
  }
  return plan;
}

void ModelPlans::Evict() {
  for (auto it = recently_used_.end(); plans_.size() > kMaxPlans && it != recently_used_.begin();) {
    --it;
    const auto found = plans_.find(*it);
    if (found->second.pinned) continue;
    plans_.erase(found);
    it = recently_used_.erase(it);
  }
}

void ModelPlans::KeepPinned() {
  const MutexLock compiling(compile_mutex_);
  {
    const MutexLock lock(mutex_);
    for (auto it = recently_used_.begin(); it != recently_used_.end();) {
      const auto found = plans_.find(*it);
      if (found->second.pinned) {
        ++it;
        continue;
      }
      plans_.erase(found);
      it = recently_used_.erase(it);
    }
  }
  weights_->DropUnused();
}

void ModelPlans::ReleaseWeights() {
  const MutexLock compiling(compile_mutex_);
  for (size_t i = 0; i < graph_.value_count(); ++i) {
    const auto id = static_cast<graph::ValueId>(i);
    if (!graph_.IsConstant(id)) continue;
    const Tensor& constant = *graph_.value(id).constant;
    // What no kernel reads is evaluated for each shape anew, as tables of positions are.
    const bool packed = !weights_->Layouts(constant.id()).empty();
    if (packed && constant.byte_size() >= kReleasedFromBytes) graph_.ReleaseBytes(id);
  }
}

}  // namespace octet::runtime
