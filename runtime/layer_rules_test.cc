#include "runtime/layer_rules.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/operator.h"
#include "runtime/mode.h"

namespace octet::runtime {
namespace {

using graph::NodeId;
using graph::ValueId;
using quant::Precision;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Tensor Zeros(Shape shape) { return *Tensor::Allocate(DataType::kFloat32, std::move(shape)); }

// A dense convolution of one channel, a depthwise one, and a product.
class Layers {
 public:
  Layers() : graph_(kernels::Registry()) {
    const ValueId image = graph_.AddInput({}, "image", {.shape = {1, 1, 4, 4}});
    ValueId value = graph_.Apply("Conv", "/stem/conv", {image, Constant({32, 1, 1, 1})}, {}, {});
    value = graph_.Apply("Conv", "/body/depthwise", {value, Constant({32, 1, 3, 3})},
                         {{"group", int64_t{32}}}, {});
    value = graph_.Apply("MatMul", "op:odd*name", {value, Constant({2, 40})}, {}, {});
    graph_.AddOutput(value, "y", DataType::kFloat32);
    for (const NodeId id : graph_.Nodes()) layers_.push_back(id);
  }

  // The names of the layers that a rule with this match is for.
  std::vector<std::string> MatchedBy(const LayerRule& rule) const {
    std::vector<std::string> names;
    for (const NodeId id : layers_) {
      const graph::Node& node = graph_.node(id);
      if (RuleFor({rule}, node, graph_.value(node.inputs[1]).type.shape) != nullptr) {
        names.push_back(node.name);
      }
    }
    return names;
  }
  std::vector<std::string> MatchedBy(const std::string& match) const {
    return MatchedBy(LayerRule{.match = match});
  }

  std::vector<std::string> WithoutLayers(const std::vector<LayerRule>& rules) const {
    return RulesWithoutLayers(rules, graph_, layers_);
  }

 private:
  ValueId Constant(Shape shape) { return graph_.AddConstant("w", Zeros(std::move(shape))); }

  graph::Graph graph_;
  std::vector<NodeId> layers_;
};

TEST(LayerRules, NamesMatchByGlob) {
  const Layers layers;
  EXPECT_THAT(layers.MatchedBy("/body/*"), ElementsAre("/body/depthwise"));
  EXPECT_THAT(layers.MatchedBy("/*"), ElementsAre("/stem/conv", "/body/depthwise"));
  EXPECT_THAT(layers.MatchedBy("body"), IsEmpty());
}

TEST(LayerRules, OperatorsMatchByGlobAndKind) {
  const Layers layers;
  EXPECT_THAT(layers.MatchedBy("op:Conv"), ElementsAre("/stem/conv", "/body/depthwise"));
  EXPECT_THAT(layers.MatchedBy("op:*Mul"), ElementsAre("op:odd*name"));
  EXPECT_THAT(layers.MatchedBy("op:Gemm"), IsEmpty());
  EXPECT_THAT(layers.MatchedBy("op:Conv[group=in_channels]"), ElementsAre("/body/depthwise"));
  EXPECT_THAT(layers.MatchedBy("op:MatMul[group=in_channels]"), IsEmpty());
}

TEST(LayerRules, ARuleForANameMatchesNoOther) {
  const Layers layers;
  EXPECT_THAT(layers.MatchedBy(RuleForName("op:odd*name", Mode::kFloat32)),
              ElementsAre("op:odd*name"));
  EXPECT_THAT(layers.MatchedBy(RuleForName("/body/*", Mode::kFloat32)), IsEmpty());
}

TEST(LayerRules, ThoseWithoutLayersAreTold) {
  const Layers layers;
  EXPECT_THAT(layers.WithoutLayers({{.match = "op:Conv"}, {.match = "/stem/*"}}), IsEmpty());
  EXPECT_THAT(layers.WithoutLayers({{.match = "op:Conv"}, {.match = "/head/*"}}),
              ElementsAre(AllOf(HasSubstr("Q016: "), HasSubstr("'/head/*'"))));
}

TEST(LayerRules, TheLadderGoesUpwards) {
  using P = Precision;
  EXPECT_THAT(LadderOf(P::kInt8, "MatMul", Fallback::kAuto, true),
              ElementsAre(P::kInt8, P::kInt8Dynamic, P::kBFloat16, P::kFloat32));
  EXPECT_THAT(LadderOf(P::kInt8, "Conv", Fallback::kAuto, true),
              ElementsAre(P::kInt8, P::kBFloat16, P::kFloat32));
  EXPECT_THAT(LadderOf(P::kInt8, "Conv", Fallback::kAuto, false),
              ElementsAre(P::kInt8, P::kFloat32));
  EXPECT_THAT(LadderOf(P::kInt8, "Conv", Fallback::kFloat32, true),
              ElementsAre(P::kInt8, P::kFloat32));
  EXPECT_THAT(LadderOf(P::kInt8Dynamic, "Gemm", Fallback::kBFloat16, true),
              ElementsAre(P::kInt8Dynamic, P::kBFloat16));
  // There is none: float32 is what is left.
  EXPECT_THAT(LadderOf(P::kInt8, "Conv", Fallback::kBFloat16, false),
              ElementsAre(P::kInt8, P::kFloat32));
  EXPECT_THAT(LadderOf(P::kBFloat16, "Conv", Fallback::kAuto, true),
              ElementsAre(P::kBFloat16, P::kFloat32));
  EXPECT_THAT(LadderOf(P::kFloat32, "Conv", Fallback::kAuto, true), ElementsAre(P::kFloat32));
}

TEST(Mode, AutoTakesWhatTheProcessorIsMadeFor) {
  const auto resolved = [](bool vnni, bool bfloat16) {
    return Resolve(Mode::kAuto, {.instruction_set = "isa", .vnni = vnni, .bfloat16 = bfloat16});
  };
  EXPECT_EQ(resolved(true, true).mode, Mode::kInt8);
  EXPECT_EQ(resolved(true, false).mode, Mode::kInt8);
  EXPECT_EQ(resolved(false, true).mode, Mode::kBFloat16);
  EXPECT_EQ(resolved(false, false).mode, Mode::kFloat32);
  EXPECT_THAT(resolved(true, false).reason, AllOf(HasSubstr("auto: "), HasSubstr("(isa)")));
  EXPECT_THAT(resolved(false, false).warnings, IsEmpty());
}

TEST(Mode, BFloat16ThatIsNotNativeBecomesFloat32) {
  const Processor without = {.instruction_set = "avx512_core_vnni", .vnni = true};
  const ResolvedMode resolved = Resolve(Mode::kBFloat16, without);
  EXPECT_EQ(resolved.mode, Mode::kFloat32);
  EXPECT_THAT(resolved.warnings,
              ElementsAre(AllOf(HasSubstr("Q013: "), HasSubstr("avx512_core_vnni"))));
  EXPECT_EQ(Resolve(Mode::kBFloat16, {.bfloat16 = true}).mode, Mode::kBFloat16);
  EXPECT_EQ(Resolve(Mode::kInt8, {}).mode, Mode::kInt8);
  EXPECT_EQ(Resolve(Mode::kFloat32, {.vnni = true, .bfloat16 = true}).mode, Mode::kFloat32);
}

TEST(Mode, SaturationIsToldWhereThereIsSome) {
  EXPECT_EQ(SaturationWarning({.vnni = true}, true), "");
  EXPECT_THAT(SaturationWarning({.instruction_set = "avx2"}, true),
              AllOf(HasSubstr("Q014: "), HasSubstr("avx2"), HasSubstr("reduced")));
  EXPECT_THAT(SaturationWarning({}, false), HasSubstr("float32"));
}

}  // namespace
}  // namespace octet::runtime
