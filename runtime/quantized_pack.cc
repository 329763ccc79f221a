#include "runtime/quantized_pack.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "runtime/binary_form.h"

namespace octet::runtime {

// One function per structure, for both directions. What is not here is not kept.

template <typename Archive>
void Fields(Archive& archive, PackKey& key) {
  archive(key.network, key.data, key.configuration, key.processor, key.software);
}

template <typename Archive>
void Fields(Archive& archive, quant::Precision& precision) {
  NamedEnum(archive, precision, 16);
}

template <typename Archive>
void Fields(Archive& archive, WeightReport& weights) {
  archive(weights.bits, weights.format, weights.algorithm, weights.gptq, weights.weighted,
          weights.expand, weights.note);
}

template <typename Archive>
void Fields(Archive& archive, LayerReport& layer) {
  archive(layer.node, layer.op, layer.precision, layer.reason, layer.weight_shape, layer.macs,
          layer.weights, layer.weight_sqnr_db, layer.output_sqnr_db, layer.alone_sqnr_db,
          layer.bytes_before, layer.bytes_after, layer.bytes_resident, layer.kernel,
          layer.transforms);
}

template <typename Archive>
void Fields(Archive& archive, QuantizeReport::Attempt& attempt) {
  archive(attempt.algorithm, attempt.output_sqnr_db);
}

template <typename Archive>
void Fields(Archive& archive, AccuracyValues& values) {
  archive(values.samples, values.sqnr_db, values.cosine, values.relative_error, values.decisions,
          values.agreed, values.labelled, values.right, values.right_float32, values.f1,
          values.f1_float32);
}

template <typename Archive>
void Fields(Archive& archive, AccuracyReport& report) {
  NamedEnum(archive, report.verdict, 16);
  NamedEnum(archive, report.target.metric, 16);
  archive(report.target.value, report.target.is_drop);
  NamedEnum(archive, report.on_fail, 16);
  archive(report.values, report.source, report.note, report.attempts, report.search_seconds,
          report.out_of_time);
}

template <typename Archive>
void Fields(Archive& archive, QuantizeReport& report) {
  NamedEnum(archive, report.recipe.recipe, 16);
  archive(report.recipe.reason, report.bias_correction, report.bias_correction_sqnr_db,
          report.bias_rejected, report.estimated);
  archive(report.mode, report.mode_reason, report.activation_algorithm, report.transforms,
          report.attempts, report.calibration_samples, report.held_out_samples,
          report.calibration_source, report.output_sqnr_db, report.accuracy, report.int8_mac_share,
          report.bfloat16_mac_share, report.seconds, report.layers, report.warnings);
}

template <typename Archive>
void Fields(Archive& archive, SmoothedActivation& smoothed) {
  auto value = static_cast<int32_t>(smoothed.value);
  archive(value, smoothed.factors);
  if constexpr (Archive::kReads) smoothed.value = static_cast<graph::ValueId>(value);
}

std::string Difference(const PackKey& found, const PackKey& wanted) {
  std::vector<std::string> parts;
  if (found.network != wanted.network) parts.push_back("the model is another");
  if (found.data != wanted.data) parts.push_back("the calibration data is another");
  if (found.configuration != wanted.configuration) parts.push_back("the configuration is another");
  if (found.processor != wanted.processor) {
    parts.push_back(
        absl::StrCat("it is for ", found.processor, ", the processor is ", wanted.processor));
  }
  if (found.software != wanted.software) {
    parts.push_back(absl::StrCat("it is by ", found.software, ", this is ", wanted.software));
  }
  return absl::StrJoin(parts, ", ");
}

std::string EncodePack(const QuantizedPack& pack) {
  return EncodeSections(kPackForm, {{"key", ToSection(pack.key)},
                                    {"report", ToSection(pack.report)},
                                    {"smooth", ToSection(pack.smoothing)},
                                    {"digest", ToSection(pack.fingerprint)},
                                    {"network", pack.network}});
}

absl::StatusOr<QuantizedPack> DecodePack(std::span<const std::byte> bytes) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<SectionView> sections, DecodeSections(kPackForm, bytes));
  QuantizedPack pack;
  size_t known = 0;
  for (const SectionView& section : sections) {
    absl::Status status;
    ++known;
    if (section.name == "key") {
      status = FromSection(section, pack.key);
    } else if (section.name == "report") {
      status = FromSection(section, pack.report);
    } else if (section.name == "smooth") {
      status = FromSection(section, pack.smoothing);
    } else if (section.name == "digest") {
      status = FromSection(section, pack.fingerprint);
    } else if (section.name == "network") {
      pack.network.assign(reinterpret_cast<const char*>(section.bytes.data()),
                          section.bytes.size());
    } else {
      --known;
    }
    OCTET_RETURN_IF_ERROR(status);
  }
  if (known != 5) return Damaged("a section is missing");
  return pack;
}

}  // namespace octet::runtime
