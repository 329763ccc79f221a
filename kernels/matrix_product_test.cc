#include "kernels/matrix_product.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/int8_oracle.h"
#include "tests/support/single_node.h"

namespace octet::kernels {
namespace {

using testing::Operand;
using testing::SingleNode;

struct Sizes {
  int64_t rows, depth, columns;
};

Sizes RandomSizes(RandomOperands& random) {
  return {.rows = random.Integer(0, 4) == 0 ? 1 : random.Integer(2, 40),
          .depth = random.Integer(2, 90),
          .columns = random.Integer(1, 70)};
}

// rows x columns from left(m, k) and right(k, n), exact for integers.
template <typename Left, typename Right>
std::vector<double> Product(const Sizes& sizes, const Left& left, const Right& right) {
  std::vector<double> result(static_cast<size_t>(sizes.rows * sizes.columns), 0);
  for (int64_t m = 0; m < sizes.rows; ++m) {
    for (int64_t k = 0; k < sizes.depth; ++k) {
      for (int64_t n = 0; n < sizes.columns; ++n) {
        result[static_cast<size_t>(m * sizes.columns + n)] += left(m, k) * right(k, n);
      }
    }
  }
  return result;
}

// A layer as models have it: MatMul with rows in two dimensions, or Gemm with transposed weights.
struct Layer {
  SingleNode node;
  Sizes sizes;
  bool gemm = false;
  double alpha = 1, beta = 1;
  Shape output;

  const Operand& weights() const { return *node.inputs[1]; }
  double Weight(int64_t k, int64_t n) const {
    return static_cast<double>(
        Code(weights().tensor, gemm ? n * sizes.depth + k : k * sizes.columns + n));
  }
  double WeightScale(int64_t n) const {
    return weights().quant->scales[weights().quant->axis ? static_cast<size_t>(n) : 0];
  }
};

Layer RandomLayer(RandomOperands& random) {
  Layer layer{.sizes = RandomSizes(random), .gemm = random.Coin()};
  const Sizes& sizes = layer.sizes;
  layer.node.op = layer.gemm ? "Gemm" : "MatMul";
  layer.node.inputs.resize(2);
  const int axis = layer.gemm ? 0 : 1;
  layer.node.inputs[1] = random.Weights(
      layer.gemm ? Shape{sizes.columns, sizes.depth} : Shape{sizes.depth, sizes.columns},
      random.Coin() ? std::optional<int>(axis) : std::nullopt);
  layer.output = {sizes.rows, sizes.columns};
  if (layer.gemm) {
    layer.node.attributes["transB"] = int64_t{1};
    if (random.Coin()) {
      layer.alpha = 0.5;
      layer.beta = 2;
      layer.node.attributes["alpha"] = 0.5f;
      layer.node.attributes["beta"] = 2.0f;
    }
  } else if (sizes.rows % 2 == 0) {
    layer.output = {2, sizes.rows / 2, sizes.columns};
  }
  return layer;
}

Shape LeftShape(const Layer& layer) {
  Shape shape = layer.output;
  shape.back() = layer.sizes.depth;
  return shape;
}

void AddBiasChainAndOutput(RandomOperands& random, Layer& layer) {
  SingleNode& node = layer.node;
  if (random.Integer(0, 3) > 0) {
    node.output = {.dtype = random.Coin() ? DataType::kUint8 : DataType::kInt8,
                   .quant = testing::PerTensor(random.Real(0.02f, 0.05f),
                                               static_cast<int>(random.Integer(0, 60)))};
  }
  if (random.Coin()) {
    node.inputs.resize(3);
    const bool whole = layer.gemm && random.Coin();
    node.inputs[2] =
        Operand{.tensor = random.Floats(whole ? layer.output : Shape{layer.sizes.columns}, -1, 1),
                .constant = random.Coin()};
  }
  switch (random.Integer(0, 3)) {
    case 0:
      node.fused = {{.op = "Relu"}};
      break;
    case 1:
      node.fused = {{.op = "Clip", .alpha = -0.5f, .beta = 2.5f}};
      break;
    case 2:
      node.inputs.resize(4);
      node.inputs[3] = node.output.quant
                           ? random.Activation(layer.output, random.Coin(), random.Coin())
                           : Operand{.tensor = random.Floats(layer.output, -2, 2)};
      node.fused = {{.op = "Add", .input = 3}, {.op = "Relu"}};
      break;
    default:
      break;
  }
}

// `sums` of integers times `scale`, then everything behind the product.
std::vector<double> Finish(const Layer& layer, std::vector<double> sums, double scale) {
  const auto& inputs = layer.node.inputs;
  for (int64_t i = 0; i < static_cast<int64_t>(sums.size()); ++i) {
    const int64_t n = i % layer.sizes.columns;
    double y = sums[static_cast<size_t>(i)] * scale * layer.WeightScale(n) * layer.alpha;
    if (inputs.size() > 2 && inputs[2]) {
      const bool whole = inputs[2]->tensor.shape().size() > 1;
      y += layer.beta * RealOf(*inputs[2], whole ? i : n);
    }
    const double residual = inputs.size() > 3 && inputs[3] ? RealOf(*inputs[3], i) : 0;
    sums[static_cast<size_t>(i)] = Chain(layer.node.fused, y, residual);
  }
  return sums;
}

void Check(const Layer& layer, const std::vector<double>& expected) {
  const auto actual = testing::RunSingle(layer.node);
  ASSERT_TRUE(actual.ok()) << actual.status();
  EXPECT_EQ(actual->shape(), layer.output);
  ExpectExact(*actual, expected, layer.node.output);
}

TEST(MatrixProduct, Int8IsExact) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    RandomOperands random(seed);
    Layer layer = RandomLayer(random);
    layer.node.inputs[0] = random.Activation(LeftShape(layer), random.Coin(), random.Coin());
    AddBiasChainAndOutput(random, layer);
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    const Operand& left = *layer.node.inputs[0];
    const int64_t zero_point = left.quant->zero_points[0];
    Check(layer, Finish(layer,
                        Product(
                            layer.sizes,
                            [&](int64_t m, int64_t k) {
                              return static_cast<double>(
                                  Code(left.tensor, m * layer.sizes.depth + k) - zero_point);
                            },
                            [&](int64_t k, int64_t n) { return layer.Weight(k, n); }),
                        left.quant->scales[0]));
  }
}

// Rows with a scale of their own, a power of two, and the extremes of their range, so that their
// quantization at run time is exact: codes from low to high around `zero`.
Tensor ExactRows(RandomOperands& random, const Shape& shape, bool symmetric) {
  Tensor tensor = *Tensor::Allocate(DataType::kFloat32, shape);
  const int64_t depth = shape.back();
  for (int64_t m = 0; m * depth < tensor.size(); ++m) {
    const float scale = std::ldexp(1.0f, static_cast<int>(random.Integer(-9, 3)));
    const int64_t low = symmetric ? -127 : -random.Integer(0, 255);
    const int64_t high = symmetric ? 127 : low + 255;
    const auto row = tensor.MutableAs<float>().subspan(m * depth, depth);
    for (float& x : row) x = scale * static_cast<float>(random.Integer(low, high));
    row.front() = scale * static_cast<float>(low);
    row.back() = scale * static_cast<float>(high);
  }
  return tensor;
}

std::vector<double> ExpectedOfFloats(const Layer& layer) {
  const auto left = layer.node.inputs[0]->tensor.As<float>();
  return Finish(layer,
                Product(
                    layer.sizes,
                    [&](int64_t m, int64_t k) {
                      return double{left[static_cast<size_t>(m * layer.sizes.depth + k)]};
                    },
                    [&](int64_t k, int64_t n) { return layer.Weight(k, n); }),
                1);
}

TEST(MatrixProduct, RowsQuantizedAtRunTimeAreExact) {
  for (unsigned seed = 100; seed < 140; ++seed) {
    RandomOperands random(seed);
    Layer layer = RandomLayer(random);
    layer.node.inputs[0] = Operand{.tensor = ExactRows(random, LeftShape(layer), false)};
    AddBiasChainAndOutput(random, layer);
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Check(layer, ExpectedOfFloats(layer));
  }
}

// Weights whose columns add up to more than a few further rows of weights could hold.
TEST(MatrixProduct, RowsAreQuantizedSymmetricallyWhereTheWeightsAreOneSided) {
  for (unsigned seed = 200; seed < 210; ++seed) {
    RandomOperands random(seed);
    Layer layer = RandomLayer(random);
    const int64_t largest = HasVnni() ? 127 : 63;
    layer.sizes.depth = 80;
    layer.gemm = false;
    layer.alpha = layer.beta = 1;
    layer.node.op = "MatMul";
    layer.node.attributes.clear();
    layer.node.inputs[1] =
        Operand{.tensor = random.Codes<int8_t>({80, layer.sizes.columns}, largest - 20, largest),
                .constant = true,
                .quant = testing::PerTensor(0.01f, 0)};
    layer.node.inputs[0] = Operand{.tensor = ExactRows(random, LeftShape(layer), true)};
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Check(layer, ExpectedOfFloats(layer));
  }
}

TEST(MatrixProduct, ARowIsQuantizedByItself) {
  RandomOperands random(3);
  Layer layer = RandomLayer(random);
  layer.sizes.rows = 4;
  layer.output = {4, layer.sizes.columns};
  Tensor left = random.Floats(LeftShape(layer), -1, 1);
  layer.node.inputs[0] = Operand{.tensor = left};
  const Tensor before = *testing::RunSingle(layer.node);
  std::vector<float> changed(left.As<float>().begin(), left.As<float>().end());
  for (int64_t k = 0; k < layer.sizes.depth; ++k) changed[layer.sizes.depth + k] *= 1000;
  layer.node.inputs[0] = Operand{.tensor = Tensor::Of<float>(left.shape(), changed)};
  const Tensor after = *testing::RunSingle(layer.node);
  const auto a = before.As<float>(), b = after.As<float>();
  for (int64_t i = 0; i < before.size(); ++i) {
    if (i / layer.sizes.columns == 1) continue;
    EXPECT_EQ(a[static_cast<size_t>(i)], b[static_cast<size_t>(i)]) << i;
  }
  EXPECT_FALSE(std::equal(a.begin(), a.end(), b.begin()));
}

// Attention: both operands are activations, the right one symmetric.
TEST(MatrixProduct, Int8BatchesAreExact) {
  RandomOperands random(11);
  const Sizes sizes{.rows = 13, .depth = 32, .columns = 13};
  SingleNode node{.op = "MatMul"};
  node.inputs = {random.Activation({2, 3, sizes.rows, sizes.depth}, true, true),
                 random.Activation({2, 3, sizes.depth, sizes.columns}, false, false)};
  if (!HasVnni()) node.inputs[1]->tensor = random.Codes<int8_t>({2, 3, 32, 13}, -63, 63);
  std::vector<double> expected;
  const double scale = double{node.inputs[0]->quant->scales[0]} * node.inputs[1]->quant->scales[0];
  for (int64_t b = 0; b < 6; ++b) {
    const auto part = Product(
        sizes,
        [&](int64_t m, int64_t k) {
          return static_cast<double>(
              Code(node.inputs[0]->tensor, (b * sizes.rows + m) * sizes.depth + k) -
              node.inputs[0]->quant->zero_points[0]);
        },
        [&](int64_t k, int64_t n) {
          return static_cast<double>(
              Code(node.inputs[1]->tensor, (b * sizes.depth + k) * sizes.columns + n));
        });
    for (const double sum : part) expected.push_back(sum * scale);
  }
  const auto actual = testing::RunSingle(node);
  ASSERT_TRUE(actual.ok()) << actual.status();
  ExpectExact(*actual, expected, node.output);
}

TEST(MatrixProduct, FloatLayersAgreeWithTheDefinition) {
  for (unsigned seed = 300; seed < 320; ++seed) {
    RandomOperands random(seed);
    Layer layer = RandomLayer(random);
    AddBiasChainAndOutput(random, layer);
    SingleNode& node = layer.node;
    node.output = {};
    node.inputs[0] = Operand{.tensor = random.Floats(LeftShape(layer), -1, 1)};
    node.inputs[1] = Operand{.tensor = random.Floats(node.inputs[1]->tensor.shape(), -1, 1),
                             .constant = random.Coin()};
    if (node.inputs.size() > 3) {
      node.inputs[3] = Operand{.tensor = random.Floats(layer.output, -2, 2)};
    }
    const auto left = node.inputs[0]->tensor.As<float>();
    const auto right = node.inputs[1]->tensor.As<float>();
    const std::vector<double> sums = Product(
        layer.sizes,
        [&](int64_t m, int64_t k) {
          return double{left[static_cast<size_t>(m * layer.sizes.depth + k)]};
        },
        [&](int64_t k, int64_t n) {
          return double{right[static_cast<size_t>(layer.gemm ? n * layer.sizes.depth + k
                                                             : k * layer.sizes.columns + n)]};
        });
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    // Finish() multiplies by the weights' scales: one.
    node.inputs[1]->quant = testing::PerTensor(1, 0);
    const std::vector<double> expected = Finish(layer, sums, 1);
    node.inputs[1]->quant.reset();
    Check(layer, expected);
  }
}

// Scores of attention: queries times transposed keys, both views of [batch, tokens, heads, size].
TEST(MatrixProduct, ReadsTransposedViewsWithoutACopy) {
  RandomOperands random(5);
  const int64_t tokens = 17, size = 24, heads = 4;
  SingleNode node{.op = "MatMul"};
  node.inputs = {Operand{.tensor = random.Floats({2, heads, tokens, size}, -1, 1)},
                 Operand{.tensor = random.Floats({2, tokens, heads, size}, -1, 1)}};
  node.transposed_input = 1;
  node.permutation = {0, 2, 3, 1};
  const auto program = testing::LowerSingle(node);
  ASSERT_TRUE(program.ok()) << program.status();
  EXPECT_EQ(program->steps.size(), 1u);
  const auto left = node.inputs[0]->tensor.As<float>(), right = node.inputs[1]->tensor.As<float>();
  std::vector<double> expected;
  for (int64_t b = 0; b < 2; ++b) {
    for (int64_t h = 0; h < heads; ++h) {
      const auto part = Product(
          {.rows = tokens, .depth = size, .columns = tokens},
          [&](int64_t m, int64_t k) {
            return double{left[static_cast<size_t>(((b * heads + h) * tokens + m) * size + k)]};
          },
          [&](int64_t k, int64_t n) {
            return double{right[static_cast<size_t>(((b * tokens + n) * heads + h) * size + k)]};
          });
      expected.insert(expected.end(), part.begin(), part.end());
    }
  }
  const auto actual = testing::RunSingle(node);
  ASSERT_TRUE(actual.ok()) << actual.status();
  ExpectExact(*actual, expected, node.output);
}

TEST(MatrixProduct, BatchDimensionsBroadcast) {
  const auto shape = ReadProductShape({}, {4, 1, 2, 3}, {5, 3, 7});
  ASSERT_TRUE(shape.ok());
  EXPECT_EQ(shape->output, (Shape{4, 5, 2, 7}));
  EXPECT_EQ(ReadProductShape({}, {2, 3}, {4, 5}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadProductShape({}, {2, 2, 3}, {3, 3, 5}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadProductShape({}, {}, {3}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(MatrixProduct, RefusesScalesAlongTheDimensionThatIsSummed) {
  RandomOperands random(1);
  SingleNode node{.op = "MatMul"};
  node.inputs = {random.Activation({4, 8}, true, false), random.Weights({8, 5}, 0)};
  EXPECT_EQ(testing::RunSingle(node).status().code(), absl::StatusCode::kUnimplemented);
  node.inputs[0] = Operand{.tensor = random.Floats({4, 8}, -1, 1)};
  EXPECT_EQ(testing::RunSingle(node).status().code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace octet::kernels
