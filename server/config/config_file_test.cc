#include "server/config/config_file.h"

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/config/unsupported.h"

namespace octet::server {
namespace {

using ::testing::HasSubstr;

Config Parsed(absl::string_view text, std::vector<FlagValue> flags = {}) {
  const absl::StatusOr<LoadedConfig> loaded = ParseConfig(text, "f.yaml", flags);
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return loaded.ok() ? loaded->config : Config{};
}

std::string ErrorOf(absl::string_view text, std::vector<FlagValue> flags = {}) {
  const absl::StatusOr<LoadedConfig> loaded = ParseConfig(text, "f.yaml", flags);
  return loaded.ok() ? "ok" : std::string(loaded.status().message());
}

TEST(ParseConfig, TwoLinesAreACompleteFile) {
  const Config config = Parsed("model_repository: DIR\nquantization: {mode: int8}\n");
  EXPECT_EQ(config.model_repository, "DIR");
  EXPECT_EQ(config.quantization.mode, QuantizationMode::kInt8);
  EXPECT_TRUE(CheckServable(config).ok());
}

TEST(ParseConfig, DefaultsAreThoseThatUsersKnow) {
  const Config config = Parsed("");
  EXPECT_EQ(config.server.grpc_port, 8001);
  EXPECT_EQ(config.server.http_port, 8002);
  EXPECT_TRUE(config.server.strict_readiness);
  EXPECT_EQ(config.batching.max_queue_delay_microseconds, 0);
  EXPECT_EQ(config.execution.streams, 0);
  EXPECT_EQ(config.quantization.mode, QuantizationMode::kFloat32);
  EXPECT_EQ(config.quantization.weights.algorithm, "least_squares");
  EXPECT_EQ(config.quantization.activations.algorithm, "auto");
  EXPECT_EQ(config.quantization.calibration.samples, 128);
}

TEST(ParseConfig, ReadsEverySetting) {
  const Config config = Parsed(R"(
model_repository: /models
server:
  address: 127.0.0.1
  grpc_port: 0
  http_port: 9002
  max_request_bytes: 1048576
  drain_seconds: 5
  max_connection_age_seconds: 90
  strict_readiness: false
  tls: {certificate: /c.pem, key: /k.pem, client_ca: /ca.pem}
batching: {max_batch_size: 8, max_queue_delay_microseconds: 100, max_queue_size: 64}
execution: {streams: 2, threads_per_stream: 4}
quantization:
  mode: int8
  weights: {algorithm: minmax, granularity: per_tensor, range: reduced}
  activations: {algorithm: entropy, timing: static}
  algorithm_params: {percentile: 99.5}
  calibration: {source: dataset, path: /data, samples: 32}
  accuracy: {metric: top1, target: {max_drop: 0.02}, validation: /labelled, on_fail: error}
  mixed_precision: {max_float_fraction: 0.1}
  budget: {seconds: 7.5}
  on_nan: zero
  layers:
    - {match: "/head/*", mode: fp32}
    - {match: "*", mode: int8}
log: {level: warning, format: json}
)");
  EXPECT_EQ(config.model_repository, "/models");
  EXPECT_EQ(config.server.address, "127.0.0.1");
  EXPECT_EQ(config.server.grpc_port, 0);
  EXPECT_EQ(config.server.http_port, 9002);
  EXPECT_EQ(config.server.max_request_bytes, 1048576);
  EXPECT_EQ(config.server.drain_seconds, 5);
  EXPECT_EQ(config.server.max_connection_age_seconds, 90);
  EXPECT_FALSE(config.server.strict_readiness);
  EXPECT_EQ(config.server.tls.certificate, "/c.pem");
  EXPECT_EQ(config.server.tls.key, "/k.pem");
  EXPECT_EQ(config.server.tls.client_ca, "/ca.pem");
  EXPECT_EQ(config.batching.max_batch_size, 8);
  EXPECT_EQ(config.batching.max_queue_delay_microseconds, 100);
  EXPECT_EQ(config.batching.max_queue_size, 64);
  EXPECT_EQ(config.execution.streams, 2);
  EXPECT_EQ(config.execution.threads_per_stream, 4);
  const QuantizationConfig& quantization = config.quantization;
  EXPECT_EQ(quantization.weights.algorithm, "minmax");
  EXPECT_EQ(quantization.weights.granularity.kind, WeightGranularityConfig::Kind::kPerTensor);
  EXPECT_EQ(quantization.weights.range, WeightRange::kReduced);
  EXPECT_EQ(quantization.activations.algorithm, "entropy");
  EXPECT_EQ(quantization.activations.timing, ActivationTiming::kStatic);
  EXPECT_DOUBLE_EQ(quantization.algorithm_params.percentile, 99.5);
  EXPECT_EQ(quantization.calibration.source, CalibrationSource::kDataset);
  EXPECT_EQ(quantization.calibration.path, "/data");
  EXPECT_EQ(quantization.calibration.samples, 32);
  EXPECT_EQ(quantization.accuracy.metric, AccuracyMetricName::kTop1);
  EXPECT_EQ(quantization.accuracy.target.max_drop, 0.02);
  EXPECT_EQ(quantization.accuracy.validation, "/labelled");
  EXPECT_EQ(quantization.accuracy.on_fail, AccuracyOnFail::kError);
  EXPECT_DOUBLE_EQ(quantization.budget.seconds, 7.5);
  EXPECT_DOUBLE_EQ(quantization.mixed_precision.max_float_fraction, 0.1);
  EXPECT_EQ(quantization.on_nan, NotANumberPolicy::kZero);
  ASSERT_EQ(quantization.layers.size(), 2u);
  EXPECT_EQ(quantization.layers[0].match, "/head/*");
  EXPECT_EQ(quantization.layers[1].mode, QuantizationMode::kInt8);
  EXPECT_EQ(config.log.level, LogLevel::kWarning);
  EXPECT_EQ(config.log.format, LogFormat::kJson);
}

TEST(ParseConfig, ModelsOverrideKeyByKeyWhereverTheyStand) {
  const Config config = Parsed(R"(
models:
  - name: a
    path: /a.onnx
    version_policy: {latest: 2}
    batching: {max_batch_size: 4}
    quantization: {calibration: {samples: 9}}
  - name: b
batching: {max_batch_size: 16, max_queue_size: 10}
quantization: {mode: int8, calibration: {samples: 64, path: /d}}
)");
  ASSERT_EQ(config.models.size(), 2u);
  const ModelConfig& a = config.models[0];
  EXPECT_EQ(a.path, "/a.onnx");
  EXPECT_EQ(a.version_policy.latest, 2);
  EXPECT_EQ(a.batching.max_batch_size, 4);
  EXPECT_EQ(a.batching.max_queue_size, 10);
  EXPECT_EQ(a.quantization.mode, QuantizationMode::kInt8);
  EXPECT_EQ(a.quantization.calibration.samples, 9);
  EXPECT_EQ(a.quantization.calibration.path, "/d");
  const ModelConfig& b = config.models[1];
  EXPECT_EQ(b.batching.max_batch_size, 16);
  EXPECT_EQ(b.quantization.calibration.samples, 64);
}

TEST(ForModel, GivesTheEntryOrTheTopLevel) {
  const Config config = Parsed(
      "batching: {max_batch_size: 16}\nmodels: [{name: a, batching: {max_batch_size: 2}}]\n");
  EXPECT_EQ(config.ForModel("a").batching.max_batch_size, 2);
  EXPECT_EQ(config.ForModel("other").batching.max_batch_size, 16);
  EXPECT_EQ(config.ForModel("other").name, "other");
}

TEST(ParseConfig, FlagsWin) {
  const std::vector<FlagValue> flags = {{"--model-repository", "model_repository", "/flag"},
                                        {"--grpc-port", "server.grpc_port", "0"}};
  const Config config =
      Parsed("model_repository: /file\nserver: {grpc_port: 1, http_port: 2}\n", flags);
  EXPECT_EQ(config.model_repository, "/flag");
  EXPECT_EQ(config.server.grpc_port, 0);
  EXPECT_EQ(config.server.http_port, 2);
}

TEST(ParseConfig, FlagsAreCheckedByTheSameRows) {
  EXPECT_EQ(ErrorOf("", {{"--grpc-port", "server.grpc_port", "70000"}}),
            "--grpc-port: must be an integer from 0 to 65535, not '70000'");
  EXPECT_EQ(ErrorOf("", {{"--model-repository", "model_repository", ""}}),
            "--model-repository: must be the path of a folder, not ''");
}

TEST(ParseConfig, UnknownKeysAreNamedWithTheNearest) {
  EXPECT_EQ(ErrorOf("model_repository: a\nserver:\n  grcp_port: 1\n"),
            "f.yaml:line 3: server: unknown key 'grcp_port'; did you mean 'grpc_port'?");
  EXPECT_EQ(ErrorOf("\nquantisation: {mode: int8}\n"),
            "f.yaml:line 2: unknown key 'quantisation'; did you mean 'quantization'?");
  EXPECT_EQ(ErrorOf("models:\n- name: a\n  batching:\n    max_batch: 1\n"),
            "f.yaml:line 4: models[0].batching: unknown key 'max_batch'; known: max_batch_size, "
            "max_queue_delay_microseconds, max_queue_size");
  EXPECT_EQ(ErrorOf("quantization:\n  layers:\n  - {match: a, mode: int8}\n  - {matches: a}\n"),
            "f.yaml:line 4: quantization.layers[1]: unknown key 'matches'; did you mean 'match'?");
}

TEST(ParseConfig, WrongValuesSayWhatWasExpected) {
  EXPECT_EQ(ErrorOf("batching:\n  max_batch_size: 0\n"),
            "f.yaml:line 2: batching.max_batch_size: must be an integer from 1 to 1024, not '0'");
  EXPECT_EQ(ErrorOf("batching:\n  max_batch_size:\n"),
            "f.yaml:line 2: batching.max_batch_size: must be an integer from 1 to 1024, not "
            "nothing");
  EXPECT_EQ(ErrorOf("batching:\n  max_batch_size: [1]\n"),
            "f.yaml:line 2: batching.max_batch_size: must be an integer from 1 to 1024, not a "
            "list");
  EXPECT_EQ(ErrorOf("server: {strict_readiness: maybe}\n"),
            "f.yaml:line 1: server.strict_readiness: must be true or false, not 'maybe'; known: "
            "true, false");
  EXPECT_EQ(ErrorOf("quantization: {mode: int9}\n"),
            "f.yaml:line 1: quantization.mode: must be one of fp32, bf16, int8, int4, auto, not "
            "'int9'; did you mean 'int8'?");
  EXPECT_EQ(ErrorOf("quantization:\n  mixed_precision:\n    max_float_fraction: 1.5\n"),
            "f.yaml:line 3: quantization.mixed_precision.max_float_fraction: must be a number from "
            "0 to 1, not '1.5'");
  EXPECT_EQ(ErrorOf("models: [{name: a, version_policy: newest}]\n"),
            "f.yaml:line 1: models[0].version_policy: must be latest, {latest: N}, all or "
            "{specific: [N, ...]}, not 'newest'");
}

TEST(ParseConfig, AccuracyTargetsFitTheirMetric) {
  const auto accuracy = [](const std::string& keys) {
    return absl::StrCat("quantization:\n  accuracy: {", keys, "}\n");
  };
  EXPECT_EQ(Parsed(accuracy("target: 30")).quantization.accuracy.target.value, 30);
  EXPECT_EQ(Parsed(accuracy("metric: cosine, target: 1")).quantization.accuracy.target.value, 1);
  EXPECT_EQ(Parsed(accuracy("target: auto")).quantization.accuracy.target.value, std::nullopt);
  const std::string wrong =
      "f.yaml:line 2: quantization.accuracy.target: must be auto, a number from 0 to 99 or "
      "{max_drop: a number from 0 to 1}, not ";
  EXPECT_EQ(ErrorOf(accuracy("target: 100")), wrong + "'100'");
  EXPECT_EQ(ErrorOf(accuracy("target: {max_drop: 2}")), wrong + "a section");
  const std::string where = "f.yaml:line 2: quantization.accuracy: ";
  EXPECT_EQ(ErrorOf(accuracy("metric: agreement, target: 20")),
            where + "target must be from 0 to 1 for this metric");
  EXPECT_EQ(ErrorOf(accuracy("target: {max_drop: 0.1}")),
            where + "target {max_drop: ...} is for metrics top1 and f1");
  EXPECT_EQ(ErrorOf(accuracy("metric: top1")),
            where + "metric top1 needs labels: set validation to data that has them");
}

TEST(ParseConfig, FourBitsHaveSettingsOfTheirOwn) {
  const QuantizationConfig quantization = Parsed(R"(
quantization:
  mode: int4
  bits: {weights: 4, activations: 8, bias: 32}
  weights: {scheme: symmetric, granularity: "group:64", error_compensation: none, mixed_gain_db: 1,
            expand: run}
  algorithm_params: {gptq: {damping: 0.1}}
  budget: {threads: 3}
  layers: [{match: /head, mode: int4}]
)")
                                              .quantization;
  EXPECT_EQ(quantization.mode, QuantizationMode::kInt4);
  EXPECT_EQ(quantization.bits.weights, 4);
  EXPECT_EQ(quantization.weights.scheme, WeightScheme::kSymmetric);
  EXPECT_EQ(quantization.weights.granularity.kind, WeightGranularityConfig::Kind::kGroup);
  EXPECT_EQ(quantization.weights.granularity.group, 64);
  EXPECT_EQ(quantization.weights.mixed_gain_db, 1);
  EXPECT_EQ(quantization.weights.expand, WeightExpansion::kRun);
  EXPECT_EQ(quantization.weights.error_compensation, ErrorCompensation::kNone);
  EXPECT_EQ(quantization.algorithm_params.gptq.damping, 0.1);
  EXPECT_EQ(quantization.budget.threads, 3);
  EXPECT_EQ(quantization.layers[0].mode, QuantizationMode::kInt4);
  EXPECT_EQ(Parsed("quantization: {mode: int4, weights: {codebook: decision_tree}}")
                .quantization.weights.codebook,
            "decision_tree");
  EXPECT_EQ(Parsed("quantization: {mode: int8, weights: {granularity: mixed}}")
                .quantization.weights.granularity.kind,
            WeightGranularityConfig::Kind::kMixed);
}

TEST(ParseConfig, SettingsOfWeightsMustAgree) {
  const auto error = [](const std::string& keys) {
    return ErrorOf(absl::StrCat("quantization: {", keys, "}"));
  };
  const std::string where = "f.yaml:line 1: quantization: ";
  EXPECT_EQ(error("mode: int4, bits: {weights: 8}"),
            where + "mode int4 needs bits.weights 4 (Q002)");
  EXPECT_EQ(error("mode: int8, bits: {weights: 4}"),
            where + "bits.weights 4 needs mode int4 (Q002)");
  EXPECT_THAT(error("bits: {activations: 4}"), HasSubstr("bits.activations: must be one of 8"));
  EXPECT_THAT(error("mode: int8, weights: {scheme: asymmetric}"),
              HasSubstr("quantization: weights.scheme asymmetric needs 4 bits"));
  EXPECT_EQ(error("mode: int8, weights: {scheme: asymmetric}, layers: [{match: a, mode: int4}]"),
            "ok");
  for (const char* group : {"16", "48", "2048"}) {
    EXPECT_EQ(error(absl::StrCat("mode: int4, weights: {granularity: 'group:", group, "'}")),
              absl::StrCat(where, "weights.granularity group:", group,
                           " must be of a power of two from 32 to 1024 (Q004)"));
  }
  EXPECT_THAT(error("mode: int8, weights: {granularity: 'group:64'}"), HasSubstr("needs 4 bits"));
  EXPECT_EQ(error("mode: fp32, weights: {granularity: 'group:64'}"), "ok");
  for (const char* group : {"'group:x'", "'group:'", "group", "'group:-32'", "[64]"}) {
    EXPECT_THAT(error(absl::StrCat("mode: int4, weights: {granularity: ", group, "}")),
                HasSubstr("granularity: must be auto, per_channel, per_tensor, mixed or group:N"))
        << group;
  }
  EXPECT_THAT(error("mode: int4, weights: {granularity: per_tensor}"),
              HasSubstr("per_tensor needs 8 bits or a codebook"));
  EXPECT_EQ(error("mode: int4, weights: {granularity: per_tensor, codebook: least_squares}"), "ok");
  EXPECT_EQ(error("mode: int8, weights: {codebook: least_squares}"),
            where + "weights.codebook least_squares needs 4 bits, mode int4 (Q005)");
  EXPECT_EQ(error("mode: int4, weights: {codebook: least_squares, error_compensation: gptq}"),
            where + "weights.codebook excludes error_compensation gptq (Q005)");
}

TEST(ParseConfig, FormatsOfReportsAreAList) {
  const auto error = [](const std::string& value) {
    return ErrorOf(absl::StrCat("quantization: {report: {formats: ", value, "}}"));
  };
  EXPECT_EQ(error("[json, html]"), "ok");
  for (const char* value : {"json", "[]", "[json, json]", "[pdf]", "[[json]]"}) {
    EXPECT_THAT(error(value), HasSubstr("must be a list of one or more of text, json, html"))
        << value;
  }
}

TEST(ParseConfig, ParametersOfAlgorithmsHaveLimits) {
  const auto error = [](const std::string& keys) {
    return ErrorOf(absl::StrCat("quantization: {algorithm_params: {", keys, "}}"));
  };
  EXPECT_EQ(error("histogram_equalization: {gamma: 1, bins: 65536}"), "ok");
  EXPECT_EQ(error("histogram_equalization: {gamma: auto, bins: auto}"), "ok");
  EXPECT_THAT(error("histogram_equalization: {gamma: 1.5}"),
              HasSubstr("gamma: must be a number above 0 up to 1, or auto, not '1.5'"));
  EXPECT_THAT(error("histogram_equalization: {bins: -1}"), HasSubstr("bins: must be an integer"));
  EXPECT_THAT(error("percentile: 50000"), HasSubstr("percentile: must be a number from 50 to 100"));
  EXPECT_THAT(error("decision_tree: {growth: best}"), HasSubstr("growth: must be one of"));
}

TEST(ParseConfig, RangesByTokenAreMeasuredWhileServing) {
  const auto error = [](const std::string& keys) {
    return ErrorOf(absl::StrCat("quantization: {", keys, "}"));
  };
  const std::string needs =
      "activations.granularity per_token needs activations.timing dynamic (Q007)";
  const std::string where = "f.yaml:line 1: quantization: ";
  EXPECT_EQ(error("activations: {granularity: per_token}"), where + needs);
  EXPECT_EQ(error("activations: {granularity: per_token, timing: dynamic}"), "ok");
  EXPECT_EQ(error("activations: {granularity: per_tensor, timing: static}"), "ok");
  EXPECT_EQ(error("layers: [{match: a, activations: {granularity: per_token}}]"),
            where + "layers: match a: " + needs);
  EXPECT_EQ(error("activations: {timing: dynamic}, "
                  "layers: [{match: a, activations: {granularity: per_token}}]"),
            "ok");
  EXPECT_EQ(error("layers: [{match: a, activations: {granularity: per_token, timing: dynamic}}]"),
            "ok");
}

TEST(ParseConfig, SectionsAndListsMustBeThat) {
  EXPECT_EQ(
      ErrorOf("server: 8001\n"),
      "f.yaml:line 1: server: must be a section with 'address: ...' and the like, not '8001'");
  EXPECT_EQ(ErrorOf("server:\n- grpc_port: 1\n"),
            "f.yaml:line 1: server: must be a section with 'address: ...' and the like, not a "
            "list");
  EXPECT_EQ(ErrorOf("models: {name: a}\n"),
            "f.yaml:line 1: models: must be a list of sections, not a section");
  EXPECT_EQ(ErrorOf("models: [a]\n"),
            "f.yaml:line 1: models[0]: must be a section with 'name: ...' and the like, not 'a'");
  EXPECT_EQ(ErrorOf("server:\nmodels:\nlog:\n"), "ok") << "sections whose lines are commented out";
}

TEST(ParseConfig, WhatIsPlannedIsRefusedAsSuch) {
  EXPECT_EQ(ErrorOf("models:\n- name: a\n  quantization: {calibration: {batch: 8}}\n"),
            "f.yaml:line 3: models[0].quantization.calibration.batch: not supported in this "
            "version");
  EXPECT_EQ(ErrorOf("quantization: {transforms: {attention_matmul: int8}}\n"),
            "f.yaml:line 1: quantization.transforms.attention_matmul: 'int8' is not supported in "
            "this version; must be one of auto, bf16, float");
  EXPECT_EQ(ErrorOf("quantization: {weights: {expand: float}}\n"),
            "f.yaml:line 1: quantization.weights.expand: 'float' is not supported in this version; "
            "must be one of load, run");
}

// Whatever leaves the list must become a row, and whatever is a row must leave the list.
TEST(Unsupported, NoneOfThemIsTaken) {
  for (const std::string& setting : UnsupportedSettings()) {
    const size_t colon = setting.find(": ");
    std::string path = setting.substr(0, colon);
    std::string value = colon == std::string::npos ? "1" : setting.substr(colon + 2);
    constexpr absl::string_view kLayers = "quantization.layers.";
    if (path.rfind(std::string(kLayers), 0) == 0) {
      const std::string text =
          "quantization: {layers: [{" + path.substr(kLayers.size()) + ": '" + value + "'}]}";
      EXPECT_THAT(ErrorOf(text), HasSubstr("not supported in this version")) << setting;
      continue;
    }
    EXPECT_THAT(ErrorOf("", {{"--flag", path, value}}), HasSubstr("not supported in this version"))
        << setting;
  }
}

TEST(ParseConfig, SettingsMustAgree) {
  EXPECT_EQ(ErrorOf("server:\n  tls:\n    key: k\n"),
            "f.yaml:line 2: server.tls: certificate and key belong together, but certificate is "
            "missing");
  EXPECT_EQ(ErrorOf("server:\n  tls: {client_ca: c}\n"),
            "f.yaml:line 2: server.tls: client_ca needs certificate and key");
  EXPECT_EQ(ErrorOf("quantization: {activations: {timing: static}, calibration: {source: "
                    "dynamic}}\n"),
            "f.yaml:line 1: quantization: activations.timing static needs data, but "
            "calibration.source is dynamic");
  EXPECT_EQ(ErrorOf("quantization: {activations: {timing: static}}\nmodels:\n- name: a\n"
                    "  quantization: {calibration: {source: dynamic}}\n"),
            "f.yaml:line 4: models[0].quantization: activations.timing static needs data, but "
            "calibration.source is dynamic");
}

TEST(ParseConfig, PortsMustDiffer) {
  EXPECT_EQ(ErrorOf("log:\nserver: {grpc_port: 8002}\n"),
            "server: grpc_port (f.yaml line 2) and http_port (default) must differ, but both are "
            "8002");
  EXPECT_EQ(ErrorOf("server: {grpc_port: 0, http_port: 0}\n"), "ok");
  EXPECT_EQ(ErrorOf("server: {grpc_port: 8002}\n", {{"--http-port", "server.http_port", "1"}}),
            "ok");
}

TEST(ParseConfig, ModelsNeedNamesOfTheirOwn) {
  EXPECT_EQ(ErrorOf("models:\n- path: a\n"), "f.yaml:line 2: models[0]: name is missing");
  EXPECT_EQ(ErrorOf("models:\n- name: a\n- name: b\n- name: a\n"),
            "f.yaml:line 4: models[2]: 'a' is listed twice");
  EXPECT_EQ(ErrorOf("models:\n- name: a/b\n"),
            "f.yaml:line 2: models[0]: name must not contain '/'");
  EXPECT_EQ(ErrorOf("quantization: {layers: [{mode: fp32}]}\n"),
            "f.yaml:line 1: quantization.layers[0]: match is missing");
}

TEST(ParseConfig, LayersAreChosenByNameOrOperator) {
  const QuantizationConfig quantization = Parsed(R"(
quantization:
  mode: auto
  strict: true
  mixed_precision: {fallback: bf16}
  layers:
    - {match: "op:Conv[group=in_channels]", weights: {algorithm: minmax, granularity: per_tensor}}
    - {match: "op:*MatMul", activations: {algorithm: percentile, timing: dynamic}}
    - {match: "/head/*", mode: bf16}
)")
                                              .quantization;
  EXPECT_EQ(quantization.mode, QuantizationMode::kAuto);
  EXPECT_TRUE(quantization.strict);
  EXPECT_EQ(quantization.mixed_precision.fallback, FloatFallback::kBFloat16);
  ASSERT_EQ(quantization.layers.size(), 3u);
  const LayerRule& depthwise = quantization.layers[0];
  EXPECT_EQ(depthwise.match, "op:Conv[group=in_channels]");
  EXPECT_FALSE(depthwise.mode.has_value());
  EXPECT_EQ(depthwise.weights.algorithm, "minmax");
  EXPECT_EQ(depthwise.weights.granularity, LayerGranularity::kPerTensor);
  EXPECT_FALSE(depthwise.activations.timing.has_value());
  EXPECT_EQ(quantization.layers[1].activations.algorithm, "percentile");
  EXPECT_EQ(quantization.layers[1].activations.timing, ActivationTiming::kDynamic);
  EXPECT_EQ(quantization.layers[2].mode, QuantizationMode::kBFloat16);
}

TEST(ParseConfig, RulesForLayersMustSaySomething) {
  const auto error = [](const std::string& rule) {
    return ErrorOf("quantization: {layers: [" + rule + "]}\n");
  };
  EXPECT_EQ(error("{match: a}"),
            "f.yaml:line 1: quantization.layers[0]: sets nothing: mode, weights or activations is "
            "missing");
  EXPECT_THAT(error("{match: a, mode: auto}"), HasSubstr("must be one of fp32, bf16, int8, int4"));
  EXPECT_THAT(error("{match: 'op:', mode: fp32}"), HasSubstr("must be a glob on node names"));
  EXPECT_THAT(error("{match: 'op:Conv[group=2]', mode: fp32}"), HasSubstr("must be a glob"));
  EXPECT_THAT(error("{match: a, activations: {timing: auto}}"),
              HasSubstr("must be one of static, dynamic"));
  EXPECT_THAT(ErrorOf("quantization: {calibration: {source: dynamic}, layers: [{match: a, "
                      "activations: {timing: static}}]}\n"),
              HasSubstr("activations.timing static of match a needs data"));
}

TEST(CheckServable, WantsARepositoryOrPaths) {
  EXPECT_THAT(std::string(CheckServable(Parsed("")).message()), HasSubstr("nothing to serve"));
  EXPECT_TRUE(CheckServable(Parsed("model_repository: a\n")).ok());
  EXPECT_TRUE(CheckServable(Parsed("models: [{name: a, path: a.onnx}]\n")).ok());
  EXPECT_THAT(std::string(CheckServable(Parsed("models: [{name: a}]\n")).message()),
              HasSubstr("model 'a' has no path"));
}

class LoadConfigTest : public testing::Test {
 protected:
  LoadConfigTest()
      : folder_(std::filesystem::path(testing::TempDir()) /
                (std::string("octet_") +
                 testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::create_directories(folder_);
  }
  ~LoadConfigTest() override { std::filesystem::remove_all(folder_); }

  std::string Write(const std::string& text) const {
    const std::string path = (folder_ / "octet.yaml").string();
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }

  std::filesystem::path folder_;
};

TEST_F(LoadConfigTest, PathsAreLookedForBesideTheFile) {
  std::filesystem::create_directories(folder_ / "models");
  const absl::StatusOr<LoadedConfig> loaded = LoadConfig(
      Write("model_repository: models\nquantization: {calibration: {path: elsewhere}}\n"));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->config.model_repository, (folder_ / "models").string());
  EXPECT_EQ(loaded->config.quantization.calibration.path, "elsewhere");
}

TEST_F(LoadConfigTest, OriginsTellWhoSetWhat) {
  const std::string path = Write("server:\n  grpc_port: 1\n  http_port: 2\n");
  const std::vector<FlagValue> flags = {{"--http-port", "server.http_port", "3"}};
  const absl::StatusOr<LoadedConfig> loaded = LoadConfig(path, flags);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->origins.at("server.grpc_port"), path + " line 2");
  EXPECT_EQ(loaded->origins.at("server.http_port"), "flag --http-port");
  EXPECT_FALSE(loaded->origins.contains("server.address"));
}

TEST_F(LoadConfigTest, FlagsAloneAreEnough) {
  const std::vector<FlagValue> flags = {{"--model-repository", "model_repository", "models"}};
  const absl::StatusOr<LoadedConfig> loaded = LoadConfig("", flags);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->config.model_repository, "models");
}

TEST_F(LoadConfigTest, FilesThatCannotBeRead) {
  const std::string absent = (folder_ / "absent.yaml").string();
  EXPECT_EQ(LoadConfig(absent).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(LoadConfig(absent).status().message()), HasSubstr("absent.yaml"));
  EXPECT_THAT(std::string(LoadConfig(folder_.string()).status().message()),
              HasSubstr("is a folder, not a file"));
}

TEST_F(LoadConfigTest, AFileOverOneMebibyteIsRefused) {
  EXPECT_THAT(std::string(LoadConfig(Write(std::string(1'153'434, ' '))).status().message()),
              HasSubstr("longer than 1048576 bytes"));
  EXPECT_THAT(std::string(LoadConfig("/dev/zero").status().message()),
              HasSubstr("longer than 1048576 bytes"));
}

}  // namespace
}  // namespace octet::server
