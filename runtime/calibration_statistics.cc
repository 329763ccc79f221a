#include "runtime/calibration_statistics.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/sha256.h"
#include "base/status.h"
#include "quant/selection.h"
#include "runtime/binary_form.h"
#include "runtime/evaluate.h"
#include "runtime/fingerprint.h"

namespace octet::quant {

template <typename Archive>
void Fields(Archive& archive, HistogramState& state) {
  archive(state.min, state.max, state.zeros, state.nans, state.infinities, state.samples,
          state.bins, state.counts, state.sum, state.sum_squares, state.lows, state.highs);
}

}  // namespace octet::quant

namespace octet::runtime {
namespace {

using graph::ValueId;

// A value as it is kept.
struct KeptValue {
  int32_t id = 0;
  quant::HistogramState histogram;
};

template <typename Archive>
void Fields(Archive& archive, KeptValue& value) {
  archive(value.id, value.histogram);
}

template <typename T>
void MergeUnique(const std::vector<T>& other, std::vector<T>& list) {
  std::vector<T> merged;
  std::set_union(list.begin(), list.end(), other.begin(), other.end(), std::back_inserter(merged));
  list = std::move(merged);
}

template <typename T>
bool AscendingAndUnique(const std::vector<T>& list) {
  return std::adjacent_find(list.begin(), list.end(), std::greater_equal<>()) == list.end();
}

absl::Status FillValues(const std::vector<KeptValue>& kept, CalibrationStatistics& statistics) {
  int64_t last = -1;
  for (const KeptValue& value : kept) {
    if (value.id <= last) return Damaged("the order of values");
    last = value.id;
    absl::StatusOr<quant::Histogram> histogram = quant::Histogram::FromState(value.histogram);
    if (!histogram.ok()) {
      return Damaged(absl::StrCat("value ", value.id, ": ", histogram.status().message()));
    }
    statistics.values.emplace(static_cast<ValueId>(value.id), *std::move(histogram));
  }
  return absl::OkStatus();
}

}  // namespace

uint64_t SampleDigest(const std::vector<Tensor>& sample) {
  Sha256 sha256;
  for (const Tensor& tensor : sample) {
    const DataType dtype = tensor.dtype();
    sha256.AddPart(std::as_bytes(std::span(&dtype, 1)));
    sha256.AddPart(std::as_bytes(std::span(tensor.shape())));
    sha256.AddPart(std::span(tensor.data(), tensor.byte_size()));
  }
  const Sha256::Digest digest = sha256.Finish();
  uint64_t number = 0;
  std::memcpy(&number, digest.data(), sizeof(number));
  return number;
}

absl::StatusOr<CalibrationStatistics> ObserveStatistics(const graph::Graph& graph,
                                                        const CalibrationData& data) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<graph::NodeId> layers, quant::QuantizableLayers(graph));
  quant::LayerPrecisions int8;
  for (const graph::NodeId layer : layers) int8[layer] = quant::Precision::kInt8;
  OCTET_ASSIGN_OR_RETURN(const quant::Selection selection, quant::Select(graph, int8));
  std::vector<ValueId> values;
  for (size_t i = 0; i < graph.value_count(); ++i) {
    if (selection.quantizer[i] >= 0) values.push_back(static_cast<ValueId>(i));
  }
  kernels::WeightCache weights(graph.tensor_file());
  OCTET_ASSIGN_OR_RETURN(std::vector<quant::Histogram> histograms,
                         Observe(graph, values, data.samples, weights));
  CalibrationStatistics statistics{.network = Hex(Fingerprint(graph)),
                                   .software = OCTET_VERSION,
                                   .samples = data.samples.size(),
                                   .sources = {data.source}};
  for (size_t i = 0; i < values.size(); ++i) {
    statistics.values.emplace(values[i], std::move(histograms[i]));
  }
  std::vector<uint64_t>& digests = statistics.sample_digests;
  for (const std::vector<Tensor>& sample : data.samples) digests.push_back(SampleDigest(sample));
  std::sort(digests.begin(), digests.end());
  digests.erase(std::unique(digests.begin(), digests.end()), digests.end());
  return statistics;
}

absl::Status Merge(const CalibrationStatistics& other, CalibrationStatistics& statistics) {
  if (other.network != statistics.network) {
    return absl::InvalidArgumentError("statistics of different networks cannot be merged");
  }
  statistics.software = std::max(statistics.software, other.software);
  statistics.samples += other.samples;
  MergeUnique(other.sources, statistics.sources);
  MergeUnique(other.sample_digests, statistics.sample_digests);
  for (const auto& [value, histogram] : other.values) {
    statistics.values[value].Merge(histogram);
  }
  return absl::OkStatus();
}

CalibrationData WithoutSeen(const CalibrationStatistics& statistics,
                            const CalibrationData& validation) {
  CalibrationData kept{.source = validation.source};
  for (size_t i = 0; i < validation.samples.size(); ++i) {
    if (std::binary_search(statistics.sample_digests.begin(), statistics.sample_digests.end(),
                           SampleDigest(validation.samples[i]))) {
      continue;
    }
    kept.samples.push_back(validation.samples[i]);
    if (!validation.labels.empty()) kept.labels.push_back(validation.labels[i]);
  }
  return kept;
}

std::string EncodeStatistics(const CalibrationStatistics& statistics) {
  std::vector<KeptValue> kept;
  kept.reserve(statistics.values.size());
  for (const auto& [value, histogram] : statistics.values) {
    kept.push_back({static_cast<int32_t>(value), histogram.State()});
  }
  return EncodeSections(
      kStatisticsForm,
      {{"about", ToSection(statistics.network, statistics.software, statistics.samples,
                           statistics.sources, statistics.sample_digests)},
       {"values", ToSection(kept)}});
}

absl::StatusOr<CalibrationStatistics> DecodeStatistics(std::span<const std::byte> bytes) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<SectionView> sections,
                         DecodeSections(kStatisticsForm, bytes));
  CalibrationStatistics statistics;
  std::vector<KeptValue> kept;
  size_t known = 0;
  for (const SectionView& section : sections) {
    if (section.name == "about") {
      OCTET_RETURN_IF_ERROR(FromSection(section, statistics.network, statistics.software,
                                        statistics.samples, statistics.sources,
                                        statistics.sample_digests));
      ++known;
    } else if (section.name == "values") {
      OCTET_RETURN_IF_ERROR(FromSection(section, kept));
      ++known;
    }
  }
  if (known != 2) return Damaged("a section is missing");
  if (!AscendingAndUnique(statistics.sources) || !AscendingAndUnique(statistics.sample_digests) ||
      statistics.sample_digests.size() > statistics.samples ||
      statistics.samples > uint64_t{1} << 50) {
    return Damaged("the list of samples");
  }
  OCTET_RETURN_IF_ERROR(FillValues(kept, statistics));
  return statistics;
}

}  // namespace octet::runtime
