#include "server/engine/load_options.h"

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
