#include "server/engine/shadow_model.h"

#include <cstring>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_model.h"

namespace octet::server {
namespace {

using testing::FakeModel;
using testing::Gate;
using Model = std::shared_ptr<const runtime::CompiledModel>;

// Echoes each value with an error of 1 %.
class NoisyContext : public runtime::ExecutionContext {
 public:
  explicit NoisyContext(std::unique_ptr<runtime::ExecutionContext> exact)
      : exact_(std::move(exact)) {}
  absl::Status Load(std::span<const runtime::InputRows* const> callers) override {
    return exact_->Load(callers);
  }
  absl::Status Execute() override { return exact_->Execute(); }
  Shape OutputShape(int output, int caller) const override {
    return exact_->OutputShape(output, caller);
  }
  void Store(int output, int caller, std::span<std::byte> bytes) const override {
    exact_->Store(output, caller, bytes);
    auto* const values = reinterpret_cast<float*>(bytes.data());
    for (size_t i = 0; i < bytes.size() / sizeof(float); ++i) values[i] *= 1.01f;
  }

 private:
  const std::unique_ptr<runtime::ExecutionContext> exact_;
};

class NoisyModel : public runtime::CompiledModel {
 public:
  explicit NoisyModel(Model exact) : exact_(std::move(exact)) {}
  const std::vector<runtime::TensorSpec>& inputs() const override { return exact_->inputs(); }
  const std::vector<runtime::TensorSpec>& outputs() const override { return exact_->outputs(); }
  bool batchable() const override { return exact_->batchable(); }
  const std::vector<int64_t>& batch_sizes() const override { return exact_->batch_sizes(); }
  absl::StatusOr<std::unique_ptr<runtime::ExecutionContext>> NewContext() const override {
    return std::make_unique<NoisyContext>(*exact_->NewContext());
  }
  runtime::MemoryLedger memory() const override { return exact_->memory(); }
  const runtime::ModelSummary& summary() const override { return exact_->summary(); }

 private:
  const Model exact_;
};

Model Echo(FakeModel::Options options = {}) {
  return FakeModel::Echo({{"x", DataType::kFloat32, {kUnknownDim, 4}}}, std::move(options));
}

runtime::InputRows Rows(const std::vector<float>& values) {
  runtime::InputRows rows{.inputs = {}, .rows = static_cast<int64_t>(values.size() / 4)};
  runtime::InputTensor& input = rows.inputs.emplace_back();
  input.shape = {rows.rows, 4};
  const auto bytes = std::as_bytes(std::span(values));
  input.pieces.push_back(bytes.first(4));  // as it may come from the network
  input.pieces.push_back(bytes.subspan(4));
  return rows;
}

void RunOnce(runtime::ExecutionContext& context, const std::vector<float>& values) {
  const runtime::InputRows rows = Rows(values);
  const runtime::InputRows* const callers[] = {&rows};
  ASSERT_TRUE(context.Load(callers).ok());
  ASSERT_TRUE(context.Execute().ok());
}

runtime::ShadowStatistics AwaitFinished(const Model& model, uint64_t count) {
  while (true) {
    const auto statistics = model->shadow();
    if (statistics->compared + statistics->failed >= count) return *statistics;
    std::this_thread::yield();
  }
}

TEST(WithShadow, ComparesWhatIsServedWithFloat) {
  const Model model = WithShadow(std::make_shared<NoisyModel>(Echo()), Echo(), 1);
  const auto context = *model->NewContext();
  EXPECT_FALSE(model->shadow()->output_sqnr_db.has_value());
  for (uint64_t i = 1; i <= 20; ++i) {
    RunOnce(*context, {1, 2, 3, 4, 8, 7, 6, static_cast<float>(i)});
    const runtime::ShadowStatistics statistics = AwaitFinished(model, i);
    EXPECT_NEAR(statistics.output_sqnr_db.value_or(0), 40, 0.1);  // noise of 1 %
    EXPECT_EQ(statistics.agreement, 1);
    EXPECT_EQ(statistics.failed, 0u);
  }
}

TEST(WithShadow, AnswersAreThoseOfTheServedModel) {
  const Model model = WithShadow(std::make_shared<NoisyModel>(Echo()), Echo(), 1);
  const auto context = *model->NewContext();
  RunOnce(*context, {1, 2, 3, 4});
  float answer[4];
  context->Store(0, 0, std::as_writable_bytes(std::span(answer)));
  EXPECT_EQ(answer[3], 4 * 1.01f);
}

TEST(WithShadow, SlowComparisonsHoldNobodyUp) {
  Gate gate;
  gate.Close();
  const Model slow = Echo({.on_execute = [&](int64_t) {
    gate.Pass();
    return absl::OkStatus();
  }});
  const Model model = WithShadow(Echo(), slow, 1);
  const auto context = *model->NewContext();
  for (int i = 0; i < 100; ++i) RunOnce(*context, {1, 2, 3, 4});
  EXPECT_EQ(model->shadow()->compared, 0u);
  EXPECT_EQ(model->shadow()->passed_over, 98u);
  gate.Open();
  EXPECT_EQ(AwaitFinished(model, 2).compared, 2u);
}

TEST(WithShadow, WhatFloatCannotRunIsCountedAndServed) {
  const Model broken =
      Echo({.on_execute = [](int64_t) { return absl::InternalError("no kernel"); }});
  const Model model = WithShadow(Echo(), broken, 1);
  const auto context = *model->NewContext();
  RunOnce(*context, {1, 2, 3, 4});
  EXPECT_EQ(AwaitFinished(model, 1).failed, 1u);
  EXPECT_EQ(model->shadow()->compared, 0u);
}

TEST(WithShadow, AboutTheShareThatWasAskedFor) {
  const Model model = WithShadow(Echo(), Echo(), 0.2);
  const auto context = *model->NewContext();
  for (int i = 0; i < 2000; ++i) RunOnce(*context, {1, 2, 3, 4});
  const auto chosen = [&] { return model->shadow()->compared + model->shadow()->passed_over; };
  while (chosen() < 250) std::this_thread::yield();
  EXPECT_LT(chosen(), 550u);  // 400 of 2000, deviation 18
}

TEST(WithShadow, WarmUpRunsSayNothing) {
  const Model model = WithShadow(Echo(), Echo(), 1);
  const auto context = *model->NewContext();
  RunOnce(*context, {0, 0, 0, 0});
  RunOnce(*context, {1, 2, 3, 4});
  EXPECT_EQ(AwaitFinished(model, 1).compared, 1u);
}

TEST(WithShadow, NothingIsDoneWithoutARateOrForAnotherModel) {
  const Model served = Echo();
  EXPECT_EQ(WithShadow(served, Echo(), 0), served);
  EXPECT_EQ(WithShadow(served, FakeModel::Sums(), 1), served);
  EXPECT_FALSE(served->shadow().has_value());
}

}  // namespace
}  // namespace octet::server
