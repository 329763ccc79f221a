// From a model file to a CompiledModel: import, optimise, calibrate, quantize, compile, warm up.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/read_record.h"
#include "kernels/weight_cache.h"
#include "runtime/compiled_model.h"
#include "runtime/images/preprocessing.h"
#include "runtime/quantize_model.h"
#include "runtime/smooth_activations.h"

namespace octet::runtime {

// Told from the loading thread as stages begin; `detail` is for people.
using ProgressFunction = std::function<void(absl::string_view stage, const std::string& detail)>;

// Where decisions are kept from one start to the next, see quantized_pack.h.
struct PackCache {
  // MODEL.INSTRUCTION_SET.qpack is in this folder, with a part of the model's path in its name;
  // empty: beside the model, unless nothing can be written there.
  std::string folder;
  std::string file;  // wins over the folder
  bool read = false;
  bool write = false;
  // All settings that the result depends on, the paths of data excepted: its contents count.
  std::string configuration;
};

struct LoadOptions {
  // Batch sizes to compile at load: 1, 2, 4, ... up to this. Ignored by models that do not batch.
  int64_t max_batch_size = 32;
  int threads = 1;  // per execution context
  // Rows of a batch that one run of the network takes; 0: measured, see rows_per_run.h.
  int64_t rows_per_run = 0;

  Mode mode = Mode::kFloat32;
  // Where calibration samples are; empty: the folder `calibration` beside the model, if there is
  // one.
  std::string calibration_path;
  // How images among samples are read, those to measure on too; none: they are not.
  std::optional<ImagePreprocessing> preprocessing;
  // It has statistics (statistics_file.h), not samples.
  bool statistics = false;
  // Where to write those of the samples that were read, for such loads: a file or folder; empty:
  // nowhere.
  std::string save_statistics;
  // Samples that are at hand, in place of those that paths name: they calibrate, and they measure.
  // As long as the model is served they are kept, in memory only, for plans that it needs later.
  // Null: none.
  std::shared_ptr<const CalibrationData> samples, validation;
  // No calibration even if there are samples: ranges are measured row by row, at run time.
  bool dynamic = false;
  // Without samples loading int8 fails (FailedPrecondition), rather than becoming dynamic.
  bool samples_required = false;
  size_t calibration_samples = 128;
  // Random tokens instead of samples from files (synthetic_samples.h).
  bool synthetic = false;
  uint64_t seed = 0;
  bool allow_noise = false;  // where the inputs are no tokens
  // Samples, labelled or not, that the accuracy is measured on, in the form of calibration samples;
  // empty: on a part of those that is held out.
  std::string validation_path;
  // Quantizers that the model brings are taken out of it (graph/pipeline.h).
  bool strip_quantization = false;
  bool fold_batch_norm = true;   // into the weights before it
  QuantizeOptions quantization;  // its mode is set from that above
  // Proves the int8 kernels on this processor (self_check.h); layers whose kernels are wrong are
  // quantized again as float32, with a warning that begins with `kernel_mismatch`.
  bool self_check = true;

  PackCache cache;

  // Loads what was loaded before: fails (FailedPrecondition, naming the file) unless the same is
  // read, and makes the same network; from the .qpack file if that is still there, else as it was
  // decided (quantization.decided).
  struct Earlier {
    ReadRecord files;
    std::vector<SmoothedActivation> smoothing;
    std::string pack;         // path; empty: none
    std::string fingerprint;  // of what came out
  };
  std::optional<Earlier> earlier;

  // For float32: what of it to make outputs behind the model's own (WatchRanges()); null: nothing.
  std::shared_ptr<const ServedRanges> watch;

  ProgressFunction progress;
  // Called once, from the loading thread, when a quantized model is compiled.
  std::function<void(const QuantizeReport&)> report;
};

// A graph ready to be compiled, and what is known of the model it came from.
struct PreparedModel {
  graph::Graph graph;
  std::vector<TensorSpec> inputs, outputs;
  bool batchable = false;
  std::vector<Shape> example_shapes;  // the first dimension is 1 where the model batches
  size_t float32_weight_bytes = 0;
  int opset = 0;
  Mode mode = Mode::kFloat32;                  // what became of the options' mode
  std::string mode_reason;                     // why; empty if it is what was asked for
  std::optional<QuantizeReport> quantization;  // none if every layer is as the model has it
  std::vector<SmoothedActivation> smoothing;   // that was done before
  std::string pack;                            // the .qpack file with this network; empty: none
  std::string statistics;                      // the .qcal file that was written; empty: none
  std::string fingerprint;                     // Fingerprint() on top of the float network
  std::vector<std::string> warnings;
  // Packed by the self-check, for the plans to use.
  std::unique_ptr<kernels::WeightCache> weights = std::make_unique<kernels::WeightCache>();
  ReadRecord files;  // what was read: model, external data, calibration samples
};

// Import, float passes, quantization and self-check. Errors are those of import
// (graph/onnx/import.h), calibration data and quantization, with the path in front.
absl::StatusOr<PreparedModel> PrepareModel(const std::string& path, const LoadOptions& options);

// PrepareModel(), then plans for the batch sizes, each run once. Also errors of lowering
// (kernels/lowering.h).
absl::StatusOr<std::shared_ptr<const CompiledModel>> LoadModel(const std::string& path,
                                                               const LoadOptions& options);

}  // namespace octet::runtime
