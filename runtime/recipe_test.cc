#include "runtime/recipe.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using graph::ValueId;
using testing::GraphBuilder;
using ::testing::HasSubstr;
using testing::RandomFloats;

RecipeChoice Detected(GraphBuilder& builder, ValueId output) {
  builder.Output(output, "y");
  const auto network = builder.Finish();
  const auto choice = DetectRecipe(network.graph, network.example_shapes);
  EXPECT_TRUE(choice.ok()) << choice.status();
  return *choice;
}

ValueId Convolution(GraphBuilder& builder, ValueId x, int64_t from, int64_t to, int64_t group) {
  static uint32_t count = 0;
  const std::string name = absl::StrCat("conv", ++count);
  return builder.Apply(
      "Conv", name,
      {x, builder.Constant(name + ".w", RandomFloats({to, from / group, 3, 3}, count))},
      {{"group", group}});
}

ValueId Product(GraphBuilder& builder, ValueId x, int64_t from, int64_t to) {
  static uint32_t count = 0;
  const std::string name = absl::StrCat("product", ++count);
  return builder.Apply("MatMul", name,
                       {x, builder.Constant(name + ".w", RandomFloats({from, to}, count))});
}

// Softmax(q k) v, with q, k and v projected; `moved`: through an Identity.
ValueId Attention(GraphBuilder& builder, ValueId x, bool moved) {
  static int count = 0;
  const std::string name = absl::StrCat("attention", ++count);
  const ValueId keys = builder.Apply("Transpose", name + ".keys", {Product(builder, x, 32, 32)},
                                     {{"perm", std::vector<int64_t>{0, 2, 1}}});
  const ValueId scores =
      builder.Apply("MatMul", name + ".scores", {Product(builder, x, 32, 32), keys});
  ValueId weights = builder.Apply("Softmax", name + ".softmax", {scores});
  if (moved) weights = builder.Apply("Identity", name + ".moved", {weights});
  return builder.Apply("MatMul", name, {weights, Product(builder, x, 32, 32)});
}

TEST(DetectRecipe, Convolutions) {
  GraphBuilder builder;
  ValueId x = builder.Input("x", {kUnknownDim, 16, 32, 32});
  for (int i = 0; i < 3; ++i) x = Convolution(builder, x, 16, 16, 1);
  const RecipeChoice choice = Detected(builder, x);
  EXPECT_EQ(choice.recipe, Recipe::kCnn);
  EXPECT_THAT(choice.reason, HasSubstr("100 % of the work in convolutions"));
}

TEST(DetectRecipe, DepthwiseConvolutions) {
  GraphBuilder builder;
  ValueId x = builder.Input("x", {kUnknownDim, 16, 32, 32});
  for (int i = 0; i < 3; ++i)
    x = Convolution(builder, Convolution(builder, x, 16, 16, 1), 16, 16, 16);
  EXPECT_EQ(Detected(builder, x).recipe, Recipe::kMobileCnn);
}

TEST(DetectRecipe, AttentionMakesATransformer) {
  GraphBuilder builder;
  ValueId x = builder.Input("x", {kUnknownDim, 8, 32});
  x = Attention(builder, Attention(builder, x, false), true);
  const RecipeChoice choice = Detected(builder, x);
  EXPECT_EQ(choice.recipe, Recipe::kTransformer);
  EXPECT_THAT(choice.reason, HasSubstr("2 attention products"));
}

TEST(DetectRecipe, AClassifierIsNoTransformer) {
  GraphBuilder builder;
  ValueId x = builder.Input("x", {kUnknownDim, 32});
  x = builder.Apply("Relu", "relu", {Product(builder, x, 32, 64)});
  x = builder.Apply("Softmax", "softmax", {Product(builder, x, 64, 16)});
  EXPECT_EQ(Detected(builder, x).recipe, Recipe::kMlp);
}

TEST(DetectRecipe, AttentionBesideMuchConvolutionIsACnn) {
  GraphBuilder builder;
  const ValueId image = builder.Input("x", {kUnknownDim, 32, 40, 40});
  ValueId x = Convolution(builder, image, 32, 32, 1);
  x = builder.Apply(
      "Reshape", "tokens",
      {x, builder.Constant("shape", Tensor::Of<int64_t>({3}, std::vector<int64_t>{0, 32, -1}))});
  x = builder.Apply("Transpose", "last", {x}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
  x = Attention(builder, Attention(builder, x, false), false);
  EXPECT_EQ(Detected(builder, x).recipe, Recipe::kCnn);
}

TEST(DetectRecipe, NothingToQuantizeIsNone) {
  GraphBuilder builder;
  const ValueId x = builder.Input("x", {kUnknownDim, 32});
  EXPECT_EQ(Detected(builder, builder.Apply("Relu", "relu", {x})).recipe, Recipe::kNone);
}

TEST(ChooseRecipe, WhatIsConfiguredWins) {
  GraphBuilder builder;
  const ValueId x = builder.Input("x", {kUnknownDim, 32});
  builder.Output(builder.Apply("Relu", "relu", {x}), "y");
  const auto network = builder.Finish();
  const auto choice = ChooseRecipe(network.graph, network.example_shapes, Recipe::kTransformer);
  EXPECT_EQ(choice->recipe, Recipe::kTransformer);
  EXPECT_EQ(choice->reason, "configured");
}

}  // namespace
}  // namespace octet::runtime
