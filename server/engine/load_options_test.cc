#include "server/engine/load_options.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/config/config_file.h"

namespace octet::server {
namespace {

// What `quantization: {settings}` asks of loading a model.
runtime::LoadOptions Options(const std::string& settings) {
  const auto loaded = ParseConfig(absl::StrCat("quantization: {", settings, "}"), "f.yaml", {});
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return loaded.ok() ? ToLoadOptions(loaded->config.ForModel("m"), 1) : runtime::LoadOptions();
}

TEST(ToLoadOptions, Equalization) {
  using Equalization = runtime::QuantizeOptions::Equalization;
  const auto wanted = [](const std::string& value) {
    return Options(absl::StrCat("transforms: {cross_layer_equalization: ", value, "}"))
        .quantization.equalization;
  };
  EXPECT_EQ(Options("").quantization.equalization, Equalization::kAuto);
  EXPECT_EQ(wanted("auto"), Equalization::kAuto);
  EXPECT_EQ(wanted("on"), Equalization::kOn);
  EXPECT_EQ(wanted("off"), Equalization::kOff);
}

TEST(ToLoadOptions, AttentionProducts) {
  using Products = runtime::QuantizeOptions::AttentionProducts;
  const auto wanted = [](const std::string& value) {
    return Options(absl::StrCat("transforms: {attention_matmul: ", value, "}"))
        .quantization.attention;
  };
  EXPECT_EQ(Options("").quantization.attention, Products::kAuto);
  EXPECT_EQ(wanted("auto"), Products::kAuto);
  EXPECT_EQ(wanted("bf16"), Products::kBFloat16);
  EXPECT_EQ(wanted("float"), Products::kFloat32);
}

TEST(ToLoadOptions, Embeddings) {
  EXPECT_TRUE(Options("").quantization.embeddings);
  EXPECT_TRUE(Options("weights: {embeddings: int8}").quantization.embeddings);
  EXPECT_FALSE(Options("weights: {embeddings: float}").quantization.embeddings);
}

TEST(ToLoadOptions, F1TakesLosses) {
  const runtime::AccuracyTarget by_itself =
      Options("accuracy: {metric: f1, validation: x.npz}").quantization.accuracy;
  EXPECT_EQ(by_itself.metric, runtime::AccuracyMetric::kF1);
  EXPECT_TRUE(by_itself.is_drop);
  EXPECT_EQ(by_itself.value, 0.01);
  const runtime::AccuracyTarget least =
      Options("accuracy: {metric: f1, target: 0.8, validation: x.npz}").quantization.accuracy;
  EXPECT_FALSE(least.is_drop);
  EXPECT_EQ(least.value, 0.8);
}

TEST(ToLoadOptions, SchemeAndGranularityOfActivations) {
  runtime::QuantizeOptions options = Options("").quantization;
  EXPECT_FALSE(options.symmetric_activations);
  EXPECT_TRUE(options.ranges_by_token);
  options = Options("activations: {scheme: symmetric, granularity: per_tensor}").quantization;
  EXPECT_TRUE(options.symmetric_activations);
  EXPECT_FALSE(options.ranges_by_token);
  options = Options(
                "activations: {timing: dynamic, scheme: asymmetric, granularity: per_token}, "
                "layers: [{match: a, activations: {scheme: symmetric, granularity: per_tensor}}]")
                .quantization;
  EXPECT_FALSE(options.symmetric_activations);
  EXPECT_TRUE(options.ranges_by_token);
  EXPECT_EQ(options.layers.at(0).symmetric, true);
  EXPECT_EQ(options.layers.at(0).by_token, false);
}

TEST(ToLoadOptions, ParametersOfAlgorithms) {
  const quant::EstimatorOptions automatic = Options("").quantization.estimation;
  const quant::EstimatorOptions defaults;
  EXPECT_EQ(automatic.max_iterations, defaults.max_iterations);
  EXPECT_EQ(automatic.tolerance, defaults.tolerance);
  EXPECT_EQ(automatic.gamma, defaults.gamma);
  EXPECT_EQ(automatic.codebook_gamma, defaults.codebook_gamma);
  EXPECT_EQ(automatic.bins, 0u);
  EXPECT_FALSE(automatic.balanced_tree);
  const quant::EstimatorOptions set =
      Options(
          "algorithm_params: {percentile: 99, least_squares: {max_iter: 3, tolerance: 0.1}, "
          "histogram_equalization: {gamma: 0.75, bins: 64}, decision_tree: {growth: balanced}}")
          .quantization.estimation;
  EXPECT_EQ(set.percentile, 99);
  EXPECT_EQ(set.max_iterations, 3);
  EXPECT_EQ(set.tolerance, 0.1);
  EXPECT_EQ(set.gamma, 0.75);
  EXPECT_EQ(set.codebook_gamma, 0.75);
  EXPECT_EQ(set.bins, 64u);
  EXPECT_TRUE(set.balanced_tree);
}

TEST(ToLoadOptions, ForceOfActivations) {
  EXPECT_FALSE(Options("").quantization.force_clipping);
  const runtime::QuantizeOptions options =
      Options(
          "activations: {force: true}, layers: [{match: a, activations: {force: true}}, "
          "{match: b, activations: {algorithm: entropy}}]")
          .quantization;
  EXPECT_TRUE(options.force_clipping);
  EXPECT_TRUE(options.layers.at(0).force_clipping);
  EXPECT_FALSE(options.layers.at(1).force_clipping);
}

TEST(ToLoadOptions, WeightingOfWeights) {
  using Weighting = runtime::QuantizeOptions::Weighting;
  const auto weighting = [](const std::string& value) {
    return Options(absl::StrCat("weights: {weighting: ", value, "}")).quantization.weighting;
  };
  EXPECT_EQ(Options("").quantization.weighting, Weighting::kAuto);
  EXPECT_EQ(weighting("auto"), Weighting::kAuto);
  EXPECT_EQ(weighting("none"), Weighting::kNone);
  EXPECT_EQ(weighting("activation"), Weighting::kActivation);
}

TEST(ToLoadOptions, MemoryBudget) {
  EXPECT_EQ(Options("").quantization.memory_bytes, 0);
  EXPECT_EQ(Options("budget: {memory_mb: 3}").quantization.memory_bytes, 3 << 20);
}

TEST(ToLoadOptions, FoldBatchNorm) {
  EXPECT_TRUE(Options("").fold_batch_norm);
  EXPECT_FALSE(Options("transforms: {fold_batchnorm: false}").fold_batch_norm);
}

TEST(ToLoadOptions, OverrideEmbedded) {
  EXPECT_FALSE(Options("").strip_quantization);
  EXPECT_TRUE(Options("override_embedded: true").strip_quantization);
}

TEST(ToLoadOptions, Preprocessing) {
  using Preprocessing = runtime::ImagePreprocessing;
  const auto preprocessing = [](const std::string& settings) {
    return Options(absl::StrCat("calibration: {preprocessing: {", settings, "}}")).preprocessing;
  };
  EXPECT_FALSE(Options("").preprocessing.has_value());
  EXPECT_FALSE(preprocessing("").has_value());
  for (const char* one : {"scale: 1", "layout: nhwc", "color: rgb", "resize: 4"}) {
    EXPECT_TRUE(preprocessing(one).has_value()) << one;
  }
  const Preprocessing all = preprocessing(
                                "resize: [8, 9], crop: [6, 7], mean: [1, 2, 3], std: [4], "
                                "scale: 5, layout: nhwc, color: bgr")
                                .value();
  EXPECT_EQ(all.resize.value().height, 8);
  EXPECT_EQ(all.resize.value().width, 9);
  EXPECT_EQ(all.shorter_side, 0);
  EXPECT_EQ(all.crop.value().height, 6);
  EXPECT_EQ(all.crop.value().width, 7);
  EXPECT_EQ(all.mean, std::vector<double>({1, 2, 3}));
  EXPECT_EQ(all.std, std::vector<double>({4}));
  EXPECT_EQ(all.scale, 5);
  EXPECT_EQ(all.layout, Preprocessing::Layout::kNhwc);
  EXPECT_EQ(all.color, Preprocessing::Color::kBgr);
  const Preprocessing few = preprocessing("resize: 4, color: gray").value();
  EXPECT_EQ(few.shorter_side, 4);
  EXPECT_FALSE(few.resize.has_value());
  EXPECT_EQ(few.color, Preprocessing::Color::kGray);
  EXPECT_EQ(few.layout, Preprocessing::Layout::kFromModel);
  EXPECT_EQ(few.scale, 255);
}

// What was quantized with other pixels must not be taken over.
TEST(ToPackCache, PreprocessingIsPartOfTheKey) {
  const auto key = [](const std::string& settings) {
    const auto loaded = ParseConfig(
        absl::StrCat("quantization: {calibration: {preprocessing: {", settings, "}}}"), "f.yaml");
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return loaded.ok() ? ToPackCache(loaded->config.quantization).configuration : "";
  };
  std::set<std::string> keys;
  const std::vector<std::string> different = {
      "",
      "resize: 8",
      "resize: [8, 8]",
      "resize: 8, crop: [7, 7]",
      "mean: [0.48145466], std: [1]",
      "mean: [0.48145467], std: [1]",
      "mean: [0.48145466], std: [2]",
      "scale: 1",
      "layout: nhwc",
      "color: bgr",
  };
  for (const std::string& settings : different) keys.insert(key(settings));
  EXPECT_EQ(keys.size(), different.size());
}

TEST(ToLoadOptions, PolicyOfMixedPrecision) {
  using Policy = runtime::QuantizeOptions::Policy;
  const auto policy = [](const std::string& value) {
    return Options(absl::StrCat("mixed_precision: {policy: ", value, "}")).quantization.policy;
  };
  EXPECT_EQ(Options("").quantization.policy, Policy::kOutput);
  EXPECT_EQ(policy("output"), Policy::kOutput);
  EXPECT_EQ(policy("local"), Policy::kLocal);
  EXPECT_EQ(policy("off"), Policy::kOff);
}

}  // namespace
}  // namespace octet::server
