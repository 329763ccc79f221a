// Any bytes as a .qcal file, and as each of its parts: no crash, no more memory than the file asks
// for, and an error that says what is wrong; what is taken can be written and read again, and
// merged with itself.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "runtime/calibration_statistics.h"

namespace {

using octet::runtime::CalibrationStatistics;
using octet::runtime::EncodeSections;
using octet::runtime::EncodeStatistics;
using octet::runtime::kStatisticsForm;
using octet::runtime::ToSection;

absl::StatusOr<CalibrationStatistics> Decode(const std::string& bytes) {
  return octet::runtime::DecodeStatistics(std::as_bytes(std::span(bytes.data(), bytes.size())));
}

void Check(const std::string& bytes) {
  const auto statistics = Decode(bytes);
  if (!statistics.ok()) {
    if (statistics.status().message().empty()) std::abort();
    return;
  }
  const auto copy = Decode(EncodeStatistics(*statistics));
  if (!copy.ok() || *copy != *statistics) std::abort();
  CalibrationStatistics twice = *statistics;
  if (!octet::runtime::Merge(*statistics, twice).ok()) std::abort();
  for (const auto& [value, histogram] : statistics->values) {
    if (twice.values.at(value).count() != 2 * histogram.count()) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  Check(bytes);
  // With digests that are right, so that what is in sections is reached, too.
  static const auto* const kAbout =
      new std::string(ToSection(std::string("network"), std::string("0.1.0"), uint64_t{1},
                                std::vector<std::string>{"here"}, std::vector<uint64_t>{7}));
  Check(EncodeSections(kStatisticsForm, {{"about", *kAbout}, {"values", bytes}}));
  Check(EncodeSections(kStatisticsForm,
                       {{"about", bytes}, {"values", ToSection(std::vector<std::string>())}}));
  return 0;
}
