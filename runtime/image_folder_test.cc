#include "runtime/image_folder.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/calibration_data.h"
#include "tests/support/image_writer.h"
#include "tests/support/npy_writer.h"
#include "tests/support/temporary_directory.h"

namespace octet::runtime {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ImageFolderTest : public ::testing::Test {
 protected:
  // One pixel, red of the given value.
  void AddImage(const std::string& name, uint8_t red) {
    folder_.Write(name, testing::RgbPng(1, 1, {red, 0, 0}));
  }

  absl::StatusOr<CalibrationData> Read(const std::string& name = "", size_t most = 100) {
    return ReadCalibrationData((folder_.path() / name).string(), inputs_, true, most,
                               preprocessing_);
  }

  std::vector<float> Reds(const std::string& name = "", size_t most = 100) {
    const auto data = Read(name, most);
    EXPECT_TRUE(data.ok()) << data.status();
    std::vector<float> result;
    if (!data.ok()) return result;
    for (const auto& sample : data->samples) result.push_back(sample[0].As<float>()[0]);
    return result;
  }

  std::string ErrorOf(const std::string& name = "") {
    const auto data = Read(name);
    EXPECT_EQ(data.status().code(), absl::StatusCode::kInvalidArgument) << data.status();
    return std::string(data.status().message());
  }

  testing::TemporaryDirectory folder_;
  std::vector<TensorSpec> inputs_ = {{.name = "x", .shape = {kUnknownDim, 3, 1, 1}}};
  std::optional<ImagePreprocessing> preprocessing_ = ImagePreprocessing{
      .mean = {0}, .std = {1}, .scale = 1, .layout = ImagePreprocessing::Layout::kNchw};
};

TEST_F(ImageFolderTest, AllImagesBelowInOrder) {
  AddImage("b.PNG", 2);
  AddImage("a/z.png", 1);
  AddImage("c/d/e.png", 3);
  AddImage(".hidden.png", 9);
  AddImage("..data/f.png", 9);
  folder_.Write("notes.txt", "no image");
  EXPECT_THAT(FindImages(folder_.path().string()), ElementsAre("a/z.png", "b.PNG", "c/d/e.png"));
  EXPECT_THAT(Reds(), ElementsAre(1, 2, 3));
  EXPECT_THAT(Reds("b.PNG"), ElementsAre(2));
  EXPECT_THAT(FindImages("/nowhere"), IsEmpty());
}

// The others are damaged, and nobody notices.
TEST_F(ImageFolderTest, OnlyWhatIsTakenIsDecoded) {
  for (int i = 0; i < 10; ++i) {
    const std::string name = absl::StrCat(i, ".png");
    if (i % 2 == 1) AddImage(name, static_cast<uint8_t>(i));
    if (i % 2 == 0) folder_.Write(name, "damaged");
  }
  EXPECT_THAT(Reds("", 5), ElementsAre(1, 3, 5, 7, 9));
  EXPECT_THAT(ErrorOf(), HasSubstr("0.png: the content is neither JPEG nor PNG"));
}

TEST_F(ImageFolderTest, Labels) {
  AddImage("cat.png", 1);
  AddImage("more/a dog.png", 2);
  folder_.Write("labels.txt", "more/a dog.png 7\r\n\n  cat.png\t3\nelsewhere.png 1\n");
  const auto data = Read();
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->labels, ElementsAre(3, 7));
  EXPECT_THAT(Read("", 1)->labels, ElementsAre(7));
}

TEST_F(ImageFolderTest, WrongLabels) {
  AddImage("a.png", 1);
  folder_.Write("labels.txt", "b.png 1\n");
  EXPECT_THAT(ErrorOf(), HasSubstr("labels.txt: has no label for a.png"));
  folder_.Write("labels.txt", "\na.png cat\n");
  EXPECT_THAT(ErrorOf(), HasSubstr("labels.txt line 2: expected the name of an image and an int"));
  folder_.Write("labels.txt", "a.png\n");
  EXPECT_THAT(ErrorOf(), HasSubstr("labels.txt line 1: expected"));
  folder_.Write("labels.txt", "a.png 1\na.png 2\n");
  EXPECT_THAT(ErrorOf(), HasSubstr("line 2: a.png has label 2, and before had 1"));
}

TEST_F(ImageFolderTest, WithoutPreprocessingTheyAreAnError) {
  AddImage("a.png", 1);
  preprocessing_.reset();
  const auto sets = AllOf(HasSubstr("there are images (a.png)"),
                          HasSubstr("set quantization.calibration.preprocessing, with mean"));
  EXPECT_THAT(ErrorOf(), sets);
  EXPECT_THAT(ErrorOf("a.png"), sets);
}

TEST_F(ImageFolderTest, BesideArrays) {
  AddImage("a.png", 1);
  const Tensor array = Tensor::Of<float>({1, 3, 1, 1}, {5, 6, 7});
  folder_.Write("b.npy", testing::Npy(array, "<f4"));
  EXPECT_THAT(Reds(), ElementsAre(5, 1));
  preprocessing_.reset();
  EXPECT_THAT(Reds(), ElementsAre(5)) << "arrays alone";
}

TEST_F(ImageFolderTest, ModelsThatReadNone) {
  AddImage("a.png", 1);
  inputs_ = {{.name = "ids", .dtype = DataType::kInt64, .shape = {kUnknownDim, kUnknownDim}}};
  EXPECT_THAT(ErrorOf(), AllOf(HasSubstr(folder_.path().string()),
                               HasSubstr("the model's inputs are ids INT64 [?,?]")));
}

}  // namespace
}  // namespace octet::runtime
