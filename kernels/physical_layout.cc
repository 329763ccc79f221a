#include "kernels/physical_layout.h"

#include <algorithm>
#include <numeric>

#include "kernels/strided_copy.h"

namespace octet::kernels {

std::optional<PhysicalLayout> PhysicalLayout::Of(const dnnl::memory::desc& desc) {
  if (desc.get_format_kind() != dnnl::memory::format_kind::blocked) return std::nullopt;
  const dnnl::memory::dims dims = desc.get_dims();
  const dnnl::memory::dims strides = desc.get_strides();
  PhysicalLayout layout;
  if (desc.get_inner_nblks() > 0) {
    if (desc.get_inner_nblks() != 1 || desc.get_inner_idxs()[0] != 1) return std::nullopt;
    layout.block_ = desc.get_inner_blks()[0];
  }
  std::vector<int> order(dims.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return strides[a] > strides[b]; });
  layout.axes_.resize(dims.size());
  for (size_t i = 0; i < order.size(); ++i) layout.axes_[order[i]] = static_cast<int>(i);
  const Shape shape(dims.begin(), dims.end());
  if (!layout.Fits(shape) || layout.Desc(shape, desc.get_data_type()) != desc) return std::nullopt;
  return layout;
}

bool PhysicalLayout::row_major() const {
  return block_ == 1 && std::is_sorted(axes_.begin(), axes_.end());
}

bool PhysicalLayout::Fits(const Shape& logical) const {
  return logical.size() == axes_.size() && (block_ == 1 || logical[1] % block_ == 0);
}

Shape PhysicalLayout::Dims(const Shape& logical) const {
  Shape dims(axes_.size());
  for (size_t d = 0; d < logical.size(); ++d) {
    dims[axes_[d]] = logical[d] / step(static_cast<int>(d));
  }
  if (block_ != 1) dims.push_back(block_);
  return dims;
}

dnnl::memory::desc PhysicalLayout::Desc(const Shape& logical, dnnl::memory::data_type type) const {
  using tag = dnnl::memory::format_tag;
  const dnnl::memory::dims dims(logical.begin(), logical.end());
  if (block_ == 1) {
    const Shape physical = RowMajorStrides(Dims(logical));
    dnnl::memory::dims strides(dims.size());
    for (size_t d = 0; d < dims.size(); ++d) strides[d] = physical[axes_[d]];
    return {dims, type, strides};
  }
  const bool ordered = std::is_sorted(axes_.begin(), axes_.end());
  if (ordered && (block_ == 8 || block_ == 16)) {
    if (dims.size() == 3) return {dims, type, block_ == 8 ? tag::aBc8b : tag::aBc16b};
    if (dims.size() == 4) return {dims, type, block_ == 8 ? tag::aBcd8b : tag::aBcd16b};
    if (dims.size() == 5) return {dims, type, block_ == 8 ? tag::aBcde8b : tag::aBcde16b};
  }
  return {};
}

}  // namespace octet::kernels
