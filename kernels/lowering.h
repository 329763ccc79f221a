// Graph -> Program: chooses kernels and layouts for concrete shapes.
//
// Values are lowered in topological order. A value may lie in memory in several layouts; a kernel
// asks for the one it wants, and a reorder is added where the value does not lie in it yet.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "kernels/program.h"
#include "kernels/weight_cache.h"
#include "oneapi/dnnl/dnnl.hpp"

namespace octet::kernels {

constexpr size_t kNoEarlyOutput = SIZE_MAX;

// `graph` is for concrete shapes (graph::Specialize). Packed weights go to and come from `weights`.
// Outputs from `first_early` on are early (Program::early_outputs): for looking at values inside
// without keeping them all.
//   Unimplemented       a node in a form that no kernel takes
//   FailedPrecondition  a packed weight is missing and the constant's bytes were released
//   Internal            a oneDNN error
absl::StatusOr<Program> LowerGraph(const graph::Graph& graph, WeightCache& weights,
                                   size_t first_early = kNoEarlyOutput);

// oneDNN keeps the kernels it has made, also those whose programs are gone. Forgets them; those in
// use live on with their programs.
void ForgetKernels();

// oneDNN's dense row-major descriptor; none for element types, ranks and sizes it has not got.
std::optional<dnnl::memory::desc> PlainDesc(const graph::TensorType& type);

// The CPU engine, one for the process.
const dnnl::engine& Engine();

// What a step computes, for reports.
struct Work {
  int64_t macs = 0;
  bool int8 = false;
  bool bfloat16 = false;
};

class Lowerer;

// What a LowerFn sees: one node. Buffers are indices into the program's buffers.
class LoweringContext {
 public:
  LoweringContext(Lowerer& lowerer, const graph::Node& node) : lowerer_(lowerer), node_(node) {}

  const graph::Node& node() const { return node_; }
  WeightCache& weights() const;

  int input_count() const { return static_cast<int>(node_.inputs.size()); }
  bool has_input(int i) const { return node_.HasInput(static_cast<size_t>(i)); }
  bool has_output(int i) const;
  const graph::TensorType& input_type(int i) const;
  const graph::TensorType& output_type(int i) const;
  const Shape& input_shape(int i) const { return input_type(i).shape; }
  const Shape& output_shape(int i) const { return output_type(i).shape; }

  bool is_constant(int i) const;
  // A constant input. Its bytes may have been released: check has_bytes(), or use PackedWeight().
  const Tensor& constant(int i) const;

  // A buffer holding the input dense and row-major.
  absl::StatusOr<int> Plain(int i);
  // The layout the input lies in now (of several, the one it was made in), for elements of its
  // type; none if oneDNN cannot describe it.
  std::optional<dnnl::memory::desc> NativeDesc(int i) const;
  // Whether the elements that lie there are bfloat16, though the value is float32: InLayout() gives
  // them in either type.
  bool LiesInBFloat16(int i) const;
  // A buffer holding the input in exactly this layout. The input's type must be one of oneDNN's.
  absl::StatusOr<int> InLayout(int i, const dnnl::memory::desc& desc);
  // A constant made for this node from constant input `i`, kept once in the weight cache: `layout`
  // names the form, `pack` makes it from the constant's bytes.
  absl::StatusOr<int> PackedWeight(int i, const std::string& layout,
                                   const std::function<absl::StatusOr<Tensor>()>& pack);
  // Constant input `i`, whose bytes `from` describes, reordered to `to`; once in the weight cache.
  absl::StatusOr<int> PackedWeight(int i, const dnnl::memory::desc& from,
                                   const dnnl::memory::desc& to);
  // The name for PackedWeight() of constant input `i` in `form`, words of the caller's, and in this
  // layout.
  std::string PackedName(int i, absl::string_view form, const dnnl::memory::desc& layout) const;
  // Layouts in which the weight cache already has constant input `i` in this form.
  std::vector<dnnl::memory::desc> PackedLayouts(int i, absl::string_view form) const;
  // A small constant that belongs to this step alone.
  int SmallConstant(const Tensor& tensor);

  // A new buffer for an output. Each output needs exactly one of these, or an alias.
  int PlainOutput(int i);
  int OutputInLayout(int i, const dnnl::memory::desc& desc);
  // Whether every reader of the float32 output takes bfloat16: it may be made so, its dimensions in
  // any order but not in blocks.
  bool OutputMayBeBFloat16(int i) const;
  // The output, in `to`, is written over the input, which must lie in `from`, as large: a copy is
  // made first if somebody else still reads the input.
  absl::StatusOr<int> OutputOverInput(int output, int input, const dnnl::memory::desc& from,
                                      const dnnl::memory::desc& to);
  // The output is the input's dense row-major elements under its own shape; no step is needed.
  absl::Status AliasPlain(int output, int input);
  // The output is the input's present bytes seen as `desc` (strides permuted); no step is needed.
  absl::Status AliasView(int output, int input, const dnnl::memory::desc& desc);

  int Temporary(size_t bytes);

  // Appends a step. Operands left out are -1.
  void Emit(std::unique_ptr<Kernel> kernel, std::vector<int> inputs, std::vector<int> outputs,
            Work work = {});

 private:
  Lowerer& lowerer_;
  const graph::Node& node_;
};

}  // namespace octet::kernels
