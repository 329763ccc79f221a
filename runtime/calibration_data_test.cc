#include "runtime/calibration_data.h"

#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/npy_writer.h"
#include "tests/support/temporary_directory.h"

namespace octet::runtime {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Npy;
using testing::WriteZip;

using Files = std::vector<std::pair<std::string, std::string>>;

// Rows 0, 1, 2, ... of `width` equal elements.
template <typename T>
Tensor Rows(int64_t rows, int64_t width) {
  Tensor tensor = *Tensor::Allocate(DataTypeOf<T>(), {rows, width});
  for (int64_t i = 0; i < rows * width; ++i) {
    const int64_t row = i / width;
    tensor.MutableAs<T>()[static_cast<size_t>(i)] = static_cast<T>(row);
  }
  return tensor;
}

std::vector<float> FirstElements(const CalibrationData& data) {
  std::vector<float> result;
  result.reserve(data.samples.size());
  for (const std::vector<Tensor>& sample : data.samples) result.push_back(sample[0].As<float>()[0]);
  return result;
}

class CalibrationDataTest : public ::testing::Test {
 protected:
  absl::StatusOr<CalibrationData> Read(const std::string& name = "", size_t most = 100,
                                       bool batchable = true) {
    return ReadCalibrationData((folder_.path() / name).string(), inputs_, batchable, most);
  }

  std::string ErrorOf(const Files& files) {
    EXPECT_TRUE(WriteZip((folder_.path() / "a.npz").string(), files));
    const auto data = Read("a.npz");
    EXPECT_EQ(data.status().code(), absl::StatusCode::kInvalidArgument) << data.status();
    EXPECT_THAT(data.status().message(), HasSubstr("a.npz"));
    return std::string(data.status().message());
  }

  testing::TemporaryDirectory folder_;
  std::vector<TensorSpec> inputs_ = {{.name = "x", .shape = {kUnknownDim, 3}}};
};

TEST_F(CalibrationDataTest, SplitsAnArrayIntoRows) {
  folder_.Write("images.npy", Npy(Rows<float>(4, 3), "<f4"));
  const auto data = Read("images.npy");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(FirstElements(*data), ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(data->samples[0][0].shape(), Shape({1, 3}));
}

TEST_F(CalibrationDataTest, TakesAnEvenChoice) {
  folder_.Write("images.npy", Npy(Rows<float>(10, 3), "<f4"));
  const auto data = Read("images.npy", 5);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(FirstElements(*data), ElementsAre(1, 3, 5, 7, 9));
}

TEST_F(CalibrationDataTest, ReadsAFolderInOrder) {
  folder_.Write("b.npy", Npy(Rows<float>(1, 3), "<f4"));
  folder_.Write("a.npy", Npy(Rows<float>(2, 3), "<f4"));
  folder_.Write("notes.txt", "ignored");
  const auto data = Read();
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(FirstElements(*data), ElementsAre(0, 1, 0));
}

TEST_F(CalibrationDataTest, MatchesArraysByName) {
  inputs_.push_back({.name = "mask", .dtype = DataType::kInt64, .shape = {kUnknownDim, 2}});
  ASSERT_TRUE(WriteZip((folder_.path() / "a.npz").string(),
                       {{"mask.npy", Npy(Rows<int64_t>(2, 2), "<i8")},
                        {"x.npy", Npy(Rows<float>(2, 3), "<f4")},
                        {"labels.npy", Npy(Rows<int64_t>(2, 1), "<i8")}}));
  const auto data = Read();
  ASSERT_TRUE(data.ok()) << data.status();
  ASSERT_EQ(data->samples.size(), 2u);
  EXPECT_THAT(data->samples[1][1].As<int64_t>(), ElementsAre(1, 1));
}

TEST_F(CalibrationDataTest, ConvertsToTheEnginesType) {
  inputs_[0].dtype = DataType::kFloat16;
  folder_.Write("x.npy", Npy(Tensor::Of<double>({1, 3}, {1, 2, 3}), "<f8"));
  const auto data = Read();
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->samples[0][0].As<float>(), ElementsAre(1, 2, 3));
}

TEST_F(CalibrationDataTest, AModelThatDoesNotBatchGetsWholeSamples) {
  inputs_[0].shape = {2, 3};
  folder_.Write("x.npy", Npy(Rows<float>(6, 3), "<f4"));
  const auto data = Read("x.npy", 100, /*batchable=*/false);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(FirstElements(*data), ElementsAre(0, 2, 4));
  EXPECT_EQ(data->samples[0][0].shape(), Shape({2, 3}));
}

TEST_F(CalibrationDataTest, ReadsOnnxTestData) {
  // A TensorProto: dims [1,3], data_type FLOAT, raw_data of three floats.
  std::string proto("\x08\x01\x08\x03\x10\x01\x4A\x0C", 8);
  const float values[] = {7, 8, 9};
  proto.append(reinterpret_cast<const char*>(values), sizeof(values));
  folder_.Write("test_data_set_0/input_0.pb", proto);
  const auto data = Read();
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->samples[0][0].As<float>(), ElementsAre(7, 8, 9));
}

TEST_F(CalibrationDataTest, NamesWhatIsWrong) {
  inputs_.push_back({.name = "mask", .dtype = DataType::kInt64, .shape = {kUnknownDim, 2}});
  const std::string x = Npy(Rows<float>(2, 3), "<f4");
  EXPECT_THAT(ErrorOf({{"x.npy", x}}), HasSubstr("mask"));
  EXPECT_THAT(ErrorOf({{"x.npy", x}, {"mask.npy", Npy(Rows<float>(2, 2), "<f4")}}),
              AllOf(HasSubstr("mask"), HasSubstr("INT64"), HasSubstr("FP32")));
  EXPECT_THAT(ErrorOf({{"x.npy", x}, {"mask.npy", Npy(Rows<int64_t>(2, 5), "<i8")}}),
              AllOf(HasSubstr("mask"), HasSubstr("[2,5]")));
  EXPECT_THAT(ErrorOf({{"x.npy", x}, {"mask.npy", Npy(Rows<int64_t>(3, 2), "<i8")}}),
              HasSubstr("different numbers"));
  EXPECT_THAT(ErrorOf({{"x.npy", x.substr(0, x.size() - 1)},
                       {"mask.npy", Npy(Rows<int64_t>(2, 2), "<i8")}}),
              HasSubstr("truncated"));
}

TEST_F(CalibrationDataTest, RefusesArraysWithoutSamples) {
  EXPECT_THAT(ErrorOf({{"x.npy", Npy(Rows<float>(0, 3), "<f4")}}), HasSubstr("[0,3]"));
  EXPECT_THAT(ErrorOf({{"x.npy", testing::NpyWithHeader(testing::NpyHeader("<f4", "()"), "data")}}),
              HasSubstr("has []"));
}

TEST_F(CalibrationDataTest, NothingThereIsNotFound) {
  EXPECT_EQ(Read("missing").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Read().status().code(), absl::StatusCode::kNotFound);  // an empty folder
  folder_.Write("samples.csv", "1,2,3");
  EXPECT_EQ(Read("samples.csv").status().code(), absl::StatusCode::kInvalidArgument);
}

// Fewer rows than one sample of a model that does not batch.
TEST_F(CalibrationDataTest, HalfASampleIsNotFound) {
  inputs_[0].shape = {4, 3};
  folder_.Write("x.npy", Npy(Rows<float>(3, 3), "<f4"));
  EXPECT_EQ(Read("x.npy", 100, false).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(CalibrationDataTest, LiesBesideTheModel) {
  const std::string model = (folder_.path() / "model.onnx").string();
  EXPECT_EQ(CalibrationBeside(model), "");
  folder_.Write("calibration/x.npy");
  EXPECT_EQ(CalibrationBeside(model), (folder_.path() / "calibration").string());
}

TEST_F(CalibrationDataTest, LabelsGoWithTheSamples) {
  EXPECT_TRUE(
      WriteZip((folder_.path() / "a.npz").string(),
               {{"x.npy", Npy(Rows<float>(6, 3), "<f4")},
                {"labels.npy", Npy(Tensor::Of<int64_t>({6}, {5, 6, 7, 8, 9, 10}), "<i8")}}));
  const auto data = Read("a.npz", 3);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(FirstElements(*data), ElementsAre(1, 3, 5));
  EXPECT_THAT(data->labels, ElementsAre(6, 8, 10));
  // Not every file has some.
  folder_.Write("b.npy", Npy(Rows<float>(1, 3), "<f4"));
  EXPECT_TRUE(Read()->labels.empty());
}

TEST_F(CalibrationDataTest, LabelsAreOneIntegerForEachSample) {
  const std::string x = Npy(Rows<float>(2, 3), "<f4");
  EXPECT_THAT(
      ErrorOf({{"x.npy", x}, {"label.npy", Npy(Tensor::Of<int32_t>({3}, {1, 2, 3}), "<i4")}}),
      HasSubstr("expected 2 integers"));
  EXPECT_THAT(ErrorOf({{"x.npy", x}, {"labels.npy", Npy(Tensor::Of<float>({2}, {1, 2}), "<f4")}}),
              HasSubstr("expected 2 integers"));
}

}  // namespace
}  // namespace octet::runtime
