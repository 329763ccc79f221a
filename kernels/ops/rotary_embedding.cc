// RotaryEmbedding: rotates pairs of a head's elements by angles that depend on the position.

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/operator.h"

namespace octet::kernels::ops {
namespace {

constexpr int kInput = 0, kCosine = 1, kSine = 2, kPositions = 3;

struct Rotation {
  int64_t batch = 0, tokens = 0, heads = 0, size = 0;
  bool heads_first = false;  // [batch, heads, tokens, size]
  int64_t pairs = 0;         // that are rotated; the elements behind them stay
  bool interleaved = false;  // a pair lies side by side

  int64_t At(int64_t b, int64_t t, int64_t h) const {
    return (heads_first ? (b * heads + h) * tokens + t : (b * tokens + t) * heads + h) * size;
  }
};

absl::StatusOr<Rotation> ReadRotation(const graph::Node& node, const Shape& shape) {
  Rotation rotation{.interleaved = node.Int("interleaved", 0) != 0};
  if (shape.size() == 4) {
    rotation.batch = shape[0];
    rotation.heads = shape[1];
    rotation.tokens = shape[2];
    rotation.size = shape[3];
    rotation.heads_first = true;
  } else {
    const int64_t heads = node.Int("num_heads", 0);
    if (shape.size() != 3 || heads < 1 || shape[2] % heads != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("an input ", ToText(shape), " does not split into ", heads, " heads"));
    }
    rotation.batch = shape[0];
    rotation.tokens = shape[1];
    rotation.heads = heads;
    rotation.size = shape[2] / heads;
  }
  const int64_t given = node.Int("rotary_embedding_dim", 0);
  const int64_t rotated = given == 0 ? rotation.size : given;
  if (rotated < 0 || rotated > rotation.size || rotated % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot rotate ", rotated, " of ", rotation.size, " elements in pairs"));
  }
  rotation.pairs = rotated / 2;
  return rotation;
}

absl::StatusOr<std::vector<TensorType>> Infer(const InferContext& context) {
  for (const int input : {kInput, kCosine, kSine}) {
    OCTET_RETURN_IF_ERROR(ExpectType(context, input, DataType::kFloat32));
  }
  OCTET_RETURN_IF_ERROR(ExpectType(context, kPositions, DataType::kInt64));
  OCTET_ASSIGN_OR_RETURN(const Rotation rotation,
                         ReadRotation(context.node(), context.shape(kInput)));
  const Shape tokens = {rotation.batch, rotation.tokens};
  const bool by_position = context.has_input(kPositions);
  if (by_position && context.shape(kPositions) != tokens) {
    return absl::InvalidArgumentError(absl::StrCat("position_ids has shape ",
                                                   ToText(context.shape(kPositions)), ", expected ",
                                                   ToText(tokens)));
  }
  for (const int input : {kCosine, kSine}) {
    const Shape& cache = context.shape(input);
    const bool fits = by_position ? cache.size() == 2 && cache[1] == rotation.pairs
                                  : cache == Shape{rotation.batch, rotation.tokens, rotation.pairs};
    if (!fits || cache != context.shape(kCosine)) {
      return absl::InvalidArgumentError(
          absl::StrCat("a cache of shape ", ToText(cache), " for ", rotation.pairs, " pairs"));
    }
  }
  return SameAsInput(context);
}

void Rotate(const Rotation& rotation, const float* from, const float* cosine, const float* sine,
            float* to) {
  const int64_t step = rotation.interleaved ? 2 : 1;
  const int64_t second = rotation.interleaved ? 1 : rotation.pairs;
  for (int64_t p = 0; p < rotation.pairs; ++p) {
    const float x = from[p * step], y = from[p * step + second];
    to[p * step] = cosine[p] * x - sine[p] * y;
    to[p * step + second] = sine[p] * x + cosine[p] * y;
  }
  std::copy(from + 2 * rotation.pairs, from + rotation.size, to + 2 * rotation.pairs);
}

absl::Status Reference(const graph::Node& node, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  OCTET_ASSIGN_OR_RETURN(const Rotation rotation, ReadRotation(node, inputs[kInput].shape));
  const bool by_position = inputs.size() > kPositions && inputs[kPositions].present();
  for (int64_t b = 0; b < rotation.batch; ++b) {
    for (int64_t t = 0; t < rotation.tokens; ++t) {
      int64_t row = b * rotation.tokens + t;
      if (by_position) {
        row = inputs[kPositions].As<int64_t>()[row];
        if (row < 0 || row >= inputs[kCosine].shape[0]) {
          return absl::InvalidArgumentError(absl::StrCat(
              "position ", row, " is not among the ", inputs[kCosine].shape[0], " of the cache"));
        }
      }
      for (int64_t h = 0; h < rotation.heads; ++h) {
        const int64_t at = rotation.At(b, t, h);
        Rotate(rotation, inputs[kInput].As<float>().data() + at,
               inputs[kCosine].As<float>().data() + row * rotation.pairs,
               inputs[kSine].As<float>().data() + row * rotation.pairs,
               outputs[0].As<float>().data() + at);
      }
    }
  }
  return absl::OkStatus();
}

constexpr Operator kOperators[] = {
    {.schema = {.type = "RotaryEmbedding",
                .since_version = 23,
                .min_inputs = 3,
                .max_inputs = 4,
                .infer = Infer,
                .reference = Reference}},
};

}  // namespace

std::span<const Operator> rotary_embedding() { return kOperators; }

}  // namespace octet::kernels::ops
