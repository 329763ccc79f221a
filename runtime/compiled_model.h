// A model ready to serve: one immutable CompiledModel, shared; one ExecutionContext per stream.
//
// The model's weights are packed once, whatever the number of contexts and plans. A plan is what
// runs one set of concrete input shapes; a context owns the memory that a run writes to.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/tensor.h"

namespace octet::runtime {

// An input or output as clients see it: `dtype` is the model file's own, also where the engine
// computes in another one, and a symbolic dimension of `shape` is kUnknownDim.
struct TensorSpec {
  std::string name;
  DataType dtype = DataType::kFloat32;
  Shape shape;
};

// One caller's value for one input: dense, row-major, little-endian bytes of the input's
// TensorSpec::dtype, in pieces as they came from the network. Borrowed.
struct InputTensor {
  Shape shape;
  absl::InlinedVector<std::span<const std::byte>, 4> pieces;
};

// One caller's part of a batch: a value for each input of the model, in the model's order.
struct InputRows {
  std::vector<InputTensor> inputs;
  int64_t rows = 1;  // size of the first dimension; 1 for a model that does not batch
};

// Bytes by purpose; what is in memory now, not an estimate.
struct MemoryLedger {
  size_t float32_weight_bytes = 0;  // what the weights take unquantized and unpacked
  size_t served_weight_bytes = 0;   // packed weights as the kernels read them
  size_t arena_bytes = 0;           // activations, all contexts
  size_t scratchpad_bytes = 0;      // kernels' temporary memory, all contexts
};

// Whether a quantized model is as accurate as was asked.
struct ModelAccuracy {
  std::string verdict;             // "met", "best_effort", "unverified"; empty: nothing was asked
  std::string metric;              // "sqnr", "cosine", ..., "top1_loss"
  double target = 0;               // dB for sqnr, else 0 to 1
  std::optional<double> measured;  // of what is served
  std::string description;         // all of it and why, for people
};

struct ServedRanges;

// What happened to a model between its file and its kernels, for logs and metrics.
struct ModelSummary {
  std::string mode;                 // "fp32", "bf16" or "int8"
  std::string mode_asked;           // what the configuration says: a mode, or "auto"
  std::string mode_reason;          // why this one; empty if it is what was asked for
  double load_seconds = 0;          // import to warm
  double quantization_seconds = 0;  // of these, calibration and quantization
  double int8_mac_share = 0;        // multiply-accumulates done in int8, 0 to 1
  double bfloat16_mac_share = 0;    // likewise in bfloat16
  double output_sqnr_db = 0;        // against float32 on held-out samples; 0 if not measured
  ModelAccuracy accuracy;
  std::string calibration;  // "static, 32 samples", "dynamic", ""
  std::string start;        // "warm: FILE", "cold: FILE: not there", "" if nothing is kept
  std::string kernels;      // what runs the int8 layers: "36 brgconv:avx512_core_vnni"
  std::vector<std::string> warnings;
  std::shared_ptr<const ServedRanges> ranges;  // of static int8 (served_ranges.h); null: none
};

// How a served model compares with its float32 original on requests as they come.
struct ShadowStatistics {
  uint64_t compared = 0;
  uint64_t passed_over = 0;  // chosen, but an earlier one was still being compared
  uint64_t failed = 0;       // float32 could not run them
  // Over the last requests compared; nothing before the first.
  std::optional<double> output_sqnr_db;
  std::optional<double> agreement;  // share of equal decisions, if the outputs decide
  size_t weight_bytes = 0;          // of the float32 original, beside the served ones
  // The share of what layers read that is beyond what they can represent: the largest, at most
  // five, over the same requests.
  struct Clipping {
    std::string layer;
    double share = 0;
  };
  std::vector<Clipping> worst_clipping;
};

// How a served model comes to be calibrated with the requests that it runs.
struct LearningStatistics {
  size_t samples = 0;  // of requests that were kept, or have calibrated it
  std::string state;   // what has become of it, for people
};

// Not thread-safe: one thread at a time.
class ExecutionContext {
 public:
  virtual ~ExecutionContext() = default;

  // Copies the callers' rows into the plan's inputs, one after the other, and pads up to a
  // compiled batch size. All callers must agree in every dimension but the first.
  //   InvalidArgument     shapes that the model cannot take, or byte counts that do not match
  //   ResourceExhausted   the plan for these shapes needs more memory than allowed
  // Compiles the plan if these shapes are new.
  virtual absl::Status Load(std::span<const InputRows* const> callers) = 0;

  // Runs the loaded rows. Internal if a kernel fails.
  virtual absl::Status Execute() = 0;

  // After Execute(): shape of `output` for the caller with this index in Load().
  virtual Shape OutputShape(int output, int caller) const = 0;

  // Writes that caller's rows of `output` in the output's TensorSpec::dtype; `bytes` is exactly as
  // large as OutputShape() says.
  virtual void Store(int output, int caller, std::span<std::byte> bytes) const = 0;
};

// Thread-safe.
class CompiledModel {
 public:
  virtual ~CompiledModel() = default;

  virtual const std::vector<TensorSpec>& inputs() const = 0;
  virtual const std::vector<TensorSpec>& outputs() const = 0;

  // True when every input and output has the same symbolic first dimension: rows of different
  // callers may then share a run.
  virtual bool batchable() const = 0;

  // Batch sizes compiled at load, ascending; {1} for a model that does not batch.
  virtual const std::vector<int64_t>& batch_sizes() const = 0;

  virtual absl::StatusOr<std::unique_ptr<ExecutionContext>> NewContext() const = 0;

  virtual MemoryLedger memory() const = 0;
  virtual const ModelSummary& summary() const = 0;

  // Nothing if no request is compared.
  virtual std::optional<ShadowStatistics> shadow() const { return std::nullopt; }
  // Nothing if it does not learn from requests, and has not.
  virtual std::optional<LearningStatistics> learning() const { return std::nullopt; }
};

}  // namespace octet::runtime
