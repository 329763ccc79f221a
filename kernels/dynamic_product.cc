// oneDNN has no zero point per row, but the sum it is needed for,
//   y[m][n] = scale[m] * scale[n] * (sum_k code[m][k] * w[k][n] - zero[m] * sum_k w[k][n]),
// is a matrix product again: further columns that hold zero[m] on the left, and on the right
// further rows that hold -sum_k w[k][n] in pieces that fit a weight. It is exact, costs a few
// percent, and needs no kernel of our own behind the product.

#include "kernels/dynamic_product.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/channels_last.h"
#include "kernels/cpu.h"
#include "kernels/expand_weights.h"
#include "kernels/packed_layout.h"
#include "kernels/post_ops.h"
#include "kernels/primitive_kernel.h"
#include "kernels/quantization_attributes.h"
#include "kernels/row_quantizer.h"

namespace octet::kernels {
namespace {

using dnnl::memory;
constexpr int kLeft = MatrixProduct::kLeft;
constexpr int kRight = MatrixProduct::kRight;
constexpr int kAddend = MatrixProduct::kAddend;

memory::desc Dense3(int64_t rows, int64_t columns, memory::data_type type) {
  return {{1, rows, columns}, type, memory::format_tag::abc};
}

// The weights as a matrix [depth, columns], whichever way they are stored.
struct WeightView {
  std::span<const int8_t> codes;
  int64_t depth, columns;
  bool transposed;

  int8_t at(int64_t k, int64_t n) const {
    return codes[static_cast<size_t>(transposed ? n * depth + k : k * columns + n)];
  }
};

std::vector<int32_t> ColumnSums(const WeightView& weights) {
  std::vector<int32_t> sums(static_cast<size_t>(weights.columns), 0);
  for (int64_t k = 0; k < weights.depth; ++k) {
    for (int64_t n = 0; n < weights.columns; ++n) sums[n] += weights.at(k, n);
  }
  return sums;
}

// Without VNNI two products are added in 16 bits: 2 * 255 * 63 fits, more does not.
int32_t LargestPiece() { return HasVnni() ? 127 : 63; }

// How many rows sums of up to this magnitude take in pieces.
int64_t RowsForSums(int64_t largest) { return (largest + LargestPiece() - 1) / LargestPiece(); }

int64_t Largest(std::span<const int32_t> sums) {
  int32_t largest = 0;
  for (const int32_t sum : sums) largest = std::max(largest, std::abs(sum));
  return largest;
}

// `columns` rows of `depth` codes, each followed by what Extended() would put below it as a column,
// up to `stride`; zeros instead if not `with_sums`.
void AppendSums(const int8_t* from, int64_t columns, int64_t depth, int64_t stride, bool with_sums,
                int8_t* to) {
  const int32_t largest = LargestPiece();
  for (int64_t n = 0; n < columns; ++n, from += depth, to += stride) {
    std::copy_n(from, depth, to);
    int32_t sum = with_sums ? SumOfCodes(from, depth) : 0;
    for (int64_t k = depth; k < stride; ++k) {
      const int32_t piece = std::clamp(sum, -largest, largest);
      sum -= piece;
      to[k] = static_cast<int8_t>(-piece);
    }
  }
}

// Row-major [rows, columns]: the weights, then the negated sums in pieces, then zeros.
std::vector<int8_t> Extended(const WeightView& weights, int64_t rows) {
  std::vector<int8_t> result(static_cast<size_t>(rows * weights.columns), 0);
  for (int64_t k = 0; k < weights.depth; ++k) {
    for (int64_t n = 0; n < weights.columns; ++n) {
      result[static_cast<size_t>(k * weights.columns + n)] = weights.at(k, n);
    }
  }
  if (rows == weights.depth) return result;
  std::vector<int32_t> sums = ColumnSums(weights);
  for (int64_t k = weights.depth; k < rows; ++k) {
    for (int64_t n = 0; n < weights.columns; ++n) {
      const int32_t piece = std::clamp(sums[n], -LargestPiece(), LargestPiece());
      sums[n] -= piece;
      result[static_cast<size_t>(k * weights.columns + n)] = static_cast<int8_t>(-piece);
    }
  }
  return result;
}

class DynamicLowering {
 public:
  DynamicLowering(LoweringContext& context, const MatrixProduct& product, const ProductShape& shape)
      : context_(context),
        product_(product),
        depth_(shape.depth()),
        columns_(shape.columns()),
        rows_(ElementCount(shape.output) / std::max<int64_t>(shape.columns(), 1)) {
    const Shape& left = context.input_shape(kLeft);
    const bool shared = context.node().Int(kRangePerSample, 0) != 0 && left.size() > 2;
    if (shared && !product.transpose_left && left[0] > 0) {
      rows_per_range_ = std::max<int64_t>(rows_ / left[0], 1);
    }
  }

  absl::StatusOr<bool> Run() {
    OCTET_RETURN_IF_ERROR(CheckWeights());
    OCTET_RETURN_IF_ERROR(ChooseCodes());
    OCTET_RETURN_IF_ERROR(QuantizeLeft());
    OCTET_RETURN_IF_ERROR(Attributes());
    OCTET_RETURN_IF_ERROR(EmitProduct());
    return true;
  }

 private:
  const graph::TensorType& weights() const { return context_.input_type(kRight); }
  bool ConstantRight() const { return context_.is_constant(kRight); }
  // Of weights that are no constant.
  int64_t LargestSum() const { return context_.node().Int("octet.largest_column_sum", -1); }

  absl::Status CheckWeights() const {
    OCTET_RETURN_IF_ERROR(CheckQuantizedWeights(weights()));
    if ((!ConstantRight() && LargestSum() < 0) || weights().shape.size() > 2) {
      return absl::UnimplementedError(absl::StrCat(
          "a float operand times ", graph::ToText(weights()), ", expected a constant matrix"));
    }
    const graph::QuantParams& quant = *weights().quant;
    if (quant.axis && *quant.axis != (product_.transpose_right ? 0 : 1)) {
      return absl::UnimplementedError(absl::StrCat("the weights have scales along dimension ",
                                                   *quant.axis, ", which is summed over"));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<WeightView> Weights() const {
    return WeightView{.codes = context_.constant(kRight).As<int8_t>(),
                      .depth = depth_,
                      .columns = columns_,
                      .transposed = product_.transpose_right};
  }

  // u8 codes with zero points are finer than s8 codes, unless the weights' sums are so large that
  // the rows for them would cost more than it is worth.
  absl::Status ChooseCodes() {
    if (!ConstantRight()) {
      ChooseCodes(RowsForSums(LargestSum()));
      return absl::OkStatus();
    }
    const Tensor& constant = context_.constant(kRight);
    OCTET_ASSIGN_OR_RETURN(
        const Tensor rows,
        context_.weights().Get(constant.id(), "rows for sums", [&]() -> absl::StatusOr<Tensor> {
          if (!constant.has_bytes()) {
            return absl::FailedPreconditionError("the weights were released after packing");
          }
          OCTET_ASSIGN_OR_RETURN(const WeightView view, Weights());
          return Tensor::Scalar<int64_t>(RowsForSums(Largest(ColumnSums(view))));
        }));
    ChooseCodes(rows.As<int64_t>()[0]);
    return absl::OkStatus();
  }

  void ChooseCodes(int64_t extra) {
    constexpr int64_t kAlways = 32;
    symmetric_ = context_.node().Int(kSignedRows, 0) != 0 || extra > std::max(kAlways, depth_ / 8);
    constexpr int64_t kMultiple = 4;  // one VNNI instruction adds four products
    const int64_t wanted = symmetric_ ? depth_ : depth_ + extra;
    extended_ = (wanted + kMultiple - 1) / kMultiple * kMultiple;
  }

  absl::Status QuantizeLeft() {
    int left = -1;
    if (product_.transpose_left) {
      OCTET_ASSIGN_OR_RETURN(
          left, context_.InLayout(
                    kLeft, memory::desc({depth_, rows_}, memory::data_type::f32, {1, depth_})));
    } else {
      OCTET_ASSIGN_OR_RETURN(left, context_.Plain(kLeft));
    }
    codes_ = context_.Temporary(static_cast<size_t>(rows_ * extended_));
    scales_ = context_.Temporary(static_cast<size_t>(rows_) * sizeof(float));
    const RowLayout layout{
        .count = rows_, .depth = depth_, .stride = extended_, .together = rows_per_range_};
    if (symmetric_) {
      context_.Emit(MakeKernel("octet:quantize_rows_s8",
                               [=](const StepMemory& memory) {
                                 QuantizeRowsToInt8(
                                     reinterpret_cast<const float*>(memory.inputs[0]), layout,
                                     reinterpret_cast<int8_t*>(memory.outputs[0]),
                                     reinterpret_cast<float*>(memory.outputs[1]));
                                 return absl::OkStatus();
                               }),
                    {left}, {codes_, scales_});
      return absl::OkStatus();
    }
    context_.Emit(MakeKernel(
                      "octet:quantize_rows_u8",
                      [=](const StepMemory& memory) {
                        QuantizeRowsToUint8(reinterpret_cast<const float*>(memory.inputs[0]),
                                            layout, reinterpret_cast<uint8_t*>(memory.outputs[0]),
                                            reinterpret_cast<float*>(memory.outputs[1]),
                                            reinterpret_cast<int32_t*>(memory.scratch));
                        return absl::OkStatus();
                      },
                      static_cast<size_t>(layout.count) * sizeof(int32_t)),
                  {left}, {codes_, scales_});
    return absl::OkStatus();
  }

  // Post-ops: the rows' scales, then the addend, then the node's own chain. The operands are 3-D
  // because oneDNN runs a {rows, 1} post-op in two dimensions by its reference code.
  absl::Status Attributes() {
    attributes_.set_scales_mask(DNNL_ARG_WEIGHTS, weights().quant->axis ? 1 << 2 : 0);
    OCTET_RETURN_IF_ERROR(SetResultQuantization(context_.output_type(0), attributes_));
    dnnl::post_ops chain;
    chain.append_binary(dnnl::algorithm::binary_mul, Dense3(rows_, 1, memory::data_type::f32));
    if (context_.has_input(kAddend) && product_.beta != 0) {
      if (product_.beta != 1) {
        chain.append_eltwise(dnnl::algorithm::eltwise_linear, 1 / product_.beta, 0);
      }
      OCTET_ASSIGN_OR_RETURN(const memory::desc addend, AddendDesc());
      addend_post_op_ = chain.len();
      chain.append_binary(dnnl::algorithm::binary_add, addend);
      if (product_.beta != 1) {
        chain.append_eltwise(dnnl::algorithm::eltwise_linear, product_.beta, 0);
      }
    }
    attributes_.set_post_ops(chain);
    return chain_.Append(context_, attributes_);
  }

  absl::StatusOr<memory::desc> AddendDesc() const {
    const Shape& shape = context_.input_shape(kAddend);
    const int64_t columns = shape.empty() ? 1 : shape.back();
    const int64_t rows = columns == 0 ? 0 : ElementCount(shape) / columns;
    if ((columns != 1 && columns != columns_) || (rows != 1 && rows != rows_)) {
      return absl::UnimplementedError(absl::StrCat("an addend of shape ", ToText(shape)));
    }
    return Dense3(rows, columns, memory::data_type::f32);
  }

  std::string Form() const { return absl::StrCat("extended to ", extended_, " "); }

  absl::StatusOr<int> PackedRight(const memory::desc& wanted) {
    const std::string layout = context_.PackedName(kRight, Form(), wanted);
    return context_.PackedWeight(kRight, layout, [&]() -> absl::StatusOr<Tensor> {
      OCTET_ASSIGN_OR_RETURN(const WeightView view, Weights());
      std::vector<int8_t> extended = symmetric_ ? Padded(view) : Extended(view, extended_);
      OCTET_ASSIGN_OR_RETURN(
          Tensor packed,
          Tensor::Allocate(DataType::kUint8, {static_cast<int64_t>(wanted.get_size())}));
      memory source(Dense3(extended_, columns_, memory::data_type::s8), Engine(), extended.data());
      memory target(wanted, Engine(), packed.mutable_data());
      dnnl::stream stream(Engine());
      dnnl::reorder(source, target).execute(stream, source, target);
      stream.wait();
      return packed;
    });
  }

  std::vector<int8_t> Padded(const WeightView& view) const {
    std::vector<int8_t> result = Extended(view, depth_);
    result.resize(static_cast<size_t>(extended_ * columns_), 0);
    return result;
  }

  // Weights that are no constant, as they come: a column of the product in one piece.
  memory::desc ExpandedDesc() const {
    return {{1, extended_, columns_},
            memory::data_type::s8,
            memory::dims{extended_ * columns_, 1, extended_}};
  }

  absl::StatusOr<int> ExpandedRight() {
    const memory::desc desc =
        product_.transpose_right
            ? memory::desc({columns_, depth_}, memory::data_type::s8, memory::dims{depth_, 1})
            : memory::desc({depth_, columns_}, memory::data_type::s8, memory::dims{1, depth_});
    OCTET_ASSIGN_OR_RETURN(const int codes, context_.InLayout(kRight, desc));
    if (extended_ == depth_) return codes;
    const int result = context_.Temporary(static_cast<size_t>(extended_ * columns_));
    const int64_t columns = columns_, depth = depth_, stride = extended_;
    const bool with_sums = !symmetric_;
    context_.Emit(MakeKernel("octet:append_sums",
                             [=](const StepMemory& memory) {
                               AppendSums(reinterpret_cast<const int8_t*>(memory.inputs[0]),
                                          columns, depth, stride, with_sums,
                                          reinterpret_cast<int8_t*>(memory.outputs[0]));
                               return absl::OkStatus();
                             }),
                  {codes}, {result});
    return result;
  }

  dnnl::matmul::primitive_desc DescribeProduct(const memory::desc& left,
                                               const memory::desc& output) {
    const memory::desc any({1, extended_, columns_}, memory::data_type::s8,
                           memory::format_tag::any);
    if (!ConstantRight()) return {Engine(), left, ExpandedDesc(), output, attributes_};
    return DescribeWithPacked(
        any, context_.PackedLayouts(kRight, Form()), !context_.constant(kRight).has_bytes(),
        /*int8=*/true,
        [&](const memory::desc& packed, bool allow_empty) -> dnnl::matmul::primitive_desc {
          return {Engine(), left, packed, output, attributes_, allow_empty};
        });
  }

  absl::Status EmitProduct() {
    const auto code_type = symmetric_ ? memory::data_type::s8 : memory::data_type::u8;
    const memory::desc left = Dense3(rows_, extended_, code_type);
    const memory::desc output = Dense3(rows_, columns_, StorageType(context_.output_type(0)));
    const dnnl::matmul::primitive_desc desc = DescribeProduct(left, output);
    PrimitiveCall call(context_);
    call.Input(DNNL_ARG_SRC, codes_, left);
    OCTET_ASSIGN_OR_RETURN(const int packed,
                           ConstantRight() ? PackedRight(desc.weights_desc()) : ExpandedRight());
    call.Input(DNNL_ARG_WEIGHTS, packed, desc.weights_desc());
    std::vector<float> scales = weights().quant->scales;
    for (float& scale : scales) scale *= product_.alpha;
    call.Scales(DNNL_ARG_WEIGHTS, scales);
    call.Input(DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, scales_,
               Dense3(rows_, 1, memory::data_type::f32));
    if (addend_post_op_ > 0) {
      OCTET_ASSIGN_OR_RETURN(const memory::desc addend, AddendDesc());
      OCTET_ASSIGN_OR_RETURN(const int buffer, context_.Plain(kAddend));
      call.Input(DNNL_ARG_ATTR_MULTIPLE_POST_OP(addend_post_op_) | DNNL_ARG_SRC_1, buffer, addend);
    }
    BindResultQuantization(context_.output_type(0), call);
    OCTET_ASSIGN_OR_RETURN(
        const int buffer,
        chain_.BindOutput(context_, desc, *PlainDesc(context_.output_type(0)), call));
    call.Output(DNNL_ARG_DST, buffer, output);
    call.Emit(dnnl::matmul(desc), desc, {.macs = rows_ * depth_ * columns_, .int8 = true});
    return absl::OkStatus();
  }

  LoweringContext& context_;
  const MatrixProduct product_;
  const int64_t depth_, columns_, rows_;
  int64_t rows_per_range_ = 1;
  bool symmetric_ = false;
  int64_t extended_ = 0;  // depth with the rows for sums
  int codes_ = -1, scales_ = -1;
  int addend_post_op_ = 0;
  dnnl::primitive_attr attributes_ = BaseAttributes();
  FusedChain chain_{Shape{1, rows_, columns_}};
};

}  // namespace

absl::StatusOr<bool> LowerDynamicProduct(LoweringContext& context, const MatrixProduct& product,
                                         const ProductShape& shape) {
  return DynamicLowering(context, product, shape).Run();
}

}  // namespace octet::kernels
