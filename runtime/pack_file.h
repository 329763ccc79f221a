// The .qpack file of a load: where it is, whether it fits, and writing it.

#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "runtime/load.h"
#include "runtime/quantized_pack.h"

namespace octet::runtime {

// "PART_OF_A_DIGEST-model.SUFFIX": what belongs to the model at this path, in a folder that models
// of one name may share.
std::string NameInSharedFolder(const std::string& model, const std::string& suffix);

struct PackFile {
  std::string path;
  PackKey key;  // that a file at `path` has to have
};

// For the float network of the model at `path`, calibrated with `calibration` (CalibrationPath()).
// Errors are those of reading samples.
absl::StatusOr<PackFile> PackFileFor(const std::string& path, const std::string& calibration,
                                     const LoadOptions& options, const graph::Graph& network);

// NotFound, FailedPrecondition with what is different, or InvalidArgument with what is damaged.
absl::StatusOr<QuantizedPack> ReadPack(const PackFile& file);
// Whatever its key is.
absl::StatusOr<QuantizedPack> ReadPack(const std::string& path);

// Writes a file that has this key. With `optional`, a folder that cannot be written to is no error;
// returns what to say about it, or "".
absl::StatusOr<std::string> WritePack(const PackFile& file, bool optional, QuantizedPack pack);

}  // namespace octet::runtime
