#include "runtime/equalize_layers.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/evaluate.h"
#include "runtime/load.h"
#include "runtime/served_ranges.h"
#include "tests/support/graph_builder.h"
#include "tests/support/npy_writer.h"
#include "tests/support/random_tensor.h"
#include "tests/support/temporary_directory.h"

namespace octet::runtime {
namespace {

using graph::Graph;
using graph::ValueId;
using ::testing::ElementsAre;
using testing::GraphBuilder;
using ::testing::IsEmpty;
using testing::RandomFloats;

constexpr int64_t kChannels = 16;

struct BlockOptions {
  std::string between = "Relu";  // "Clip", "PRelu", "MaxPool", "": behind the first convolution
  bool read_twice = false;       // what the first convolution makes
};

// A block as mobile networks have it: 1x1, depthwise, 1x1. Every fourth channel of the first is a
// thousand times smaller than the others, and that much larger in the second.
GraphBuilder::Finished Block(const BlockOptions& options = {}) {
  GraphBuilder builder;
  Tensor expand = RandomFloats({kChannels, 8, 1, 1}, 1, 0.3f);
  Tensor depthwise = RandomFloats({kChannels, 1, 3, 3}, 2, 0.3f);
  for (int64_t c = 0; c < kChannels; c += 4) {
    for (int64_t i = 0; i < 8; ++i) expand.MutableAs<float>()[c * 8 + i] /= 1000;
    for (int64_t i = 0; i < 9; ++i) depthwise.MutableAs<float>()[c * 9 + i] *= 1000;
  }
  ValueId x = builder.Input("x", {kUnknownDim, 8, 8, 8});
  x = builder.Apply("Conv", "expand",
                    {x, builder.Constant("expand.w", expand),
                     builder.Constant("expand.b", RandomFloats({kChannels}, 3, 0.01f))});
  if (options.read_twice) builder.Output(builder.Apply("Sigmoid", "other", {x}), "z");
  if (options.between == "Clip") {
    x = builder.Apply("Clip", "between",
                      {x, builder.Constant("low", Tensor::Of<float>({}, std::vector<float>{0})),
                       builder.Constant("high", Tensor::Of<float>({}, std::vector<float>{6}))});
  } else if (options.between == "PRelu") {
    x = builder.Apply("PRelu", "between",
                      {x, builder.Constant("slope", RandomFloats({kChannels, 1, 1}, 7))});
  } else if (options.between == "MaxPool") {
    x = builder.Apply("MaxPool", "between", {x}, {{"kernel_shape", std::vector<int64_t>{2, 2}}});
  } else if (!options.between.empty()) {
    x = builder.Apply(options.between, "between", {x});
  }
  x = builder.Apply("Conv", "depthwise", {x, builder.Constant("depthwise.w", depthwise)},
                    {{"group", int64_t{kChannels}}, {"pads", std::vector<int64_t>{1, 1, 1, 1}}});
  x = builder.Apply("Relu", "relu", {x});
  x = builder.Apply("Conv", "project",
                    {x, builder.Constant("project.w", RandomFloats({8, kChannels, 1, 1}, 4))});
  builder.Output(x, "y");
  return builder.Finish(/*optimize=*/true);
}

CalibrationData Data(size_t count, uint32_t seed = 50) {
  CalibrationData data{.source = "memory"};
  for (size_t i = 0; i < count; ++i) {
    data.samples.push_back({RandomFloats({1, 8, 8, 8}, seed + static_cast<uint32_t>(i))});
  }
  return data;
}

double SqnrDb(const Graph& exact, const Graph& other, const CalibrationData& data) {
  kernels::WeightCache exact_weights, other_weights;
  const auto x = RunAll(exact, data.samples, exact_weights);
  const auto y = RunAll(other, data.samples, other_weights);
  EXPECT_TRUE(x.ok() && y.ok()) << x.status() << y.status();
  return x.ok() && y.ok() ? OutputSqnrDb(*x, *y) : -1;
}

// Largest over smallest magnitude of the output channels of a layer.
double Spread(const Graph& graph, const std::string& layer) {
  for (const graph::NodeId id : graph.NodesOfType("Conv")) {
    if (graph.node(id).name != layer) continue;
    const Tensor& weight = *graph.value(graph.node(id).inputs[1]).constant;
    const auto numbers = weight.As<float>();
    const auto size = static_cast<size_t>(weight.size() / weight.shape()[0]);
    double least = HUGE_VAL, most = 0;
    for (size_t begin = 0; begin < numbers.size(); begin += size) {
      double magnitude = 0;
      for (const float x : numbers.subspan(begin, size)) {
        magnitude = std::max(magnitude, std::abs(double{x}));
      }
      least = std::min(least, magnitude);
      most = std::max(most, magnitude);
    }
    return most / least;
  }
  ADD_FAILURE() << "no layer " << layer;
  return 0;
}

TEST(EqualizeConvolutions, KeepsTheFunctionAndEvensTheChannels) {
  for (const char* between : {"Relu", "LeakyRelu", "PRelu", "MaxPool", ""}) {
    const Graph exact = Block({.between = between}).graph;
    Graph equalized = exact;
    const auto layers = EqualizeConvolutions(equalized);
    ASSERT_TRUE(layers.ok()) << layers.status();
    EXPECT_THAT(*layers, ElementsAre("expand", "depthwise", "project")) << between;
    EXPECT_LT(Spread(equalized, "expand"), Spread(exact, "expand") / 50) << between;
    EXPECT_LT(Spread(equalized, "depthwise"), Spread(exact, "depthwise") / 50) << between;
    // 1e-5 of the outputs is 100 dB; 99 is the most that is told.
    EXPECT_GT(SqnrDb(exact, equalized, Data(4)), 98.9) << between;
  }
}

TEST(EqualizeConvolutions, LeavesWhatDoesNotScale) {
  for (const BlockOptions& options :
       {BlockOptions{.between = "Clip"}, BlockOptions{.between = "Sigmoid"},
        BlockOptions{.read_twice = true}}) {
    Graph graph = Block(options).graph;
    const double before = Spread(graph, "expand");
    const auto layers = EqualizeConvolutions(graph);
    ASSERT_TRUE(layers.ok()) << layers.status();
    EXPECT_THAT(*layers, ElementsAre("depthwise", "project")) << options.between;
    EXPECT_EQ(Spread(graph, "expand"), before) << options.between;
  }
}

TEST(EqualizeConvolutions, AreFewInNetworksOfProducts) {
  GraphBuilder builder;
  const ValueId x = builder.Input("x", {kUnknownDim, 32});
  builder.Output(
      builder.Apply("MatMul", "product", {x, builder.Constant("w", RandomFloats({32, 4}, 1))}),
      "y");
  Graph graph = builder.Finish().graph;
  const auto layers = EqualizeConvolutions(graph);
  ASSERT_TRUE(layers.ok()) << layers.status();
  EXPECT_THAT(*layers, IsEmpty());
}

TEST(EqualizeConvolutions, IsForOneScalePerTensor) {
  using Equalization = QuantizeOptions::Equalization;
  EXPECT_FALSE(WantsEqualization({}));
  EXPECT_TRUE(WantsEqualization({.per_channel = false}));
  EXPECT_TRUE(WantsEqualization({.equalization = Equalization::kOn}));
  EXPECT_FALSE(WantsEqualization({.per_channel = false, .equalization = Equalization::kOff}));
}

TEST(EqualizeConvolutions, RescuesOneScalePerTensor) {
  const GraphBuilder::Finished block = Block();
  Graph equalized = block.graph;
  ASSERT_TRUE(EqualizeConvolutions(equalized).ok());
  QuantizeOptions options{.per_channel = false, .on_fail = OnFail::kWarn};
  options.compensation = QuantizeOptions::Compensation::kNone;
  options.bias_correction = QuantizeOptions::BiasCorrection::kOff;
  const auto plain = QuantizeModel(block.graph, block.example_shapes, Data(16), options);
  const auto with = QuantizeModel(equalized, block.example_shapes, Data(16), options);
  ASSERT_TRUE(plain.ok() && with.ok()) << plain.status() << with.status();
  EXPECT_GT(SqnrDb(block.graph, with->graph, Data(8, 900)),
            SqnrDb(block.graph, plain->graph, Data(8, 900)) + 10);
}

TEST(EqualizeConvolutions, IsPartOfLoading) {
  testing::TemporaryDirectory folder;
  folder.Write("samples.npy", testing::Npy(RandomFloats({16, 1, 8, 8}, 1), "<f4"));
  LoadOptions options{.mode = Mode::kInt8,
                      .calibration_path = (folder.path() / "samples.npy").string()};
  for (const bool per_channel : {true, false}) {
    options.quantization.per_channel = per_channel;
    options.quantization.smoothing = QuantizeOptions::Smoothing::kOff;
    const auto model = PrepareModel(OCTET_EXAMPLES "/models/digits/1/model.onnx", options);
    ASSERT_TRUE(model.ok()) << model.status();
    const QuantizeReport& report = *model->quantization;
    EXPECT_EQ(report.transforms,
              per_channel ? std::vector<std::string>() : std::vector<std::string>{kEqualization});
    EXPECT_EQ(report.layers.at(0).transforms, report.transforms);
    EXPECT_EQ(RangesOf(model->graph, {}, report).equalized, !per_channel);
  }
}

}  // namespace
}  // namespace octet::runtime
