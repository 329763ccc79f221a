#include "runtime/compensate_rounding.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/evaluate.h"
#include "runtime/quantize_model.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using graph::ValueId;
using testing::GraphBuilder;
using testing::RandomFloats;

// Bright images of little contrast.
std::vector<std::vector<Tensor>> BrightImages(int64_t channels, size_t count) {
  std::vector<std::vector<Tensor>> samples;
  for (size_t i = 0; i < count; ++i) {
    Tensor image = RandomFloats({1, channels, 12, 12}, static_cast<uint32_t>(100 + i));
    for (float& value : image.MutableAs<float>()) value = 2 + 0.3f * value;
    samples.push_back({image});
  }
  return samples;
}

// Weights that see differences between pixels only: those of a channel add up to nothing.
Tensor EdgeFilters(int64_t outputs, int64_t inputs) {
  Tensor weights = RandomFloats({outputs, inputs, 3, 3}, 1);
  const std::span<float> values = weights.MutableAs<float>();
  for (size_t row = 0; row < values.size() / 9; ++row) {
    float sum = 0;
    for (const float value : values.subspan(row * 9, 9)) sum += value;
    for (float& value : values.subspan(row * 9, 9)) value -= sum / 9;
  }
  return weights;
}

// SQNR of a convolution's output, only its weights being quantized.
double WeightSqnr(int64_t inputs, int64_t group, bool feedback) {
  GraphBuilder builder;
  const ValueId x = builder.Input("x", {1, inputs, 12, 12});
  const Tensor weights = EdgeFilters(8, inputs / group);
  builder.Output(
      builder.Apply("Conv", "conv", {x, builder.Constant("w", weights)}, {{"group", group}}), "y");
  GraphBuilder::Finished model = builder.Finish();
  const graph::NodeId layer = model.graph.Nodes()[0];
  quant::QuantizedWeights quantized = *quant::QuantizeWeights(weights.view(), {.axis = 0});
  kernels::WeightCache floats;
  const std::vector<std::vector<Tensor>> calibrating = BrightImages(inputs, 24);
  if (feedback) {
    const RoundedLayer rounded{layer, &quantized};
    const absl::Status status =
        CompensateRounding(model.graph, std::span(&rounded, 1), {}, calibrating, floats);
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_TRUE(quantized.feedback);
  }
  Tensor values = *Tensor::Allocate(DataType::kFloat32, weights.shape());
  const size_t size = values.As<float>().size() / 8;
  for (size_t i = 0; i < 8 * size; ++i) {
    values.MutableAs<float>()[i] =
        quantized.params.scales[i / size] * static_cast<float>(quantized.codes.As<int8_t>()[i]);
  }
  GraphBuilder other;
  const ValueId z = other.Input("x", {1, inputs, 12, 12});
  other.Output(other.Apply("Conv", "conv", {z, other.Constant("w", values)}, {{"group", group}}),
               "y");
  std::vector<std::vector<Tensor>> held_out = BrightImages(inputs, 30);
  held_out.erase(held_out.begin(), held_out.begin() + 24);
  kernels::WeightCache a, b;
  return OutputSqnrDb(*RunAll(model.graph, held_out, a),
                      *RunAll(other.Finish().graph, held_out, b));
}

TEST(CompensateRounding, FiltersThatIgnoreBrightnessGoOnIgnoringIt) {
  EXPECT_GT(WeightSqnr(3, 1, true), WeightSqnr(3, 1, false) + 6);
  EXPECT_GT(WeightSqnr(8, 8, true), WeightSqnr(8, 8, false) + 6) << "depthwise";
  EXPECT_GT(WeightSqnr(4, 2, true), WeightSqnr(4, 2, false) + 6) << "in groups";
}

TEST(CompensateRounding, WideLayersKeepTheirWeights) {
  GraphBuilder builder;
  const ValueId x = builder.Input("x", {1, 8, 12, 12});
  const Tensor weights = EdgeFilters(8, 8);
  builder.Output(builder.Apply("Conv", "conv", {x, builder.Constant("w", weights)}, {}), "y");
  const GraphBuilder::Finished model = builder.Finish();
  quant::QuantizedWeights quantized = *quant::QuantizeWeights(weights.view(), {.axis = 0});
  const RoundedLayer layer{model.graph.Nodes()[0], &quantized};
  kernels::WeightCache floats;
  ASSERT_TRUE(CompensateRounding(model.graph, std::span(&layer, 1), {.most_columns = 71},
                                 BrightImages(8, 4), floats)
                  .ok());
  EXPECT_FALSE(quantized.feedback);
}

TEST(CompensateRounding, IsForModelsWithSamplesUnlessItIsSwitchedOff) {
  GraphBuilder builder;
  const ValueId x = builder.Input("x", {1, 3, 12, 12});
  builder.Output(builder.Apply("Conv", "conv", {x, builder.Constant("w", EdgeFilters(8, 3))}, {}),
                 "y");
  const graph::Graph graph = builder.Finish().graph;
  const std::vector<Shape> shapes = {{1, 3, 12, 12}};
  const CalibrationData data{.samples = BrightImages(3, 16)};
  QuantizeOptions options;
  const auto by_default = QuantizeModel(graph, shapes, data, options);
  const auto without_data = QuantizeModel(graph, shapes, {}, options);
  options.compensation = QuantizeOptions::Compensation::kNone;
  const auto off = QuantizeModel(graph, shapes, data, options);
  ASSERT_TRUE(by_default.ok() && without_data.ok() && off.ok());
  EXPECT_TRUE(by_default->report.layers[0].weights.gptq);
  EXPECT_FALSE(without_data->report.layers[0].weights.gptq);
  EXPECT_FALSE(off->report.layers[0].weights.gptq);
}

}  // namespace
}  // namespace octet::runtime
