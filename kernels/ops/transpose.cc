// Transpose. In a plan it costs nothing where oneDNN can describe the result: the consumer reads
// the input's bytes with other strides.

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "kernels/carry.h"
#include "kernels/infer.h"
#include "kernels/operator.h"
#include "kernels/primitive_kernel.h"
#include "kernels/strided_copy.h"

namespace octet::kernels::ops {
namespace {

// Output dimension d is input dimension permutation[d].
std::vector<int64_t> Permutation(const graph::Node& node, int rank) {
  if (node.Has("perm")) return node.Ints("perm");
  std::vector<int64_t> reversed(static_cast<size_t>(rank));
  for (int d = 0; d < rank; ++d) reversed[d] = rank - 1 - d;
  return reversed;
}

Shape Permute(const Shape& shape, const std::vector<int64_t>& permutation) {
  Shape result;
  for (const int64_t d : permutation) result.push_back(shape[d]);
  return result;
}

absl::StatusOr<std::vector<TensorType>> Infer(const InferContext& context) {
  const int rank = context.rank(0);
  const std::vector<int64_t> permutation = Permutation(context.node(), rank);
  std::vector<int64_t> sorted = permutation;
  std::sort(sorted.begin(), sorted.end());
  bool valid = static_cast<int>(sorted.size()) == rank;
  for (int d = 0; valid && d < rank; ++d) valid = sorted[d] == d;
  if (!valid) {
    return absl::InvalidArgumentError(absl::StrCat("perm [", absl::StrJoin(permutation, ","),
                                                   "] is no permutation of ", rank, " dimensions"));
  }
  return std::vector<TensorType>{
      {.dtype = context.input(0).dtype, .shape = Permute(context.shape(0), permutation)}};
}

absl::Status Reference(const graph::Node& node, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  const std::vector<int64_t> permutation = Permutation(node, inputs[0].rank());
  CopyStrided(ByteSize(inputs[0].dtype), outputs[0].shape,
              {outputs[0].data, RowMajorStrides(outputs[0].shape)},
              {inputs[0].data, Permute(RowMajorStrides(inputs[0].shape), permutation)});
  return absl::OkStatus();
}

// Only dimensions of size one change places.
bool MovesNothing(const Shape& shape, const std::vector<int64_t>& permutation) {
  int64_t last = -1;
  for (const int64_t d : permutation) {
    if (shape[d] == 1) continue;
    if (d < last) return false;
    last = d;
  }
  return true;
}

// From a blocked layout, whose permutations few kernels take, straight to the dense result.
absl::StatusOr<bool> ReorderBlocked(LoweringContext& context, const dnnl::memory::desc& native,
                                    const dnnl::memory::desc& permuted) {
  const dnnl::memory::desc plain = *PlainDesc(context.output_type(0));
  const dnnl::reorder::primitive_desc primitive(Engine(), permuted, Engine(), plain,
                                                BaseAttributes());
  OCTET_ASSIGN_OR_RETURN(const int source, context.InLayout(0, native));
  PrimitiveCall call(context);
  call.Input(DNNL_ARG_FROM, source, permuted);
  call.Output(DNNL_ARG_TO, context.PlainOutput(0), plain);
  call.Emit(dnnl::reorder(primitive), primitive);
  return true;
}

absl::StatusOr<bool> Lower(LoweringContext& context) {
  const Shape& shape = context.input_shape(0);
  const std::vector<int64_t> permutation =
      Permutation(context.node(), static_cast<int>(shape.size()));
  if (MovesNothing(shape, permutation)) {
    OCTET_RETURN_IF_ERROR(context.AliasPlain(0, 0));
    return true;
  }
  const std::optional<dnnl::memory::desc> native = context.NativeDesc(0);
  if (!native || native->get_ndims() != static_cast<int>(shape.size())) {
    return LowerCarry(context);
  }
  std::vector<int> places(permutation.size());  // oneDNN asks where each dimension goes
  for (size_t d = 0; d < permutation.size(); ++d) places[permutation[d]] = static_cast<int>(d);
  const dnnl::memory::desc permuted = native->permute_axes(places);
  if (native->get_inner_nblks() > 0) return ReorderBlocked(context, *native, permuted);
  OCTET_RETURN_IF_ERROR(context.AliasView(0, 0, permuted));
  return true;
}

constexpr Operator kOperators[] = {
    {.schema = {.type = "Transpose",
                .min_inputs = 1,
                .max_inputs = 1,
                .quant = graph::QuantRole::kCarry,
                .infer = Infer,
                .reference = Reference},
     .lower = Lower},
};

}  // namespace

std::span<const Operator> transpose() { return kOperators; }

}  // namespace octet::kernels::ops
