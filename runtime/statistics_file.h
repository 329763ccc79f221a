// .qcal files: statistics that calibrate in place of samples.

#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/read_record.h"
#include "runtime/calibration_statistics.h"

namespace octet::runtime {

// Those at `path`, a .qcal file or a folder whose .qcal files are merged, for the network with this
// fingerprint. Adds what it reads to `files`. Errors name the file and begin with Q009:
//   NotFound            nothing there, or no .qcal file in the folder
//   FailedPrecondition  of another network, or of another version of the form
//   InvalidArgument     damaged, or too large
absl::StatusOr<CalibrationStatistics> ReadStatistics(const std::string& path,
                                                     const std::string& network, ReadRecord& files);

// Writes to `path`, or if that is a folder (or ends with a slash) to a file in it whose name is the
// model's; returns where. Folders are created.
absl::StatusOr<std::string> WriteStatistics(const std::string& path, const std::string& model,
                                            const CalibrationStatistics& statistics);

// Where WriteStatistics() writes to.
std::string StatisticsPath(const std::string& path, const std::string& model);

}  // namespace octet::runtime
