// Defaults of quantization for a kind of network, found by looking at it.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "graph/graph.h"

namespace octet::runtime {

enum class Recipe : uint8_t {
  kNone,
  kCnn,          // most work in convolutions
  kMobileCnn,    // the same, with depthwise ones among them
  kTransformer,  // most work in matrix products, with attention or normalized tokens
  kRnn,          // LSTM, GRU or RNN
  kMlp,          // most work in other matrix products
};

// "none", "cnn", "mobile_cnn", "transformer", "rnn", "mlp".
absl::string_view Name(Recipe recipe);

struct RecipeChoice {
  Recipe recipe = Recipe::kNone;
  std::string reason;  // "12 attention products, 100 % of the work in matrix products"
};

// `example_shapes` are for counting work. Errors are Infer()'s.
absl::StatusOr<RecipeChoice> DetectRecipe(const graph::Graph& graph,
                                          std::span<const Shape> example_shapes);

// `configured`, if there is one.
absl::StatusOr<RecipeChoice> ChooseRecipe(const graph::Graph& graph,
                                          std::span<const Shape> example_shapes,
                                          std::optional<Recipe> configured);

// Tokens of a transformer differ more than their neighbours know: a few have channels far larger
// than all others. Such channels are smoothed (smooth_activations.h), and ranges are measured token
// by token, which costs matrix products some 5 % of their time.
inline bool SmoothsActivations(Recipe recipe) { return recipe == Recipe::kTransformer; }
// Channels of one convolution's result differ in size, and the next reads all with one range: they
// are made equal (equalize_channels.h).
inline bool EqualizesChannels(Recipe recipe) {
  return recipe == Recipe::kCnn || recipe == Recipe::kMobileCnn;
}
inline bool TakesRangesByToken(Recipe recipe) { return recipe == Recipe::kTransformer; }

// How much SmoothQuant moves into the weights where ranges are taken by token (its authors' value).
inline constexpr double kSmoothingByToken = 0.5;

}  // namespace octet::runtime
