// A CompiledModel for tests of what surrounds the engine: its answers are known without one.
//
// FakeModel::Sums() has one input x FP32 [?,4] and two outputs: `double` [?,4] = 2 x, and `sum`
// [?,1] = twice the row's sum. FakeModel::Echo() returns each input as the output of the same
// index. Runs can be held at a gate, fail, and be counted.

#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "base/tensor.h"
#include "runtime/compiled_model.h"

namespace octet::testing {

// Stops whoever passes until it is opened. Thread-safe.
class Gate {
 public:
  void Close() {
    const MutexLock lock(mutex_);
    open_ = false;
  }
  void Open() {
    const MutexLock lock(mutex_);
    open_ = true;
    changed_.NotifyAll();
  }
  void Pass() {
    const MutexLock lock(mutex_);
    ++arrived_;
    changed_.NotifyAll();
    while (!open_) changed_.Wait(mutex_);
  }
  // Returns when `count` passages have begun since the gate was made.
  void AwaitArrivals(int count) {
    const MutexLock lock(mutex_);
    while (arrived_ < count) changed_.Wait(mutex_);
  }
  int arrivals() const {
    const MutexLock lock(mutex_);
    return arrived_;
  }

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  bool open_ ABSL_GUARDED_BY(mutex_) = true;
  int arrived_ ABSL_GUARDED_BY(mutex_) = 0;
};

struct FakeModelOptions {
  bool batchable = true;
  std::vector<int64_t> batch_sizes = {1, 2, 4, 8};
  // Called at the start of each Execute() with the batch's rows; may block or fail. Empty: OK.
  std::function<absl::Status(int64_t rows)> on_execute;
};

class FakeModel : public runtime::CompiledModel {
 public:
  using Options = FakeModelOptions;

  static std::shared_ptr<FakeModel> Sums(Options options = {}) {
    const int64_t batch = options.batchable ? kUnknownDim : 1;
    return std::shared_ptr<FakeModel>(new FakeModel(
        std::move(options), {{"x", DataType::kFloat32, {batch, 4}}},
        {{"double", DataType::kFloat32, {batch, 4}}, {"sum", DataType::kFloat32, {batch, 1}}},
        false));
  }

  static std::shared_ptr<FakeModel> Echo(std::vector<runtime::TensorSpec> inputs,
                                         Options options = {}) {
    std::vector<runtime::TensorSpec> outputs = inputs;
    for (auto& output : outputs) output.name = absl::StrCat(output.name, "_echo");
    return std::shared_ptr<FakeModel>(
        new FakeModel(std::move(options), std::move(inputs), std::move(outputs), true));
  }

  const std::vector<runtime::TensorSpec>& inputs() const override { return inputs_; }
  const std::vector<runtime::TensorSpec>& outputs() const override { return outputs_; }
  bool batchable() const override { return options_.batchable; }
  const std::vector<int64_t>& batch_sizes() const override { return options_.batch_sizes; }
  absl::StatusOr<std::unique_ptr<runtime::ExecutionContext>> NewContext() const override {
    return std::make_unique<Context>(*this);
  }
  runtime::MemoryLedger memory() const override { return ledger; }
  const runtime::ModelSummary& summary() const override { return summary_; }

  runtime::MemoryLedger ledger = {.float32_weight_bytes = 4000,
                                  .served_weight_bytes = 1000,
                                  .arena_bytes = 300,
                                  .scratchpad_bytes = 20};

  // Rows of every run so far.
  std::vector<int64_t> runs() const {
    const MutexLock lock(mutex_);
    return runs_;
  }

 private:
  class Context : public runtime::ExecutionContext {
   public:
    explicit Context(const FakeModel& model) : model_(model) {}

    absl::Status Load(std::span<const runtime::InputRows* const> callers) override {
      bytes_.assign(model_.inputs_.size(), {});
      rows_.clear();
      first_row_ = {0};
      shapes_.clear();
      for (const runtime::InputRows* caller : callers) {
        rows_.push_back(caller->rows);
        first_row_.push_back(first_row_.back() + caller->rows);
        for (size_t i = 0; i < caller->inputs.size(); ++i) {
          const runtime::InputTensor& input = caller->inputs[i];
          size_t size = 0;
          for (const auto piece : input.pieces) {
            bytes_[i].insert(bytes_[i].end(), piece.begin(), piece.end());
            size += piece.size();
          }
          const size_t expected =
              static_cast<size_t>(ElementCount(input.shape)) * ByteSize(model_.inputs_[i].dtype);
          if (size != expected) {
            return absl::InvalidArgumentError(absl::StrCat("expected ", expected, " bytes for ",
                                                           model_.inputs_[i].name, ", not ", size));
          }
        }
      }
      for (const auto& input : callers.front()->inputs) shapes_.push_back(input.shape);
      for (const runtime::InputRows* caller : callers) {
        for (size_t i = 0; i < caller->inputs.size(); ++i) {
          const Shape& shape = caller->inputs[i].shape;
          if (!std::equal(shape.begin() + 1, shape.end(), shapes_[i].begin() + 1,
                          shapes_[i].end())) {
            return absl::InvalidArgumentError("callers of different shapes in one batch");
          }
        }
      }
      return absl::OkStatus();
    }

    absl::Status Execute() override {
      {
        const MutexLock lock(model_.mutex_);
        model_.runs_.push_back(first_row_.back());
      }
      if (!model_.options_.on_execute) return absl::OkStatus();
      return model_.options_.on_execute(first_row_.back());
    }

    Shape OutputShape(int output, int caller) const override {
      Shape shape = model_.echo_ ? shapes_[output] : model_.outputs_[output].shape;
      if (model_.options_.batchable) shape[0] = rows_[caller];
      return shape;
    }

    void Store(int output, int caller, std::span<std::byte> bytes) const override {
      const std::vector<std::byte>& input = bytes_[model_.echo_ ? output : 0];
      const size_t row_bytes = input.size() / static_cast<size_t>(first_row_.back());
      const std::byte* const begin = input.data() + first_row_[caller] * row_bytes;
      if (model_.echo_) {
        if (!bytes.empty()) std::memcpy(bytes.data(), begin, bytes.size());
        return;
      }
      for (int64_t row = 0; row < rows_[caller]; ++row) {
        float x[4];
        std::memcpy(x, begin + row * sizeof(x), sizeof(x));
        const float doubled[4] = {2 * x[0], 2 * x[1], 2 * x[2], 2 * x[3]};
        const float sum = 2 * (x[0] + x[1] + x[2] + x[3]);
        if (output == 0)
          std::memcpy(bytes.data() + row * sizeof(doubled), doubled, sizeof(doubled));
        if (output == 1) std::memcpy(bytes.data() + row * sizeof(sum), &sum, sizeof(sum));
      }
    }

   private:
    const FakeModel& model_;
    std::vector<std::vector<std::byte>> bytes_;  // by input, all callers
    std::vector<int64_t> rows_;
    std::vector<int64_t> first_row_ = {0};
    std::vector<Shape> shapes_;
  };

  FakeModel(Options options, std::vector<runtime::TensorSpec> inputs,
            std::vector<runtime::TensorSpec> outputs, bool echo)
      : options_(std::move(options)),
        inputs_(std::move(inputs)),
        outputs_(std::move(outputs)),
        echo_(echo) {
    if (!options_.batchable) options_.batch_sizes = {1};
    summary_.mode = "int8";
    summary_.mode_asked = "auto";
    summary_.load_seconds = 1.5;
    summary_.quantization_seconds = 0.5;
    summary_.accuracy = {.verdict = "met",
                         .metric = "cosine",
                         .target = 0.99,
                         .measured = 0.995,
                         .description = "met: cosine 0.9950"};
  }

  Options options_;
  std::vector<runtime::TensorSpec> inputs_;
  std::vector<runtime::TensorSpec> outputs_;
  bool echo_;
  runtime::ModelSummary summary_;
  mutable Mutex mutex_;
  mutable std::vector<int64_t> runs_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace octet::testing
