#include "kernels/convolution.h"

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
  int64_t batch, groups, group_inputs, group_outputs;
  int64_t height, width, kernel, stride, dilation, pad;

  int64_t inputs() const { return groups * group_inputs; }
  int64_t outputs() const { return groups * group_outputs; }
  int64_t Out(int64_t in) const {
    return (in + 2 * pad - (kernel - 1) * dilation - 1) / stride + 1;
  }
  Shape InputShape() const { return {batch, inputs(), height, width}; }
  Shape WeightShape() const { return {outputs(), group_inputs, kernel, kernel}; }
  Shape OutputShape() const { return {batch, outputs(), Out(height), Out(width)}; }
};

Sizes RandomSizes(RandomOperands& random) {
  Sizes sizes{.batch = random.Integer(1, 3),
              .groups = 1,
              .group_inputs = random.Integer(1, 21),
              .group_outputs = random.Integer(1, 37),
              .height = random.Integer(5, 14),
              .width = random.Integer(5, 14),
              .kernel = random.Integer(1, 3),
              .stride = random.Integer(1, 2),
              .dilation = random.Integer(1, 2),
              .pad = random.Integer(0, 1)};
  switch (random.Integer(0, 3)) {
    case 0:  // depthwise
      sizes.groups = random.Integer(2, 35);
      sizes.group_inputs = sizes.group_outputs = 1;
      break;
    case 1:
      sizes.groups = random.Integer(2, 3);
      break;
    default:
      break;
  }
  if (sizes.kernel == 1) sizes.dilation = 1;
  return sizes;
}

SingleNode ConvNode(const Sizes& sizes) {
  return {.op = "Conv",
          .attributes = {{"group", sizes.groups},
                         {"strides", std::vector<int64_t>(2, sizes.stride)},
                         {"dilations", std::vector<int64_t>(2, sizes.dilation)},
                         {"pads", std::vector<int64_t>(4, sizes.pad)}}};
}

// The sum over one window, of integers where the input is quantized: exact. `source` gives an input
// element less the zero point; padding counts as zero.
struct Place {
  int64_t n = 0, o = 0, y = 0, x = 0;  // of an output element
};

template <typename Source>
double WindowSum(const Sizes& sizes, const Tensor& weights, const Place& place,
                 const Source& source) {
  const auto [n, o, y, x] = place;
  double sum = 0;
  for (int64_t c = 0; c < sizes.group_inputs; ++c) {
    const int64_t channel = o / sizes.group_outputs * sizes.group_inputs + c;
    for (int64_t ky = 0; ky < sizes.kernel; ++ky) {
      for (int64_t kx = 0; kx < sizes.kernel; ++kx) {
        const int64_t iy = y * sizes.stride - sizes.pad + ky * sizes.dilation;
        const int64_t ix = x * sizes.stride - sizes.pad + kx * sizes.dilation;
        if (iy < 0 || ix < 0 || iy >= sizes.height || ix >= sizes.width) continue;
        const int64_t w = ((o * sizes.group_inputs + c) * sizes.kernel + ky) * sizes.kernel + kx;
        const double weight = weights.dtype() == DataType::kInt8
                                  ? static_cast<double>(Code(weights, w))
                                  : weights.As<float>()[static_cast<size_t>(w)];
        sum += weight *
               source(((n * sizes.inputs() + channel) * sizes.height + iy) * sizes.width + ix);
      }
    }
  }
  return sum;
}

// An element of an input that may be absent.
double RealOrZero(const SingleNode& node, size_t input, int64_t at) {
  return node.inputs.size() > input && node.inputs[input] ? RealOf(*node.inputs[input], at) : 0.0;
}

// The whole layer. `scale` is that of the input elements that `source` gives.
template <typename Source>
std::vector<double> Expected(const SingleNode& node, const Sizes& sizes, const Source& source,
                             double scale) {
  const Operand& weights = *node.inputs[1];
  std::vector<double> result;
  for (int64_t n = 0; n < sizes.batch; ++n) {
    for (int64_t o = 0; o < sizes.outputs(); ++o) {
      const double weight_scale =
          !weights.quant ? 1 : weights.quant->scales[weights.quant->axis ? o : 0];
      const double bias = RealOrZero(node, 2, o);
      for (int64_t y = 0; y < sizes.Out(sizes.height); ++y) {
        for (int64_t x = 0; x < sizes.Out(sizes.width); ++x) {
          const double sum = WindowSum(sizes, weights.tensor, {n, o, y, x}, source);
          const auto at = static_cast<int64_t>(result.size());
          const double residual = RealOrZero(node, 3, at);
          result.push_back(Chain(node.fused, sum * scale * weight_scale + bias, residual));
        }
      }
    }
  }
  return result;
}

// Relu, Clip or a residual addition, at random; and the result's type.
void AddChainAndOutput(RandomOperands& random, const Sizes& sizes, bool may_be_float,
                       SingleNode& node) {
  node.output.dtype = random.Coin() ? DataType::kUint8 : DataType::kInt8;
  node.output.quant = testing::PerTensor(
      random.Real(0.02f, 0.05f), random.Coin() ? 0 : static_cast<int>(random.Integer(1, 60)));
  if (may_be_float && random.Integer(0, 3) == 0) node.output = {};
  if (random.Coin()) {
    node.inputs.resize(3);
    node.inputs[2] = Operand{.tensor = random.Floats({sizes.outputs()}, -1, 1), .constant = true};
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
                           ? random.Activation(sizes.OutputShape(), random.Coin(), random.Coin())
                           : Operand{.tensor = random.Floats(sizes.OutputShape(), -2, 2)};
      node.fused = {{.op = "Add", .input = 3}, {.op = "Relu"}};
      break;
    default:
      break;
  }
}

TEST(Convolution, Int8IsExact) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    RandomOperands random(seed);
    const Sizes sizes = RandomSizes(random);
    SingleNode node = ConvNode(sizes);
    // Without VNNI a signed input is halved by oneDNN: codes of full range are not exact then.
    const bool is_unsigned = !HasVnni() || random.Integer(0, 3) > 0;
    node.inputs = {
        random.Activation(sizes.InputShape(), is_unsigned, random.Coin()),
        random.Weights(sizes.WeightShape(), random.Coin() ? std::optional<int>(0) : std::nullopt)};
    AddChainAndOutput(random, sizes, true, node);
    SCOPED_TRACE(::testing::Message() << "seed " << seed << ": input " << ToText(sizes.InputShape())
                                      << ", weights " << ToText(sizes.WeightShape()));
    const auto actual = testing::RunSingle(node);
    ASSERT_TRUE(actual.ok()) << actual.status();
    const Operand& input = *node.inputs[0];
    const int64_t zero_point = input.quant->zero_points[0];
    ExpectExact(
        *actual,
        Expected(
            node, sizes,
            [&](int64_t i) { return static_cast<double>(Code(input.tensor, i) - zero_point); },
            input.quant->scales[0]),
        node.output);
  }
}

// Every image has a scale of its own, a power of two, and the extremes of its range, so that its
// quantization at run time is exact.
Tensor ExactImages(RandomOperands& random, const Shape& shape) {
  Tensor images = *Tensor::Allocate(DataType::kFloat32, shape);
  const int64_t elements = ElementCount(shape) / shape[0];
  for (int64_t n = 0; n < shape[0]; ++n) {
    const float scale = std::ldexp(1.0f, static_cast<int>(random.Integer(-8, 2)));
    const auto zero = random.Integer(0, 255);
    const auto image = images.MutableAs<float>().subspan(n * elements, elements);
    for (float& x : image) x = scale * static_cast<float>(random.Integer(0, 255) - zero);
    image.front() = scale * static_cast<float>(0 - zero);
    image.back() = scale * static_cast<float>(255 - zero);
  }
  return images;
}

TEST(Convolution, ImagesQuantizedAtRunTimeAreExact) {
  for (unsigned seed = 100; seed < 125; ++seed) {
    RandomOperands random(seed);
    const Sizes sizes = RandomSizes(random);
    SingleNode node = ConvNode(sizes);
    node.inputs = {Operand{.tensor = ExactImages(random, sizes.InputShape())},
                   random.Weights(sizes.WeightShape(), 0)};
    AddChainAndOutput(random, sizes, true, node);
    if (random.Coin()) node.output = {};
    if (node.inputs.size() > 3 && !node.output.quant) {
      node.inputs[3] = Operand{.tensor = random.Floats(sizes.OutputShape(), -2, 2)};
    }
    SCOPED_TRACE(::testing::Message() << "seed " << seed << ": input " << ToText(sizes.InputShape())
                                      << ", weights " << ToText(sizes.WeightShape()));
    const auto actual = testing::RunSingle(node);
    ASSERT_TRUE(actual.ok()) << actual.status();
    const auto floats = node.inputs[0]->tensor.As<float>();
    ExpectExact(
        *actual,
        Expected(
            node, sizes, [&](int64_t i) { return double{floats[static_cast<size_t>(i)]}; }, 1),
        node.output);
  }
}

TEST(Convolution, AnImageIsQuantizedByItself) {
  RandomOperands random(7);
  const Sizes sizes{.batch = 3,
                    .groups = 1,
                    .group_inputs = 5,
                    .group_outputs = 8,
                    .height = 6,
                    .width = 6,
                    .kernel = 3,
                    .stride = 1,
                    .dilation = 1,
                    .pad = 1};
  SingleNode node = ConvNode(sizes);
  Tensor images = random.Floats(sizes.InputShape(), -1, 1);
  node.inputs = {Operand{.tensor = images}, random.Weights(sizes.WeightShape(), 0)};
  const Tensor before = *testing::RunSingle(node);
  Tensor changed = *Tensor::Allocate(DataType::kFloat32, sizes.InputShape());
  const auto from = images.As<float>();
  std::copy(from.begin(), from.end(), changed.MutableAs<float>().begin());
  const size_t image = from.size() / 3;
  for (float& x : changed.MutableAs<float>().subspan(image, image)) x *= 1000;  // the second one
  node.inputs[0] = Operand{.tensor = changed};
  const Tensor after = *testing::RunSingle(node);
  const auto a = before.As<float>(), b = after.As<float>();
  const size_t result = a.size() / 3;
  for (const size_t first : {size_t{0}, 2 * result}) {
    EXPECT_TRUE(std::equal(a.begin() + first, a.begin() + first + result, b.begin() + first));
  }
  EXPECT_FALSE(std::equal(a.begin() + result, a.begin() + 2 * result, b.begin() + result));
}

TEST(Convolution, FloatAgreesWithTheDefinition) {
  for (unsigned seed = 200; seed < 220; ++seed) {
    RandomOperands random(seed);
    const Sizes sizes = RandomSizes(random);
    SingleNode node = ConvNode(sizes);
    node.inputs = {
        Operand{.tensor = random.Floats(sizes.InputShape(), -1, 1)},
        // Weights may also come with the request.
        Operand{.tensor = random.Floats(sizes.WeightShape(), -1, 1), .constant = random.Coin()}};
    AddChainAndOutput(random, sizes, true, node);
    node.output = {};
    if (node.inputs.size() > 3) {
      node.inputs[3] = Operand{.tensor = random.Floats(sizes.OutputShape(), -2, 2)};
    }
    SCOPED_TRACE(::testing::Message() << "seed " << seed << ": input " << ToText(sizes.InputShape())
                                      << ", weights " << ToText(sizes.WeightShape()));
    const auto actual = testing::RunSingle(node);
    ASSERT_TRUE(actual.ok()) << actual.status();
    const auto floats = node.inputs[0]->tensor.As<float>();
    ExpectExact(
        *actual,
        Expected(
            node, sizes, [&](int64_t i) { return double{floats[static_cast<size_t>(i)]}; }, 1),
        node.output);
  }
}

TEST(Convolution, RefusesWeightsWithZeroPoints) {
  RandomOperands random(1);
  SingleNode node{.op = "Conv"};
  node.inputs = {random.Activation({1, 4, 5, 5}, true, false), random.Weights({8, 4, 3, 3}, 0)};
  node.inputs[1]->quant->zero_points[3] = 1;
  EXPECT_EQ(testing::RunSingle(node).status().code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace octet::kernels
