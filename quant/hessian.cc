#include "quant/hessian.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "quant/matrix_loops.h"
#include "quant/vector_loops.h"

namespace octet::quant {

Hessian::Hessian(int64_t columns)
    : columns_(static_cast<size_t>(columns)),
      padded_((columns_ + kTileRows - 1) / kTileRows * kTileRows),
      buffer_(padded_ * kBuffered),
      sum_(padded_ * padded_) {}

absl::Status Hessian::Add(std::span<const float> inputs) {
  if (columns_ == 0 || inputs.size() % columns_ != 0) {
    return absl::InvalidArgumentError(absl::StrCat("expected whole rows of ", columns_,
                                                   " inputs, found ", inputs.size(), " numbers"));
  }
  const ScanResult scan = Scan(inputs);
  if (scan.nans + scan.infinities > 0) {
    const auto bad = std::find_if_not(inputs.begin(), inputs.end(),
                                      [](float value) { return std::isfinite(value); });
    return absl::InvalidArgumentError(
        absl::StrCat("expected finite inputs, found ", *bad, " at index ", bad - inputs.begin()));
  }
  for (size_t begin = 0; begin < inputs.size(); begin += columns_) {
    if (buffered_ == kBuffered) Flush();
    for (size_t i = 0; i < columns_; ++i) buffer_[i * kBuffered + buffered_] = inputs[begin + i];
    ++buffered_;
    ++rows_;
  }
  return absl::OkStatus();
}

absl::Status Hessian::Merge(const Hessian& other) {
  if (other.columns_ != columns_) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected ", columns_, " columns, found ", other.columns_));
  }
  other.Flush();
  for (size_t i = 0; i < sum_.size(); ++i) sum_[i] += other.sum_[i];
  rows_ += other.rows_;
  return absl::OkStatus();
}

double Hessian::At(int64_t i, int64_t j) const {
  Flush();
  const auto row = static_cast<size_t>(std::max(i, j));
  const auto column = static_cast<size_t>(std::min(i, j));
  return sum_[row * padded_ + column];
}

double Hessian::MeanDiagonal() const {
  double sum = 0;
  for (int64_t i = 0; i < columns(); ++i) sum += At(i, i);
  return sum / static_cast<double>(columns_);
}

void Hessian::Flush() const {
  if (buffered_ == 0) return;
  AccumulateGram(buffer_.data(), padded_, kBuffered, buffered_, sum_.data(), padded_);
  buffered_ = 0;
}

}  // namespace octet::quant
