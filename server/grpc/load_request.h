// A request with made-up data for a model of which only the metadata is known.

#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "proto/open_inference.pb.h"

namespace octet::server {

struct LoadRequestOptions {
  std::string version;  // empty: the server chooses
  int64_t rows = 1;     // the size of the first dimension where requests are batched
  bool batched = true;  // that dimension is rows of a batch
  // Shapes of inputs by name: whole ones, whose first dimension gives way to `rows` if batched, or
  // without the batch dimension. Needed for inputs that have other symbolic dimensions.
  std::vector<std::pair<std::string, Shape>> shapes;
};

// Floats from a fixed pseudo-random sequence between -1 and 1; integers and booleans 0 and 1, which
// are valid indices and masks. InvalidArgument names the input that is unknown, whose shape is
// missing or does not fit, or whose datatype has no raw form of a fixed size.
absl::StatusOr<inference::ModelInferRequest> MakeLoadRequest(
    const inference::ModelMetadataResponse& metadata, const LoadRequestOptions& options);

}  // namespace octet::server
