#include "runtime/rows_per_run.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <limits>

#include "base/status.h"
#include "graph/infer.h"

namespace octet::runtime {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kBudgetSeconds = 0.4;  // no further size is begun after this
constexpr double kSizeSeconds = 0.05;   // for one size, if three runs take less
constexpr double kWorthwhile = 0.98;    // smaller runs need less memory: larger ones must pay

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double RowElements(std::span<const Shape> shapes) {
  double elements = 0;
  for (const Shape& shape : shapes) {
    if (shape.empty()) continue;
    double row = 1;
    for (size_t i = 1; i < shape.size(); ++i) row *= static_cast<double>(shape[i]);
    elements += row;
  }
  return std::max(elements, 1.0);
}

absl::StatusOr<double> RunOnZeros(BoundPlan& plan) {
  for (size_t i = 0; i < plan.plan().program.inputs.size(); ++i) {
    const TensorView input = plan.input(i);
    if (input.byte_size() > 0) std::memset(input.data, 0, input.byte_size());
  }
  const Clock::time_point start = Clock::now();
  OCTET_RETURN_IF_ERROR(plan.Run());
  return SecondsSince(start);
}

// The fastest of a few runs after a first: what disturbs a run only makes it slower.
absl::StatusOr<double> SecondsPerRow(std::shared_ptr<const Plan> plan, int64_t rows) {
  OCTET_ASSIGN_OR_RETURN(PlanRunner runner, PlanRunner::Create(std::move(plan)));
  OCTET_RETURN_IF_ERROR(RunOnZeros(runner.bound()).status());
  double fastest = std::numeric_limits<double>::infinity();
  const Clock::time_point start = Clock::now();
  for (int run = 0; run < 1 || (SecondsSince(start) < kSizeSeconds && run < 20); ++run) {
    OCTET_ASSIGN_OR_RETURN(const double seconds, RunOnZeros(runner.bound()));
    fastest = std::min(fastest, seconds);
  }
  return fastest / static_cast<double>(rows);
}

}  // namespace

RowsPerRun::RowsPerRun(int64_t rows, std::span<const Shape> example_shapes)
    : rows_(rows), row_elements_(RowElements(example_shapes)) {}

int64_t RowsPerRun::For(std::span<const Shape> shapes) const {
  if (rows_ == 0) return 0;
  const double wanted = static_cast<double>(rows_) * row_elements_ / RowElements(shapes);
  int64_t rows = 1;
  while (static_cast<double>(rows) * 2 <= wanted) rows *= 2;
  return rows;
}

BatchRuns SplitBatch(int64_t rows, int64_t rows_per_run, std::span<const int64_t> batch_sizes) {
  const auto padded = std::lower_bound(batch_sizes.begin(), batch_sizes.end(), rows);
  const int64_t whole = padded == batch_sizes.end() ? rows : *padded;
  if (rows_per_run == 0 || whole < rows_per_run) return {.rows = whole};
  const auto runs_of = [&](int64_t all) { return (all + rows_per_run - 1) / rows_per_run; };
  BatchRuns split{.rows = rows_per_run, .runs = std::max<int64_t>(runs_of(rows), 1)};
  // One plan for all batches that the batcher makes; larger requests share plans by powers of two.
  split.max_runs = runs_of(batch_sizes.back());
  if (split.runs > split.max_runs) {
    split.max_runs = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(split.runs)));
  }
  return split;
}

absl::StatusOr<int64_t> MeasureRowsPerRun(ModelPlans& plans, std::span<const Shape> example_shapes,
                                          int64_t max_rows) {
  const Clock::time_point start = Clock::now();
  int64_t best = 0;
  double best_seconds = 0;
  for (int64_t rows = 1; rows <= max_rows; rows *= 2) {
    const absl::StatusOr<std::shared_ptr<const Plan>> plan =
        plans.Find(graph::WithFirstDim(example_shapes, rows), rows == 1 ? max_rows : 1);
    if (absl::IsUnimplemented(plan.status())) return 0;
    if (!plan.ok()) return plan.status();
    const absl::StatusOr<double> seconds = SecondsPerRow(*plan, rows);
    if (!seconds.ok()) return 0;
    if (best == 0 || *seconds < kWorthwhile * best_seconds) {
      best = rows;
      best_seconds = *seconds;
    } else if (*seconds > best_seconds / kWorthwhile) {
      break;  // the caches overflow: more rows only make it worse
    }
    if (SecondsSince(start) > kBudgetSeconds) break;
  }
  return best;
}

}  // namespace octet::runtime
