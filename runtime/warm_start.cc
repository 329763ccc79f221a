#include "runtime/warm_start.h"

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/sha256.h"
#include "base/status.h"
#include "graph/infer.h"
#include "runtime/check_kernels.h"
#include "runtime/fingerprint.h"
#include "runtime/load_samples.h"
#include "runtime/network_delta.h"
#include "runtime/pack_file.h"
#include "runtime/statistics_file.h"

namespace octet::runtime {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The network that was kept. InvalidArgument, and the model as it was, if it is none of this model.
absl::Status TakeNetwork(const QuantizedPack& pack, PreparedModel& model) {
  const auto bytes = std::as_bytes(std::span(pack.network.data(), pack.network.size()));
  OCTET_ASSIGN_OR_RETURN(graph::Graph network, DecodeNetwork(bytes, model.graph));
  model.fingerprint = Hex(Fingerprint(network, ConstantsOf(model.graph)));
  if (model.fingerprint != pack.fingerprint) {
    return absl::InvalidArgumentError("its network is not the one that was kept");
  }
  OCTET_RETURN_IF_ERROR(graph::Infer(network, model.example_shapes).status());
  model.graph = std::move(network);
  return absl::OkStatus();
}

// The kernels were right when the network was made; other shapes or another build may change that.
absl::Status KernelsAreRight(PreparedModel& model, const LoadOptions& options) {
  OCTET_ASSIGN_OR_RETURN(const std::vector<KernelMismatch> mismatches,
                         CheckKernels(model, options));
  if (mismatches.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(Describe(mismatches.front(), "it is not taken"));
}

// Takes over what an earlier start has made. Errors are ReadPack()'s, TakeNetwork()'s and
// KernelsAreRight()'s, and leave the model as it was.
absl::Status StartWarm(const PackFile& file, const LoadOptions& options, PreparedModel& model) {
  const Clock::time_point start = Clock::now();
  if (options.progress) options.progress("read the quantized network", file.path);
  OCTET_ASSIGN_OR_RETURN(QuantizedPack pack, ReadPack(file));
  const graph::Graph imported = model.graph;
  absl::Status status = TakeNetwork(pack, model);
  const double seconds = SecondsSince(start);
  if (status.ok()) {
    model.quantization = std::move(pack.report);
    model.smoothing = std::move(pack.smoothing);
    model.quantization->seconds = seconds;
    if (options.self_check) status = KernelsAreRight(model, options);
  }
  if (status.ok()) {
    model.pack = file.path;
    model.quantization->start = absl::StrCat("warm: ", file.path);
    return absl::OkStatus();
  }
  model.graph = imported;
  model.quantization.reset();
  model.smoothing.clear();
  model.weights = std::make_unique<kernels::WeightCache>();
  return Annotate(status, file.path);
}

// Keeps what the samples show of the float network. What goes wrong is a warning: the model does
// not depend on it.
void SaveStatistics(const CalibrationData& data, const std::string& path,
                    const LoadOptions& options, PreparedModel& model) {
  const auto save = [&]() -> absl::StatusOr<std::string> {
    if (data.statistics != nullptr) {  // of several files, this is how they become one
      return WriteStatistics(options.save_statistics, path, *data.statistics);
    }
    if (data.samples.empty()) return absl::NotFoundError("there are no calibration samples");
    if (options.progress) options.progress("save statistics", options.save_statistics);
    OCTET_ASSIGN_OR_RETURN(const CalibrationStatistics statistics,
                           ObserveStatistics(model.graph, data));
    return WriteStatistics(options.save_statistics, path, statistics);
  };
  const absl::StatusOr<std::string> saved = save();
  if (saved.ok()) model.statistics = *saved;
  if (saved.ok()) return;
  model.warnings.push_back(
      absl::StrCat("quantization.calibration.save: ", saved.status().message()));
}

// The samples that measure must not be among those that statistics are of.
CalibrationData Unseen(const CalibrationData& data, CalibrationData validation,
                       PreparedModel& model) {
  if (data.statistics == nullptr || validation.samples.empty()) return validation;
  CalibrationData unseen = WithoutSeen(*data.statistics, validation);
  const size_t seen = validation.samples.size() - unseen.samples.size();
  if (seen > 0) {
    model.warnings.push_back(
        absl::StrCat(seen, " samples of the validation data have calibrated and were passed over"));
  }
  return unseen;
}

// Quantizes with the samples at `calibration`, and keeps the result in `file`, if there is one;
// `cold` says why that was necessary.
absl::Status StartCold(const std::string& path, const std::string& calibration,
                       const std::optional<PackFile>& file, const std::string& cold,
                       const LoadOptions& options, const Quantizer& quantize,
                       PreparedModel& model) {
  OCTET_ASSIGN_OR_RETURN(const CalibrationData samples, ReadSamples(calibration, options, model));
  OCTET_RETURN_IF_ERROR(model.files.Finish());
  OCTET_ASSIGN_OR_RETURN(CalibrationData validation, ValidationSamples(options, model));
  validation = Unseen(samples, std::move(validation), model);
  if (!options.save_statistics.empty()) SaveStatistics(samples, path, options, model);
  const KnownConstants imported = ConstantsOf(model.graph);
  OCTET_RETURN_IF_ERROR(quantize(samples, validation, options, model));
  model.fingerprint = Hex(Fingerprint(model.graph, imported));
  model.quantization->start = cold;
  if (!file || !options.cache.write) return absl::OkStatus();
  const bool optional = options.cache.folder.empty() && options.cache.file.empty();
  const absl::StatusOr<std::string> note =
      WritePack(*file, optional,
                {.report = *model.quantization,
                 .smoothing = model.smoothing,
                 .network = EncodeNetwork(model.graph, imported),
                 .fingerprint = model.fingerprint});
  if (!note.ok()) {
    model.warnings.push_back(absl::StrCat("quantization.cache: ", note.status().message()));
  } else if (note->empty()) {
    model.pack = file->path;
  } else {
    absl::StrAppend(&model.quantization->start, model.quantization->start.empty() ? "" : "; ",
                    *note);
  }
  return absl::OkStatus();
}

absl::Status QuantizeWarmOrCold(const std::string& path, const LoadOptions& options,
                                const Quantizer& quantize, PreparedModel& model) {
  OCTET_ASSIGN_OR_RETURN(const std::string calibration, CalibrationPath(path, options, model.mode));
  if (!options.cache.read && !options.cache.write) {
    return StartCold(path, calibration, std::nullopt, "", options, quantize, model);
  }
  const Clock::time_point start = Clock::now();
  OCTET_ASSIGN_OR_RETURN(const PackFile file, PackFileFor(path, calibration, options, model.graph));
  const double key_seconds = SecondsSince(start);
  std::string cold = "cold";
  std::error_code ignored;  // what cannot be looked at has to be written
  const std::string statistics = StatisticsPath(options.save_statistics, path);
  if (!options.save_statistics.empty() && !std::filesystem::exists(statistics, ignored)) {
    absl::StrAppend(&cold, ": ", statistics, " has to be written");
  } else if (options.cache.read) {
    const absl::Status warm = StartWarm(file, options, model);
    if (warm.ok()) model.quantization->seconds += key_seconds;
    if (warm.ok()) return model.files.Finish();
    absl::StrAppend(&cold, ": ", warm.message());
    const bool expected = absl::IsNotFound(warm) || absl::IsFailedPrecondition(warm);
    if (!expected) {
      model.warnings.push_back(
          absl::StrCat("quantization.cache: ", warm.message(), "; the model is quantized anew"));
    }
  }
  OCTET_RETURN_IF_ERROR(StartCold(path, calibration, file, cold, options, quantize, model));
  model.quantization->seconds += key_seconds;
  return absl::OkStatus();
}

// The .qpack file saves reading the samples and quantizing again.
absl::Status QuantizeAsEarlier(const std::string& path, const LoadOptions& options,
                               const Quantizer& quantize, PreparedModel& model) {
  const LoadOptions::Earlier& earlier = *options.earlier;
  if (!earlier.pack.empty()) {
    const absl::StatusOr<QuantizedPack> pack = ReadPack(earlier.pack);
    if (pack.ok() && pack->fingerprint == earlier.fingerprint && TakeNetwork(*pack, model).ok()) {
      return absl::OkStatus();
    }
  }
  OCTET_ASSIGN_OR_RETURN(const std::string calibration, CalibrationPath(path, options, model.mode));
  OCTET_RETURN_IF_ERROR(StartCold(path, calibration, std::nullopt, "", options, quantize, model));
  if (model.fingerprint == earlier.fingerprint) return absl::OkStatus();
  return absl::FailedPreconditionError("another network has come of it");
}

}  // namespace

absl::Status QuantizeOnce(const std::string& path, const LoadOptions& options,
                          const Quantizer& quantize, PreparedModel& model) {
  return options.earlier ? QuantizeAsEarlier(path, options, quantize, model)
                         : QuantizeWarmOrCold(path, options, quantize, model);
}

}  // namespace octet::runtime
