#include "kernels/binary.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/broadcast.h"
#include "kernels/channels_last.h"

namespace octet::kernels {
namespace {

using dnnl::memory;
using Dims = memory::dims;

absl::StatusOr<BinaryFormat> FormatOf(const graph::TensorType& type) {
  if (!type.quant) return BinaryFormat{};
  if (type.quant->scales.size() != 1) {
    return absl::UnimplementedError("operands must have one scale for the whole tensor");
  }
  return BinaryFormat{.dtype = type.dtype,
                      .scale = type.quant->scales[0],
                      .zero_point = type.quant->zero_points[0]};
}

// The tag of a layout with one block of channels, such as nChw16c; none for other layouts.
std::optional<memory::format_tag> BlockedTag(const memory::desc& desc) {
  using Tag = memory::format_tag;
  constexpr std::array kTags = {Tag::nCw4c,   Tag::nCw8c,   Tag::nCw16c,  Tag::nChw4c,  Tag::nChw8c,
                                Tag::nChw16c, Tag::nCdhw4c, Tag::nCdhw8c, Tag::nCdhw16c};
  if (desc.get_inner_nblks() != 1) return std::nullopt;
  const Dims dims = desc.get_dims();
  for (size_t i = 0; i < kTags.size(); ++i) {
    if (dims.size() != 3 + i / 3) continue;
    if (desc == memory::desc(dims, desc.get_data_type(), kTags[i])) return kTags[i];
  }
  return std::nullopt;
}

bool IsDense(const memory::desc& desc, size_t elements) {
  return desc.get_inner_nblks() == 0 &&
         desc.get_size() == elements * memory::data_type_size(desc.get_data_type());
}

// One binary node while it is lowered.
class BinaryLowering {
 public:
  BinaryLowering(LoweringContext& context, BinaryOp op) : context_(context), op_(op) {}

  absl::StatusOr<bool> Run() {
    const graph::TensorType& type = context_.output_type(0);
    OCTET_ASSIGN_OR_RETURN(formats_.a, FormatOf(context_.input_type(0)));
    OCTET_ASSIGN_OR_RETURN(formats_.b, FormatOf(context_.input_type(1)));
    OCTET_ASSIGN_OR_RETURN(formats_.result, FormatOf(type));
    ChooseLayout();
    OCTET_ASSIGN_OR_RETURN(Operand a, Place(0));
    OCTET_ASSIGN_OR_RETURN(Operand b, Place(1));
    const Operand result{.buffer = context_.OutputInLayout(0, layout_),
                         .strides = Physical(layout_)};
    context_.Emit(MakeRows(a.strides, b.strides, result.strides), {a.buffer, b.buffer},
                  {result.buffer});
    return true;
  }

 private:
  struct Operand {
    int buffer;
    Shape strides;  // along physical_
  };

  bool Whole(int i) const { return context_.input_shape(i) == context_.output_shape(0); }

  // Whether both operands can be brought into blocks of channels: a reorder cannot add dimensions.
  bool CanBlock() const {
    for (const int i : {0, 1}) {
      const Shape& shape = context_.input_shape(i);
      const size_t rank = context_.output_shape(0).size();
      if (shape.size() == rank || context_.is_constant(i)) continue;
      if (shape.size() + 1 == rank && shape[0] != 1) return false;
    }
    return true;
  }

  // The layout of an operand of the result's shape, preferably one that some kernel chose.
  void ChooseLayout() {
    const Shape& shape = context_.output_shape(0);
    const bool codes = formats_.a.dtype != DataType::kFloat32 ||
                       formats_.b.dtype != DataType::kFloat32 ||
                       formats_.result.dtype != DataType::kFloat32;
    layout_ = *PlainDesc(context_.output_type(0));
    for (const int i : {1, 0}) {
      if (!Whole(i) || context_.is_constant(i)) continue;
      const std::optional<memory::desc> native = context_.NativeDesc(i);
      if (!native || *native == *PlainDesc(context_.input_type(i))) continue;
      const memory::data_type type = layout_.get_data_type();
      if (const std::optional<memory::format_tag> tag = BlockedTag(*native)) {
        if (!CanBlock()) continue;
        // Codes go on to int8 kernels, which want the channels last.
        layout_ = codes ? ChannelsLast(context_.output_type(0))
                        : memory::desc(native->get_dims(), type, *tag);
        blocked_ = codes ? std::nullopt : tag;
      } else if (IsDense(*native, static_cast<size_t>(ElementCount(shape)))) {
        layout_ = memory::desc(native->get_dims(), type, native->get_strides());
        blocked_ = std::nullopt;
      }
    }
    const Dims dims = layout_.get_padded_dims();
    physical_.assign(dims.begin(), dims.end());
    if (!blocked_) return;
    block_ = layout_.get_inner_blks()[0];
    physical_[1] /= block_;
    physical_.push_back(block_);
  }

  // Strides of the result's layout along the physical dimensions.
  Shape Physical(const memory::desc& desc) const {
    const Dims strides = desc.get_strides();
    Shape result(strides.begin(), strides.end());
    if (blocked_) result.push_back(1);
    return result;
  }

  absl::StatusOr<int> BufferIn(int i, const memory::desc& desc) {
    if (!context_.is_constant(i)) return context_.InLayout(i, desc);
    if (desc == *PlainDesc(context_.input_type(i))) return context_.Plain(i);
    // The rank may differ: leading dimensions of one element.
    graph::TensorType type = context_.input_type(i);
    type.shape.insert(type.shape.begin(), desc.get_ndims() - type.shape.size(), 1);
    return context_.PackedWeight(i, *PlainDesc(type), desc);
  }

  absl::StatusOr<Operand> Place(int i) {
    const graph::TensorType& type = context_.input_type(i);
    const memory::data_type data_type = StorageType(type);
    if (Whole(i)) {
      const memory::desc desc =
          blocked_ ? memory::desc(layout_.get_dims(), data_type, *blocked_)
                   : memory::desc(layout_.get_dims(), data_type, layout_.get_strides());
      OCTET_ASSIGN_OR_RETURN(const int buffer, BufferIn(i, desc));
      return Operand{.buffer = buffer, .strides = Physical(desc)};
    }
    const size_t rank = context_.output_shape(0).size();
    Shape shape(rank - type.shape.size(), 1);
    shape.insert(shape.end(), type.shape.begin(), type.shape.end());
    if (blocked_ && shape[1] != 1) return PlaceBlocked(i, shape);
    return PlaceUnblocked(i, shape);
  }

  // An operand with channels beside a result whose channels come in blocks.
  absl::StatusOr<Operand> PlaceBlocked(int i, const Shape& shape) {
    const memory::desc desc({shape.begin(), shape.end()}, StorageType(context_.input_type(i)),
                            *blocked_);
    OCTET_ASSIGN_OR_RETURN(const int buffer, BufferIn(i, desc));
    Operand operand{.buffer = buffer, .strides = Physical(desc)};
    for (size_t d = 0; d < shape.size(); ++d) {
      if (shape[d] == 1) operand.strides[d] = 0;
    }
    return operand;
  }

  absl::StatusOr<Operand> PlaceUnblocked(int i, const Shape& shape) {
    Operand operand{.strides = BroadcastStrides(shape, context_.output_shape(0))};
    const std::optional<memory::desc> native = context_.NativeDesc(i);
    const bool native_fits = native && !context_.is_constant(i) && native->get_inner_nblks() == 0 &&
                             native->get_dims().size() == shape.size() &&
                             context_.input_type(i).shape.size() == shape.size();
    if (native_fits) {
      OCTET_ASSIGN_OR_RETURN(operand.buffer, context_.InLayout(i, *native));
      const Dims strides = native->get_strides();
      for (size_t d = 0; d < shape.size(); ++d) {
        operand.strides[d] = shape[d] == 1 ? 0 : strides[d];
      }
    } else {
      OCTET_ASSIGN_OR_RETURN(operand.buffer, context_.Plain(i));
    }
    if (blocked_) operand.strides.push_back(0);
    return operand;
  }

  // The elements that only fill the last block of channels; oneDNN wants them to be zero.
  BroadcastPlan PaddingPlan(const Shape& strides, int64_t& offset) const {
    Shape dims = physical_;
    const int64_t used = layout_.get_dims()[1] % block_;
    offset = used == 0 ? 0 : (physical_[1] - 1) * strides[1] + used;
    dims[1] = 1;
    dims.back() = used == 0 ? 0 : block_ - used;
    return PlanBroadcast(dims, {strides});
  }

  std::unique_ptr<Kernel> MakeRows(const Shape& a, const Shape& b, const Shape& result) const {
    BroadcastPlan plan = PlanBroadcast(physical_, {result, a, b});
    // Tiles of two dimensions: a call for each row would cost as much as a short row.
    if (plan.dims.size() == 1) {
      plan.dims.insert(plan.dims.begin(), 1);
      for (Shape& strides : plan.strides) strides.insert(strides.begin(), 0);
    }
    const size_t last = plan.dims.size() - 1;
    BinaryTile tile{.rows = plan.dims[last - 1],
                    .count = plan.dims[last],
                    .a_step = plan.strides[1][last],
                    .b_step = plan.strides[2][last],
                    .result_step = plan.strides[0][last],
                    .a_row = plan.strides[1][last - 1],
                    .b_row = plan.strides[2][last - 1],
                    .result_row = plan.strides[0][last - 1]};
    plan.dims[last] = plan.dims[last - 1] = 1;
    int64_t padding_offset = 0;
    std::optional<BroadcastPlan> padding;
    if (blocked_ && layout_.get_dims()[1] % block_ != 0) {
      padding = PaddingPlan(result, padding_offset);
    }
    const auto bytes = [](const BinaryFormat& format) {
      return static_cast<int64_t>(ByteSize(format.dtype));
    };
    return MakeKernel(
        "octet:binary", [plan, tile, padding, padding_offset, op = op_, formats = formats_,
                         a_bytes = bytes(formats_.a), b_bytes = bytes(formats_.b),
                         result_bytes = bytes(formats_.result)](const StepMemory& memory) {
          ForEachRow(plan, [&](const int64_t* offsets, int64_t) {
            BinaryTile here = tile;
            here.result = memory.outputs[0] + offsets[0] * result_bytes;
            here.a = memory.inputs[0] + offsets[1] * a_bytes;
            here.b = memory.inputs[1] + offsets[2] * b_bytes;
            RunBinaryTile(op, formats, here);
          });
          if (padding) {
            float* const first = reinterpret_cast<float*>(memory.outputs[0]) + padding_offset;
            ForEachRow(*padding, [&](const int64_t* offsets, int64_t count) {
              std::fill_n(first + offsets[0], count, 0.0f);
            });
          }
          return absl::OkStatus();
        });
  }

  LoweringContext& context_;
  const BinaryOp op_;
  BinaryFormats formats_;
  memory::desc layout_;                        // of the result
  std::optional<memory::format_tag> blocked_;  // set if layout_ is blocked
  int64_t block_ = 1;
  Shape physical_;  // the dimensions as they lie in memory: a block is one of its own
};

}  // namespace

absl::StatusOr<bool> LowerBinary(LoweringContext& context, BinaryOp op) {
  bool codes = false;
  for (const graph::TensorType* type :
       {&context.input_type(0), &context.input_type(1), &context.output_type(0)}) {
    if (!type->quant && type->dtype != DataType::kFloat32) return false;
    codes = codes || type->quant.has_value();
  }
  const bool described = PlainDesc(context.input_type(0)) && PlainDesc(context.input_type(1)) &&
                         PlainDesc(context.output_type(0)) && !context.output_shape(0).empty();
  if (!described && !codes) return false;
  if (!described) return absl::UnimplementedError("no kernel takes codes of this shape");
  if (codes && op != BinaryOp::kAdd && op != BinaryOp::kMultiply) {
    return absl::UnimplementedError("the operator has no kernel for quantized operands");
  }
  return BinaryLowering(context, op).Run();
}

}  // namespace octet::kernels
