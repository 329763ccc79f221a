// What calibration has seen of a network, without the samples: a histogram of every activation that
// int8 may need the range of. Can be kept (.qcal files) and merged.

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "quant/histogram.h"
#include "runtime/calibration_data.h"
#include "runtime/section_file.h"

namespace octet::runtime {

struct CalibrationStatistics {
  std::string network;   // Fingerprint() of the float network, hexadecimal
  std::string software;  // "0.1.0": by which Octet; of merged ones, the last by name
  uint64_t samples = 0;
  std::vector<std::string> sources;      // where the samples were: ascending, each once
  std::vector<uint64_t> sample_digests;  // SampleDigest() of each: ascending, each once
  std::map<graph::ValueId, quant::Histogram> values;

  bool operator==(const CalibrationStatistics&) const = default;
};

// The first bytes of a sample's SHA-256.
uint64_t SampleDigest(const std::vector<Tensor>& sample);

// Of every value that is read as codes when all layers are int8. `graph` is the float network, not
// smoothed. FailedPrecondition without samples.
absl::StatusOr<CalibrationStatistics> ObserveStatistics(const graph::Graph& graph,
                                                        const CalibrationData& data);

// Adds what `other` has seen of the same network; the result is that of all samples together, bit
// for bit, in whatever order. InvalidArgument if the networks differ.
absl::Status Merge(const CalibrationStatistics& other, CalibrationStatistics& statistics);

// `validation` without the samples that these statistics have seen.
CalibrationData WithoutSeen(const CalibrationStatistics& statistics,
                            const CalibrationData& validation);

// Sections (section_file.h) are about and values.
inline constexpr FileForm kStatisticsForm = {"OCTETCAL", ".qcal"};

std::string EncodeStatistics(const CalibrationStatistics& statistics);

// InvalidArgument says what is damaged; FailedPrecondition: the form is of another version. Any
// bytes may be given.
absl::StatusOr<CalibrationStatistics> DecodeStatistics(std::span<const std::byte> bytes);

}  // namespace octet::runtime
