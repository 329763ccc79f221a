#include "kernels/matrix_product.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/channels_last.h"
#include "kernels/dispatch_gate.h"
#include "kernels/dynamic_product.h"
#include "kernels/infer.h"
#include "kernels/packed_layout.h"
#include "kernels/post_ops.h"
#include "kernels/primitive_kernel.h"
#include "kernels/quantization_attributes.h"

namespace octet::kernels {
namespace {

using dnnl::memory;
constexpr int kLeft = MatrixProduct::kLeft;
constexpr int kRight = MatrixProduct::kRight;
constexpr int kAddend = MatrixProduct::kAddend;

memory::dims Dims(const Shape& shape) { return {shape.begin(), shape.end()}; }

int64_t BatchCount(const Shape& shape) {
  return ElementCount(Shape(shape.begin(), shape.end() - 2));
}

// Dense; with `transposed` the two last dimensions lie in memory the other way round.
memory::desc DenseDesc(const Shape& shape, memory::data_type type, bool transposed) {
  memory::dims strides(shape.size());
  const size_t last = shape.size() - 1;
  strides[last] = transposed ? shape[last - 1] : 1;
  strides[last - 1] = transposed ? 1 : shape[last];
  int64_t stride = shape[last] * shape[last - 1];
  for (size_t d = last - 1; d-- > 0; stride *= shape[d]) strides[d] = stride;
  return {Dims(shape), type, strides};
}

// The layout the input lies in, if a matrix product can read it as it is: plain strides, one of
// the two last dimensions contiguous. It has the dimensions `shape`, which may differ from the
// input's own by ones in front.
std::optional<memory::desc> StridedView(const LoweringContext& context, int input,
                                        const Shape& shape) {
  const std::optional<memory::desc> native = context.NativeDesc(input);
  if (!native || native->get_inner_nblks() > 0 || native->get_submemory_offset() != 0) {
    return std::nullopt;
  }
  const memory::dims dims = native->get_dims(), strides = native->get_strides();
  const size_t rank = dims.size();
  if (rank < 2 || (strides[rank - 1] != 1 && strides[rank - 2] != 1)) return std::nullopt;
  memory::dims padded(shape.size());
  for (size_t i = 1; i <= std::max(rank, shape.size()); ++i) {  // from the last dimension
    const int64_t dim = i <= rank ? dims[rank - i] : 1;
    if (dim != (i <= shape.size() ? shape[shape.size() - i] : 1)) return std::nullopt;
    if (i <= shape.size()) {
      padded[shape.size() - i] = i <= rank ? strides[rank - i] : dims[0] * strides[0];
    }
  }
  return memory::desc(Dims(shape), native->get_data_type(), padded);
}

// The addend as oneDNN takes it: as the bias, or beside the product as a binary post-op.
struct Addend {
  enum class Form { kNone, kBias, kPostOp } form = Form::kNone;
  bool scaled = false;  // a constant bias that beta is multiplied into
  Shape dims;           // of the post-op, of the product's rank
};

// One matmul primitive in the making.
class ProductLowering {
 public:
  ProductLowering(LoweringContext& context, const MatrixProduct& product, ProductShape shape)
      : context_(context), product_(product), shape_(std::move(shape)) {}

  absl::StatusOr<bool> Run() {
    OCTET_RETURN_IF_ERROR(Collapse());
    OCTET_RETURN_IF_ERROR(ReadAddend());
    OCTET_RETURN_IF_ERROR(Attributes());
    dnnl::matmul::primitive_desc desc = Describe(/*as_it_lies=*/true);
    if (IsReferenceImplementation(desc.impl_info_str(), Int8())) {
      desc = Describe(/*as_it_lies=*/false);
    }
    OCTET_RETURN_IF_ERROR(Emit(desc));
    return true;
  }

 private:
  bool Int8() const { return context_.input_type(kLeft).quant.has_value(); }
  bool BFloat16() const { return context_.input_type(kRight).dtype == DataType::kBFloat16; }
  bool ConstantRight() const { return context_.is_constant(kRight); }

  // One tall matrix instead of a batch, if all share the right operand: what oneDNN is fast at.
  absl::Status Collapse() {
    bool columns = false;
    for (const graph::FusedOp& fused : context_.node().fused) {
      if (fused.input < 0) continue;
      const Spread spread = SpreadOf(context_.input_shape(fused.input), context_.output_shape(0));
      if (spread == Spread::kOther) can_collapse_ = false;
      columns |= spread == Spread::kColumn;
    }
    if (BatchCount(shape_.right) != 1) can_collapse_ = false;
    if (!can_collapse_) return absl::OkStatus();
    // A post-op of dimensions {rows, 1} is slow in two dimensions and fast in three.
    const Shape front = columns ? Shape{1} : Shape{};
    const int64_t rows = BatchCount(shape_.left) * shape_.left[shape_.left.size() - 2];
    const auto matrix = [&](int64_t m, int64_t n) {
      Shape shape = front;
      shape.push_back(m);
      shape.push_back(n);
      return shape;
    };
    shape_ = {.left = matrix(rows, shape_.depth()),
              .right = matrix(shape_.depth(), shape_.columns()),
              .output = matrix(rows, shape_.columns())};
    return absl::OkStatus();
  }

  absl::Status ReadAddend() {
    if (!context_.has_input(kAddend) || product_.beta == 0) return absl::OkStatus();
    const Shape& shape = context_.input_shape(kAddend);
    const bool row =
        ElementCount(shape) == 1 || (!shape.empty() && ElementCount(shape) == shape.back());
    const bool plain_alpha = product_.alpha == 1 || ConstantRight();
    if (row && plain_alpha && context_.is_constant(kAddend)) {
      addend_ = {.form = Addend::Form::kBias, .scaled = true};
      return absl::OkStatus();
    }
    if (row && plain_alpha && product_.beta == 1 && ElementCount(shape) == shape_.columns()) {
      addend_ = {.form = Addend::Form::kBias};
      return absl::OkStatus();
    }
    if (shape.size() > shape_.output.size()) {
      return absl::UnimplementedError(absl::StrCat("an addend of shape ", ToText(shape)));
    }
    Shape dims(shape_.output.size() - shape.size(), 1);
    dims.insert(dims.end(), shape.begin(), shape.end());
    addend_ = {.form = Addend::Form::kPostOp, .dims = std::move(dims)};
    return absl::OkStatus();
  }

  absl::Status Attributes() {
    if (Int8()) {
      OCTET_ASSIGN_OR_RETURN(const int mask, WeightsMask());
      OCTET_RETURN_IF_ERROR(SetQuantization(Operands(mask), attributes_));
    }
    dnnl::post_ops chain;
    const auto multiply = [&chain](float factor) {
      if (factor != 1) chain.append_eltwise(dnnl::algorithm::eltwise_linear, factor, 0);
    };
    const float alpha = ConstantRight() ? 1 : product_.alpha;
    if (addend_.form == Addend::Form::kPostOp) {
      multiply(alpha / product_.beta);
      addend_post_op_ = chain.len();
      chain.append_binary(dnnl::algorithm::binary_add,
                          DenseDesc(addend_.dims, memory::data_type::f32, false));
      multiply(product_.beta);
    } else {
      multiply(alpha);
    }
    attributes_.set_post_ops(chain);
    chain_ = shape_.output == context_.output_shape(0) ? FusedChain() : FusedChain(shape_.output);
    return chain_.Append(context_, attributes_);
  }

  // Where the weights' scales are: one for all, or one per column of the product.
  absl::StatusOr<int> WeightsMask() const {
    const graph::TensorType& weights = context_.input_type(kRight);
    if (!weights.quant->axis) return 0;
    const int rank = static_cast<int>(weights.shape.size());
    const int columns = product_.transpose_right ? rank - 2 : rank - 1;
    if (rank < 2 || *weights.quant->axis != columns) {
      return absl::UnimplementedError(absl::StrCat("the weights have scales along dimension ",
                                                   *weights.quant->axis, ", expected ", columns));
    }
    return 1 << (static_cast<int>(shape_.output.size()) - 1);
  }

  QuantizedOperands Operands(int mask) const {
    return {.source = &context_.input_type(kLeft),
            .weights = context_.input_type(kRight),
            .destination = context_.output_type(0),
            .weights_mask = mask,
            .weights_factor = ConstantRight() ? product_.alpha : 1};
  }

  memory::data_type ElementType(int input) const {
    return BFloat16() ? memory::data_type::bf16 : StorageType(context_.input_type(input));
  }

  memory::data_type OutputType() const {
    return BFloat16() && context_.OutputMayBeBFloat16(0) ? memory::data_type::bf16
                                                         : StorageType(context_.output_type(0));
  }

  dnnl::matmul::primitive_desc Describe(bool as_it_lies) {
    const auto operand = [&](int input, const Shape& shape, bool transposed) {
      const memory::data_type type = ElementType(input);
      if (as_it_lies && !transposed && !BFloat16()) {
        if (const auto view = StridedView(context_, input, shape)) return *view;
      }
      return DenseDesc(shape, type, transposed);
    };
    left_ = operand(kLeft, shape_.left, product_.transpose_left);
    right_ = operand(kRight, shape_.right, product_.transpose_right);
    const memory::desc wanted =
        ConstantRight()
            ? memory::desc(right_.get_dims(), right_.get_data_type(), memory::format_tag::any)
            : right_;
    const memory::desc output = DenseDesc(shape_.output, OutputType(), false);
    memory::desc bias;
    if (addend_.form == Addend::Form::kBias) {
      memory::dims dims(shape_.output.size(), 1);
      dims.back() = shape_.columns();
      bias = bias_ = DenseDesc(Shape(dims.begin(), dims.end()), memory::data_type::f32, false);
    }
    return DescribeWithPacked(
        wanted, PackedLayouts(), ConstantRight() && !context_.constant(kRight).has_bytes(), Int8(),
        [&](const memory::desc& weights, bool allow_empty) -> dnnl::matmul::primitive_desc {
          return {Engine(), left_, weights, bias, output, attributes_, allow_empty};
        });
  }

  std::vector<memory::desc> PackedLayouts() const {
    if (!ConstantRight()) return {};
    return context_.PackedLayouts(kRight, IsScaled() ? ScaledForm() : "");
  }

  bool IsScaled() const { return product_.alpha != 1 && !Int8(); }
  std::string ScaledForm() const { return absl::StrCat("times ", product_.alpha, " "); }

  // A buffer that holds `input` in `desc`, a view of its dense elements or of how they lie.
  absl::StatusOr<int> Operand(int input, const memory::desc& desc, bool transposed) {
    if (BFloat16()) {
      return context_.InLayout(
          input, *InType(*PlainDesc(context_.input_type(input)), memory::data_type::bf16));
    }
    const memory::dims dims = desc.get_dims();
    const auto view = StridedView(context_, input, Shape(dims.begin(), dims.end()));
    if (!transposed && view && *view == desc) {
      return context_.InLayout(input, *context_.NativeDesc(input));
    }
    return context_.Plain(input);
  }

  absl::StatusOr<int> Right(const memory::desc& wanted) {
    if (!ConstantRight()) return Operand(kRight, wanted, product_.transpose_right);
    const memory::desc plain =
        DenseDesc(shape_.right, right_.get_data_type(), product_.transpose_right);
    return IsScaled() ? ScaledWeight(plain, wanted) : context_.PackedWeight(kRight, plain, wanted);
  }

  // Float weights with alpha multiplied in.
  absl::StatusOr<int> ScaledWeight(const memory::desc& plain, const memory::desc& wanted) {
    const std::string layout = context_.PackedName(kRight, ScaledForm(), wanted);
    return context_.PackedWeight(kRight, layout, [&]() -> absl::StatusOr<Tensor> {
      const std::span<const float> weights = context_.constant(kRight).As<float>();
      std::vector<float> scaled(weights.begin(), weights.end());
      for (float& weight : scaled) weight *= product_.alpha;
      OCTET_ASSIGN_OR_RETURN(
          Tensor packed,
          Tensor::Allocate(DataType::kUint8, {static_cast<int64_t>(wanted.get_size())}));
      memory source(plain, Engine(), scaled.data());
      memory target(wanted, Engine(), packed.mutable_data());
      dnnl::stream stream(Engine());
      dnnl::reorder(source, target).execute(stream, source, target);
      stream.wait();
      return packed;
    });
  }

  absl::StatusOr<int> Bias() {
    if (!addend_.scaled) return context_.Plain(kAddend);
    const int64_t columns = shape_.columns();
    const std::string layout = absl::StrCat("row of ", columns, " times ", product_.beta);
    return context_.PackedWeight(kAddend, layout, [&]() -> absl::StatusOr<Tensor> {
      const std::span<const float> from = context_.constant(kAddend).As<float>();
      OCTET_ASSIGN_OR_RETURN(Tensor row, Tensor::Allocate(DataType::kFloat32, {columns}));
      const std::span<float> to = row.MutableAs<float>();
      for (size_t i = 0; i < to.size(); ++i) {
        to[i] = product_.beta * from[from.size() == 1 ? 0 : i];
      }
      return row;
    });
  }

  absl::Status Emit(const dnnl::matmul::primitive_desc& desc) {
    PrimitiveCall call(context_);
    OCTET_ASSIGN_OR_RETURN(const int left, Operand(kLeft, left_, product_.transpose_left));
    call.Input(DNNL_ARG_SRC, left, left_);
    OCTET_ASSIGN_OR_RETURN(const int right, Right(desc.weights_desc()));
    call.Input(DNNL_ARG_WEIGHTS, right, desc.weights_desc());
    if (addend_.form == Addend::Form::kBias) {
      OCTET_ASSIGN_OR_RETURN(const int bias, Bias());
      call.Input(DNNL_ARG_BIAS, bias, bias_);
    } else if (addend_.form == Addend::Form::kPostOp) {
      OCTET_ASSIGN_OR_RETURN(const int addend, context_.Plain(kAddend));
      call.Input(DNNL_ARG_ATTR_MULTIPLE_POST_OP(addend_post_op_) | DNNL_ARG_SRC_1, addend,
                 DenseDesc(addend_.dims, memory::data_type::f32, false));
    }
    if (Int8()) {
      OCTET_ASSIGN_OR_RETURN(const int mask, WeightsMask());
      BindQuantization(Operands(mask), call);
    }
    OCTET_ASSIGN_OR_RETURN(
        const int output,
        chain_.BindOutput(context_, desc,
                          *InType(*PlainDesc(context_.output_type(0)), OutputType()), call));
    call.Output(DNNL_ARG_DST, output, desc.dst_desc());
    call.Emit(dnnl::matmul(desc), desc,
              {.macs = ElementCount(shape_.output) * shape_.depth(),
               .int8 = Int8(),
               .bfloat16 = BFloat16()});
    return absl::OkStatus();
  }

  LoweringContext& context_;
  const MatrixProduct product_;
  ProductShape shape_;
  bool can_collapse_ = true;
  Addend addend_;
  int addend_post_op_ = 0;
  dnnl::primitive_attr attributes_ = BaseAttributes();
  FusedChain chain_;
  memory::desc left_, right_, bias_;
};

}  // namespace

absl::StatusOr<ProductShape> ReadProductShape(const MatrixProduct& product, const Shape& left,
                                              const Shape& right) {
  ProductShape result{.left = left, .right = right};
  Shape& a = result.left;
  Shape& b = result.right;
  if (a.empty() || b.empty()) {
    return absl::InvalidArgumentError("a scalar is no operand of a matrix product");
  }
  if (a.size() == 1) a.insert(a.begin(), 1);
  if (b.size() == 1) b.push_back(1);
  if (product.transpose_left) std::swap(a[a.size() - 1], a[a.size() - 2]);
  if (product.transpose_right) std::swap(b[b.size() - 1], b[b.size() - 2]);
  while (a.size() < b.size()) a.insert(a.begin(), 1);
  while (b.size() < a.size()) b.insert(b.begin(), 1);
  if (a.back() != b[b.size() - 2]) {
    return absl::InvalidArgumentError(absl::StrCat("matrices ", ToText(left), " and ",
                                                   ToText(right), " do not fit: ", a.back(),
                                                   " columns against ", b[b.size() - 2], " rows"));
  }
  OCTET_ASSIGN_OR_RETURN(
      result.output, BroadcastShapes(Shape(a.begin(), a.end() - 2), Shape(b.begin(), b.end() - 2)));
  result.output.push_back(a[a.size() - 2]);
  result.output.push_back(b.back());
  return result;
}

absl::StatusOr<bool> LowerMatrixProduct(LoweringContext& context, const MatrixProduct& product) {
  const graph::TensorType& left = context.input_type(kLeft);
  const graph::TensorType& right = context.input_type(kRight);
  if (PlainDesc(left) == std::nullopt || PlainDesc(right) == std::nullopt ||
      PlainDesc(context.output_type(0)) == std::nullopt) {
    return false;
  }
  if (!left.quant && left.dtype != DataType::kFloat32) return false;
  OCTET_ASSIGN_OR_RETURN(ProductShape shape, ReadProductShape(product, left.shape, right.shape));
  if (left.quant && !right.quant) {
    return absl::UnimplementedError("a quantized left operand with a float right operand");
  }
  const bool bfloat16 = right.dtype == DataType::kBFloat16;
  if (bfloat16 && (!context.is_constant(kRight) || product.alpha != 1)) {
    return absl::UnimplementedError("expected bfloat16 weights as a constant, without a factor");
  }
  if (right.quant && !left.quant) return LowerDynamicProduct(context, product, shape);
  return ProductLowering(context, product, std::move(shape)).Run();
}

}  // namespace octet::kernels
