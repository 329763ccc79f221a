#include "kernels/dispatch_gate.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cpu.h"
#include "tests/support/int8_oracle.h"
#include "tests/support/single_node.h"

namespace octet::kernels {
namespace {

using testing::Operand;
using testing::SingleNode;

TEST(DispatchGate, KnowsReferenceImplementationsByName) {
  for (const char* name : {"ref:any", "ref_int8:any", "simple:ref", "ref_fused_convolution:any"}) {
    EXPECT_TRUE(IsReferenceImplementation(name, false)) << name;
  }
  for (const char* name : {"brg_matmul:avx512_core_vnni", "jit:avx512_core", "octet:plain"}) {
    EXPECT_FALSE(IsReferenceImplementation(name, true)) << name;
  }
  EXPECT_FALSE(IsReferenceImplementation("gemm:jit", false));
  EXPECT_EQ(IsReferenceImplementation("gemm:jit", true), HasVnni());
}

enum class Arithmetic { kFloat, kInt8, kDynamic };

struct Case {
  const char* name;
  SingleNode node;
};

graph::TensorType Codes() {
  return {.dtype = DataType::kUint8, .quant = testing::PerTensor(0.05f, 3)};
}

Operand Input(RandomOperands& random, const Shape& shape, Arithmetic arithmetic, bool zero_point) {
  if (arithmetic == Arithmetic::kInt8) return random.Activation(shape, true, zero_point);
  return {.tensor = random.Floats(shape, -1, 1)};
}

Operand Weights(RandomOperands& random, const Shape& shape, int axis, Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::kFloat) {
    return {.tensor = random.Floats(shape, -1, 1), .constant = true};
  }
  return random.Weights(shape, axis);
}

SingleNode Conv(Arithmetic arithmetic, const Shape& input, const Shape& weights, int64_t groups,
                int64_t stride, const std::vector<graph::FusedOp>& fused) {
  RandomOperands random(1);
  SingleNode node{.op = "Conv",
                  .attributes = {{"group", groups},
                                 {"strides", std::vector<int64_t>(2, stride)},
                                 {"pads", std::vector<int64_t>(4, weights[2] / 2)}},
                  .fused = fused};
  node.inputs = {Input(random, input, arithmetic, true), Weights(random, weights, 0, arithmetic),
                 Operand{.tensor = random.Floats({weights[0]}, -1, 1), .constant = true}};
  if (arithmetic == Arithmetic::kInt8) node.output = Codes();
  if (fused.size() == 2) {  // a residual addition, then Relu
    const Shape output = {input[0], weights[0], input[2] / stride, input[3] / stride};
    node.inputs.push_back(arithmetic == Arithmetic::kInt8
                              ? random.Activation(output, true, false)
                              : Operand{.tensor = random.Floats(output, -1, 1)});
  }
  return node;
}

SingleNode MatMul(Arithmetic arithmetic, const Shape& left, const Shape& right,
                  const std::vector<graph::FusedOp>& fused) {
  RandomOperands random(1);
  SingleNode node{.op = "MatMul", .fused = fused};
  node.inputs = {Input(random, left, arithmetic, true), Weights(random, right, 1, arithmetic),
                 Operand{.tensor = random.Floats({right[1]}, -1, 1), .constant = true}};
  if (arithmetic == Arithmetic::kInt8) node.output = Codes();
  return node;
}

std::vector<Case> WithWeights(Arithmetic arithmetic) {
  const graph::FusedOp relu{.op = "Relu"};
  const graph::FusedOp clip{.op = "Clip", .alpha = 0, .beta = 6};
  const graph::FusedOp add{.op = "Add", .input = 3};
  const graph::FusedOp gelu{.op = "Gelu"};
  return {
      {"first convolution", Conv(arithmetic, {1, 3, 64, 64}, {32, 3, 3, 3}, 1, 2, {relu})},
      {"7x7 first convolution", Conv(arithmetic, {1, 3, 64, 64}, {64, 3, 7, 7}, 1, 2, {relu})},
      {"3x3", Conv(arithmetic, {1, 64, 28, 28}, {64, 64, 3, 3}, 1, 1, {relu})},
      {"3x3 of two images", Conv(arithmetic, {2, 64, 28, 28}, {64, 64, 3, 3}, 1, 1, {relu})},
      {"1x1", Conv(arithmetic, {1, 24, 28, 28}, {96, 24, 1, 1}, 1, 1, {clip})},
      {"1x1 and residual", Conv(arithmetic, {1, 96, 28, 28}, {24, 96, 1, 1}, 1, 1, {add, relu})},
      {"depthwise", Conv(arithmetic, {1, 96, 28, 28}, {96, 1, 3, 3}, 96, 1, {clip})},
      {"5x5 depthwise", Conv(arithmetic, {1, 96, 28, 28}, {96, 1, 5, 5}, 96, 2, {clip})},
      {"grouped", Conv(arithmetic, {1, 64, 28, 28}, {64, 16, 3, 3}, 4, 1, {relu})},
      {"matmul", MatMul(arithmetic, {1, 128, 384}, {384, 1536}, {gelu})},
      {"matmul of a batch", MatMul(arithmetic, {8, 128, 384}, {384, 384}, {})},
      {"matmul of one row", MatMul(arithmetic, {1, 512}, {512, 1000}, {})},
      {"matmul of odd sizes", MatMul(arithmetic, {5, 37}, {37, 11}, {relu})},
  };
}

void ExpectFast(const Case& test) {
  SCOPED_TRACE(test.name);
  const auto program = testing::LowerSingle(test.node);
  ASSERT_TRUE(program.ok()) << program.status();
  ASSERT_FALSE(program->steps.empty());
  for (const Step& step : program->steps) {
    EXPECT_FALSE(IsReferenceImplementation(step))
        << step.op << ": " << step.kernel->implementation();
    EXPECT_NE(step.kernel->implementation(), "octet:plain") << step.op;
  }
}

TEST(DispatchGate, FloatLayersAreFast) {
  for (const Case& test : WithWeights(Arithmetic::kFloat)) ExpectFast(test);
}

TEST(DispatchGate, Int8LayersAreFast) {
  for (const Case& test : WithWeights(Arithmetic::kInt8)) ExpectFast(test);
}

TEST(DispatchGate, LayersThatQuantizeAtRunTimeAreFast) {
  for (const Case& test : WithWeights(Arithmetic::kDynamic)) ExpectFast(test);
}

TEST(DispatchGate, PoolingIsFast) {
  for (const Arithmetic arithmetic : {Arithmetic::kFloat, Arithmetic::kInt8}) {
    for (const char* op : {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}) {
      RandomOperands random(1);
      SingleNode node{.op = op};
      if (std::string(op).rfind("Global", 0) != 0) {
        node.attributes = {{"kernel_shape", std::vector<int64_t>(2, 3)},
                           {"strides", std::vector<int64_t>(2, 2)},
                           {"pads", std::vector<int64_t>(4, 1)}};
      }
      node.inputs = {Input(random, {1, 64, 28, 28}, arithmetic, true)};
      if (arithmetic == Arithmetic::kInt8) {
        node.output = {.dtype = DataType::kUint8, .quant = node.inputs[0]->quant};
      }
      ExpectFast({op, node});
    }
  }
}

TEST(DispatchGate, NormalizationsAreFast) {
  RandomOperands random(1);
  const auto floats = [&](const Shape& shape) {
    return Operand{.tensor = random.Floats(shape, 0, 1)};
  };
  ExpectFast({"softmax", {.op = "Softmax", .inputs = {floats({1, 12, 128, 128})}}});
  ExpectFast({"softmax of channels",
              {.op = "Softmax",
               .inputs = {floats({1, 21, 64, 64})},
               .attributes = {{"axis", int64_t{1}}}}});
  ExpectFast({"layer normalization",
              {.op = "LayerNormalization",
               .inputs = {floats({1, 128, 384}), floats({384}), floats({384})}}});
  ExpectFast({"batch normalization",
              {.op = "BatchNormalization",
               .inputs = {floats({1, 64, 28, 28}), floats({64}), floats({64}), floats({64}),
                          floats({64})}}});
  ExpectFast(
      {"transposed convolution",
       {.op = "ConvTranspose",
        .inputs = {floats({1, 64, 16, 16}),
                   Operand{.tensor = random.Floats({64, 32, 4, 4}, -1, 1), .constant = true}},
        .attributes = {{"strides", std::vector<int64_t>(2, 2)},
                       {"pads", std::vector<int64_t>(4, 1)}}}});
}

TEST(DispatchGate, AttentionIsFast) {
  RandomOperands random(1);
  SingleNode scores{.op = "MatMul"};
  scores.inputs = {Operand{.tensor = random.Floats({1, 12, 128, 32}, -1, 1)},
                   Operand{.tensor = random.Floats({1, 128, 12, 32}, -1, 1)}};
  scores.transposed_input = 1;
  scores.permutation = {0, 2, 3, 1};
  ExpectFast({"scores", scores});
  SingleNode codes{.op = "MatMul"};
  codes.inputs = {random.Activation({1, 12, 128, 128}, true, false),
                  random.Activation({1, 12, 128, 32}, false, false)};
  ExpectFast({"values in int8", codes});
}

}  // namespace
}  // namespace octet::kernels
