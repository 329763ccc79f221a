#include "quant/cross_layer.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::quant {
namespace {

constexpr double kSmallestFactor = 0x1p-8;
constexpr double kLargestFactor = 0x1p8;

size_t ChannelOf(const ChannelLayout& layout, size_t index) {
  return index / static_cast<size_t>(layout.inner) % static_cast<size_t>(layout.channels);
}

absl::Status CheckChannels(const SharedChannels& channels) {
  const ChannelLayout& layout = channels.layout;
  if (layout.outer < 1 || layout.channels < 1 || layout.inner < 1 ||
      static_cast<int64_t>(channels.weights.size()) !=
          layout.outer * layout.channels * layout.inner) {
    return absl::InvalidArgumentError(absl::StrCat("expected ", layout.outer, " x ",
                                                   layout.channels, " x ", layout.inner,
                                                   " weights, found ", channels.weights.size()));
  }
  for (size_t i = 0; i < channels.weights.size(); ++i) {
    if (std::isfinite(channels.weights[i])) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("expected finite weights, found ", channels.weights[i], " at index ", i));
  }
  return absl::OkStatus();
}

absl::Status CheckPair(const LayerPair& pair) {
  OCTET_RETURN_IF_ERROR(CheckChannels(pair.first));
  OCTET_RETURN_IF_ERROR(CheckChannels(pair.second));
  const int64_t channels = pair.first.layout.channels;
  if (pair.second.layout.channels != channels) {
    return absl::InvalidArgumentError(absl::StrCat("the first layer has ", channels,
                                                   " output channels, the second takes ",
                                                   pair.second.layout.channels));
  }
  if (!pair.bias.empty() && static_cast<int64_t>(pair.bias.size()) != channels) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected ", channels, " biases, found ", pair.bias.size()));
  }
  return absl::OkStatus();
}

void Apply(const LayerPair& pair, const std::vector<double>& factors) {
  for (size_t i = 0; i < pair.first.weights.size(); ++i) {
    float& weight = pair.first.weights[i];
    weight = static_cast<float>(weight / factors[ChannelOf(pair.first.layout, i)]);
  }
  for (size_t i = 0; i < pair.bias.size(); ++i) {
    pair.bias[i] = static_cast<float>(pair.bias[i] / factors[i]);
  }
  for (size_t i = 0; i < pair.second.weights.size(); ++i) {
    float& weight = pair.second.weights[i];
    weight = static_cast<float>(weight * factors[ChannelOf(pair.second.layout, i)]);
  }
}

}  // namespace

std::vector<double> EqualizingFactors(std::span<const float> first, std::span<const float> second) {
  std::vector<double> factors;
  factors.reserve(first.size());
  for (size_t i = 0; i < first.size(); ++i) {
    const bool dead = first[i] == 0 || second[i] == 0;
    factors.push_back(dead ? 1.0 : std::sqrt(static_cast<double>(first[i]) / second[i]));
  }
  return factors;
}

std::vector<float> ChannelMagnitudes(const SharedChannels& channels) {
  std::vector<float> magnitudes(static_cast<size_t>(channels.layout.channels));
  for (size_t i = 0; i < channels.weights.size(); ++i) {
    float& magnitude = magnitudes[ChannelOf(channels.layout, i)];
    magnitude = std::max(magnitude, std::abs(channels.weights[i]));
  }
  return magnitudes;
}

absl::StatusOr<EqualizeResult> EqualizeLayers(std::span<const LayerPair> pairs,
                                              const EqualizeOptions& options) {
  EqualizeResult result;
  for (const LayerPair& pair : pairs) {
    OCTET_RETURN_IF_ERROR(CheckPair(pair));
    result.factors.emplace_back(static_cast<size_t>(pair.first.layout.channels), 1.0f);
  }
  bool moving = !pairs.empty();
  while (moving && result.sweeps < options.max_sweeps) {
    moving = false;
    ++result.sweeps;
    for (size_t i = 0; i < pairs.size(); ++i) {
      std::vector<double> factors =
          EqualizingFactors(ChannelMagnitudes(pairs[i].first), ChannelMagnitudes(pairs[i].second));
      for (size_t c = 0; c < factors.size(); ++c) {
        float& total = result.factors[i][c];
        const double wanted = std::clamp(total * factors[c], kSmallestFactor, kLargestFactor);
        factors[c] = wanted / total;
        moving = moving || std::abs(std::log(factors[c])) > options.tolerance;
        total = static_cast<float>(wanted);
      }
      Apply(pairs[i], factors);
    }
  }
  return result;
}

}  // namespace octet::quant
