// The layout of int8 images: channels innermost (NHWC, and likewise for other ranks).

#pragma once

#include <optional>

#include "graph/types.h"
#include "oneapi/dnnl/dnnl.hpp"

namespace octet::kernels {

// Dense with dimension 1 innermost, in the type's storage: rank at least 3, an element type oneDNN
// has.
dnnl::memory::desc ChannelsLast(const graph::TensorType& type);

// oneDNN's name for the storage of float32, bfloat16, int8, uint8 and int32.
dnnl::memory::data_type StorageType(const graph::TensorType& type);

// Elements of another type in the same places; none if they lie in blocks.
std::optional<dnnl::memory::desc> InType(const dnnl::memory::desc& desc,
                                         dnnl::memory::data_type type);

}  // namespace octet::kernels
