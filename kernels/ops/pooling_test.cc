#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/int8_oracle.h"
#include "tests/support/single_node.h"

namespace octet::kernels {
namespace {

using testing::SingleNode;

constexpr int64_t kBatch = 2, kHeight = 9, kWidth = 7;

// The mean or maximum of the real numbers, in the quantizer of the input.
struct PoolingForm {
  int64_t kernel = 0, pad = 0;
  bool maximum = false, include_padding = false;
};

double Pooled(const SingleNode& node, int64_t plane, int64_t top, int64_t left,
              const PoolingForm& form) {
  const auto [kernel, pad, maximum, include_padding] = form;
  const testing::Operand& input = *node.inputs[0];
  double sum = 0, best = -1e9, count = 0;
  for (int64_t y = top; y < top + kernel; ++y) {
    for (int64_t x = left; x < left + kernel; ++x) {
      const bool inside = y >= 0 && x >= 0 && y < kHeight && x < kWidth;
      const bool padded = y < kHeight + pad && x < kWidth + pad;
      count += inside || (include_padding && padded);
      if (!inside) continue;
      const double value = RealOf(input, (plane * kHeight + y) * kWidth + x);
      sum += value;
      best = std::max(best, value);
    }
  }
  return maximum ? best : sum / count;
}

TEST(Pooling, OfCodesKeepsTheQuantizer) {
  for (unsigned seed = 0; seed < 32; ++seed) {
    RandomOperands random(seed);
    const int64_t channels = random.Integer(1, 40);
    const int64_t kernel = random.Integer(2, 3), stride = random.Integer(1, 2);
    const int64_t pad = random.Integer(0, 1);
    const bool maximum = random.Coin(), include = random.Coin(), up = random.Coin();
    SingleNode node{.op = maximum ? "MaxPool" : "AveragePool",
                    .attributes = {{"kernel_shape", std::vector<int64_t>(2, kernel)},
                                   {"strides", std::vector<int64_t>(2, stride)},
                                   {"pads", std::vector<int64_t>(4, pad)},
                                   {"ceil_mode", int64_t{up}},
                                   {"count_include_pad", int64_t{include}}}};
    if (maximum) node.attributes.erase("count_include_pad");
    node.inputs = {
        random.Activation({kBatch, channels, kHeight, kWidth}, random.Coin(), random.Coin())};
    node.output = {.dtype = node.inputs[0]->tensor.dtype(), .quant = node.inputs[0]->quant};
    SCOPED_TRACE(::testing::Message() << "seed " << seed << " " << node.op << " kernel " << kernel);
    const auto actual = testing::RunSingle(node);
    ASSERT_TRUE(actual.ok()) << actual.status();
    std::vector<double> expected;
    for (int64_t plane = 0; plane < kBatch * channels; ++plane) {
      for (int64_t y = 0; y < actual->shape()[2]; ++y) {
        for (int64_t x = 0; x < actual->shape()[3]; ++x) {
          expected.push_back(Pooled(node, plane, y * stride - pad, x * stride - pad,
                                    {kernel, pad, maximum, include}));
        }
      }
    }
    ASSERT_EQ(actual->size(), static_cast<int64_t>(expected.size()));
    for (int64_t i = 0; i < actual->size(); ++i) {
      // A mean halfway between two codes may go to either.
      const auto& quant = *node.output.quant;
      ASSERT_NEAR(quant.scales[0] * static_cast<double>(Code(*actual, i) - quant.zero_points[0]),
                  expected[static_cast<size_t>(i)], 0.501 * quant.scales[0]);
    }
  }
}

TEST(Pooling, RefusesAnotherQuantizerForTheResult) {
  RandomOperands random(1);
  SingleNode node{.op = "GlobalAveragePool"};
  node.inputs = {random.Activation({1, 4, 5, 5}, true, false)};
  node.output = {.dtype = DataType::kUint8, .quant = testing::PerTensor(1, 0)};
  EXPECT_EQ(testing::RunSingle(node).status().code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace octet::kernels
