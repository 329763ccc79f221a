#include "runtime/evaluate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/infer.h"
#include "runtime/parallel.h"

namespace octet::runtime {
namespace {

constexpr double kHighestSqnrDb = 99;

// Signal and noise as they add up.
class Noise {
 public:
  // `exact` is float32; `y(i)` is the other's element.
  template <typename Approximate>
  void Add(std::span<const float> exact, Approximate y) {
    for (size_t i = 0; i < exact.size(); ++i) {
      if (!std::isfinite(exact[i])) continue;
      const double x = exact[i], error = x - y(i);
      signal_ += x * x;
      noise_ += error * error;
    }
  }

  double Db() const {
    if (noise_ == 0) return kHighestSqnrDb;
    if (!std::isfinite(noise_) || signal_ == 0) return -kHighestSqnrDb;
    return std::min(kHighestSqnrDb, 10 * std::log10(signal_ / noise_));
  }

 private:
  double signal_ = 0, noise_ = 0;
};

// `approximate` may be codes of `type`.
void AddValue(const ConstTensorView& exact, const ConstTensorView& approximate,
              const graph::TensorType& type, Noise& noise) {
  const double scale = type.quant ? type.quant->scales[0] : 1;
  const double zero_point = type.quant ? type.quant->zero_points[0] : 0;
  VisitType(approximate.dtype, [&]<typename T>() {
    const auto y = approximate.As<T>();
    noise.Add(exact.As<float>(), [&](size_t i) { return scale * (double(y[i]) - zero_point); });
  });
}

// Elements of one channel that lie side by side. `mean_square` is a sum until the end. Numbers that
// are not finite count as zero, which widens nothing. In lanes, which compilers make vectors of.
void AddElements(std::span<const float> elements, ChannelStatistics& channel) {
  const auto finite = [](float x) {
    return std::abs(x) <= std::numeric_limits<float>::max() ? x : 0;
  };
  constexpr size_t kLanes = 16;
  const size_t whole = elements.size() / kLanes * kLanes;
  if (whole > 0) {
    std::array<float, kLanes> lowest{}, highest{};
    std::array<double, kLanes> square{};
    for (size_t at = 0; at < whole; at += kLanes) {
      for (size_t lane = 0; lane < kLanes; ++lane) {
        const float x = finite(elements[at + lane]);
        lowest[lane] = std::min(lowest[lane], x);
        highest[lane] = std::max(highest[lane], x);
        square[lane] += double{x} * x;
      }
    }
    channel.lowest = std::min(channel.lowest, *std::min_element(lowest.begin(), lowest.end()));
    channel.highest = std::max(channel.highest, *std::max_element(highest.begin(), highest.end()));
    channel.mean_square += std::accumulate(square.begin(), square.end(), 0.0);
  }
  for (const float element : elements.subspan(whole)) {
    const float x = finite(element);
    channel.lowest = std::min(channel.lowest, x);
    channel.highest = std::max(channel.highest, x);
    channel.mean_square += double{x} * x;
  }
}

void AddSample(const ChannelStatistics& sample, ChannelStatistics& channel) {
  channel.second_highest =
      std::max(channel.second_highest, std::min(channel.highest, sample.highest));
  channel.second_lowest = std::min(channel.second_lowest, std::max(channel.lowest, sample.lowest));
  channel.highest = std::max(channel.highest, sample.highest);
  channel.lowest = std::min(channel.lowest, sample.lowest);
  channel.mean_square += sample.mean_square;
}

// Of the values of one sample that are kept until others come to be compared with them.
constexpr size_t kMostBytesInMemory = size_t{24} << 20;
constexpr size_t kMostBytesInFile = size_t{256} << 20;

absl::StatusOr<Tensor> Kept(const ConstTensorView& value, TensorFile* file) {
  OCTET_ASSIGN_OR_RETURN(Tensor copy, Tensor::Copy(value));
  return file == nullptr ? copy : file->Hold(copy);
}

// The next values that together stay below the limit, at least one.
size_t NextGroup(std::span<const graph::ValueId> values, const graph::Inference& inference,
                 const TensorFile* file) {
  const size_t most_bytes =
      file != nullptr && file->status().ok() ? kMostBytesInFile : kMostBytesInMemory;
  size_t count = 0, bytes = 0;
  while (count < values.size()) {
    const Shape& shape = inference.types[static_cast<size_t>(values[count])].shape;
    bytes += static_cast<size_t>(ElementCount(shape)) * sizeof(float);
    if (count > 0 && bytes > most_bytes) break;
    ++count;
  }
  return count;
}

}  // namespace

std::vector<std::vector<Tensor>> EvenlySpaced(Samples samples, size_t most) {
  const size_t count = std::min(samples.size(), most);
  std::vector<std::vector<Tensor>> some;
  some.reserve(count);
  for (size_t i = 0; i < count; ++i) some.push_back(samples[i * samples.size() / count]);
  return some;
}

absl::Status VisitValues(const graph::Graph& graph, std::span<const graph::ValueId> values,
                         Samples samples, Resources resources,
                         const std::function<absl::Status(size_t, const ConstTensorView&)>& visit) {
  if (samples.empty()) return absl::FailedPreconditionError("there are no calibration samples");
  return WatchedValues(graph, values, resources.weights)
      .VisitAll(samples, resources.threads,
                [&](size_t, size_t i, const ConstTensorView& value) { return visit(i, value); });
}

absl::StatusOr<std::vector<quant::Histogram>> Observe(const graph::Graph& graph,
                                                      std::span<const graph::ValueId> values,
                                                      Samples samples, Resources resources,
                                                      const Watch& also) {
  std::vector<quant::Histogram> histograms(values.size());
  std::vector<graph::ValueId> all(values.begin(), values.end());
  all.insert(all.end(), also.values.begin(), also.values.end());
  OCTET_RETURN_IF_ERROR(
      VisitValues(graph, all, samples, resources, [&](size_t i, const ConstTensorView& value) {
        if (i >= histograms.size()) return also.visit(i - histograms.size(), value);
        histograms[i].AddSample(value.As<float>());
        return absl::OkStatus();
      }));
  return histograms;
}

absl::StatusOr<std::vector<ActivationStatistics>> StatisticsByChannel(
    const graph::Graph& graph, std::span<const graph::ValueId> values, int dimension,
    Samples samples, Resources resources) {
  std::vector<ActivationStatistics> statistics(values.size());
  const auto add = [&](size_t i, const ConstTensorView& output) -> absl::Status {
    const Shape& shape = output.shape;
    const int rank = static_cast<int>(shape.size());
    const int axis = dimension < 0 ? rank + dimension : dimension;
    const bool has_axis = axis >= 0 && axis < rank;
    const auto count = has_axis ? static_cast<size_t>(shape[static_cast<size_t>(axis)]) : 0;
    std::vector<ChannelStatistics>& channels = statistics[i].channels;
    if (channels.empty()) channels.resize(count);
    if (output.dtype != DataType::kFloat32 || !has_axis || channels.size() != count) {
      return absl::InvalidArgumentError(absl::StrCat(
          graph.value(values[i]).name, ": ", Name(output.dtype), ToText(shape),
          ", expected float32 with ", channels.size(), " channels in dimension ", dimension));
    }
    const std::span<const float> elements = output.As<float>();
    if (elements.empty()) return absl::OkStatus();
    const auto inner =
        static_cast<size_t>(ElementCount(Shape(shape.begin() + axis + 1, shape.end())));
    std::vector<ChannelStatistics> sample(count);
    for (size_t at = 0, c = 0; at < elements.size(); at += inner, c = (c + 1) % count) {
      AddElements(elements.subspan(at, inner), sample[c]);
    }
    for (size_t c = 0; c < count; ++c) AddSample(sample[c], channels[c]);
    statistics[i].elements += static_cast<double>(elements.size()) / static_cast<double>(count);
    return absl::OkStatus();
  };
  OCTET_RETURN_IF_ERROR(VisitValues(graph, values, samples, resources, add));
  for (ActivationStatistics& activation : statistics) {
    for (ChannelStatistics& channel : activation.channels) {
      channel.mean_square /= std::max(activation.elements, 1.0);
    }
  }
  return statistics;
}

absl::StatusOr<std::vector<std::vector<Tensor>>> RunAll(const graph::Graph& graph, Samples samples,
                                                        Resources resources) {
  std::vector<std::vector<Tensor>> all(samples.size());
  SampleRunner runner(graph, resources.weights, /*first_early=*/0);
  OCTET_RETURN_IF_ERROR(ParallelFor(resources.threads, samples.size(), [&](size_t s) {
    all[s].resize(graph.outputs().size());
    return runner.Visit(samples[s],
                        [&](size_t output, const ConstTensorView& value) -> absl::Status {
                          OCTET_ASSIGN_OR_RETURN(all[s][output], Kept(value, resources.values));
                          return absl::OkStatus();
                        });
  }));
  return all;
}

absl::StatusOr<std::vector<double>> ValueSqnrDb(const graph::Graph& exact,
                                                const graph::Graph& approximate,
                                                std::span<const graph::ValueId> values,
                                                Samples samples, Resources exact_resources,
                                                kernels::WeightCache& approximate_weights) {
  std::vector<double> result;
  if (samples.empty()) return absl::FailedPreconditionError("there are no samples to measure with");
  std::vector<Shape> shapes;
  for (const Tensor& input : samples[0]) shapes.push_back(input.shape());
  OCTET_ASSIGN_OR_RETURN(const graph::Inference inference, graph::Infer(exact, shapes));
  while (!values.empty()) {
    const auto group = values.first(NextGroup(values, inference, exact_resources.values));
    WatchedValues exact_values(exact, group, exact_resources.weights);
    WatchedValues approximate_values(approximate, group, approximate_weights);
    std::vector<Noise> noise(group.size());
    std::vector<std::vector<Tensor>> kept(samples.size());
    const auto keep = [&](size_t s) {
      kept[s].resize(group.size());
      return exact_values.Visit(
          samples[s], [&](size_t i, const ConstTensorView& value) -> absl::Status {
            OCTET_ASSIGN_OR_RETURN(kept[s][i], Kept(value, exact_resources.values));
            return absl::OkStatus();
          });
    };
    const auto compare = [&](size_t s, size_t i, const ConstTensorView& value) {
      const Tensor x = std::exchange(kept[s][i], Tensor());
      AddValue(x.view(), value, approximate.value(group[i]).type, noise[i]);
      return absl::OkStatus();
    };
    OCTET_RETURN_IF_ERROR(
        approximate_values.VisitAll(samples, exact_resources.threads, compare, keep));
    for (const Noise& value : noise) result.push_back(value.Db());
    values = values.subspan(group.size());
  }
  return result;
}

double OutputSqnrDb(const std::vector<std::vector<Tensor>>& exact,
                    const std::vector<std::vector<Tensor>>& approximate) {
  Noise noise;
  for (size_t s = 0; s < exact.size(); ++s) {
    for (size_t o = 0; o < exact[s].size(); ++o) {
      if (exact[s][o].dtype() != DataType::kFloat32) continue;
      const auto y = approximate[s][o].As<float>();
      noise.Add(exact[s][o].As<float>(), [&](size_t i) { return double{y[i]}; });
    }
  }
  return noise.Db();
}

}  // namespace octet::runtime
