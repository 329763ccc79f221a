// Attention of ONNX Runtime's transformer optimizer, spelled out:
//   softmax(q * transposed(k) * scale + mask) * v, head by head.

#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/passes/expansion.h"

namespace octet::graph {
namespace {

constexpr int64_t kToInt64 = 7;  // ONNX's number of the type

// [batch, length, heads * size] -> [batch, heads, length, size]; keys with the two last swapped.
ValueId Heads(Expansion& e, ValueId x, int64_t heads, bool keys) {
  const ValueId split = e.Reshaped(x, {0, 0, heads, -1});
  return e.Transposed(split,
                      keys ? std::vector<int64_t>{0, 2, 3, 1} : std::vector<int64_t>{0, 2, 1, 3});
}

ValueId LengthOf(Expansion& e, ValueId sequence) {
  return e.Apply("Shape", {sequence}, {{"start", int64_t{1}}, {"end", int64_t{2}}});
}

// 0, 1, ... as many as the dimension 1 of `sequence`.
ValueId PositionsOf(Expansion& e, ValueId sequence) {
  const ValueId length = e.Apply("Squeeze", {LengthOf(e, sequence)});
  return e.Apply("Range", {e.Int(0), length, e.Int(1)});
}

// 0 where `kept`, `otherwise` elsewhere.
ValueId Penalty(Expansion& e, ValueId kept, float otherwise) {
  return e.Apply("Where", {kept, e.Float(0), e.Float(otherwise)});
}

// What a mask adds to the scores [batch, heads, length, keys]. Forms: which keys count
// [batch, keys] or [batch, length, keys]; how many keys count [batch]; or where they end and where
// they start, one list after the other [2 * batch].
absl::StatusOr<ValueId> MaskPenalty(Expansion& e, size_t input, ValueId keys, float otherwise) {
  const Shape shape = e.shape(input);
  const ValueId mask = e.input(input);
  if (shape.size() == 2 || shape.size() == 3) {
    const ValueId kept =
        e.Apply("Greater", {mask, e.Apply("Sub", {mask, mask})});  // zeros of the mask's type
    return Penalty(e,
                   e.Unsqueezed(kept, shape.size() == 2 ? std::vector<int64_t>{1, 2}
                                                        : std::vector<int64_t>{1}),
                   otherwise);
  }
  if (shape.size() != 1) {
    return absl::UnimplementedError(
        absl::StrCat("a mask of shape ", octet::ToText(shape), " is not supported"));
  }
  const int64_t batch = e.shape(0)[0];
  const ValueId limits = e.Apply("Cast", {mask}, {{"to", kToInt64}});
  const ValueId positions = PositionsOf(e, keys);
  const bool has_starts = batch > 0 && shape[0] == 2 * batch;
  const auto part = [&](int64_t begin, int64_t end) {
    return e.Unsqueezed(e.Apply("Slice", {limits, e.Ints({begin}), e.Ints({end})}), {1});
  };
  ValueId kept =
      e.Apply("Less", {positions, has_starts ? part(0, batch) : e.Unsqueezed(limits, {1})});
  if (has_starts) {
    kept = e.Apply("And", {kept, e.Apply("GreaterOrEqual", {positions, part(batch, 2 * batch)})});
  }
  return Penalty(e, e.Unsqueezed(kept, {1, 2}), otherwise);
}

// A query sees the keys up to its own position.
ValueId CausalPenalty(Expansion& e, ValueId queries, ValueId keys) {
  const ValueId rows = e.Unsqueezed(PositionsOf(e, queries), {1});
  const ValueId kept = e.Apply("GreaterOrEqual", {rows, PositionsOf(e, keys)});
  return Penalty(e, kept, std::numeric_limits<float>::lowest());
}

struct Projections {
  ValueId query, key, value;   // [batch, length, heads * size]
  int64_t query_size = 0;      // heads * size
  ValueId lengths = kNoValue;  // a value with the keys' length as dimension 1
};

struct MaskInputs {
  size_t mask, bias;  // inputs of the node; `bias` is added to the scores
};

absl::StatusOr<ValueId> Attend(Expansion& e, const Projections& p, const MaskInputs& inputs) {
  const Node& node = e.node();
  const int64_t heads = node.Int("num_heads", 0);
  const double size = static_cast<double>(p.query_size) / static_cast<double>(heads);
  float scale = node.Float("scale", 0);
  if (scale == 0) scale = static_cast<float>(1 / std::sqrt(size));
  ValueId scores =
      e.Apply("MatMul", {Heads(e, p.query, heads, false), Heads(e, p.key, heads, true)});
  scores = e.Apply("Mul", {scores, e.Float(scale)});
  if (e.HasInput(inputs.bias)) scores = e.Apply("Add", {scores, e.input(inputs.bias)});
  if (e.HasInput(inputs.mask)) {
    OCTET_ASSIGN_OR_RETURN(
        const ValueId penalty,
        MaskPenalty(e, inputs.mask, p.lengths, node.Float("mask_filter_value", -10000)));
    scores = e.Apply("Add", {scores, penalty});
  }
  if (node.Int("unidirectional", 0) != 0) {
    scores = e.Apply("Add", {scores, CausalPenalty(e, e.input(0), p.lengths)});
  }
  const ValueId weights = e.Apply("Softmax", {scores}, {{"axis", int64_t{-1}}});
  const ValueId mixed = e.Apply("MatMul", {weights, Heads(e, p.value, heads, false)});
  return e.Reshaped(e.Transposed(mixed, {0, 2, 1, 3}), {0, 0, -1});
}

// Input 0 times all three weight matrices at once has been computed; the rest of Attention.
absl::Status FinishAttention(Expansion& e, ValueId product, ValueId bias, int64_t columns,
                             const MaskInputs& inputs) {
  std::vector<int64_t> sizes = e.node().Ints("qkv_hidden_sizes");
  if (sizes.empty()) sizes.assign(3, columns / 3);
  const std::vector<ValueId> parts = e.ApplySplit(e.AddIf(product, bias), 2, sizes);
  OCTET_ASSIGN_OR_RETURN(const ValueId output, Attend(e,
                                                      {.query = parts[0],
                                                       .key = parts[1],
                                                       .value = parts[2],
                                                       .query_size = sizes[0],
                                                       .lengths = e.input(0)},
                                                      inputs));
  e.SetOutput(0, output);
  return absl::OkStatus();
}

absl::Status RefuseRotary(const Node& node) {
  if (node.Int("do_rotary", 0) == 0) return absl::OkStatus();
  return absl::UnimplementedError("rotary embeddings are not supported");
}

absl::Status RefuseInputs(const Expansion& e, size_t first, size_t last, absl::string_view what) {
  for (size_t i = first; i <= last; ++i) {
    if (e.HasInput(i)) return absl::UnimplementedError(absl::StrCat(what, " is not supported"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ExpandAttention(Expansion& e) {
  enum Input : size_t { kInput, kWeights, kBias, kMask, kPast, kScoreBias, kPastLength };
  OCTET_RETURN_IF_ERROR(RefuseRotary(e.node()));
  OCTET_RETURN_IF_ERROR(RefuseInputs(e, kPast, kPast, "a cache of past keys"));
  OCTET_RETURN_IF_ERROR(RefuseInputs(e, kPastLength, kPastLength, "a cache of past keys"));
  const ValueId product = e.Apply("MatMul", {e.input(kInput), e.input(kWeights)});
  return FinishAttention(e, product, e.HasInput(kBias) ? e.input(kBias) : kNoValue,
                         e.shape(kWeights)[1], {.mask = kMask, .bias = kScoreBias});
}

absl::Status ExpandQuantizedAttention(Expansion& e) {
  enum Input : size_t {
    kInput,
    kWeights,
    kBias,
    kInputScale,
    kWeightScale,
    kMask,
    kInputZero,
    kWeightZero,
    kPast
  };
  OCTET_RETURN_IF_ERROR(RefuseRotary(e.node()));
  OCTET_RETURN_IF_ERROR(RefuseInputs(e, kPast, kPast, "a cache of past keys"));
  const auto input = [&](size_t i) { return e.HasInput(i) ? e.input(i) : kNoValue; };
  const ValueId product = MultiplyQuantized(
      e, {.codes = input(kInput), .scale = input(kInputScale), .zero_point = input(kInputZero)},
      {.codes = input(kWeights), .scale = input(kWeightScale), .zero_point = input(kWeightZero)});
  constexpr size_t kNone = 100;
  return FinishAttention(e, product, e.input(kBias), e.shape(kWeights)[1],
                         {.mask = kMask, .bias = kNone});
}

absl::Status ExpandMultiHeadAttention(Expansion& e) {
  enum Input : size_t { kQuery, kKey, kValue, kBias, kMask, kScoreBias, kPastKey, kPastValue };
  OCTET_RETURN_IF_ERROR(RefuseInputs(e, kPastKey, 9, "a cache of past keys"));
  const int64_t width = e.shape(kQuery)[2], value_width = e.shape(kValue)[2];
  if (width == kUnknownDim || value_width == kUnknownDim) {
    return absl::UnimplementedError("the hidden sizes must be known before the model runs");
  }
  Projections p = {.query = e.input(kQuery),
                   .key = e.input(kKey),
                   .value = e.input(kValue),
                   .query_size = width,
                   .lengths = e.input(kKey)};
  if (e.HasInput(kBias)) {
    const std::vector<ValueId> bias = e.ApplySplit(e.input(kBias), 0, {width, width, value_width});
    p.query = e.Apply("Add", {p.query, bias[0]});
    p.key = e.Apply("Add", {p.key, bias[1]});
    p.value = e.Apply("Add", {p.value, bias[2]});
  }
  OCTET_ASSIGN_OR_RETURN(const ValueId output, Attend(e, p, {.mask = kMask, .bias = kScoreBias}));
  e.SetOutput(0, output);
  return absl::OkStatus();
}

}  // namespace octet::graph
