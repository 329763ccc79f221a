#include "runtime/served_ranges.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/load.h"
#include "tests/support/npy_writer.h"
#include "tests/support/random_tensor.h"
#include "tests/support/temporary_directory.h"

namespace octet::runtime {
namespace {

constexpr char kDigits[] = OCTET_EXAMPLES "/models/digits/1/model.onnx";

LoadOptions Int8() {
  LoadOptions options;
  options.mode = Mode::kInt8;
  options.max_batch_size = 2;
  return options;
}

PreparedModel Prepared(const LoadOptions& options) {
  absl::StatusOr<PreparedModel> model = PrepareModel(kDigits, options);
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

TEST(ServedRanges, AreThoseOfStaticLayers) {
  testing::TemporaryDirectory folder;
  folder.Write("samples.npy", testing::Npy(testing::RandomFloats({12, 1, 8, 8}, 1), "<f4"));
  LoadOptions options = Int8();
  options.calibration_path = (folder.path() / "samples.npy").string();
  const PreparedModel model = Prepared(options);
  const ServedRanges served = RangesOf(model.graph, {});
  ASSERT_GE(served.ranges.size(), 2u);
  for (const ServedRange& range : served.ranges) {
    EXPECT_LE(range.low, 0) << range.layer;
    EXPECT_GT(range.high, 0) << range.layer;
  }
  options.dynamic = true;
  EXPECT_TRUE(RangesOf(Prepared(options).graph, {}).ranges.empty());
}

TEST(ServedRanges, FloatShowsTheirValues) {
  testing::TemporaryDirectory folder;
  folder.Write("samples.npy", testing::Npy(testing::RandomFloats({12, 1, 8, 8}, 1), "<f4"));
  LoadOptions options = Int8();
  options.calibration_path = (folder.path() / "samples.npy").string();
  const auto served = LoadModel(kDigits, options);
  ASSERT_TRUE(served.ok()) << served.status();
  ASSERT_NE((*served)->summary().ranges, nullptr);
  options = {};
  options.max_batch_size = 1;
  options.watch = (*served)->summary().ranges;
  const auto float32 = LoadModel(kDigits, options);
  ASSERT_TRUE(float32.ok()) << float32.status();
  const auto& outputs = (*float32)->outputs();
  ASSERT_GT(outputs.size(), 1u);
  EXPECT_TRUE((*float32)->batchable());
  const auto context = *(*float32)->NewContext();
  const Tensor images = testing::RandomFloats({3, 1, 8, 8}, 9);
  InputRows rows{.inputs = {}, .rows = 3};
  rows.inputs.push_back({images.shape(), {{images.data(), images.byte_size()}}});
  const InputRows* const callers[] = {&rows};
  ASSERT_TRUE(context->Load(callers).ok());
  ASSERT_TRUE(context->Execute().ok());
  for (size_t i = 1; i < outputs.size(); ++i) {
    EXPECT_EQ(context->OutputShape(static_cast<int>(i), 0)[0], 3) << outputs[i].name;
  }
  // What the first layer reads is the input.
  Tensor first = *Tensor::Allocate(DataType::kFloat32, context->OutputShape(1, 0));
  ASSERT_EQ(first.byte_size(), images.byte_size());
  context->Store(1, 0, {first.mutable_data(), first.byte_size()});
  EXPECT_THAT(first.As<float>(), ::testing::ElementsAreArray(images.As<float>()));
}

TEST(ClippedShare, CountsWhatIsBeyond) {
  const ServedRange range{.low = 0, .high = 2.55f};
  const std::vector<float> values = {0, 1, 2.55f, 2.554f, 2.6f, -0.1f, -0.004f, NAN};
  EXPECT_DOUBLE_EQ(ClippedShare(values, range), 2.0 / 7);
  EXPECT_EQ(ClippedShare({}, range), 0);
}

}  // namespace
}  // namespace octet::runtime
