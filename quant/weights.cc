#include "quant/weights.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "quant/measures.h"
#include "quant/vector_loops.h"

namespace octet::quant {
namespace {

constexpr float kDeadChannelShare = 0x1p-20f;  // of the largest weight of the tensor
constexpr int64_t kGatheredChannels = 16;      // as many floats as a cache line has

// "[3,0,1]", the position of element `offset`.
std::string PositionText(const Shape& shape, int64_t offset) {
  Shape position = shape;
  for (size_t i = shape.size(); i-- > 0;) {
    position[i] = offset % shape[i];
    offset /= shape[i];
  }
  return absl::StrCat("[", absl::StrJoin(position, ","), "]");
}

absl::Status NonFiniteError(const ConstTensorView& weights) {
  const std::span<const float> values = weights.As<float>();
  const auto bad = std::find_if_not(values.begin(), values.end(),
                                    [](float value) { return std::isfinite(value); });
  return absl::InvalidArgumentError(
      absl::StrCat("expected finite weights, found ", *bad, " at index ",
                   PositionText(weights.shape, bad - values.begin())));
}

absl::Status CheckArguments(const ConstTensorView& weights, const WeightOptions& options) {
  if (weights.dtype != DataType::kFloat32) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected FP32 weights, found ", Name(weights.dtype)));
  }
  if (weights.size() == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("weights of shape ", ToText(weights.shape), " have no elements"));
  }
  if (options.grid.type != DataType::kInt8 || !options.grid.symmetric) {
    return absl::InvalidArgumentError("weights need a symmetric INT8 grid");
  }
  return absl::OkStatus();
}

// Copies between a tensor and `count` channels that lie one after the other.
template <typename T>
void Gather(std::span<const T> tensor, const ChannelLayout& layout, int64_t first, int64_t count,
            T* channels) {
  for (int64_t outer = 0; outer < layout.outer; ++outer) {
    const T* source = tensor.data() + (outer * layout.channels + first) * layout.inner;
    for (int64_t i = 0; i < count; ++i) {
      std::copy_n(source + i * layout.inner, layout.inner,
                  channels + i * layout.channel_size() + outer * layout.inner);
    }
  }
}

template <typename T>
void Scatter(const T* channels, const ChannelLayout& layout, int64_t first, int64_t count,
             std::span<T> tensor) {
  for (int64_t outer = 0; outer < layout.outer; ++outer) {
    T* target = tensor.data() + (outer * layout.channels + first) * layout.inner;
    for (int64_t i = 0; i < count; ++i) {
      std::copy_n(channels + i * layout.channel_size() + outer * layout.inner, layout.inner,
                  target + i * layout.inner);
    }
  }
}

// Of a scale per channel and one scale, whichever the gain decides for.
QuantizedWeights Choose(QuantizedWeights by_channel, QuantizedWeights whole, double least_gain_db) {
  const double gain_db = by_channel.sqnr_db - whole.sqnr_db;
  QuantizedWeights& chosen = gain_db < least_gain_db ? whole : by_channel;
  chosen.channel_gain_db = gain_db;
  return std::move(chosen);
}

class WeightQuantizer {
 public:
  WeightQuantizer(std::span<const float> values, ChannelLayout layout, const WeightOptions& options,
                  RangeEstimator estimator)
      : values_(values),
        layout_(layout),
        grid_(options.grid),
        estimator_options_(options.estimator_options),
        estimator_(estimator),
        axis_(options.axis),
        importance_(options.importance) {}

  absl::StatusOr<QuantizedWeights> Run(const Shape& shape) {
    OCTET_RETURN_IF_ERROR(StudyTensor());
    OCTET_ASSIGN_OR_RETURN(result_.codes, Tensor::Allocate(DataType::kInt8, shape));
    const std::span<int8_t> codes = result_.codes.MutableAs<int8_t>();
    const auto size = static_cast<size_t>(layout_.channel_size());
    if (layout_.outer == 1) {
      for (int64_t i = 0; i < layout_.channels; ++i) {
        const size_t offset = static_cast<size_t>(i) * size;
        OCTET_RETURN_IF_ERROR(QuantizeChannel(i, values_.subspan(offset, size),
                                              Important(importance_, offset, size),
                                              codes.subspan(offset, size)));
      }
    } else {
      OCTET_RETURN_IF_ERROR(QuantizeInterleaved(codes));
    }
    result_.sqnr_db = Sqnr(signal_, noise_);
    result_.params.axis = axis_;
    return std::move(result_);
  }

 private:
  // What channels are compared with: the largest weight and the range of the whole tensor.
  absl::Status StudyTensor() {
    const ScanResult scan = Scan(values_);
    largest_ = std::max(std::abs(scan.min), std::abs(scan.max));
    if (!axis_.has_value() || largest_ == 0 || estimator_options_.inherited.has_value()) {
      return absl::OkStatus();
    }
    OCTET_ASSIGN_OR_RETURN(const Distribution all, Distribution::Of(values_, importance_));
    OCTET_ASSIGN_OR_RETURN(const RangeEstimate whole,
                           estimator_.estimate(all, grid_, estimator_options_));
    estimator_options_.inherited = whole.range;
    return absl::OkStatus();
  }

  // Channels that do not lie in one piece are copied together, a few at a time.
  absl::Status QuantizeInterleaved(std::span<int8_t> codes) {
    const auto size = static_cast<size_t>(layout_.channel_size());
    std::vector<float> gathered(kGatheredChannels * size);
    std::vector<int8_t> gathered_codes(kGatheredChannels * size);
    std::vector<float> importance(importance_.empty() ? 0 : kGatheredChannels * size);
    for (int64_t first = 0; first < layout_.channels; first += kGatheredChannels) {
      const int64_t count = std::min(kGatheredChannels, layout_.channels - first);
      Gather(values_, layout_, first, count, gathered.data());
      if (!importance.empty()) Gather(importance_, layout_, first, count, importance.data());
      for (int64_t i = 0; i < count; ++i) {
        const size_t offset = static_cast<size_t>(i) * size;
        OCTET_RETURN_IF_ERROR(
            QuantizeChannel(first + i, std::span<const float>(gathered).subspan(offset, size),
                            Important(importance, offset, size),
                            std::span<int8_t>(gathered_codes).subspan(offset, size)));
      }
      Scatter(gathered_codes.data(), layout_, first, count, codes);
    }
    return absl::OkStatus();
  }

  static std::span<const float> Important(std::span<const float> all, size_t offset, size_t size) {
    return all.empty() ? all : all.subspan(offset, size);
  }

  absl::Status QuantizeChannel(int64_t channel, std::span<const float> values,
                               std::span<const float> importance, std::span<int8_t> codes) {
    OCTET_ASSIGN_OR_RETURN(const Distribution distribution, Distribution::Of(values, importance));
    Affine affine;
    const float magnitude = distribution.LargestMagnitude();
    if (magnitude == 0 || magnitude < largest_ * kDeadChannelShare) {
      result_.dead_channels.push_back(channel);
      if (magnitude > 0) {
        const float range = largest_ * kDeadChannelShare;
        affine = AffineFor({-range, range}, grid_);
      }
    } else {
      OCTET_ASSIGN_OR_RETURN(const RangeEstimate estimate,
                             estimator_.estimate(distribution, grid_, estimator_options_));
      affine = AffineFor(estimate.range, grid_);
      result_.fallback_channels += estimate.fell_back ? 1 : 0;
    }
    Quantize(values, affine, grid_, codes);
    result_.params.scales.push_back(affine.scale);
    result_.params.zero_points.push_back(affine.zero_point);
    Measure(values, affine, codes);
    return absl::OkStatus();
  }

  void Measure(std::span<const float> values, Affine affine, std::span<const int8_t> codes) {
    double signal = 0;
    double noise = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const double value = values[i];
      const double error = value - static_cast<double>(affine.scale) * codes[i];
      signal += value * value;
      noise += error * error;
    }
    signal_ += signal;
    noise_ += noise;
    result_.channel_sqnr_db.push_back(static_cast<float>(Sqnr(signal, noise)));
  }

  const std::span<const float> values_;
  const ChannelLayout layout_;
  const Grid grid_;
  EstimatorOptions estimator_options_;
  const RangeEstimator estimator_;
  const std::optional<int> axis_;
  const std::span<const float> importance_;
  float largest_ = 0;
  double signal_ = 0;
  double noise_ = 0;
  QuantizedWeights result_;
};

}  // namespace

absl::StatusOr<QuantizedWeights> QuantizeWeights(const ConstTensorView& weights,
                                                 const WeightOptions& options) {
  OCTET_RETURN_IF_ERROR(CheckArguments(weights, options));
  OCTET_ASSIGN_OR_RETURN(const ChannelLayout layout, LayoutAlong(weights.shape, options.axis));
  OCTET_ASSIGN_OR_RETURN(const RangeEstimator estimator, FindRangeEstimator(options.estimator));
  std::span<const float> values = weights.As<float>();
  const ScanResult scan = Scan(values);
  std::vector<float> cleaned;
  const auto bad = static_cast<int64_t>(scan.nans + scan.infinities);
  if (bad > 0) {
    if (!options.zero_non_finite) return NonFiniteError(weights);
    cleaned.assign(values.begin(), values.end());
    std::replace_if(
        cleaned.begin(), cleaned.end(), [](float value) { return !std::isfinite(value); }, 0.0f);
    values = cleaned;
  }
  OCTET_ASSIGN_OR_RETURN(QuantizedWeights result,
                         WeightQuantizer(values, layout, options, estimator).Run(weights.shape));
  if (options.axis.has_value() && options.least_channel_gain_db.has_value()) {
    WeightOptions whole_options = options;
    whole_options.axis.reset();
    const ChannelLayout all{.inner = weights.size()};
    OCTET_ASSIGN_OR_RETURN(
        QuantizedWeights whole,
        WeightQuantizer(values, all, whole_options, estimator).Run(weights.shape));
    result = Choose(std::move(result), std::move(whole), *options.least_channel_gain_db);
  }
  result.zeroed_values = bad;
  return result;
}

}  // namespace octet::quant
