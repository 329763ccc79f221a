// Kernel sizes, strides, dilations and padding, as Conv, pooling and their relatives share them.

#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "graph/node.h"

namespace octet::kernels {

// A window that moves over the spatial dimensions: those after batch and channels.
struct Window {
  std::vector<int64_t> input;  // spatial sizes
  std::vector<int64_t> kernel;
  std::vector<int64_t> strides;
  std::vector<int64_t> dilations;  // 1: taps side by side
  std::vector<int64_t> pads_begin, pads_end;
  std::vector<int64_t> output;

  Shape OutputShape(int64_t batch, int64_t channels) const;
  int64_t InputPlane() const;
  int64_t OutputPlane() const;
  int64_t Taps() const;
  // For every tap (row-major over the kernel): the index in the input plane it reads for output
  // element `position`, or -1 where it falls on padding. `sources` has Taps() entries.
  void SourcesOf(int64_t position, std::vector<int64_t>& sources) const;

  // oneDNN's forms: dilation 0 is side by side; the end padding is what the output size implies.
  std::vector<int64_t> DnnlDilations() const;
  std::vector<int64_t> DnnlPadsEnd() const;
};

// From the attributes strides, dilations, pads and auto_pad. With `ceil_mode` the output size
// rounds up, as pooling may ask for. InvalidArgument if the attributes do not fit the shapes.
absl::StatusOr<Window> ReadWindow(const graph::Node& node, const Shape& input,
                                  std::vector<int64_t> kernel, bool ceil_mode);

// One window as large as the input's spatial dimensions, as global pooling has it.
absl::StatusOr<Window> WholePlane(const Shape& input);

struct ConvGeometry : Window {
  int64_t groups = 1;
};

absl::StatusOr<ConvGeometry> ReadConvGeometry(const graph::Node& node, const Shape& input,
                                              const Shape& weight);

}  // namespace octet::kernels
