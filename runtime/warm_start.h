// Quantizing a model at most once: what an earlier load has kept is taken over.

#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "runtime/calibration_data.h"
#include "runtime/load.h"

namespace octet::runtime {

// Makes model.graph, a float network, the quantized one, and model.quantization its report.
using Quantizer =
    std::function<absl::Status(const CalibrationData& samples, const CalibrationData& validation,
                               const LoadOptions& options, PreparedModel& model)>;

// Quantizes the float network of the model at `path`: from the .qpack file of options.cache if that
// fits, else by `quantize`, whose result is then kept there. report.start says which and why. A
// file that is damaged or forged is a warning of the model, and otherwise as if it were not there.
// With options.earlier what came out then has to come out again (FailedPrecondition). Errors
// otherwise are those of reading samples and of `quantize`.
absl::Status QuantizeOnce(const std::string& path, const LoadOptions& options,
                          const Quantizer& quantize, PreparedModel& model);

}  // namespace octet::runtime
