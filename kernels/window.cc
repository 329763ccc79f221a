#include "kernels/window.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace octet::kernels {
namespace {

constexpr int64_t kMaxExtent = int64_t{1} << 31;  // of kernels, strides and pads

int64_t Product(const std::vector<int64_t>& values) {
  return std::accumulate(values.begin(), values.end(), int64_t{1}, std::multiplies<>());
}

absl::StatusOr<std::vector<int64_t>> ReadInts(const graph::Node& node, absl::string_view key,
                                              size_t count, int64_t fallback, int64_t lowest) {
  std::vector<int64_t> values = node.Ints(key);
  if (values.empty()) return std::vector<int64_t>(count, fallback);
  const bool in_range = std::all_of(values.begin(), values.end(), [&](int64_t value) {
    return value >= lowest && value < kMaxExtent;
  });
  if (values.size() != count || !in_range) {
    return absl::InvalidArgumentError(absl::StrCat("attribute ", key, " = [",
                                                   absl::StrJoin(values, ","), "], expected ",
                                                   count, " values of at least ", lowest));
  }
  return values;
}

// SAME: as many outputs as ceil(input / stride); the odd element goes to the end or the beginning.
void PadSame(Window& window, bool upper) {
  for (size_t d = 0; d < window.kernel.size(); ++d) {
    const int64_t extent = (window.kernel[d] - 1) * window.dilations[d] + 1;
    const int64_t output = (window.input[d] + window.strides[d] - 1) / window.strides[d];
    const int64_t total =
        std::max<int64_t>(0, (output - 1) * window.strides[d] + extent - window.input[d]);
    window.pads_begin[d] = upper ? total / 2 : total - total / 2;
    window.pads_end[d] = total - window.pads_begin[d];
  }
}

absl::Status ReadPads(const graph::Node& node, Window& window) {
  const size_t rank = window.kernel.size();
  const std::string mode = node.String("auto_pad", "NOTSET");
  if (mode == "SAME_UPPER" || mode == "SAME_LOWER") {
    PadSame(window, mode == "SAME_UPPER");
    return absl::OkStatus();
  }
  if (mode == "VALID") return absl::OkStatus();
  if (mode != "NOTSET") {
    return absl::InvalidArgumentError(absl::StrCat("attribute auto_pad = ", mode));
  }
  OCTET_ASSIGN_OR_RETURN(const std::vector<int64_t> pads, ReadInts(node, "pads", 2 * rank, 0, 0));
  window.pads_begin.assign(pads.begin(), pads.begin() + rank);
  window.pads_end.assign(pads.begin() + rank, pads.end());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Window> ReadWindow(const graph::Node& node, const Shape& input,
                                  std::vector<int64_t> kernel, bool ceil_mode) {
  if (input.size() < 3 || kernel.size() != input.size() - 2) {
    return absl::InvalidArgumentError(absl::StrCat("the input ", ToText(input), " does not fit ",
                                                   kernel.size(), " kernel dimensions"));
  }
  Window window;
  window.input.assign(input.begin() + 2, input.end());
  const size_t rank = kernel.size();
  for (const int64_t size : kernel) {
    if (size < 1 || size >= kMaxExtent) {
      return absl::InvalidArgumentError(absl::StrCat("a kernel of size ", size));
    }
  }
  window.kernel = std::move(kernel);
  OCTET_ASSIGN_OR_RETURN(window.strides, ReadInts(node, "strides", rank, 1, 1));
  OCTET_ASSIGN_OR_RETURN(window.dilations, ReadInts(node, "dilations", rank, 1, 1));
  window.pads_begin.assign(rank, 0);
  window.pads_end.assign(rank, 0);
  OCTET_RETURN_IF_ERROR(ReadPads(node, window));
  for (size_t d = 0; d < rank; ++d) {
    const int64_t extent = (window.kernel[d] - 1) * window.dilations[d] + 1;
    const int64_t room = window.input[d] + window.pads_begin[d] + window.pads_end[d] - extent;
    if (room < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("a window of ", extent, " does not fit the padded input ", ToText(input)));
    }
    int64_t output = room / window.strides[d] + 1;
    // Rounding up adds a window only if it starts inside the input or its leading padding.
    if (ceil_mode && room % window.strides[d] != 0 &&
        output * window.strides[d] < window.input[d] + window.pads_begin[d]) {
      ++output;
    }
    window.output.push_back(output);
  }
  return window;
}

absl::StatusOr<Window> WholePlane(const Shape& input) {
  if (input.size() < 3) {
    return absl::InvalidArgumentError(
        absl::StrCat("the input ", ToText(input), " has no spatial dimensions"));
  }
  Window window;
  window.input.assign(input.begin() + 2, input.end());
  const size_t rank = window.input.size();
  window.kernel = window.input;
  for (auto* ones : {&window.strides, &window.dilations, &window.output}) ones->assign(rank, 1);
  window.pads_begin.assign(rank, 0);
  window.pads_end.assign(rank, 0);
  return window;
}

absl::StatusOr<ConvGeometry> ReadConvGeometry(const graph::Node& node, const Shape& input,
                                              const Shape& weight) {
  if (weight.size() < 3 || weight.size() != input.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the input ", ToText(input), " does not fit the weights ", ToText(weight)));
  }
  ConvGeometry geometry;
  OCTET_ASSIGN_OR_RETURN(
      static_cast<Window&>(geometry),
      ReadWindow(node, input, std::vector<int64_t>(weight.begin() + 2, weight.end()), false));
  geometry.groups = node.Int("group", 1);
  if (geometry.groups < 1 || weight[0] % geometry.groups != 0 ||
      input[1] != weight[1] * geometry.groups) {
    return absl::InvalidArgumentError(absl::StrCat("the input ", ToText(input), ", the weights ",
                                                   ToText(weight), " and ", geometry.groups,
                                                   " groups do not fit together"));
  }
  return geometry;
}

Shape Window::OutputShape(int64_t batch, int64_t channels) const {
  Shape shape = {batch, channels};
  shape.insert(shape.end(), output.begin(), output.end());
  return shape;
}

int64_t Window::InputPlane() const { return Product(input); }
int64_t Window::OutputPlane() const { return Product(output); }
int64_t Window::Taps() const { return Product(kernel); }

void Window::SourcesOf(int64_t position, std::vector<int64_t>& sources) const {
  const size_t rank = kernel.size();
  std::vector<int64_t> start(rank), tap(rank, 0);
  for (size_t d = rank; d-- > 0;) {
    start[d] = position % output[d] * strides[d] - pads_begin[d];
    position /= output[d];
  }
  for (int64_t& source : sources) {
    source = 0;
    for (size_t d = 0; d < rank && source >= 0; ++d) {
      const int64_t at = start[d] + tap[d] * dilations[d];
      source = at < 0 || at >= input[d] ? -1 : source * input[d] + at;
    }
    for (size_t d = rank; d-- > 0;) {
      if (++tap[d] < kernel[d]) break;
      tap[d] = 0;
    }
  }
}

std::vector<int64_t> Window::DnnlDilations() const {
  std::vector<int64_t> result = dilations;
  for (int64_t& dilation : result) --dilation;
  return result;
}

std::vector<int64_t> Window::DnnlPadsEnd() const {
  std::vector<int64_t> result(kernel.size());
  for (size_t d = 0; d < result.size(); ++d) {
    const int64_t extent = (kernel[d] - 1) * dilations[d] + 1;
    result[d] = (output[d] - 1) * strides[d] + extent - input[d] - pads_begin[d];
  }
  return result;
}

}  // namespace octet::kernels
