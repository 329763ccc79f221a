#include "runtime/statistics_file.h"

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/evaluate.h"
#include "runtime/fingerprint.h"
#include "runtime/load.h"
#include "tests/support/npy_writer.h"
#include "tests/support/random_tensor.h"
#include "tests/support/temporary_directory.h"

namespace octet::runtime {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class StatisticsFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::copy(OCTET_EXAMPLES "/models/digits/1/model.onnx", Path("model.onnx"));
    WriteSamples("samples.npy", 1, 12);
    options_.mode = Mode::kInt8;
    options_.quantization.bias_correction = QuantizeOptions::BiasCorrection::kOff;
  }

  void WriteSamples(const std::string& name, uint32_t seed, int64_t count) {
    folder_.Write(name, testing::Npy(testing::RandomFloats({count, 1, 8, 8}, seed), "<f4"));
  }

  std::string Path(const std::string& name) const { return (folder_.path() / name).string(); }

  // Loads with samples, and keeps what they show.
  PreparedModel Save(const std::string& samples, const std::string& save) {
    LoadOptions options = options_;
    options.calibration_path = Path(samples);
    options.save_statistics = Path(save);
    absl::StatusOr<PreparedModel> model = PrepareModel(Path("model.onnx"), options);
    EXPECT_TRUE(model.ok()) << model.status();
    return *std::move(model);
  }

  absl::StatusOr<PreparedModel> LoadFrom(const std::string& path) {
    LoadOptions options = options_;
    options.calibration_path = Path(path);
    options.statistics = true;
    return PrepareModel(Path("model.onnx"), options);
  }

  std::string Content(const std::string& name) const {
    std::ifstream stream(Path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  testing::TemporaryDirectory folder_;
  LoadOptions options_;
};

TEST_F(StatisticsFileTest, ALoadWithoutSamplesIsStatic) {
  EXPECT_EQ(Save("samples.npy", "model.qcal").statistics, Path("model.qcal"));
  const absl::StatusOr<PreparedModel> model = LoadFrom("model.qcal");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->quantization->mode, "int8");
  EXPECT_EQ(model->quantization->calibration_samples, 12u);
  EXPECT_EQ(model->quantization->calibration_source, Path("model.qcal"));
  EXPECT_EQ(model->quantization->accuracy.verdict, AccuracyVerdict::kUnverified);
}

TEST_F(StatisticsFileTest, WhatNeedsSamplesIsLeftOutAndTold) {
  Save("samples.npy", "model.qcal");
  options_.quantization.bias_correction = QuantizeOptions::BiasCorrection::kOn;
  options_.quantization.smoothing = QuantizeOptions::Smoothing::kOn;
  const absl::StatusOr<PreparedModel> model = LoadFrom("model.qcal");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_FALSE(model->quantization->bias_correction);
  EXPECT_THAT(model->quantization->warnings,
              Contains(AllOf(HasSubstr("without samples"), HasSubstr("smooth_quant"),
                             HasSubstr("bias_correction"))));
}

TEST_F(StatisticsFileTest, AFolderCountsTogether) {
  WriteSamples("more.npy", 2, 5);
  Save("samples.npy", "statistics/");
  const std::string first = StatisticsPath(Path("statistics"), Path("model.onnx"));
  EXPECT_TRUE(fs::exists(first)) << first;
  fs::rename(first, Path("statistics/a.qcal"));
  Save("more.npy", "statistics/b.qcal");
  folder_.Write("statistics/notes.txt", "not one of them");
  const absl::StatusOr<PreparedModel> model = LoadFrom("statistics");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->quantization->calibration_samples, 17u);
}

TEST_F(StatisticsFileTest, ForeignFilesAreRefused) {
  Save("samples.npy", "model.qcal");
  std::string other = Content("model.onnx");
  other[other.size() / 2] = static_cast<char>(other[other.size() / 2] ^ 1);
  folder_.Write("model.onnx", other);
  const absl::Status status = LoadFrom("model.qcal").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("Q009"), HasSubstr(Path("model.qcal")),
                                      HasSubstr("statistics of another network")));
}

TEST_F(StatisticsFileTest, DamagedFilesAreRefused) {
  Save("samples.npy", "model.qcal");
  const std::string bytes = Content("model.qcal");
  std::string flipped = bytes;
  flipped[bytes.size() / 2] = static_cast<char>(flipped[bytes.size() / 2] ^ 1);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {bytes.substr(0, bytes.size() / 2), "it ends too early"},
      {flipped, "damaged: section values"},
      {"PK and so on", "not a .qcal file"},
      {"", "not a .qcal file"}};
  for (const auto& [content, why] : cases) {
    folder_.Write("model.qcal", content);
    const absl::Status status = LoadFrom("model.qcal").status();
    EXPECT_THAT(status.message(),
                AllOf(HasSubstr("Q009"), HasSubstr(Path("model.qcal")), HasSubstr(why)));
  }
  EXPECT_THAT(LoadFrom("gone.qcal").status().message(), HasSubstr("not there"));
  fs::create_directory(Path("empty"));
  EXPECT_THAT(LoadFrom("empty").status().message(), HasSubstr("no .qcal file"));
}

TEST_F(StatisticsFileTest, ValidationMeasuresWithWhatWasNotSeen) {
  Save("samples.npy", "model.qcal");
  options_.validation_path = Path("samples.npy");
  absl::StatusOr<PreparedModel> model = LoadFrom("model.qcal");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->quantization->accuracy.verdict, AccuracyVerdict::kUnverified);
  EXPECT_THAT(model->warnings, ElementsAre(StartsWith("12 samples of the validation data have")));
  WriteSamples("other.npy", 3, 8);
  options_.validation_path = Path("other.npy");
  model = LoadFrom("model.qcal");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->quantization->accuracy.verdict, AccuracyVerdict::kMet);
  EXPECT_EQ(model->quantization->held_out_samples, 8u);
}

TEST_F(StatisticsFileTest, AWarmStartWritesWhatIsMissing) {
  options_.cache = {.read = true, .write = true, .configuration = "int8"};
  EXPECT_THAT(Save("samples.npy", "model.qcal").quantization->start, StartsWith("cold"));
  EXPECT_THAT(Save("samples.npy", "model.qcal").quantization->start, StartsWith("warm"));
  const std::string bytes = Content("model.qcal");
  fs::remove(Path("model.qcal"));
  EXPECT_THAT(Save("samples.npy", "model.qcal").quantization->start,
              AllOf(StartsWith("cold"), HasSubstr("has to be written")));
  EXPECT_EQ(Content("model.qcal"), bytes);
  // Samples and their statistics are different data, though they may lie in one folder.
  EXPECT_THAT(LoadFrom("model.qcal")->quantization->start, StartsWith("cold"));
}

TEST_F(StatisticsFileTest, WhatCannotBeWrittenIsAWarning) {
  folder_.Write("file", "no folder");
  const PreparedModel model = Save("samples.npy", "file/model.qcal");
  EXPECT_EQ(model.statistics, "");
  EXPECT_THAT(model.warnings, ElementsAre(StartsWith("quantization.calibration.save: ")));
}

}  // namespace
}  // namespace octet::runtime
