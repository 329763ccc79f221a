#include "runtime/warm_start.h"

#include <fstream>
#include <functional>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cpu.h"
#include "runtime/evaluate.h"
#include "runtime/fingerprint.h"
#include "runtime/load.h"
#include "runtime/pack_file.h"
#include "runtime/quantize_report.h"
#include "tests/support/npy_writer.h"
#include "tests/support/random_tensor.h"
#include "tests/support/temporary_directory.h"

namespace octet::runtime {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

// Stages that only a cold start has.
const std::set<std::string>& Work() {
  static const auto* const kWork = new std::set<std::string>{
      "read calibration data", "calibrate",        "choose ranges",     "search precisions",
      "measure layers",        "quantize weights", "smooth activations"};
  return *kWork;
}

class WarmStartTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::copy(OCTET_EXAMPLES "/models/digits/1/model.onnx", folder_.path() / "model.onnx");
    WriteSamples(1);
    options_.max_batch_size = 2;
    options_.mode = Mode::kInt8;
    options_.calibration_path = (folder_.path() / "samples.npy").string();
    options_.cache = {.read = true, .write = true, .configuration = "mode: int8"};
    options_.progress = [this](absl::string_view stage, const std::string&) {
      const std::string name(stage);
      if (Work().contains(name)) ++work_;
    };
  }

  void WriteSamples(uint32_t seed) {
    folder_.Write("samples.npy", testing::Npy(testing::RandomFloats({12, 1, 8, 8}, seed), "<f4"));
  }

  PreparedModel Prepare() {
    work_ = 0;
    absl::StatusOr<PreparedModel> model = PrepareModel(Model(), options_);
    EXPECT_TRUE(model.ok()) << model.status();
    return *std::move(model);
  }

  void ExpectCold(const std::string& reason) {
    const PreparedModel model = Prepare();
    EXPECT_THAT(model.quantization->start, StartsWith("cold: "));
    EXPECT_THAT(model.quantization->start, HasSubstr(reason));
    EXPECT_THAT(model.warnings, IsEmpty()) << "what is expected needs no warning";
    EXPECT_GT(work_, 0);
    ExpectWarm();
  }
  void ExpectWarm() {
    EXPECT_EQ(Prepare().quantization->start, absl::StrCat("warm: ", Pack()));
    EXPECT_EQ(work_, 0);
  }

  std::string Model() const { return (folder_.path() / "model.onnx").string(); }
  std::string Pack() const {
    return (folder_.path() / absl::StrCat("model.", kernels::InstructionSet(), ".qpack")).string();
  }
  std::string PackBytes() const {
    std::ifstream stream(Pack(), std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  testing::TemporaryDirectory folder_;
  LoadOptions options_;
  int work_ = 0;
};

TEST_F(WarmStartTest, TheSecondStartDecidesNothingAndMakesTheSameNetwork) {
  const PreparedModel cold = Prepare();
  EXPECT_EQ(cold.quantization->start, absl::StrCat("cold: ", Pack(), ": not there"));
  EXPECT_GT(work_, 0);
  const PreparedModel warm = Prepare();
  EXPECT_EQ(warm.quantization->start, absl::StrCat("warm: ", Pack()));
  EXPECT_EQ(work_, 0);
  EXPECT_EQ(Fingerprint(warm.graph), Fingerprint(cold.graph));
  EXPECT_GT(warm.quantization->checked_layers, 0) << "kernels are proved at every start";
  std::vector<std::vector<Tensor>> samples;
  samples.reserve(8);
  for (uint32_t i = 0; i < 8; ++i) samples.push_back({testing::RandomFloats({1, 1, 8, 8}, 90 + i)});
  kernels::WeightCache a, b;
  EXPECT_EQ(CompareOutputs(*RunAll(cold.graph, samples, a), *RunAll(warm.graph, samples, b), {})
                .relative_error,
            0);
  // The report is that of the work, but for what this start took.
  QuantizeReport report = *warm.quantization;
  report.seconds = cold.quantization->seconds;
  report.self_check_seconds = cold.quantization->self_check_seconds;
  report.start = cold.quantization->start;
  EXPECT_EQ(ReportText(report), ReportText(*cold.quantization));
  EXPECT_THAT(warm.warnings, ElementsAre());
}

// Each keeps weights in another form.
TEST_F(WarmStartTest, EveryModeStartsWarm) {
  std::vector<std::pair<std::string, std::function<void(LoadOptions&)>>> modes = {
      {"bf16", [](LoadOptions& options) { options.mode = Mode::kBFloat16; }},
      {"int4", [](LoadOptions& options) { options.mode = Mode::kInt4; }},
      {"int4 run",
       [](LoadOptions& options) { options.quantization.four_bits.expand_at_run = true; }},
      {"codebook",
       [](LoadOptions& options) { options.quantization.four_bits.codebook = "least_squares"; }},
      {"int8 with a float layer", [](LoadOptions& options) {
         options.mode = Mode::kInt8;
         options.quantization.layers = {{.match = "op:Gemm", .mode = Mode::kFloat32}};
       }}};
  if (!ThisProcessor().bfloat16) modes.erase(modes.begin());
  options_.quantization.target_is_set = false;
  options_.quantization.layers = {{.match = "op:*", .mode = Mode::kInt4}};
  for (const auto& [name, change] : modes) {
    SCOPED_TRACE(name);
    change(options_);
    if (name == "bf16") options_.quantization.layers.clear();
    if (name == "int4") options_.quantization.layers = {{.match = "op:*", .mode = Mode::kInt4}};
    options_.cache.configuration = name;
    const PreparedModel cold = Prepare();
    EXPECT_THAT(cold.quantization->start, StartsWith("cold: "));
    const PreparedModel warm = Prepare();
    EXPECT_EQ(warm.quantization->start, absl::StrCat("warm: ", Pack()));
    EXPECT_EQ(graph::ToText(warm.graph), graph::ToText(cold.graph));
    EXPECT_EQ(Sum(*warm.quantization).resident, Sum(*cold.quantization).resident);
    EXPECT_EQ(warm.mode, cold.mode);
    std::vector<std::vector<Tensor>> samples = {{testing::RandomFloats({1, 1, 8, 8}, 90)}};
    kernels::WeightCache a, b;
    EXPECT_EQ(CompareOutputs(*RunAll(cold.graph, samples, a), *RunAll(warm.graph, samples, b), {})
                  .relative_error,
              0);
  }
}

TEST_F(WarmStartTest, WithoutACacheNothingIsWrittenOrRead) {
  options_.cache = {};
  EXPECT_EQ(Prepare().quantization->start, "");
  EXPECT_FALSE(fs::exists(Pack()));
}

TEST_F(WarmStartTest, OtherDataOrSettingsAreAColdStart) {
  Prepare();
  ExpectWarm();
  WriteSamples(2);
  ExpectCold("the calibration data is another");
  options_.cache.configuration = "mode: int8, algorithm: minmax";
  ExpectCold("the configuration is another");
  options_.validation_path = options_.calibration_path;
  ExpectCold("the calibration data is another");
  options_.dynamic = true;
  ExpectCold("the calibration data is another");
}

TEST_F(WarmStartTest, AnotherModelIsAColdStart) {
  Prepare();
  // The same model with another bias: a few bytes in the middle.
  std::string model;
  {
    std::ifstream stream(Model(), std::ios::binary);
    model.assign(std::istreambuf_iterator<char>(stream), {});
  }
  model[model.size() / 2] = static_cast<char>(model[model.size() / 2] ^ 1);
  folder_.Write("model.onnx", model);
  ExpectCold("the model is another");
}

TEST_F(WarmStartTest, AFileForAnotherProcessorOrByAnotherBuildIsNotTaken) {
  Prepare();
  absl::StatusOr<QuantizedPack> pack = ReadPack(Pack());
  ASSERT_TRUE(pack.ok()) << pack.status();
  const QuantizedPack original = *pack;
  pack->key.processor = "avx1024";
  folder_.Write(fs::path(Pack()).filename().string(), EncodePack(*pack));
  ExpectCold(absl::StrCat("it is for avx1024, the processor is ", kernels::InstructionSet()));
  *pack = original;
  pack->key.software = "build 0";
  folder_.Write(fs::path(Pack()).filename().string(), EncodePack(*pack));
  ExpectCold("it is by build 0");
}

TEST_F(WarmStartTest, DamageIsToldAndNeverTrusted) {
  const PreparedModel cold = Prepare();
  const std::string bytes = PackBytes();
  const std::string name = fs::path(Pack()).filename().string();
  std::string flipped = bytes;
  flipped[bytes.size() - 1000] = static_cast<char>(flipped[bytes.size() - 1000] ^ 4);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {bytes.substr(0, bytes.size() / 2), "it ends too early"},
      {flipped, "damaged: section"},
      {"PK and so on", "not a .qpack file"},
      {"", "not a .qpack file"}};
  for (const auto& [content, why] : cases) {
    folder_.Write(name, content);
    const PreparedModel model = Prepare();
    EXPECT_THAT(model.warnings,
                ElementsAre(::testing::AllOf(StartsWith("quantization.cache: "), HasSubstr(why),
                                             HasSubstr("quantized anew"))));
    EXPECT_GT(work_, 0);
    EXPECT_EQ(Fingerprint(model.graph), Fingerprint(cold.graph));
    ExpectWarm();
  }
}

// Right in every digest of the file, and yet not what was kept.
TEST_F(WarmStartTest, AForgedNetworkIsNotTaken) {
  const PreparedModel cold = Prepare();
  const std::string name = fs::path(Pack()).filename().string();
  const QuantizedPack original = *ReadPack(Pack());
  const std::vector<std::function<void(QuantizedPack&)>> forgeries = {
      [](QuantizedPack& pack) { pack.network[pack.network.size() / 2] ^= 1; },
      [](QuantizedPack& pack) { pack.network.clear(); },
      [](QuantizedPack& pack) { pack.fingerprint = "0"; }};
  for (size_t i = 0; i < forgeries.size(); ++i) {
    QuantizedPack pack = original;
    forgeries[i](pack);
    folder_.Write(name, EncodePack(pack));
    const PreparedModel model = Prepare();
    EXPECT_EQ(model.warnings.size(), 1u) << i;
    EXPECT_THAT(model.quantization->start, StartsWith("cold: ")) << i;
    EXPECT_EQ(Fingerprint(model.graph), Fingerprint(cold.graph)) << i;
  }
}

TEST_F(WarmStartTest, AFolderThatCannotBeWrittenToIsNoError) {
  options_.cache.folder = "/proc/octet";  // asked for, so that it is worth a warning
  const PreparedModel asked = Prepare();
  EXPECT_THAT(asked.warnings, ElementsAre(HasSubstr("quantization.cache: ")));
  options_.cache.folder = (folder_.path() / "cache" / "of" / "packs").string();
  EXPECT_THAT(Prepare().warnings, IsEmpty());
  const PreparedModel warm = Prepare();
  EXPECT_THAT(warm.quantization->start, StartsWith("warm: "));
}

TEST_F(WarmStartTest, StaticWithoutSamplesIsRefusedWarmOrCold) {
  options_.dynamic = true;
  Prepare();
  options_.dynamic = false;
  options_.calibration_path.clear();
  options_.samples_required = true;
  EXPECT_EQ(PrepareModel(Model(), options_).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(WarmStartTest, AReloadMakesTheSameFromTheFileOrWithoutIt) {
  const PreparedModel cold = Prepare();
  LoadOptions again = options_;
  again.cache = {};
  again.quantization.decided = DecisionsOf(*cold.quantization);
  for (const bool with_pack : {true, false}) {
    again.earlier = {cold.files, cold.smoothing, with_pack ? cold.pack : "", cold.fingerprint};
    work_ = 0;
    const absl::StatusOr<PreparedModel> model = PrepareModel(Model(), again);
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(Fingerprint(model->graph), Fingerprint(cold.graph));
    EXPECT_TRUE(!with_pack || work_ == 0) << work_;
  }
}

}  // namespace
}  // namespace octet::runtime
