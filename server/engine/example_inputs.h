// Inputs for measuring a model without data of its user.

#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "runtime/load.h"
#include "server/commands/model_options.h"

namespace octet::server {

// The shapes given by name, and the model's example shapes for the other inputs. InvalidArgument if
// a name is unknown or a fixed dimension differs.
absl::StatusOr<std::vector<Shape>> ShapesFor(const runtime::PreparedModel& model,
                                             const std::vector<InputShape>& given);

// Floats from a fixed pseudo-random sequence between -1 and 1; integers and booleans 0 and 1, which
// are valid indices and masks.
std::vector<Tensor> ExampleInputs(const runtime::PreparedModel& model,
                                  const std::vector<Shape>& shapes);

}  // namespace octet::server
