#include "kernels/channels_last.h"

#include "kernels/lowering.h"

namespace octet::kernels {

dnnl::memory::data_type StorageType(const graph::TensorType& type) {
  switch (type.dtype) {
    case DataType::kInt8:
      return dnnl::memory::data_type::s8;
    case DataType::kUint8:
      return dnnl::memory::data_type::u8;
    case DataType::kInt32:
      return dnnl::memory::data_type::s32;
    case DataType::kBFloat16:
      return dnnl::memory::data_type::bf16;
    default:
      return dnnl::memory::data_type::f32;
  }
}

dnnl::memory::desc ChannelsLast(const graph::TensorType& type) {
  const Shape& shape = type.shape;
  dnnl::memory::dims strides(shape.size());
  int64_t stride = shape[1];
  for (size_t d = shape.size() - 1; d >= 2; --d) {
    strides[d] = stride;
    stride *= shape[d];
  }
  strides[1] = 1;
  strides[0] = stride;
  return {dnnl::memory::dims(shape.begin(), shape.end()), StorageType(type), strides};
}

std::optional<dnnl::memory::desc> InType(const dnnl::memory::desc& desc,
                                         dnnl::memory::data_type type) {
  if (desc.get_data_type() == type) return desc;
  if (desc.get_inner_nblks() > 0 || desc.get_submemory_offset() != 0) return std::nullopt;
  return dnnl::memory::desc(desc.get_dims(), type, desc.get_strides());
}

}  // namespace octet::kernels
