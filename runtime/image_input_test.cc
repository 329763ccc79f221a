#include "runtime/image_input.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/image_writer.h"
#include "tests/support/temporary_directory.h"

namespace octet::runtime {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Settings = ImagePreprocessing;

Shape Any(int64_t a, int64_t b, int64_t c) { return {kUnknownDim, a, b, c}; }

// Two pixels beside each other.
Image TwoPixels() { return {.height = 1, .width = 2, .pixels = {10, 20, 30, 40, 50, 60}}; }

absl::StatusOr<Tensor> ToTensor(const Shape& shape, const Settings& settings,
                                DataType type = DataType::kFloat32,
                                const Image& image = TwoPixels()) {
  const auto input = ImageInput::For({{"x", type, shape}}, true, settings);
  if (!input.ok()) return input.status();
  return input->ToTensor(image);
}

std::vector<float> Values(const Shape& shape, const Settings& settings) {
  const auto tensor = ToTensor(shape, settings);
  EXPECT_TRUE(tensor.ok()) << tensor.status();
  if (!tensor.ok()) return {};
  const auto values = tensor->As<float>();
  return {values.begin(), values.end()};
}

std::string ErrorOf(const Shape& shape, const Settings& settings,
                    DataType type = DataType::kFloat32) {
  const auto tensor = ToTensor(shape, settings, type);
  EXPECT_EQ(tensor.status().code(), absl::StatusCode::kInvalidArgument) << tensor.status();
  return std::string(tensor.status().message());
}

// Pixels as they are.
Settings Plain() { return {.mean = {0}, .std = {1}, .scale = 1}; }

TEST(ImageInput, LayoutFollowsFromTheShape) {
  EXPECT_THAT(Values(Any(3, 1, 2), {.mean = {0}, .std = {1}, .scale = 1}),
              ElementsAre(10, 40, 20, 50, 30, 60));
  EXPECT_THAT(
      Values(Any(2, 2, 3), {.resize = ImageSize{2, 2}, .mean = {0}, .std = {1}, .scale = 1}),
      ElementsAre(10, 20, 30, 40, 50, 60, 10, 20, 30, 40, 50, 60));
  const auto tensor = ToTensor(Any(3, 1, 2), Plain());
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  EXPECT_EQ(tensor->shape(), Shape({1, 3, 1, 2}));
  EXPECT_THAT(ErrorOf(Any(3, 3, 3), Plain()),
              AllOf(HasSubstr("preprocessing.layout: must be set to nchw or nhwc"),
                    HasSubstr("the model's input is x FP32 [?,3,3,3]")));
  Settings nhwc = Plain();
  nhwc.layout = Settings::Layout::kNhwc;
  nhwc.resize = ImageSize{1, 3};
  EXPECT_TRUE(ToTensor(Any(kUnknownDim, 3, 3), nhwc).ok());
}

// The order is that of the model's channels, after their colours were exchanged.
TEST(ImageInput, MeanAndStdAreOfTheModelsChannels) {
  Settings settings = {.mean = {1, 2, 3}, .std = {2, 4, 8}, .scale = 10};
  EXPECT_THAT(Values(Any(3, 1, 2), settings), ElementsAre(0, 1.5, 0, 0.75, 0, 0.375));
  settings.color = Settings::Color::kBgr;
  EXPECT_THAT(Values(Any(3, 1, 2), settings), ElementsAre(1, 2.5, 0, 0.75, -0.25, 0.125));
  EXPECT_THAT(Values(Any(3, 1, 2), {.mean = {0}, .std = {1}}),
              ElementsAre(10 / 255.f, 40 / 255.f, 20 / 255.f, 50 / 255.f, 30 / 255.f, 60 / 255.f));
}

// 0.299 red, 0.587 green, 0.114 blue.
TEST(ImageInput, OneChannelIsGrey) {
  EXPECT_THAT(Values({1, 1, 1, 2},
                     {.mean = {0}, .std = {1}, .scale = 1, .layout = Settings::Layout::kNchw}),
              ElementsAre(18, 48));
}

TEST(ImageInput, IntegersAreThePixels) {
  const auto tensor = ToTensor(Any(1, 2, 3), {.layout = Settings::Layout::kNhwc}, DataType::kUint8);
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  EXPECT_THAT(tensor->As<uint8_t>(), ElementsAre(10, 20, 30, 40, 50, 60));
  Settings settings = Plain();
  settings.layout = Settings::Layout::kNhwc;
  EXPECT_THAT(ErrorOf(Any(1, 2, 3), settings, DataType::kUint8),
              HasSubstr("mean and std are for inputs in floating point"));
  EXPECT_TRUE(ToTensor(Any(3, 1, 2), Plain(), DataType::kFloat16).ok());
}

TEST(ImageInput, SizeFollowsFromTheModelOrMustBeSet) {
  EXPECT_EQ(Values(Any(3, 4, 6), Plain()).size(), 72u);
  EXPECT_THAT(ErrorOf(Any(3, kUnknownDim, kUnknownDim), Plain()),
              HasSubstr("preprocessing.resize: must be set, for height and width are not fixed"));
  Settings settings = Plain();
  settings.resize = ImageSize{5, 7};
  EXPECT_EQ(Values(Any(3, kUnknownDim, 7), settings).size(), 105u);
  EXPECT_THAT(ErrorOf(Any(3, 4, 6), settings), HasSubstr("resize: makes images of [5, 7]"));
  settings.crop = ImageSize{4, 6};
  EXPECT_EQ(Values(Any(3, 4, 6), settings).size(), 72u);
  settings.crop = ImageSize{4, 5};
  EXPECT_THAT(ErrorOf(Any(3, 4, 6), settings), HasSubstr("crop: makes images of [4, 5]"));
}

TEST(ImageInput, TheShorterSideIsCroppedToTheModel) {
  Settings settings = Plain();
  settings.shorter_side = 6;  // 6 x 12
  EXPECT_EQ(Values(Any(3, 4, 6), settings).size(), 72u);
  EXPECT_EQ(Values(Any(3, kUnknownDim, kUnknownDim), settings).size(), 216u);
  EXPECT_THAT(ErrorOf(Any(3, 5, kUnknownDim), settings),
              HasSubstr("makes an image of [6, 12], the model reads [5, -1]"));
}

TEST(ImageInput, ModelsThatReadNoImage) {
  const auto error = [](const std::vector<TensorSpec>& inputs, bool batchable = true) {
    return std::string(ImageInput::For(inputs, batchable, Plain()).status().message());
  };
  const TensorSpec image = {"x", DataType::kFloat32, {1, 3, 2, 2}};
  EXPECT_EQ(error({image}, false), "");
  EXPECT_THAT(error({image, {"ids", DataType::kInt64, {1, kUnknownDim}}}),
              HasSubstr("the model's inputs are x FP32 [1,3,2,2], ids INT64 [1,?]"));
  EXPECT_THAT(error({{"x", DataType::kFloat32, {1, 3}}}), HasSubstr("models with one input"));
  EXPECT_THAT(error({{"x", DataType::kInt32, {1, 3, 2, 2}}}), HasSubstr("models with one input"));
  EXPECT_THAT(error({{"x", DataType::kFloat32, {8, 3, 2, 2}}}, false), HasSubstr("[8,3,2,2]"));
  EXPECT_THAT(error({{"x", DataType::kFloat32, {1, 4, 2, 2}}}), HasSubstr("layout"));
}

TEST(ImageInput, MeanAndStdAreNeverGuessed) {
  EXPECT_THAT(ErrorOf(Any(3, 1, 2), {}), HasSubstr("mean and std must be set"));
  EXPECT_THAT(ErrorOf(Any(3, 1, 2), {.mean = {1, 2}, .std = {1}}), HasSubstr("for each channel"));
  EXPECT_THAT(ErrorOf(Any(3, 1, 2), {.mean = {0}, .std = {1}, .color = Settings::Color::kGray}),
              HasSubstr("gray is for one channel"));
}

TEST(ImageInput, ErrorsNameTheFile) {
  testing::TemporaryDirectory folder;
  const auto input = ImageInput::For({{"x", DataType::kFloat32, Any(3, 1, 2)}}, true, Plain());
  ASSERT_TRUE(input.ok()) << input.status();
  const std::string damaged = folder.Write("a.png", "\x89PNG\r\n\x1a\n").string();
  EXPECT_THAT(input->Read(damaged).status().message(),
              AllOf(HasSubstr(damaged), HasSubstr("damaged PNG")));
  const std::string none = (folder.path() / "b.png").string();
  EXPECT_THAT(input->Read(none).status().message(), HasSubstr(none));
  const std::string good =
      folder.Write("c.png", testing::RgbPng(1, 2, {10, 20, 30, 40, 50, 60})).string();
  const auto tensor = input->Read(good);
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  EXPECT_THAT(tensor->As<float>(), ElementsAre(10, 40, 20, 50, 30, 60));
}

}  // namespace
}  // namespace octet::runtime
