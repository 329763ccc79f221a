// A oneDNN layout seen as a dense row-major tensor, so that kernels of our own that move elements
// work in the layout they find instead of asking for a reorder.
//
// Channels-last [n,c,h,w] is physically [n,h,w,c]; blocked by 16 it is [n,c/16,h,w,16].

#pragma once

#include <optional>
#include <vector>

#include "base/tensor.h"
#include "oneapi/dnnl/dnnl.hpp"

namespace octet::kernels {

class PhysicalLayout {
 public:
  // None for layouts with gaps, padding, or blocks of other dimensions than the channels.
  static std::optional<PhysicalLayout> Of(const dnnl::memory::desc& desc);

  // The physical dimension that the logical one is; that of the blocks for the channels.
  int axis(int logical) const { return axes_[static_cast<size_t>(logical)]; }
  // One step along physical axis(logical) is so many logical steps: 1, or the channel block.
  int64_t step(int logical) const { return logical == 1 ? block_ : 1; }
  int64_t block() const { return block_; }
  bool row_major() const;

  // Whether a tensor of this shape fits without padding.
  bool Fits(const Shape& logical) const;
  // The physical dimensions and oneDNN's description of a tensor of this shape in this layout; it
  // must fit, and have no zero dimension.
  Shape Dims(const Shape& logical) const;
  dnnl::memory::desc Desc(const Shape& logical, dnnl::memory::data_type type) const;

 private:
  std::vector<int> axes_;  // by logical dimension
  int64_t block_ = 1;      // the last physical dimension holds so many channels, if not 1
};

}  // namespace octet::kernels
