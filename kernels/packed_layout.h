// The choice of a layout for weights that may already be packed.

#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/dispatch_gate.h"
#include "oneapi/dnnl/dnnl.hpp"

namespace octet::kernels {

// oneDNN's own choice of layout depends on the number of rows. A model has plans for many of them:
// with a layout of its own for each, weights would be kept several times, and would be missing when
// a new shape comes and their bytes are released. So a layout that is `packed` wins if the same
// implementation takes it; and if there is `nothing_else`, any but a reference implementation.
//
// `describe(weights, allow_empty)` makes a primitive_desc for weights in a desc; if there is none
// it is empty where that is allowed and a dnnl::error otherwise.
template <typename Describe>
auto DescribeWithPacked(const dnnl::memory::desc& any,
                        const std::vector<dnnl::memory::desc>& packed, bool nothing_else, bool int8,
                        const Describe& describe) {
  auto best = describe(any, false);
  const dnnl::memory::desc chosen = best.weights_desc();
  if (std::find(packed.begin(), packed.end(), chosen) != packed.end()) return best;
  for (const dnnl::memory::desc& layout : packed) {
    if (layout.get_dims() != chosen.get_dims()) continue;
    if (layout.get_data_type() != chosen.get_data_type()) continue;
    auto candidate = describe(layout, true);
    if (!candidate || candidate.weights_desc() != layout) continue;
    const bool same = std::strcmp(candidate.impl_info_str(), best.impl_info_str()) == 0;
    if (same || (nothing_else && !IsReferenceImplementation(candidate.impl_info_str(), int8))) {
      return candidate;
    }
  }
  return best;
}

}  // namespace octet::kernels
