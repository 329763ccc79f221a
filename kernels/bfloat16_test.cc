// Layers with bfloat16 weights. The oracle is the same computation in float32 on operands that are
// rounded to bfloat16: products of two of them are exact in float32, so only sums round.

#include <algorithm>
#include <cmath>
#include <vector>

#include "graph/infer.h"
#include "gtest/gtest.h"
#include "kernels/dispatch_gate.h"
#include "kernels/lowering.h"
#include "kernels/operator.h"
#include "tests/support/int8_oracle.h"
#include "tests/support/program_executor.h"
#include "tests/support/single_node.h"

namespace octet::kernels {
namespace {

using graph::ValueId;
using testing::Operand;
using testing::SingleNode;

#define SKIP_WITHOUT_BFLOAT16() \
  if (!HasBFloat16()) GTEST_SKIP() << "this CPU has no bfloat16 products: " << InstructionSet()

Tensor Rounded(const Tensor& tensor) {
  std::vector<float> values;
  for (const float x : tensor.As<float>()) values.push_back(BFloat16ToFloat(FloatToBFloat16(x)));
  return Tensor::Of<float>(tensor.shape(), values);
}

Tensor ToBFloat16(const Tensor& tensor) {
  Tensor result = *Tensor::Allocate(DataType::kBFloat16, tensor.shape());
  const auto from = tensor.As<float>();
  std::transform(from.begin(), from.end(), result.MutableAs<uint16_t>().begin(), FloatToBFloat16);
  return result;
}

void ExpectNear(const Tensor& actual, const Tensor& expected, double tolerance) {
  ASSERT_EQ(actual.shape(), expected.shape());
  double largest = 0;
  for (const float y : expected.As<float>()) largest = std::max(largest, double{std::abs(y)});
  for (size_t i = 0; i < expected.As<float>().size(); ++i) {
    ASSERT_NEAR(actual.As<float>()[i], expected.As<float>()[i], tolerance * largest + 1e-6)
        << "at " << i;
  }
}

// Runs `node`, whose operands are float32, with bfloat16 weights, and compares.
void Check(SingleNode node) {
  SingleNode exact = node;
  for (const int i : {0, 1}) exact.inputs[i]->tensor = Rounded(node.inputs[i]->tensor);
  const auto expected = testing::RunSingle(exact);
  ASSERT_TRUE(expected.ok()) << expected.status();
  node.inputs[1]->tensor = ToBFloat16(node.inputs[1]->tensor);
  const auto program = testing::LowerSingle(node);
  ASSERT_TRUE(program.ok()) << program.status();
  for (const Step& step : program->steps) {
    EXPECT_FALSE(IsReferenceImplementation(step)) << step.op << step.kernel->implementation();
    EXPECT_EQ(step.bfloat16, step.macs > 0) << step.op;
  }
  const auto actual = testing::RunSingle(node);
  ASSERT_TRUE(actual.ok()) << actual.status();
  ExpectNear(*actual, *expected, 1e-5);
}

void AddBiasAndChain(RandomOperands& random, const Shape& output, int64_t channels,
                     SingleNode& node) {
  node.inputs.resize(4);
  if (random.Coin()) {
    node.inputs[2] = Operand{.tensor = random.Floats({channels}, -1, 1), .constant = true};
  }
  switch (random.Integer(0, 3)) {
    case 0:
      node.fused = {{.op = "Relu"}};
      break;
    case 1:
      node.fused = {{.op = "Gelu"}};
      break;
    case 2:
      node.inputs[3] = Operand{.tensor = random.Floats(output, -2, 2)};
      node.fused = {{.op = "Add", .input = 3}, {.op = "Relu"}};
      break;
    default:
      break;
  }
  while (!node.inputs.back()) node.inputs.pop_back();
}

SingleNode RandomConvolution(RandomOperands& random) {
  const int kind = static_cast<int>(random.Integer(0, 3));
  const int64_t groups = kind == 0 ? random.Integer(2, 40) : kind == 1 ? 2 : 1;
  const int64_t from = kind == 0 ? 1 : random.Integer(1, 40);
  const int64_t to = kind == 0 ? 1 : random.Integer(1, 40);
  const int64_t kernel = random.Integer(1, 3), stride = random.Integer(1, 2);
  const int64_t batch = random.Integer(1, 3), size = random.Integer(5, 14), pad = kernel / 2;
  const int64_t out = (size + 2 * pad - kernel) / stride + 1;
  SingleNode node{.op = "Conv",
                  .attributes = {{"group", groups},
                                 {"strides", std::vector<int64_t>(2, stride)},
                                 {"pads", std::vector<int64_t>(4, pad)}}};
  node.inputs = {Operand{.tensor = random.Floats({batch, groups * from, size, size}, -2, 2)},
                 Operand{.tensor = random.Floats({groups * to, from, kernel, kernel}, -1, 1),
                         .constant = true}};
  AddBiasAndChain(random, {batch, groups * to, out, out}, groups * to, node);
  return node;
}

TEST(BFloat16, ConvolutionsAreFloat32OnRoundedOperands) {
  SKIP_WITHOUT_BFLOAT16();
  for (unsigned seed = 0; seed < 40; ++seed) {
    RandomOperands random(seed);
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Check(RandomConvolution(random));
  }
}

TEST(BFloat16, ProductsAreFloat32OnRoundedOperands) {
  SKIP_WITHOUT_BFLOAT16();
  for (unsigned seed = 0; seed < 40; ++seed) {
    RandomOperands random(seed);
    const int64_t depth = random.Integer(2, 90), columns = random.Integer(1, 70);
    const bool gemm = random.Coin();
    const Shape rows = gemm ? Shape{random.Integer(1, 40)} : Shape{2, random.Integer(1, 20)};
    Shape left = rows, output = rows;
    left.push_back(depth);
    output.push_back(columns);
    SingleNode node{.op = gemm ? "Gemm" : "MatMul"};
    if (gemm) node.attributes["transB"] = int64_t{1};
    const Shape weights = gemm ? Shape{columns, depth} : Shape{depth, columns};
    node.inputs = {Operand{.tensor = random.Floats(left, -2, 2)},
                   Operand{.tensor = random.Floats(weights, -1, 1), .constant = true}};
    AddBiasAndChain(random, output, columns, node);
    SCOPED_TRACE(::testing::Message() << "seed " << seed << " " << node.op);
    Check(std::move(node));
  }
}

// A convolution whose result a second one reads, which also adds it to its own.
TEST(BFloat16, ValuesBetweenConvolutionsAreKeptInBFloat16) {
  SKIP_WITHOUT_BFLOAT16();
  RandomOperands random(5);
  const Shape image = {2, 32, 9, 9}, kernel = {32, 32, 3, 3};
  const std::vector<int64_t> pads(4, 1);
  const Tensor x = random.Floats(image, -1, 1);
  const Tensor first = random.Floats(kernel, -0.1f, 0.1f),
               second = random.Floats(kernel, -0.1f, 0.1f);

  graph::Graph graph(Registry());
  const ValueId input = graph.AddInput({}, "x", {.shape = image});
  const ValueId middle = graph.Apply(
      "Conv", "first", {input, graph.AddConstant("w1", ToBFloat16(first))}, {{"pads", pads}}, {});
  const ValueId last = graph.AddValue("y");
  graph.AddNode(
      {.op = "Conv",
       .name = "second",
       .inputs = {middle, graph.AddConstant("w2", ToBFloat16(second)), graph::kNoValue, middle},
       .outputs = {last},
       .attributes = {{"pads", pads}},
       .fused = {{.op = "Add", .input = 3}}});
  graph.AddOutput(last, "y", DataType::kFloat32);
  const auto concrete = graph::Specialize(graph, std::vector<Shape>{image});
  ASSERT_TRUE(concrete.ok()) << concrete.status();
  WeightCache weights;
  const auto program = LowerGraph(*concrete, weights);
  ASSERT_TRUE(program.ok()) << program.status();
  int reorders = 0;
  for (const Step& step : program->steps) reorders += step.op == "Reorder";
  EXPECT_EQ(reorders, 2);                                   // the input and the output
  EXPECT_EQ(weights.bytes(), size_t{2} * 2 * 32 * 32 * 9);  // two bytes for each weight

  SingleNode node{.op = "Conv", .attributes = {{"pads", pads}}};
  node.inputs = {Operand{.tensor = Rounded(x)},
                 Operand{.tensor = Rounded(first), .constant = true}};
  const Tensor between = Rounded(*testing::RunSingle(node));
  node.inputs = {Operand{.tensor = between}, Operand{.tensor = Rounded(second), .constant = true},
                 std::nullopt, Operand{.tensor = between}};
  node.fused = {{.op = "Add", .input = 3}};
  const auto outputs = testing::RunProgram(*program, {x});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  // A sum next to the middle between two bfloat16 values may round to either.
  ExpectNear(outputs->at(0), *testing::RunSingle(node), 1e-3);
}

TEST(BFloat16, FollowsTheInstructionSet) {
  const std::string isa = InstructionSet();
  if (isa == "sse41" || isa == "avx2" || isa == "avx2_vnni" || isa == "avx512_core" ||
      isa == "avx512_core_vnni") {
    EXPECT_FALSE(HasBFloat16()) << isa;
  } else if (isa == "avx512_core_bf16" || isa == "avx512_core_amx") {
    EXPECT_TRUE(HasBFloat16()) << isa;
  }
}

TEST(BFloat16, RefusesWeightsThatAreNoConstant) {
  RandomOperands random(1);
  SingleNode node{.op = "MatMul"};
  node.inputs = {Operand{.tensor = random.Floats({4, 32}, -1, 1)},
                 Operand{.tensor = ToBFloat16(random.Floats({32, 8}, -1, 1))}};
  EXPECT_EQ(testing::LowerSingle(node).status().code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace octet::kernels
