// Attention of opset 23 and newer: softmax(scale * Q * K' + bias) * V, with grouped heads, a cache
// of earlier keys and values, masks and windows. Models that spell it as MatMul and Softmax run
// faster: oneDNN multiplies there.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/operator.h"

namespace octet::kernels::ops {
namespace {

constexpr int kQuery = 0, kKey = 1, kValue = 2, kMask = 3, kPastKey = 4, kPastValue = 5;
constexpr int kKeyCounts = 6;  // how many keys of each sample are no padding
constexpr int kResult = 0, kPresentKey = 1, kPresentValue = 2, kScores = 3;
constexpr float kMasked = -std::numeric_limits<float>::infinity();

// What output kScores holds.
enum class ScoreStage : int64_t { kRaw = 0, kCapped = 1, kBiased = 2, kSoftmax = 3 };

// [batch, heads, tokens, size], or [batch, tokens, heads * size] with the heads side by side.
struct Heads {
  int64_t batch = 0, heads = 0, tokens = 0, size = 0;
  bool side_by_side = false;

  int64_t At(int64_t b, int64_t h, int64_t t) const {
    return side_by_side ? ((b * tokens + t) * heads + h) * size
                        : ((b * heads + h) * tokens + t) * size;
  }
  Shape shape() const {
    return side_by_side ? Shape{batch, tokens, heads * size} : Shape{batch, heads, tokens, size};
  }
};

struct Attention {
  Heads query, key, value, result;
  int64_t past = 0;  // tokens in the cache
  float scale = 0, softcap = 0;
  bool causal = false;
  int64_t window_before = -1, window_after = -1;  // -1: unbounded
  ScoreStage stage = ScoreStage::kRaw;

  int64_t keys() const { return past + key.tokens; }
};

absl::StatusOr<Heads> ReadHeads(const Shape& shape, int64_t heads) {
  if (shape.size() == 4) {
    return Heads{.batch = shape[0], .heads = shape[1], .tokens = shape[2], .size = shape[3]};
  }
  if (shape.size() != 3 || heads < 1 || shape[2] % heads != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("an input ", ToText(shape), " does not split into ", heads, " heads"));
  }
  return Heads{.batch = shape[0],
               .heads = heads,
               .tokens = shape[1],
               .size = shape[2] / heads,
               .side_by_side = true};
}

// `past_shape` is null without a cache.
absl::StatusOr<Attention> ReadAttention(const graph::Node& node, const Shape& query,
                                        const Shape& key, const Shape& value,
                                        const Shape* past_shape) {
  Attention attention;
  const int64_t key_heads = node.Int("kv_num_heads", 0);
  OCTET_ASSIGN_OR_RETURN(attention.query, ReadHeads(query, node.Int("q_num_heads", 0)));
  OCTET_ASSIGN_OR_RETURN(attention.key, ReadHeads(key, key_heads));
  OCTET_ASSIGN_OR_RETURN(attention.value, ReadHeads(value, key_heads));
  const Heads &q = attention.query, &k = attention.key, &v = attention.value;
  if (q.batch != k.batch || q.batch != v.batch || k.heads != v.heads || k.tokens != v.tokens ||
      q.size != k.size || k.heads < 1 || q.heads % k.heads != 0 || query.size() != key.size() ||
      query.size() != value.size()) {
    return absl::InvalidArgumentError(absl::StrCat("query ", ToText(query), ", key ", ToText(key),
                                                   " and value ", ToText(value),
                                                   " do not fit together"));
  }
  attention.result = q;
  attention.result.size = v.size;
  if (past_shape != nullptr) attention.past = (*past_shape)[2];
  attention.scale =
      node.Float("scale", static_cast<float>(1 / std::sqrt(static_cast<double>(q.size))));
  attention.softcap = node.Float("softcap", 0);
  attention.causal = node.Int("is_causal", 0) != 0;
  attention.window_before = node.Int("left_window_size", -1);
  attention.window_after = node.Int("right_window_size", -1);
  const int64_t stage = node.Int("qk_matmul_output_mode", 0);
  if (attention.window_before < -1 || attention.window_after < -1 || stage < 0 || stage > 3) {
    return absl::InvalidArgumentError(absl::StrCat("window sizes ", attention.window_before,
                                                   " and ", attention.window_after,
                                                   ", qk_matmul_output_mode ", stage));
  }
  attention.stage = static_cast<ScoreStage>(stage);
  return attention;
}

absl::Status CheckCache(const InferContext& context) {
  if (context.has_input(kPastKey) != context.has_input(kPastValue)) {
    return absl::InvalidArgumentError("past_key and past_value come together");
  }
  if (!context.has_input(kPastKey)) return absl::OkStatus();
  if (context.rank(kPastKey) != 4 || context.rank(kPastValue) != 4) {
    return absl::InvalidArgumentError("past_key and past_value have four dimensions");
  }
  if (context.has_input(kKeyCounts)) {
    return absl::InvalidArgumentError("nonpad_kv_seqlen does not go with past_key");
  }
  return absl::OkStatus();
}

// The mask broadcasts to [batch, heads, queries, keys], but its last dimension may end early.
absl::Status CheckMask(const InferContext& context, const Attention& attention) {
  if (!context.has_input(kMask)) return absl::OkStatus();
  const DataType type = context.input(kMask).dtype;
  const Shape& mask = context.shape(kMask);
  const int64_t whole[] = {attention.query.batch, attention.query.heads, attention.query.tokens};
  bool fits = !mask.empty() && mask.size() <= 4 && mask.back() <= attention.keys() &&
              (type == DataType::kBool || type == DataType::kFloat32);
  for (size_t i = 2; fits && i <= mask.size(); ++i) {
    fits = mask[mask.size() - i] == 1 || mask[mask.size() - i] == whole[4 - i];
  }
  if (fits) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the mask is ", Name(type), ToText(mask), ", expected BOOL or FP32 for [",
                   whole[0], ",", whole[1], ",", whole[2], ",", attention.keys(), "]"));
}

absl::StatusOr<std::vector<TensorType>> Infer(const InferContext& context) {
  for (const int input : {kQuery, kKey, kValue, kPastKey, kPastValue}) {
    OCTET_RETURN_IF_ERROR(ExpectType(context, input, DataType::kFloat32));
  }
  OCTET_RETURN_IF_ERROR(CheckCache(context));
  const Shape* const past = context.has_input(kPastKey) ? &context.shape(kPastKey) : nullptr;
  OCTET_ASSIGN_OR_RETURN(const Attention attention,
                         ReadAttention(context.node(), context.shape(kQuery), context.shape(kKey),
                                       context.shape(kValue), past));
  const Heads &key = attention.key, &value = attention.value;
  if (past != nullptr &&
      (*past != Shape{key.batch, key.heads, attention.past, key.size} ||
       context.shape(kPastValue) != Shape{value.batch, value.heads, attention.past, value.size})) {
    return absl::InvalidArgumentError(absl::StrCat("the cache has shapes ", ToText(*past), " and ",
                                                   ToText(context.shape(kPastValue))));
  }
  OCTET_RETURN_IF_ERROR(CheckMask(context, attention));
  OCTET_RETURN_IF_ERROR(ExpectType(context, kKeyCounts, DataType::kInt64));
  if (context.has_input(kKeyCounts) && context.shape(kKeyCounts) != Shape{attention.query.batch}) {
    return absl::InvalidArgumentError("nonpad_kv_seqlen has one element per sample");
  }
  const int64_t keys = attention.keys();
  return std::vector<TensorType>{
      {.shape = attention.result.shape()},
      {.shape = {key.batch, key.heads, keys, key.size}},
      {.shape = {value.batch, value.heads, keys, value.size}},
      {.shape = {key.batch, attention.query.heads, attention.query.tokens, keys}}};
}

struct Views {
  std::span<const ConstTensorView> inputs;
  std::span<TensorView> outputs;

  bool has(int input) const {
    return static_cast<size_t>(input) < inputs.size() && inputs[input].present();
  }
  float* output(int i) const {
    return static_cast<size_t>(i) < outputs.size() && outputs[i].present()
               ? outputs[i].As<float>().data()
               : nullptr;
  }
};

// Inputs with the new tokens and those cached before, and how many of these there are.
struct Tokens {
  int input, past_input;
  int64_t past;
};

// Cached tokens, then the new ones, of one head: [keys, size].
void Gather(const Views& views, const Heads& heads, const Tokens& tokens, int64_t b, int64_t h,
            std::vector<float>& to) {
  const auto [input, past_input, past] = tokens;
  to.resize(static_cast<size_t>((past + heads.tokens) * heads.size));
  auto at = to.begin();
  if (past > 0) {
    const float* const from =
        views.inputs[past_input].As<float>().data() + (b * heads.heads + h) * past * heads.size;
    at = std::copy_n(from, past * heads.size, at);
  }
  const float* const fresh = views.inputs[input].As<float>().data();
  for (int64_t t = 0; t < heads.tokens; ++t) {
    at = std::copy_n(fresh + heads.At(b, h, t), heads.size, at);
  }
}

void Keep(float* present, const Heads& heads, int64_t b, int64_t h,
          const std::vector<float>& tokens) {
  if (present == nullptr) return;
  std::copy(tokens.begin(), tokens.end(),
            present + (b * heads.heads + h) * static_cast<int64_t>(tokens.size()));
}

// What is added to the scores of one query; kMasked where a key is not attended to.
void Bias(const Attention& attention, const Views& views, int64_t b, int64_t h, int64_t i,
          std::vector<float>& bias) {
  const int64_t keys = attention.keys();
  std::fill(bias.begin(), bias.end(), 0.0f);
  if (views.has(kMask)) {
    const ConstTensorView& mask = views.inputs[kMask];
    const int64_t index[] = {b, h, i};
    int64_t row = 0;
    for (size_t d = 0; d + 1 < mask.shape.size(); ++d) {
      const int64_t at = mask.shape[d] == 1 ? 0 : index[4 - mask.shape.size() + d];
      row = row * mask.shape[d] + at;
    }
    const int64_t length = mask.shape.back();
    std::fill(bias.begin() + length, bias.end(), kMasked);
    for (int64_t j = 0; j < length; ++j) {
      const size_t at = static_cast<size_t>(row * length + j);
      bias[j] = mask.dtype == DataType::kBool ? (mask.As<bool>()[at] ? 0.0f : kMasked)
                                              : mask.As<float>()[at];
    }
  }
  int64_t count = keys;
  int64_t position = attention.past + i;  // of the query among the keys
  if (views.has(kKeyCounts)) {
    count = std::clamp<int64_t>(views.inputs[kKeyCounts].As<int64_t>()[b], 0, keys);
    position = count - attention.query.tokens + i;
  }
  for (int64_t j = 0; j < keys; ++j) {
    const bool hidden = j >= count || (attention.causal && j > position) ||
                        (attention.window_before >= 0 && position - j > attention.window_before) ||
                        (attention.window_after >= 0 && j - position > attention.window_after);
    if (hidden) bias[j] = kMasked;
  }
}

// In place; a row without any key attended to gives zeros.
void Softmax(const std::vector<float>& bias, std::vector<float>& row) {
  const bool attends = std::any_of(bias.begin(), bias.end(), [](float x) { return x != kMasked; });
  const float peak = row.empty() ? 0 : *std::max_element(row.begin(), row.end());
  if (!attends || peak == kMasked) {
    std::fill(row.begin(), row.end(), 0.0f);
    return;
  }
  double sum = 0;
  for (float& x : row) sum += x = std::exp(x - peak);
  for (float& x : row) x = static_cast<float>(x / sum);
}

// One query head of one sample.
class HeadLoop {
 public:
  HeadLoop(const Attention& attention, const Views& views)
      : attention_(attention),
        views_(views),
        row_(static_cast<size_t>(attention.keys())),
        bias_(row_.size()),
        turned_(row_.size() * static_cast<size_t>(attention.key.size)) {}

  // `keys` and `values` are [keys, size].
  void Run(int64_t b, int64_t h, const std::vector<float>& keys, const std::vector<float>& values) {
    const int64_t count = attention_.keys(), size = attention_.key.size;
    for (int64_t j = 0; j < count; ++j) {
      for (int64_t d = 0; d < size; ++d) turned_[d * count + j] = keys[j * size + d];
    }
    for (int64_t i = 0; i < attention_.query.tokens; ++i) {
      Score(views_.inputs[kQuery].As<float>().data() + attention_.query.At(b, h, i));
      Bias(attention_, views_, b, h, i, bias_);
      const int64_t at = ((b * attention_.query.heads + h) * attention_.query.tokens + i) * count;
      Report(ScoreStage::kRaw, at);
      if (attention_.softcap > 0) {
        for (float& x : row_) x = attention_.softcap * std::tanh(x / attention_.softcap);
      }
      Report(ScoreStage::kCapped, at);
      for (int64_t j = 0; j < count; ++j) row_[j] += bias_[j];
      Report(ScoreStage::kBiased, at);
      Softmax(bias_, row_);
      Report(ScoreStage::kSoftmax, at);
      Mix(values, views_.outputs[kResult].As<float>().data() + attention_.result.At(b, h, i));
    }
  }

 private:
  void Score(const float* query) {
    const auto count = static_cast<int64_t>(row_.size());
    std::fill(row_.begin(), row_.end(), 0.0f);
    for (int64_t d = 0; d < attention_.key.size; ++d) {
      const float q = query[d] * attention_.scale;
      const float* const key = turned_.data() + d * count;
      for (int64_t j = 0; j < count; ++j) row_[j] += q * key[j];
    }
  }

  void Report(ScoreStage stage, int64_t at) const {
    float* const scores = views_.output(kScores);
    if (scores != nullptr && stage == attention_.stage) {
      std::copy(row_.begin(), row_.end(), scores + at);
    }
  }

  void Mix(const std::vector<float>& values, float* to) const {
    const int64_t size = attention_.value.size;
    std::fill(to, to + size, 0.0f);
    for (size_t j = 0; j < row_.size(); ++j) {
      const float* const value = values.data() + static_cast<int64_t>(j) * size;
      for (int64_t d = 0; d < size; ++d) to[d] += row_[j] * value[d];
    }
  }

  const Attention& attention_;
  const Views& views_;
  std::vector<float> row_, bias_, turned_;
};

absl::Status Reference(const graph::Node& node, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  const Views views{.inputs = inputs, .outputs = outputs};
  const Shape* const past = views.has(kPastKey) ? &inputs[kPastKey].shape : nullptr;
  OCTET_ASSIGN_OR_RETURN(
      const Attention attention,
      ReadAttention(node, inputs[kQuery].shape, inputs[kKey].shape, inputs[kValue].shape, past));
  const int64_t heads_per_key = attention.query.heads / attention.key.heads;
  HeadLoop loop(attention, views);
  std::vector<float> keys, values;
  for (int64_t b = 0; b < attention.key.batch; ++b) {
    for (int64_t k = 0; k < attention.key.heads; ++k) {
      Gather(views, attention.key, {kKey, kPastKey, attention.past}, b, k, keys);
      Gather(views, attention.value, {kValue, kPastValue, attention.past}, b, k, values);
      Keep(views.output(kPresentKey), attention.key, b, k, keys);
      Keep(views.output(kPresentValue), attention.value, b, k, values);
      for (int64_t h = k * heads_per_key; h < (k + 1) * heads_per_key; ++h) {
        loop.Run(b, h, keys, values);
      }
    }
  }
  return absl::OkStatus();
}

constexpr Operator Row(int since_version, int max_inputs) {
  return {.schema = {.type = "Attention",
                     .since_version = since_version,
                     .min_inputs = 3,
                     .max_inputs = max_inputs,
                     .infer = Infer,
                     .reference = Reference}};
}

constexpr Operator kOperators[] = {Row(23, 6), Row(24, 7)};

}  // namespace

std::span<const Operator> attention() { return kOperators; }

}  // namespace octet::kernels::ops
