#include "runtime/load_samples.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/status.h"
#include "runtime/fingerprint.h"
#include "runtime/layer_rules.h"
#include "runtime/statistics_file.h"
#include "runtime/synthetic_samples.h"

namespace octet::runtime {
namespace {

namespace fs = std::filesystem;

// Of the validation data; a measurement runs all of them.
constexpr size_t kMostValidationSamples = 1024;

// Refuses values that are not finite, or makes them 0.
absl::Status TreatNonFinite(bool zero, TensorFile* file, CalibrationData& data) {
  for (size_t i = 0; i < data.samples.size(); ++i) {
    for (Tensor& tensor : data.samples[i]) {
      if (tensor.dtype() != DataType::kFloat32) continue;
      const std::span<const float> values = tensor.As<float>();
      const auto bad = std::find_if_not(values.begin(), values.end(),
                                        [](float value) { return std::isfinite(value); });
      const bool finite = bad == values.end();
      if (!finite && !zero) {
        return absl::InvalidArgumentError(
            absl::StrCat(data.source, ": sample ", i, " has ", *bad, ", expected finite values"));
      }
      if (!finite) {
        OCTET_ASSIGN_OR_RETURN(Tensor changed, Tensor::Copy(tensor.view()));
        const std::span<float> elements = changed.MutableAs<float>();
        std::replace_if(
            elements.begin(), elements.end(), [](float value) { return !std::isfinite(value); },
            0.0f);
        tensor = file == nullptr ? changed : file->Hold(changed);
      }
      tensor.DropPages();
    }
  }
  return absl::OkStatus();
}

CalibrationData InMemoryOnly(CalibrationData data) {
  data.in_memory_only = true;
  return data;
}

// Told by what the contents of files are.
constexpr uintmax_t kMostHashedBytes = uintmax_t{1} << 30;
constexpr size_t kMostFiles = 1'000'000;

struct FoundFile {
  std::string name;  // below the folder
  fs::path path;
  uintmax_t size = 0;
  int64_t changed = 0;
};

absl::StatusOr<std::vector<FoundFile>> FindFiles(const std::string& path) {
  std::vector<FoundFile> files;
  std::error_code error;
  const auto add = [&](const fs::path& file) {
    std::error_code ignored;  // a link that leads nowhere is no sample
    if (!fs::is_regular_file(file, ignored)) return;
    const uintmax_t size = fs::file_size(file, ignored);
    if (ignored) return;
    const auto changed = fs::last_write_time(file, ignored).time_since_epoch().count();
    files.push_back({file.lexically_relative(path).string(), file, size, changed});
  };
  if (!fs::is_directory(path, error)) {
    add(path);
  } else {
    for (fs::recursive_directory_iterator entry(path, error), end;
         !error && entry != end && files.size() < kMostFiles; entry.increment(error)) {
      // The folders that links of a mounted ConfigMap lead to have another name each time.
      const bool hidden = entry->path().filename().string().front() == '.';
      if (hidden) entry.disable_recursion_pending();
      if (!hidden) add(entry->path());
    }
  }
  if (error) return absl::NotFoundError(absl::StrCat(path, ": ", error.message()));
  std::sort(files.begin(), files.end(),
            [](const FoundFile& a, const FoundFile& b) { return a.name < b.name; });
  return files;
}

}  // namespace

absl::StatusOr<std::string> CalibrationPath(const std::string& path, const LoadOptions& options,
                                            Mode mode) {
  if (options.samples != nullptr) return std::string();
  const bool dynamic = options.dynamic && !AnyWantsSamples(options.quantization.layers);
  if (dynamic || options.synthetic) return std::string();
  const std::string& configured = options.calibration_path;
  std::string where = configured.empty() ? CalibrationBeside(path) : configured;
  if (options.statistics && configured.empty() && IsInteger(mode)) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, ": Q009: quantization.calibration.source file needs quantization.calibration.path"));
  }
  if (!where.empty() || !options.samples_required || !IsInteger(mode)) return where;
  return absl::FailedPreconditionError(absl::StrCat(
      path,
      ": static int8 needs calibration samples: a folder `calibration` beside the model, or "
      "quantization.calibration.path"));
}

absl::StatusOr<CalibrationData> ReadSamples(const std::string& where, const LoadOptions& options,
                                            PreparedModel& model) {
  if (options.samples != nullptr) return InMemoryOnly(*options.samples);
  if (options.synthetic && !options.dynamic) {
    return SyntheticSamples(model.graph, model.example_shapes,
                            {.samples = options.calibration_samples,
                             .seed = options.seed,
                             .allow_noise = options.allow_noise});
  }
  if (where.empty()) return CalibrationData();
  if (options.progress) options.progress("read calibration data", where);
  TensorFile* const file = model.graph.tensor_file().get();
  if (options.statistics) {
    OCTET_ASSIGN_OR_RETURN(CalibrationStatistics statistics,
                           ReadStatistics(where, Hex(Fingerprint(model.graph)), model.files));
    CalibrationData data{.source = where};
    data.statistics = std::make_shared<const CalibrationStatistics>(std::move(statistics));
    return data;
  }
  OCTET_ASSIGN_OR_RETURN(
      CalibrationData data,
      ReadCalibrationData(where, model.inputs, model.batchable, options.calibration_samples,
                          options.preprocessing, file));
  for (const std::vector<Tensor>& sample : data.samples) {
    for (const Tensor& tensor : sample) {
      OCTET_RETURN_IF_ERROR(model.files.Add(where, {tensor.data(), tensor.byte_size()}));
      tensor.DropPages();
    }
  }
  OCTET_RETURN_IF_ERROR(TreatNonFinite(options.quantization.zero_non_finite, file, data));
  return data;
}

absl::StatusOr<CalibrationData> ValidationSamples(const LoadOptions& options,
                                                  const PreparedModel& model) {
  if (options.validation != nullptr) return InMemoryOnly(*options.validation);
  if (options.validation_path.empty()) return CalibrationData();
  if (options.progress) options.progress("read validation data", options.validation_path);
  TensorFile* const file = model.graph.tensor_file().get();
  absl::StatusOr<CalibrationData> data =
      ReadCalibrationData(options.validation_path, model.inputs, model.batchable,
                          kMostValidationSamples, options.preprocessing, file);
  if (!data.ok()) return Annotate(data.status(), "validation data");
  OCTET_RETURN_IF_ERROR(TreatNonFinite(options.quantization.zero_non_finite, file, *data));
  return data;
}

absl::StatusOr<std::string> DigestOfFiles(const std::string& path) {
  if (path.empty()) return std::string("none");
  OCTET_ASSIGN_OR_RETURN(const std::vector<FoundFile> files, FindFiles(path));
  uintmax_t bytes = 0;
  for (const FoundFile& file : files) bytes += file.size;
  Sha256 sha256;
  for (const FoundFile& file : files) {
    // The name of a file that is named by itself does not matter.
    sha256.AddPart(file.name == "." ? absl::string_view() : absl::string_view(file.name));
    if (bytes <= kMostHashedBytes) {
      OCTET_ASSIGN_OR_RETURN(const MappedFile content, MappedFile::Open(file.path.string()));
      sha256.AddPart(content);
    } else {
      sha256.AddPart(absl::StrCat(file.size, " bytes, ", file.changed));
    }
  }
  return Hex(sha256.Finish());
}

}  // namespace octet::runtime
