// What the commands about one model file share: quantize, inspect, bench.

#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"
#include "server/commands/command.h"
#include "server/config/config.h"

namespace octet::server {

// The concrete shape of one input, for what depends on it.
struct InputShape {
  std::string input;
  Shape shape;
};

// A model and the settings that the server would give it.
struct ModelOptions {
  std::string path;
  ModelConfig settings;  // of the entry that the server would load it for, else the top level's
  LogConfig log;
};

// Reads MODEL, --config and, if given, --calibration, which makes the source a dataset, or
// a file of statistics.
absl::StatusOr<ModelOptions> ParseModelOptions(const Arguments& arguments);

// "NAME=1x3x224x224". InvalidArgument names the flag and what was expected.
absl::StatusOr<InputShape> ParseInputShape(absl::string_view text);
absl::StatusOr<std::vector<InputShape>> ParseInputShapes(const Arguments& arguments);

// The rows of these arguments.
Argument ModelArgument();
Argument ConfigArgument();
Argument CalibrationArgument();
Argument ShapeArgument();

}  // namespace octet::server
