#include "server/commands/model_options.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "server/config/config_file.h"
#include "server/config/spelling.h"
#include "server/config/value_form.h"

namespace octet::server {
namespace {

constexpr int64_t kMaxDimension = int64_t{1} << 31;

bool SameFile(const std::string& a, const std::string& b) {
  std::error_code ignored;  // what cannot be looked up is not the same
  return !a.empty() && std::filesystem::equivalent(a, b, ignored);
}

// True if `octet serve` would load the file at `path` for this entry.
bool Serves(const ModelConfig& model, const std::string& repository, const std::string& path) {
  if (!model.path.empty()) return SameFile(model.path, path);
  if (repository.empty()) return false;
  const std::filesystem::path folder = std::filesystem::path(repository) / model.name;
  const std::filesystem::path version = std::filesystem::path(path).parent_path();
  return SameFile(folder.string() + ".onnx", path) ||
         SameFile(folder.string(), version.parent_path().string());
}

// The settings that `octet serve` would load the file at `path` with.
ModelConfig SettingsFor(const std::string& path, const Config& config) {
  for (ModelConfig model : config.models) {
    if (!Serves(model, config.model_repository, path)) continue;
    model.path = path;
    return model;
  }
  // No entry has an empty name: these are the top level's.
  ModelConfig settings = config.ForModel("");
  settings.name = std::filesystem::path(path).stem().string();
  settings.path = path;
  return settings;
}

}  // namespace

absl::StatusOr<ModelOptions> ParseModelOptions(const Arguments& arguments) {
  OCTET_ASSIGN_OR_RETURN(LoadedConfig loaded, LoadConfig(arguments.Get("--config")));
  ModelOptions options;
  options.path = arguments.Get("MODEL");
  options.settings = SettingsFor(options.path, loaded.config);
  options.log = loaded.config.log;
  if (arguments.Has("--calibration")) {
    CalibrationConfig& calibration = options.settings.quantization.calibration;
    calibration.path = arguments.Get("--calibration");
    calibration.source = std::filesystem::path(calibration.path).extension() == ".qcal"
                             ? CalibrationSource::kFile
                             : CalibrationSource::kDataset;
  }
  return options;
}

absl::StatusOr<InputShape> ParseInputShape(absl::string_view text) {
  const size_t equals = text.rfind('=');
  absl::Status wrong = absl::InvalidArgumentError(
      absl::StrCat("--shape: must be NAME=1x3x224x224, not ", Quoted(text)));
  if (equals == absl::string_view::npos || equals == 0) return wrong;
  InputShape shape;
  shape.input = std::string(text.substr(0, equals));
  if (equals + 1 == text.size()) return shape;  // a scalar
  for (const absl::string_view size : absl::StrSplit(text.substr(equals + 1), 'x')) {
    const std::optional<int64_t> dimension = ParseInteger(size);
    if (!dimension.has_value() || *dimension < 0 || *dimension > kMaxDimension) return wrong;
    shape.shape.push_back(*dimension);
  }
  return shape;
}

absl::StatusOr<std::vector<InputShape>> ParseInputShapes(const Arguments& arguments) {
  std::vector<InputShape> shapes;
  for (const std::string& text : arguments.All("--shape")) {
    OCTET_ASSIGN_OR_RETURN(InputShape shape, ParseInputShape(text));
    shapes.push_back(std::move(shape));
  }
  return shapes;
}

Argument ModelArgument() {
  return {.name = "MODEL", .help = "Model file (.onnx)", .required = true};
}

Argument ConfigArgument() {
  return {.name = "--config", .value = "FILE", .help = "Configuration file (YAML)"};
}

Argument CalibrationArgument() {
  return {.name = "--calibration",
          .value = "PATH",
          .help = "Samples, or a .qcal file (wins over the configuration)"};
}

Argument ShapeArgument() {
  return {.name = "--shape",
          .value = "NAME=1x3x224x224",
          .help = "Shape of an input that has symbolic dimensions; once for each such input",
          .repeated = true};
}

}  // namespace octet::server
