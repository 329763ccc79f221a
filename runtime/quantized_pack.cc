#include "runtime/quantized_pack.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/sha256.h"
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
  archive(weights.bits, weights.format, weights.algorithm, weights.gptq, weights.expand,
          weights.note);
}

template <typename Archive>
void Fields(Archive& archive, LayerReport& layer) {
  archive(layer.node, layer.op, layer.precision, layer.reason, layer.weight_shape, layer.macs,
          layer.weights, layer.weight_sqnr_db, layer.output_sqnr_db, layer.alone_sqnr_db,
          layer.bytes_before, layer.bytes_after, layer.bytes_resident, layer.kernel);
}

template <typename Archive>
void Fields(Archive& archive, QuantizeReport::Attempt& attempt) {
  archive(attempt.algorithm, attempt.output_sqnr_db);
}

template <typename Archive>
void Fields(Archive& archive, AccuracyValues& values) {
  archive(values.samples, values.sqnr_db, values.cosine, values.relative_error, values.decisions,
          values.agreed, values.labelled, values.right, values.right_float32);
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

namespace {

constexpr absl::string_view kMagic = "OCTQPACK";
constexpr uint32_t kForm = 1;
constexpr size_t kMostSections = 64;
constexpr size_t kNameBytes = 8;

struct SectionRow {
  std::string name;
  uint64_t size = 0;
  Sha256::Digest sha256 = {};
};

std::span<const std::byte> BytesOf(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string Padded(absl::string_view name) {
  std::string padded(name);
  padded.resize(kNameBytes);
  return padded;
}

template <typename... Values>
std::string Section(const Values&... values) {
  BinaryWriter writer;
  writer(values...);
  return writer.Take();
}

absl::Status Damaged(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("damaged: ", what));
}

// Rows of the sections, whose digests have not been compared yet.
absl::StatusOr<std::vector<SectionRow>> ReadHeader(std::span<const std::byte> bytes,
                                                   BinaryReader& reader) {
  const auto magic = reader.Raw(kMagic.size());
  if (!reader.ok() ||
      !std::equal(magic.begin(), magic.end(), std::as_bytes(std::span(kMagic)).begin())) {
    return absl::InvalidArgumentError("not a .qpack file");
  }
  uint32_t form = 0, count = 0;
  reader(form, count);
  if (reader.ok() && form != kForm) {
    return absl::FailedPreconditionError(
        absl::StrCat("form ", form, " of .qpack, expected ", kForm));
  }
  if (!reader.ok() || count > kMostSections) return Damaged("the header");
  std::vector<SectionRow> rows(count);
  for (SectionRow& row : rows) {
    const auto name = reader.Raw(kNameBytes);
    reader(row.size);
    const auto digest = reader.Raw(row.sha256.size());
    if (!reader.ok()) return Damaged("the table of sections");
    row.name.assign(reinterpret_cast<const char*>(name.data()), name.size());
    std::copy(digest.begin(), digest.end(), row.sha256.begin());
  }
  const size_t header = bytes.size() - reader.remaining();
  const Sha256::Digest expected = Sha256Of(bytes.first(header));
  const auto found = reader.Raw(expected.size());
  if (!reader.ok() || !std::equal(found.begin(), found.end(), expected.begin())) {
    return Damaged("the table of sections");
  }
  return rows;
}

template <typename... Values>
absl::Status ReadSection(std::span<const std::byte> bytes, absl::string_view name,
                         Values&... values) {
  BinaryReader reader(bytes);
  reader(values...);
  return reader.Finish() ? absl::OkStatus() : Damaged(absl::StrCat("section ", name));
}

}  // namespace

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
  const std::vector<std::pair<absl::string_view, std::string>> sections = {
      {"key", Section(pack.key)},
      {"report", Section(pack.report)},
      {"smooth", Section(pack.smoothing)},
      {"digest", Section(pack.fingerprint)},
      {"network", pack.network}};
  BinaryWriter header;
  header.Raw(std::as_bytes(std::span(kMagic)));
  header(kForm, static_cast<uint32_t>(sections.size()));
  for (const auto& [name, bytes] : sections) {
    header.Raw(BytesOf(Padded(name)));
    header(uint64_t{bytes.size()});
    header.Raw(Sha256Of(BytesOf(bytes)));
  }
  header.Raw(Sha256Of(BytesOf(header.bytes())));
  std::string file = header.Take();
  for (const auto& [name, bytes] : sections) file += bytes;
  return file;
}

absl::StatusOr<QuantizedPack> DecodePack(std::span<const std::byte> bytes) {
  BinaryReader reader(bytes);
  OCTET_ASSIGN_OR_RETURN(const std::vector<SectionRow> rows, ReadHeader(bytes, reader));
  QuantizedPack pack;
  size_t known = 0;
  for (const SectionRow& row : rows) {
    if (row.size > reader.remaining()) return Damaged("it ends too early");
    const auto section = reader.Raw(static_cast<size_t>(row.size));
    const absl::string_view name = row.name.c_str();
    if (Sha256Of(section) != row.sha256) return Damaged(absl::StrCat("section ", name));
    absl::Status status;
    ++known;
    if (name == "key") {
      status = ReadSection(section, name, pack.key);
    } else if (name == "report") {
      status = ReadSection(section, name, pack.report);
    } else if (name == "smooth") {
      status = ReadSection(section, name, pack.smoothing);
    } else if (name == "digest") {
      status = ReadSection(section, name, pack.fingerprint);
    } else if (name == "network") {
      pack.network.assign(reinterpret_cast<const char*>(section.data()), section.size());
    } else {
      --known;
    }
    OCTET_RETURN_IF_ERROR(status);
  }
  if (reader.remaining() > 0) return Damaged("bytes after its end");
  if (known != 5) return Damaged("a section is missing");
  return pack;
}

}  // namespace octet::runtime
