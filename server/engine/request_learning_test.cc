#include "server/engine/request_learning.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/random_tensor.h"

namespace octet::server {
namespace {

using octet::testing::RandomFloats;
using ::testing::HasSubstr;
using Model = std::shared_ptr<const runtime::CompiledModel>;

constexpr char kDigits[] = OCTET_EXAMPLES "/models/digits/1/model.onnx";

class RequestLearningTest : public ::testing::Test {
 protected:
  void SetUp() override {
    settings_.calibration.source = CalibrationSource::kTraffic;
    settings_.calibration.samples = 32;
    options_.mode = runtime::Mode::kInt8;
    options_.dynamic = true;
    options_.max_batch_size = 4;
  }

  // The example as it is served at first.
  Model Start() {
    absl::StatusOr<Model> model = runtime::LoadModel(kDigits, options_);
    EXPECT_TRUE(model.ok()) << model.status();
    EXPECT_TRUE(LearnsFromRequests(settings_, (*model)->summary()));
    dynamic_ = *model;
    return WithLearning(
        {.name = "digits", .file = kDigits}, settings_, options_,
        [this](const ModelSource&, ModelLoader loader) {
          loader_ = std::move(loader);
          return true;
        },
        [](Model made) { return made; }, *std::move(model));
  }

  // Sends images that nobody has trained with: static int8 fits them as well as others.
  void Ask(const Model& model, int images) {
    const auto context = *model->NewContext();
    for (int i = 0; i < images; ++i) {
      const Tensor image = RandomFloats({1, 1, 8, 8}, 500 + static_cast<uint32_t>(i));
      runtime::InputRows rows;
      rows.inputs.push_back({image.shape(), {{image.data(), image.byte_size()}}});
      const runtime::InputRows* const callers[] = {&rows};
      ASSERT_TRUE(context->Load(callers).ok());
      ASSERT_TRUE(context->Execute().ok());
    }
  }

  absl::StatusOr<Model> Learn() { return loader_({.name = "digits"}, {}); }

  QuantizationConfig settings_;
  runtime::LoadOptions options_;
  Model dynamic_;
  ModelLoader loader_;
};

TEST_F(RequestLearningTest, EnoughRequestsMakeItStatic) {
  const Model served = Start();
  EXPECT_EQ(served->summary().calibration, "dynamic");
  Ask(served, 31);
  EXPECT_FALSE(loader_);
  EXPECT_EQ(served->learning()->state, "observing requests: 31 of 32 samples");
  Ask(served, 32);  // one of them is new
  ASSERT_TRUE(loader_);
  const absl::StatusOr<Model> learned = Learn();
  ASSERT_TRUE(learned.ok()) << learned.status();
  EXPECT_EQ((*learned)->summary().calibration, "static, 24 samples");
  EXPECT_EQ((*learned)->summary().accuracy.verdict, "met");
  EXPECT_THAT((*learned)->summary().accuracy.description, HasSubstr("8 samples of requests"));
  EXPECT_EQ((*learned)->learning()->samples, 32u);
  EXPECT_THAT((*learned)->learning()->state,
              HasSubstr("calibrated with 32 samples of requests: static, 24 samples"));
  Ask(*learned, 3);
}

TEST_F(RequestLearningTest, WhatNobodyLoadsIsOfferedAgain) {
  const Model served = Start();
  Ask(served, 32);
  ASSERT_TRUE(loader_);
  loader_ = nullptr;  // another load has come before it
  EXPECT_EQ(served->learning()->state, "observing requests: 32 of 32 samples");
  Ask(served, 1);
  ASSERT_TRUE(loader_);
  EXPECT_TRUE(Learn().ok());
}

TEST_F(RequestLearningTest, AMissedTargetLeavesWhatServes) {
  options_.quantization.accuracy.value = 90;  // dB
  options_.quantization.max_float_fraction = 0;
  const Model served = Start();
  Ask(served, 32);
  ASSERT_TRUE(loader_);
  const absl::Status refused = Learn().status();
  EXPECT_THAT(refused.message(), HasSubstr("misses the accuracy target"));
  EXPECT_THAT(served->learning()->state, HasSubstr("stays as it is: calibrated with 32"));
  loader_ = nullptr;
  Ask(served, 64);
  EXPECT_FALSE(loader_) << "it does not try again";
}

TEST_F(RequestLearningTest, LearningByTheWayIsHeldAgainstWhatServes) {
  settings_.calibration.source = CalibrationSource::kDynamic;
  settings_.calibration.learn_from_traffic = true;
  const Model served = Start();
  Ask(served, 32);
  ASSERT_TRUE(loader_);
  const absl::StatusOr<Model> learned = Learn();
  if (learned.ok()) {
    EXPECT_THAT((*learned)->learning()->state, HasSubstr("times as fast"));
  } else {
    EXPECT_THAT(learned.status().message(), HasSubstr("neither faster"));
  }
  dynamic_.reset();
}

TEST_F(RequestLearningTest, OnlyWhatHasNoSamplesLearns) {
  const auto model = [](const std::string& calibration) {
    return runtime::ModelSummary{.calibration = calibration};
  };
  EXPECT_TRUE(LearnsFromRequests(settings_, model("dynamic")));
  EXPECT_TRUE(LearnsFromRequests(settings_, model("none"))) << "the guard chose float32";
  EXPECT_FALSE(LearnsFromRequests(settings_, model("static, 9 samples")));
  EXPECT_FALSE(LearnsFromRequests(settings_, model("none needed"))) << "bfloat16";
  EXPECT_FALSE(LearnsFromRequests(settings_, model(""))) << "float32";
  settings_.calibration.source = CalibrationSource::kAuto;
  EXPECT_FALSE(LearnsFromRequests(settings_, model("dynamic")));
  settings_.calibration.learn_from_traffic = true;
  EXPECT_TRUE(LearnsFromRequests(settings_, model("dynamic")));
}

TEST(WithoutStaticRules, LeavesWhatDoesNotNeedSamples) {
  runtime::QuantizeOptions options;
  options.layers = {{.match = "a", .dynamic = false}, {.match = "b", .dynamic = true}};
  options = WithoutStaticRules(std::move(options));
  EXPECT_EQ(options.layers[0].dynamic, std::nullopt);
  EXPECT_EQ(options.layers[1].dynamic, true);
}

TEST(WhyNoGain, AsksForSpeedOrAccuracy) {
  EXPECT_EQ(WhyNoGain({30, 25, 1.0, 0.5}), "") << "faster";
  EXPECT_EQ(WhyNoGain({30, 35, 1.0, 1.5}), "") << "nearer to float32";
  EXPECT_THAT(WhyNoGain({30, 25, 1.0, 0.99}), HasSubstr("neither faster"));
  EXPECT_THAT(WhyNoGain({30, 25, 1.0, 1.1}), HasSubstr("(30.0 dB)"));
}

}  // namespace
}  // namespace octet::server
