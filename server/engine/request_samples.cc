#include "server/engine/request_samples.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "runtime/border.h"

namespace octet::server {
namespace {

using runtime::InputTensor;

// Copies `size` bytes from `offset` on of pieces that belong together.
void CopyPart(const InputTensor& input, size_t offset, size_t size, std::byte* to) {
  for (const auto& piece : input.pieces) {
    if (offset >= piece.size()) {
      offset -= piece.size();
      continue;
    }
    const size_t count = std::min(size, piece.size() - offset);
    std::memcpy(to, piece.data() + offset, count);
    to += count;
    size -= count;
    offset = 0;
    if (size == 0) return;
  }
}

size_t BytesOf(const InputTensor& input) {
  size_t bytes = 0;
  for (const auto& piece : input.pieces) bytes += piece.size();
  return bytes;
}

// One row of an input, or all of it, in the engine's type.
std::optional<Tensor> RowOf(const InputTensor& input, const runtime::TensorSpec& spec,
                            bool batchable, int64_t row) {
  Shape shape = input.shape;
  const int64_t rows = batchable ? shape[0] : 1;
  if (batchable) shape[0] = 1;
  absl::StatusOr<Tensor> border = Tensor::Allocate(spec.dtype, shape);
  if (!border.ok() || border->byte_size() * static_cast<size_t>(rows) != BytesOf(input)) {
    return std::nullopt;
  }
  CopyPart(input, static_cast<size_t>(row) * border->byte_size(), border->byte_size(),
           border->mutable_data());
  if (ComputeType(spec.dtype) == spec.dtype) return *std::move(border);
  absl::StatusOr<Tensor> tensor = Tensor::Allocate(ComputeType(spec.dtype), shape);
  if (!tensor.ok()) return std::nullopt;
  runtime::FromBorder(spec.dtype, {border->data(), border->byte_size()}, tensor->mutable_data());
  return *std::move(tensor);
}

bool AllZero(const std::vector<Tensor>& sample) {
  return std::all_of(sample.begin(), sample.end(), [](const Tensor& tensor) {
    return std::all_of(tensor.data(), tensor.data() + tensor.byte_size(),
                       [](std::byte byte) { return byte == std::byte{0}; });
  });
}

bool AllFinite(const std::vector<Tensor>& sample) {
  return std::all_of(sample.begin(), sample.end(), [](const Tensor& tensor) {
    if (tensor.dtype() != DataType::kFloat32) return true;
    const auto values = tensor.As<float>();
    return std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); });
  });
}

size_t HashOf(const std::vector<Tensor>& sample) {
  size_t hash = 0;
  for (const Tensor& tensor : sample) {
    const absl::string_view bytes(reinterpret_cast<const char*>(tensor.data()), tensor.byte_size());
    hash = absl::HashOf(hash, tensor.shape(), bytes);
  }
  return hash;
}

}  // namespace

RequestSamples::RequestSamples(const RequestSampling& sampling,
                               std::vector<runtime::TensorSpec> inputs, bool batchable)
    : sampling_(sampling), inputs_(std::move(inputs)), batchable_(batchable) {}

bool RequestSamples::KeepRow(const runtime::InputRows& request, int64_t row) {
  std::vector<Tensor> sample;
  size_t bytes = 0;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    std::optional<Tensor> tensor = RowOf(request.inputs[i], inputs_[i], batchable_, row);
    if (!tensor) return false;
    bytes += tensor->byte_size();
    sample.push_back(*std::move(tensor));
  }
  if (AllZero(sample) || !AllFinite(sample)) return false;  // warm-up, or nothing to learn from
  if (bytes_ + bytes > sampling_.most_bytes) {
    full_ = true;
    return false;
  }
  if (!seen_.insert(HashOf(sample)).second) return false;
  bytes_ += bytes;
  ++kept_;
  samples_.push_back(std::move(sample));
  return true;
}

// Whether there are as many as there will be; gives up if these are too few.
bool RequestSamples::Enough() {
  if (samples_.size() >= sampling_.samples) full_ = true;
  if (!full_ || samples_.size() >= kFewest) return full_;
  state_ = absl::StrCat("stays as it is: ", kFewest, " requests do not fit ",
                        sampling_.most_bytes >> 20, " MiB");
  wants_ = false;
  samples_.clear();
  return false;
}

void RequestSamples::Offer(const runtime::InputRows& request) {
  const uint64_t number = offered_.fetch_add(1, std::memory_order_relaxed);
  if (number % static_cast<uint64_t>(sampling_.every) != 0) return;
  if (request.inputs.size() != inputs_.size()) return;
  {
    const MutexLock lock(mutex_);
    if (!wants()) return;
    const int64_t rows = batchable_ ? request.rows : 1;
    for (int64_t row = 0; row < rows && !full_ && samples_.size() < sampling_.samples; ++row) {
      KeepRow(request, row);
    }
    if (!Enough()) return;
    wants_ = false;
    state_ = absl::StrCat("calibrating with ", samples_.size(), " samples of requests");
  }
  if (!on_enough_ || !on_enough_()) Resume();
}

void RequestSamples::Resume() {
  const MutexLock lock(mutex_);
  if (samples_.empty()) return;
  state_.clear();
  wants_ = true;
}

runtime::CalibrationData RequestSamples::Take() {
  const MutexLock lock(mutex_);
  runtime::CalibrationData data{.source = "requests"};
  data.samples.swap(samples_);
  seen_.clear();
  bytes_ = 0;
  return data;
}

void RequestSamples::Finish(std::string state, std::optional<size_t> samples) {
  const MutexLock lock(mutex_);
  if (samples) kept_ = *samples;
  wants_ = false;
  samples_.clear();
  state_ = std::move(state);
}

runtime::LearningStatistics RequestSamples::statistics() const {
  const MutexLock lock(mutex_);
  return {.samples = kept_,
          .state = state_.empty() ? absl::StrCat("observing requests: ", kept_, " of ",
                                                 sampling_.samples, " samples")
                                  : state_};
}

}  // namespace octet::server
