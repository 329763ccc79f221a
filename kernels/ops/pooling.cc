// MaxPool, AveragePool and their global forms, in float32 or on codes: the maximum and the mean of
// codes stand for the maximum and the mean of the numbers, so the quantizer stays.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/channels_last.h"
#include "kernels/dispatch_gate.h"
#include "kernels/infer.h"
#include "kernels/lowering.h"
#include "kernels/operator.h"
#include "kernels/primitive_kernel.h"
#include "kernels/window.h"

namespace octet::kernels::ops {
namespace {

using dnnl::memory;

struct Pooling {
  bool maximum = false;
  bool include_padding = false;  // of a mean: padding counts as zeros
  bool column_major = false;     // of the indices of maxima
  Window window;
};

bool IsGlobal(const graph::Node& node) {
  return node.op == "GlobalMaxPool" || node.op == "GlobalAveragePool";
}

absl::StatusOr<Pooling> ReadPooling(const graph::Node& node, const Shape& input) {
  Pooling pooling{.maximum = node.op == "MaxPool" || node.op == "GlobalMaxPool",
                  .include_padding = node.Int("count_include_pad", 0) != 0,
                  .column_major = node.Int("storage_order", 0) != 0};
  if (IsGlobal(node)) {
    OCTET_ASSIGN_OR_RETURN(pooling.window, WholePlane(input));
  } else {
    OCTET_ASSIGN_OR_RETURN(pooling.window, ReadWindow(node, input, node.Ints("kernel_shape"),
                                                      node.Int("ceil_mode", 0) != 0));
  }
  return pooling;
}

absl::StatusOr<std::vector<TensorType>> Infer(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(const Pooling pooling, ReadPooling(context.node(), context.shape(0)));
  const DataType type = context.input(0).dtype;
  const bool codes = type == DataType::kUint8 || type == DataType::kInt8;
  if (type != DataType::kFloat32 && !(pooling.maximum && codes)) {
    return absl::InvalidArgumentError(absl::StrCat("cannot pool elements of ", Name(type)));
  }
  const Shape shape = pooling.window.OutputShape(context.shape(0)[0], context.shape(0)[1]);
  return std::vector<TensorType>{{.dtype = type, .shape = shape},
                                 {.dtype = DataType::kInt64, .shape = shape}};
}

// How many taps of the window at `position` lie within the input and its declared padding; rounding
// the output size up may let a window reach beyond both.
int64_t TapsInPaddedInput(const Window& window, int64_t position) {
  int64_t count = 1;
  for (size_t d = window.kernel.size(); d-- > 0;) {
    const int64_t start = position % window.output[d] * window.strides[d] - window.pads_begin[d];
    position /= window.output[d];
    const int64_t end = window.input[d] + window.pads_end[d];
    const int64_t taps = (end - start + window.dilations[d] - 1) / window.dilations[d];
    count *= std::clamp<int64_t>(taps, 0, window.kernel[d]);
  }
  return count;
}

// What ONNX counts along the columns first is counted along the rows first here.
int64_t ColumnMajor(const Window& window, int64_t index) {
  int64_t result = 0;
  std::vector<int64_t> at(window.input.size());
  for (size_t d = at.size(); d-- > 0; index /= window.input[d]) at[d] = index % window.input[d];
  for (size_t d = at.size(); d-- > 0;) result = result * window.input[d] + at[d];
  return result;
}

template <typename T>
T Mean(double sum, double count) {
  const double mean = count > 0 ? sum / count : 0;
  if constexpr (std::is_floating_point_v<T>) return static_cast<T>(mean);
  return static_cast<T>(std::nearbyint(mean));
}

// The tap with the largest value, the first of several; -1 if there are none.
template <typename T>
int64_t LargestTap(const T* x, std::span<const int64_t> taps) {
  int64_t best = -1;
  for (const int64_t tap : taps) {
    if (best < 0 || x[tap] > x[best]) best = tap;
  }
  return best;
}

// On dense planes. `zero` is what padding holds. `indices` may be empty.
template <typename T>
void Pool(const Pooling& pooling, std::span<const T> from, std::span<T> to, T zero,
          std::span<int64_t> indices) {
  const Window& window = pooling.window;
  const int64_t in_plane = window.InputPlane(), out_plane = window.OutputPlane();
  const int64_t planes = out_plane == 0 ? 0 : static_cast<int64_t>(to.size()) / out_plane;
  std::vector<int64_t> sources(static_cast<size_t>(window.Taps()));
  for (int64_t p = 0; p < out_plane; ++p) {
    window.SourcesOf(p, sources);
    const auto padding = std::remove(sources.begin(), sources.end(), -1);
    const std::span<const int64_t> taps(sources.begin(), padding);
    const int64_t counted =
        pooling.include_padding ? TapsInPaddedInput(window, p) : static_cast<int64_t>(taps.size());
    const double padded = static_cast<double>(counted - static_cast<int64_t>(taps.size())) * zero;
    for (int64_t plane = 0; plane < planes; ++plane) {
      const T* const x = from.data() + plane * in_plane;
      T& y = to[static_cast<size_t>(plane * out_plane + p)];
      if (!pooling.maximum) {
        const double sum =
            std::accumulate(taps.begin(), taps.end(), padded,
                            [x](double so_far, int64_t tap) { return so_far + x[tap]; });
        y = Mean<T>(sum, static_cast<double>(counted));
        continue;
      }
      int64_t best = LargestTap(x, taps);
      y = best < 0 ? std::numeric_limits<T>::lowest() : x[best];
      if (indices.empty() || best < 0) continue;
      if (pooling.column_major) best = ColumnMajor(window, best);
      indices[static_cast<size_t>(plane * out_plane + p)] = plane * in_plane + best;
    }
    sources.resize(static_cast<size_t>(window.Taps()));
  }
}

absl::Status Reference(const graph::Node& node, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  OCTET_ASSIGN_OR_RETURN(const Pooling pooling, ReadPooling(node, inputs[0].shape));
  const bool indices = outputs.size() > 1 && outputs[1].present();
  VisitType(inputs[0].dtype, [&]<typename T>() {
    Pool<T>(pooling, inputs[0].As<T>(), outputs[0].As<T>(), T{0},
            indices ? outputs[1].As<int64_t>() : std::span<int64_t>());
  });
  return absl::OkStatus();
}

// The forms that oneDNN has and that mean the same there.
bool OneDnnCan(const LoweringContext& context, const Pooling& pooling) {
  const Window& window = pooling.window;
  if (context.has_output(1) || window.kernel.size() > 3) return false;
  const std::vector<int64_t> pads_end = window.DnnlPadsEnd();
  bool pads = false, overhang = false;
  for (size_t d = 0; d < window.kernel.size(); ++d) {
    if (window.dilations[d] != 1) return false;
    if (window.pads_begin[d] >= window.kernel[d] || pads_end[d] >= window.kernel[d]) return false;
    pads |= window.pads_begin[d] > 0 || pads_end[d] > 0;
    overhang |= pads_end[d] > window.pads_end[d];
  }
  if (pooling.maximum || !pooling.include_padding || !pads) return true;
  const auto& quant = context.input_type(0).quant;
  return !overhang && (!quant || quant->zero_points[0] == 0);
}

dnnl::pooling_forward::primitive_desc Describe(const LoweringContext& context,
                                               const Pooling& pooling, const memory::desc& source) {
  using dnnl::algorithm;
  const Shape& output = context.output_shape(0);
  const algorithm kind = pooling.maximum           ? algorithm::pooling_max
                         : pooling.include_padding ? algorithm::pooling_avg_include_padding
                                                   : algorithm::pooling_avg_exclude_padding;
  const memory::data_type type = source.get_data_type();
  const memory::desc destination =
      type == memory::data_type::f32
          ? memory::desc({output.begin(), output.end()}, type, memory::format_tag::any)
          : ChannelsLast(context.output_type(0));
  const Window& window = pooling.window;
  return {Engine(),
          dnnl::prop_kind::forward_inference,
          kind,
          source,
          destination,
          window.strides,
          window.kernel,
          window.DnnlDilations(),
          window.pads_begin,
          window.DnnlPadsEnd(),
          BaseAttributes()};
}

absl::StatusOr<bool> LowerToOneDnn(LoweringContext& context, const Pooling& pooling) {
  const graph::TensorType& input = context.input_type(0);
  const std::optional<memory::desc> native = context.NativeDesc(0);
  if (!native) return false;
  std::vector<memory::desc> layouts = {ChannelsLast(input)};
  if (!input.quant) layouts.insert(layouts.begin(), *native);
  for (const memory::desc& layout : layouts) {
    const dnnl::pooling_forward::primitive_desc desc = Describe(context, pooling, layout);
    if (IsReferenceImplementation(desc.impl_info_str(), input.quant.has_value())) continue;
    PrimitiveCall call(context);
    OCTET_ASSIGN_OR_RETURN(const int source, context.InLayout(0, desc.src_desc()));
    call.Input(DNNL_ARG_SRC, source, desc.src_desc());
    call.Output(DNNL_ARG_DST, context.OutputInLayout(0, desc.dst_desc()), desc.dst_desc());
    call.Emit(dnnl::pooling_forward(desc), desc);
    return true;
  }
  return false;
}

// Codes in a form that oneDNN has no kernel for.
absl::Status LowerPlainCodes(LoweringContext& context, const Pooling& pooling) {
  OCTET_ASSIGN_OR_RETURN(const int source, context.Plain(0));
  const graph::TensorType& input = context.input_type(0);
  const size_t from = static_cast<size_t>(ElementCount(input.shape));
  const size_t to = static_cast<size_t>(ElementCount(context.output_shape(0)));
  const int32_t zero = input.quant->zero_points[0];
  const DataType type = input.dtype;
  context.Emit(MakeKernel("octet:pool_codes",
                          [=](const StepMemory& memory) {
                            VisitType(type, [&]<typename T>() {
                              Pool<T>(pooling, {reinterpret_cast<const T*>(memory.inputs[0]), from},
                                      {reinterpret_cast<T*>(memory.outputs[0]), to},
                                      static_cast<T>(zero), {});
                            });
                            return absl::OkStatus();
                          }),
               {source}, {context.PlainOutput(0)});
  return absl::OkStatus();
}

absl::StatusOr<bool> Lower(LoweringContext& context) {
  const graph::TensorType& input = context.input_type(0);
  if (!PlainDesc(input) || !PlainDesc(context.output_type(0))) return false;
  if (input.quant && (context.output_type(0).quant != input.quant || context.has_output(1))) {
    return absl::UnimplementedError("pooling keeps the quantizer of its input");
  }
  if (!input.quant && input.dtype != DataType::kFloat32) return false;
  OCTET_ASSIGN_OR_RETURN(const Pooling pooling, ReadPooling(context.node(), input.shape));
  if (OneDnnCan(context, pooling)) {
    OCTET_ASSIGN_OR_RETURN(const bool lowered, LowerToOneDnn(context, pooling));
    if (lowered) return true;
  }
  if (!input.quant) return false;
  OCTET_RETURN_IF_ERROR(LowerPlainCodes(context, pooling));
  return true;
}

constexpr Operator Pool(absl::string_view type) {
  return {.schema = {.type = type,
                     .min_inputs = 1,
                     .max_inputs = 1,
                     .quant = graph::QuantRole::kCarry,
                     .infer = Infer,
                     .reference = Reference},
          .lower = Lower};
}

constexpr Operator kOperators[] = {
    Pool("MaxPool"),
    Pool("AveragePool"),
    Pool("GlobalMaxPool"),
    Pool("GlobalAveragePool"),
};

}  // namespace

std::span<const Operator> pooling() { return kOperators; }

}  // namespace octet::kernels::ops
