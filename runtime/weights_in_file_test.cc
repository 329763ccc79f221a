// Weights that lie in a temporary file while a network is quantized: the result is the same, and
// what is served is in memory.

#include <algorithm>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/evaluate.h"
#include "runtime/model_plans.h"
#include "runtime/quantize_model.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using graph::Graph;
using graph::ValueId;
using ::testing::ElementsAreArray;
using testing::GraphBuilder;
using testing::RandomFloats;

// Rows of a table, a convolution and two products; the weights of each have 64 KiB or more.
Graph Network(std::shared_ptr<TensorFile> file) {
  GraphBuilder builder;
  builder.HoldConstantsIn(std::move(file));
  const auto weight = [&](const std::string& name, Shape shape, uint32_t seed) {
    return builder.Constant(name, RandomFloats(std::move(shape), seed, 0.1f));
  };
  const ValueId x = builder.Input("x", {kUnknownDim, 64}, DataType::kInt64);
  ValueId y = builder.Apply("Gather", "rows", {weight("table", {300, 64}, 1), x});
  y = builder.Apply("Unsqueeze", "image",
                    {y, builder.Constant("axes", Tensor::Of<int64_t>({1}, {3}))});
  y = builder.Apply("Conv", "conv", {y, weight("conv.w", {96, 64, 3, 1}, 2)},
                    {{"pads", std::vector<int64_t>{1, 0, 1, 0}}});
  y = builder.Apply("GlobalAveragePool", "pool", {builder.Apply("Relu", "relu", {y})});
  y = builder.Apply("Flatten", "flat", {y});
  y = builder.Apply("MatMul", "wide", {y, weight("wide.w", {96, 512}, 3)});
  y = builder.Apply("MatMul", "narrow",
                    {builder.Apply("Relu", "relu2", {y}), weight("narrow.w", {512, 64}, 4)});
  builder.Output(y, "y");
  return builder.Finish(/*optimize=*/true).graph;
}

const std::vector<Shape>& ExampleShapes() {
  static const auto* const kShapes = new std::vector<Shape>{{1, 64}};
  return *kShapes;
}

CalibrationData Data() {
  CalibrationData data{.source = "memory"};
  for (int64_t i = 0; i < 16; ++i) {
    Tensor sample = *Tensor::Allocate(DataType::kInt64, {1, 64});
    int64_t number = 7 * i;
    for (int64_t& index : sample.MutableAs<int64_t>()) {
      number = (number * 31 + 11) % 300;
      index = number;
    }
    data.samples.push_back({sample});
  }
  return data;
}

size_t LargeConstants(const Graph& graph, bool in_file) {
  size_t count = 0;
  for (size_t i = 0; i < graph.value_count(); ++i) {
    const auto& constant = graph.value(static_cast<ValueId>(i)).constant;
    const bool large = constant && constant->byte_size() >= TensorFile::kLeastBytes;
    count += large && constant->in_file() == in_file ? 1 : 0;
  }
  return count;
}

std::vector<std::vector<Tensor>> Outputs(const Graph& graph) {
  kernels::WeightCache weights;
  const auto outputs = RunAll(graph, Data().samples, weights);
  EXPECT_TRUE(outputs.ok()) << outputs.status();
  return outputs.ok() ? *outputs : std::vector<std::vector<Tensor>>();
}

class WeightsInFile : public ::testing::TestWithParam<std::pair<LayerMode, bool>> {};

TEST_P(WeightsInFile, ChangeNothing) {
  const auto& [mode, calibrated] = GetParam();
  const QuantizeOptions options{
      .mode = mode, .threads = 2, .on_fail = OnFail::kMixed, .details = true};
  const CalibrationData data = calibrated ? Data() : CalibrationData();
  const auto file = TensorFile::In(::testing::TempDir());
  const Graph floats = Network(file);
  ASSERT_EQ(LargeConstants(floats, true), 4u);
  ASSERT_EQ(LargeConstants(floats, false), 0u);
  const auto held = QuantizeModel(floats, ExampleShapes(), data, options);
  const auto in_memory = QuantizeModel(Network(nullptr), ExampleShapes(), data, options);
  ASSERT_TRUE(held.ok() && in_memory.ok()) << held.status() << in_memory.status();
  EXPECT_EQ(LargeConstants(held->graph, false), 0u);
  EXPECT_EQ(held->report.output_sqnr_db, in_memory->report.output_sqnr_db);
  EXPECT_EQ(held->report.accuracy.attempts, in_memory->report.accuracy.attempts);
  for (size_t i = 0; i < held->report.layers.size(); ++i) {
    const LayerReport &one = held->report.layers[i], &other = in_memory->report.layers[i];
    EXPECT_EQ(one.precision, other.precision);
    EXPECT_EQ(one.weight_sqnr_db, other.weight_sqnr_db);
    EXPECT_EQ(one.output_sqnr_db, other.output_sqnr_db);
  }
  const auto y = Outputs(held->graph), expected = Outputs(in_memory->graph);
  ASSERT_EQ(y.size(), expected.size());
  for (size_t s = 0; s < y.size(); ++s) {
    EXPECT_THAT(y[s][0].As<float>(), ElementsAreArray(expected[s][0].As<float>()));
  }
  EXPECT_TRUE(file->status().ok()) << file->status();
}

INSTANTIATE_TEST_SUITE_P(Modes, WeightsInFile,
                         ::testing::Values(std::pair(LayerMode::kInt8, true),
                                           std::pair(LayerMode::kInt8, false),
                                           std::pair(LayerMode::kInt4, true),
                                           std::pair(LayerMode::kInt4, false),
                                           std::pair(LayerMode::kBFloat16, true)));

// What clients have sent does not go to a disk, nor what is made of it.
TEST(WeightsInFileTest, ValuesOfClientsSamplesStayInMemory) {
  GraphBuilder builder;
  const ValueId x = builder.Input("x", {kUnknownDim, 16, 64, 64});
  const ValueId y = builder.Apply("Conv", "conv",
                                  {x, builder.Constant("w", RandomFloats({8, 16, 3, 3}, 1, 0.1f))});
  builder.Output(builder.Apply("Relu", "relu", {y}), "y");
  GraphBuilder::Finished model = builder.Finish(/*optimize=*/true);
  CalibrationData data{.source = "memory"};
  for (uint32_t i = 0; i < 8; ++i) data.samples.push_back({RandomFloats({1, 16, 64, 64}, i)});
  // The weights are small: nothing else wants the file, which cannot be made.
  const auto opened = [&](bool in_memory_only) {
    const auto file = TensorFile::In("/nonexistent");
    model.graph.HoldConstantsIn(file);
    data.in_memory_only = in_memory_only;
    const auto quantized = QuantizeModel(model.graph, model.example_shapes, data, {});
    EXPECT_TRUE(quantized.ok()) << quantized.status();
    return !file->status().ok();
  };
  EXPECT_TRUE(opened(false));
  EXPECT_FALSE(opened(true));
}

size_t BuffersInFile(const kernels::Program& program) {
  return static_cast<size_t>(
      std::count_if(program.buffers.begin(), program.buffers.end(),
                    [](const kernels::Buffer& buffer) { return buffer.in_file; }));
}

TEST(WeightsInFileTest, WhatIsServedIsInMemory) {
  const Graph floats = Network(TensorFile::In(::testing::TempDir()));
  kernels::WeightCache to_look_at(floats.tensor_file());
  const auto looked_at = MakePlan(floats, ExampleShapes(), to_look_at);
  ASSERT_TRUE(looked_at.ok()) << looked_at.status();
  EXPECT_EQ(BuffersInFile((*looked_at)->program), 4u);
  ModelPlans plans(floats, nullptr);
  const auto served = plans.Pin(ExampleShapes());
  ASSERT_TRUE(served.ok()) << served.status();
  EXPECT_EQ(BuffersInFile((*served)->program), 0u);
  // The table is read as it lies.
  plans.ReleaseWeights();
  plans.KeepPinned();
  absl::StatusOr<PlanRunner> runner = PlanRunner::Create(*served);
  ASSERT_TRUE(runner.ok()) << runner.status();
  const auto y = runner->Run(Data().samples[3]);
  ASSERT_TRUE(y.ok()) << y.status();
  EXPECT_THAT((*y)[0].As<float>(), ElementsAreArray(Outputs(Network(nullptr))[3][0].As<float>()));
}

}  // namespace
}  // namespace octet::runtime
