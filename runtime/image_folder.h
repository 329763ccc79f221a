// A folder of JPEG and PNG files as samples.

#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/image_input.h"
#include "runtime/sample_set.h"

namespace octet::runtime {

// The names, below `folder`, of the image files in it and its subfolders, in order; without those
// that are hidden or in hidden folders. Empty if there is no such folder.
std::vector<std::string> FindImages(const std::string& folder);

// The images `names` in `folder`. labels.txt in it, if there is one, has lines "NAME LABEL" for
// them, and maybe for others: a name below the folder, which may have spaces in it, then an
// integer.
//   InvalidArgument  labels.txt is not of this form, or has no label for an image
absl::StatusOr<SampleSet> ImageSamples(const std::string& folder, std::vector<std::string> names,
                                       const ImageInput& input);

}  // namespace octet::runtime
