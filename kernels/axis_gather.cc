#include "kernels/axis_gather.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "absl/strings/str_cat.h"

namespace octet::kernels {
namespace {

bool IsWhole(const std::vector<int64_t>& indices, int64_t size) {
  if (static_cast<int64_t>(indices.size()) != size) return false;
  for (int64_t i = 0; i < size; ++i) {
    if (indices[static_cast<size_t>(i)] != i) return false;
  }
  return true;
}

}  // namespace

std::vector<int64_t> WholeAxis(int64_t size) {
  std::vector<int64_t> indices(static_cast<size_t>(size));
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return indices;
}

absl::Status CheckGatherShape(const Shape& output) {
  constexpr int64_t kLongest = int64_t{1} << 26;
  for (const int64_t dim : output) {
    if (dim > kLongest) {
      return absl::UnimplementedError(
          absl::StrCat("an axis of ", dim, " elements, at most ", kLongest, " are supported here"));
    }
  }
  return absl::OkStatus();
}

AxisGather::AxisGather(const Shape& input, const std::vector<std::vector<int64_t>>& axes,
                       size_t element_bytes)
    : element_bytes_(element_bytes) {
  empty_ = std::any_of(axes.begin(), axes.end(), [](const auto& axis) { return axis.empty(); });
  if (empty_) return;
  size_t kept = axes.size();
  size_t bytes = element_bytes;
  while (kept > 1 && IsWhole(axes[kept - 1], input[kept - 1])) {
    --kept;
    bytes *= static_cast<size_t>(input[kept]);
  }
  axes_.resize(kept);
  size_t to_bytes = bytes, from_bytes = bytes;
  for (size_t d = kept; d-- > 0;) {
    axes_[d] = {.indices = axes[d], .from_bytes = from_bytes, .to_bytes = to_bytes};
    to_bytes *= axes[d].size();
    from_bytes *= static_cast<size_t>(input[d]);
  }
  if (axes_.empty()) return;
  const std::vector<int64_t>& last = axes_.back().indices;
  for (size_t i = 0; i < last.size(); ++i) {
    const auto position = static_cast<int64_t>(i);
    if (!innermost_.empty()) {
      Stretch& open = innermost_.back();
      if (last[i] == kFill ? open.from == kFill
                           : open.from != kFill && last[i] == open.from + open.count) {
        ++open.count;
        continue;
      }
    }
    innermost_.push_back({position, last[i], 1});
  }
  scattered_ = bytes == element_bytes && innermost_.size() * 4 > last.size();
}

void AxisGather::Run(const std::byte* from, std::byte* to, const std::byte* fill) const {
  if (empty_) return;
  if (axes_.empty()) {  // a scalar
    std::memcpy(to, from, element_bytes_);
    return;
  }
  RunAxis(0, from, to, fill);
}

void AxisGather::RunAxis(size_t axis, const std::byte* from, std::byte* to,
                         const std::byte* fill) const {
  if (axis + 1 == axes_.size()) {
    RunInnermost(from, to, fill);
    return;
  }
  const Axis& here = axes_[axis];
  for (size_t i = 0; i < here.indices.size(); ++i) {
    std::byte* const target = to + i * here.to_bytes;
    const int64_t index = here.indices[i];
    if (i > 0 && index == here.indices[i - 1]) {
      std::memcpy(target, target - here.to_bytes, here.to_bytes);
    } else if (index == kFill) {
      Fill(target, here.to_bytes, fill);
    } else {
      RunAxis(axis + 1, from + static_cast<size_t>(index) * here.from_bytes, target, fill);
    }
  }
}

void AxisGather::RunInnermost(const std::byte* from, std::byte* to, const std::byte* fill) const {
  if (scattered_) {
    switch (element_bytes_) {
      case 1:
        return GatherElements<1>(from, to, fill);
      case 2:
        return GatherElements<2>(from, to, fill);
      case 4:
        return GatherElements<4>(from, to, fill);
      default:
        return GatherElements<8>(from, to, fill);
    }
  }
  const size_t bytes = axes_.back().to_bytes;
  for (const Stretch& stretch : innermost_) {
    std::byte* const target = to + static_cast<size_t>(stretch.to) * bytes;
    const size_t size = static_cast<size_t>(stretch.count) * bytes;
    if (stretch.from == kFill) {
      Fill(target, size, fill);
    } else {
      std::memcpy(target, from + static_cast<size_t>(stretch.from) * bytes, size);
    }
  }
}

template <size_t kBytes>
void AxisGather::GatherElements(const std::byte* from, std::byte* to, const std::byte* fill) const {
  for (const int64_t index : axes_.back().indices) {
    const std::byte* const source =
        index == kFill ? fill : from + static_cast<size_t>(index) * kBytes;
    std::memcpy(to, source, kBytes);
    to += kBytes;
  }
}

// Doubles the part that is filled already.
void AxisGather::Fill(std::byte* to, size_t bytes, const std::byte* fill) const {
  if (bytes == 0) return;
  std::memcpy(to, fill, element_bytes_);
  for (size_t done = element_bytes_; done < bytes;) {
    const size_t more = std::min({done, bytes - done, size_t{4096}});
    std::memcpy(to + done, to, more);
    done += more;
  }
}

}  // namespace octet::kernels
