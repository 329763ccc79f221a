// Samples of a model's inputs, for measuring ranges and checking accuracy.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "base/tensor_file.h"
#include "runtime/compiled_model.h"
#include "runtime/images/preprocessing.h"

namespace octet::runtime {

struct CalibrationStatistics;

struct CalibrationData {
  // Each sample has one tensor per model input, in the model's order and the engine's types; the
  // first dimension is 1 for a model that batches.
  std::vector<std::vector<Tensor>> samples;
  // One class for each sample; empty if they have none. Measuring needs them, calibrating does not.
  std::vector<int64_t> labels;
  std::string source;  // for reports: the path it came from
  // They are clients' own: neither they nor what the network makes of them goes to a disk.
  bool in_memory_only = false;
  // What was seen of samples that are not here (calibration_statistics.h); null: there are none
  // but those above. Calibrates, and measures nothing.
  std::shared_ptr<const CalibrationStatistics> statistics;

  bool Calibrates() const { return !samples.empty() || statistics != nullptr; }
};

// Reads `path`: a .npz file (arrays named as the inputs, samples along the first dimension), a .npy
// file (models with one input), a folder of those, or a folder of ONNX test data (test_data_set_N
// folders of input_I.pb). At most `max_samples`, spread evenly over what is there. In a .npz file,
// an array `labels` (or `label`) of integers that is no input has the classes of the samples; they
// are kept if every file has them. For models that read tokens, and in their folders, also .jsonl
// files, see TokenSamples() (token_lines.h).
//
// With `preprocessing` also a .jpg, .jpeg or .png file, and those in a folder and its subfolders,
// as ImageInput (image_input.h) reads them, with labels as ImageSamples() does (image_folder.h).
// Only those that are taken are decoded. Without, images beside arrays are passed over.
//
// Large tensors go to `file`, unless that is null.
//   NotFound         nothing there
//   InvalidArgument  damaged, or not fitting the model's inputs; the message names file and array.
//                    Only images, and no preprocessing
absl::StatusOr<CalibrationData> ReadCalibrationData(
    const std::string& path, const std::vector<TensorSpec>& inputs, bool batchable,
    size_t max_samples, const std::optional<ImagePreprocessing>& preprocessing = std::nullopt,
    TensorFile* file = nullptr);

// The folder or file that lies beside the model: MODEL_DIR/calibration; empty if there is none.
std::string CalibrationBeside(const std::string& model_path);

}  // namespace octet::runtime
