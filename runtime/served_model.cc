#include "runtime/served_model.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/cpu.h"
#include "runtime/border.h"

namespace octet::runtime {
namespace {

class ServedModel;

class ServedContext final : public ExecutionContext {
 public:
  explicit ServedContext(std::shared_ptr<const ServedModel> model) : model_(std::move(model)) {}
  ~ServedContext() override;

  absl::Status Load(std::span<const InputRows* const> callers) override;
  absl::Status Execute() override;
  Shape OutputShape(int output, int caller) const override;
  void Store(int output, int caller, std::span<std::byte> bytes) const override;

 private:
  absl::StatusOr<std::vector<Shape>> BatchShapes(std::span<const InputRows* const> callers) const;
  absl::Status Bind(std::vector<Shape> shapes);
  absl::Status Gather(std::span<const InputRows* const> callers, size_t input);

  const std::shared_ptr<const ServedModel> model_;
  Block arena_, scratch_;
  // Bound plans by plan; all are dropped when a block moves.
  absl::flat_hash_map<const Plan*, std::unique_ptr<BoundPlan>> bound_;
  BoundPlan* current_ = nullptr;
  int64_t runs_ = 1;                // of the current plan, for the loaded rows
  std::vector<int64_t> first_row_;  // by caller, and the end
  bool thread_prepared_ = false;
};

class ServedModel final : public CompiledModel, public std::enable_shared_from_this<ServedModel> {
 public:
  explicit ServedModel(ServedModelParts parts) : parts_(std::move(parts)) {}

  const std::vector<TensorSpec>& inputs() const override { return parts_.inputs; }
  const std::vector<TensorSpec>& outputs() const override { return parts_.outputs; }
  bool batchable() const override { return parts_.batchable; }
  const std::vector<int64_t>& batch_sizes() const override { return parts_.batch_sizes; }
  const ModelSummary& summary() const override { return parts_.summary; }

  absl::StatusOr<std::unique_ptr<ExecutionContext>> NewContext() const override {
    return std::make_unique<ServedContext>(shared_from_this());
  }

  MemoryLedger memory() const override {
    return {.float32_weight_bytes = parts_.float32_weight_bytes,
            .served_weight_bytes = parts_.plans->served_weight_bytes(),
            .arena_bytes = context_bytes_.arena,
            .scratchpad_bytes = context_bytes_.scratchpad};
  }

  ModelPlans& plans() const { return *parts_.plans; }
  int threads() const { return parts_.threads; }
  ContextBytes& context_bytes() const { return context_bytes_; }

  // How inputs of these shapes run, their first dimension being the rows of the whole batch.
  BatchRuns Split(std::span<const Shape> shapes) const {
    if (!parts_.batchable || shapes.empty()) return {};
    return SplitBatch(shapes[0][0], parts_.rows_per_run.For(shapes), parts_.batch_sizes);
  }

 private:
  const ServedModelParts parts_;
  mutable ContextBytes context_bytes_;
};

ServedContext::~ServedContext() {
  model_->context_bytes().arena -= arena_.size();
  model_->context_bytes().scratchpad -= scratch_.size();
}

// One shape per input for all rows.
absl::StatusOr<std::vector<Shape>> ServedContext::BatchShapes(
    std::span<const InputRows* const> callers) const {
  const std::vector<TensorSpec>& specs = model_->inputs();
  if (callers.empty() || (!model_->batchable() && callers.size() > 1)) {
    return absl::InternalError(absl::StrCat("a batch of ", callers.size(), " requests"));
  }
  std::vector<Shape> shapes;
  for (size_t i = 0; i < specs.size(); ++i) {
    Shape shape = callers[0]->inputs.at(i).shape;
    for (const InputRows* caller : callers) {
      const InputTensor& tensor = caller->inputs.at(i);
      const bool same_rest = tensor.shape.size() == shape.size() &&
                             std::equal(shape.begin() + (model_->batchable() ? 1 : 0), shape.end(),
                                        tensor.shape.begin() + (model_->batchable() ? 1 : 0));
      OCTET_ASSIGN_OR_RETURN(const size_t bytes, CheckedByteSize(specs[i].dtype, tensor.shape));
      size_t given = 0;
      for (const auto& piece : tensor.pieces) given += piece.size();
      if (!same_rest || given != bytes ||
          (model_->batchable() && (tensor.shape.empty() || tensor.shape[0] != caller->rows))) {
        return absl::InvalidArgumentError(
            absl::StrCat("input ", specs[i].name, ": ", given, " bytes of shape ",
                         ToText(tensor.shape), " do not fit a batch of shape ", ToText(shape)));
      }
    }
    if (model_->batchable()) shape[0] = first_row_.back();
    shapes.push_back(std::move(shape));
  }
  return shapes;
}

absl::Status ServedContext::Bind(std::vector<Shape> shapes) {
  const BatchRuns split = model_->Split(shapes);
  if (model_->batchable()) {
    for (Shape& shape : shapes) shape[0] = split.rows;
  }
  runs_ = split.runs;
  OCTET_ASSIGN_OR_RETURN(const std::shared_ptr<const Plan> plan,
                         model_->plans().Find(shapes, split.max_runs));
  const size_t arena_before = arena_.size(), scratch_before = scratch_.size();
  OCTET_ASSIGN_OR_RETURN(const bool arena_moved, arena_.Reserve(plan->memory.arena_bytes));
  OCTET_ASSIGN_OR_RETURN(const bool scratch_moved, scratch_.Reserve(plan->program.scratch_bytes));
  model_->context_bytes().arena += arena_.size() - arena_before;
  model_->context_bytes().scratchpad += scratch_.size() - scratch_before;
  if (arena_moved || scratch_moved || bound_.size() > ModelPlans::kMaxPlans) bound_.clear();
  std::unique_ptr<BoundPlan>& bound = bound_[plan.get()];
  if (bound == nullptr) {
    bound = std::make_unique<BoundPlan>(plan, arena_.data(), scratch_.data());
  }
  current_ = bound.get();
  return absl::OkStatus();
}

absl::Status ServedContext::Load(std::span<const InputRows* const> callers) {
  current_ = nullptr;
  first_row_.assign(1, 0);
  for (const InputRows* caller : callers) first_row_.push_back(first_row_.back() + caller->rows);
  OCTET_ASSIGN_OR_RETURN(std::vector<Shape> shapes, BatchShapes(callers));
  const size_t inputs = shapes.size();
  OCTET_RETURN_IF_ERROR(Bind(std::move(shapes)));
  for (size_t i = 0; i < inputs; ++i) OCTET_RETURN_IF_ERROR(Gather(callers, i));
  return absl::OkStatus();
}

absl::Status ServedContext::Gather(std::span<const InputRows* const> callers, size_t input) {
  const TensorView to = current_->input(input, runs_);
  const DataType border = model_->inputs()[input].dtype;
  const size_t element = ByteSize(to.dtype), border_element = ByteSize(border);
  std::byte* next = to.data;
  for (const InputRows* caller : callers) {
    std::vector<std::byte> straddling;  // an element split between two pieces
    for (std::span<const std::byte> piece : caller->inputs[input].pieces) {
      while (!straddling.empty() && !piece.empty()) {
        straddling.push_back(piece.front());
        piece = piece.subspan(1);
        if (straddling.size() < border_element) continue;
        FromBorder(border, straddling, next);
        next += element;
        straddling.clear();
      }
      if (piece.empty()) continue;  // all of it went into an element that may still be incomplete
      const size_t whole = piece.size() / border_element * border_element;
      FromBorder(border, piece.first(whole), next);
      next += whole / border_element * element;
      straddling.assign(piece.begin() + static_cast<ptrdiff_t>(whole), piece.end());
    }
  }
  // Rows that only fill up the batch: zeros, never an earlier caller's data.
  std::byte* const end = to.data + to.byte_size();
  if (next < end) std::memset(next, 0, static_cast<size_t>(end - next));
  return absl::OkStatus();
}

absl::Status ServedContext::Execute() {
  if (current_ == nullptr) return absl::InternalError("nothing is loaded");
  if (!thread_prepared_) {
    kernels::PrepareThread(model_->threads());
    thread_prepared_ = true;
  }
  return current_->Run(runs_);
}

Shape ServedContext::OutputShape(int output, int caller) const {
  Shape shape = current_->output(static_cast<size_t>(output), runs_).shape;
  if (model_->batchable()) {
    shape[0] =
        first_row_[static_cast<size_t>(caller) + 1] - first_row_[static_cast<size_t>(caller)];
  }
  return shape;
}

void ServedContext::Store(int output, int caller, std::span<std::byte> bytes) const {
  const ConstTensorView from = current_->output(static_cast<size_t>(output), runs_);
  std::span<const std::byte> rows(from.data, from.byte_size());
  if (model_->batchable() && from.shape[0] > 0) {
    const size_t row_bytes = from.byte_size() / static_cast<size_t>(from.shape[0]);
    const auto first = static_cast<size_t>(first_row_[static_cast<size_t>(caller)]);
    const auto end = static_cast<size_t>(first_row_[static_cast<size_t>(caller) + 1]);
    rows = rows.subspan(first * row_bytes, (end - first) * row_bytes);
  }
  const DataType border = model_->outputs()[static_cast<size_t>(output)].dtype;
  const size_t elements =
      std::min(rows.size() / ByteSize(from.dtype), bytes.size() / ByteSize(border));
  ToBorder(border, rows.first(elements * ByteSize(from.dtype)), bytes.data());
}

}  // namespace

std::shared_ptr<const CompiledModel> MakeServedModel(ServedModelParts parts) {
  return std::make_shared<ServedModel>(std::move(parts));
}

}  // namespace octet::runtime
