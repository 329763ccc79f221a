// The samples that a load calibrates with and measures on.

#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/read_record.h"
#include "runtime/calibration_data.h"
#include "runtime/load.h"

namespace octet::runtime {

// Where the calibration samples of the model at `path` are; empty: it has none.
// FailedPrecondition if the options and this mode, resolved, ask for some and there are none.
absl::StatusOr<std::string> CalibrationPath(const std::string& path, const LoadOptions& options,
                                            Mode mode);

// Samples for `model`, whose graph is the float network: from `where`, none if that is empty, or
// synthetic ones. Adds what it reads to the model's files.
absl::StatusOr<CalibrationData> ReadSamples(const std::string& where, const LoadOptions& options,
                                            PreparedModel& model);

// Those of LoadOptions::validation_path; none without one.
absl::StatusOr<CalibrationData> ValidationSamples(const LoadOptions& options,
                                                  const PreparedModel& model);

// Changes when the files there do: SHA-256 of the names and contents of a file, or of all files in
// a folder; beyond 1 GiB, of names, sizes and times of the last change. "none" for an empty path.
absl::StatusOr<std::string> DigestOfFiles(const std::string& path);

}  // namespace octet::runtime
