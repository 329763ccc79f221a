#include "kernels/resampler.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/strided_copy.h"

namespace octet::kernels {
Resampler::Resampler(const Shape& input, std::vector<AxisFilter> filters, float fill)
    : input_size_(ElementCount(input)), output_size_(input_size_), fill_(fill) {
  // By how much they grow the tensor. Of equal ones, those that leave the most work to the passes
  // that combine whole rows: inner axes grow first, outer axes shrink first.
  std::vector<size_t> order;
  for (size_t d = filters.size(); d-- > 0;) {
    if (filters[d].taps > 0) order.push_back(d);
  }
  const auto growth = [&](size_t d) {
    return static_cast<double>(filters[d].output) / static_cast<double>(input[d]);
  };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (growth(a) != growth(b)) return growth(a) < growth(b);
    return growth(a) < 1 && a < b;
  });
  Shape shape = input;
  for (const size_t d : order) {
    Pass pass = {.filter = std::move(filters[d]),
                 .outer = Product(shape, 0, d),
                 .inner = Product(shape, d + 1, shape.size()),
                 .input = shape[d]};
    shape[d] = pass.filter.output;
    passes_.push_back(std::move(pass));
    buffer_floats_ = std::max(buffer_floats_, static_cast<size_t>(ElementCount(shape)));
  }
  output_size_ = ElementCount(shape);
  buffer_floats_ = std::max(buffer_floats_, static_cast<size_t>(input_size_));
}

void Resampler::CombineRows(const Pass& pass, int64_t position, const float* from,
                            float* to) const {
  const int64_t* const sources = &pass.filter.sources[position * pass.filter.taps];
  const float* const weights = &pass.filter.weights[position * pass.filter.taps];
  const int64_t inner = pass.inner;
  if (sources[0] == AxisFilter::kOutside) {
    std::fill(to, to + inner, fill_);
    return;
  }
  const float* const first = from + sources[0] * inner;
  const float first_weight = weights[0];
  if (pass.filter.taps == 2) {
    const float* const second = from + sources[1] * inner;
    const float second_weight = weights[1];
    for (int64_t i = 0; i < inner; ++i) {
      to[i] = first_weight * first[i] + second_weight * second[i];
    }
    return;
  }
  for (int64_t i = 0; i < inner; ++i) to[i] = first_weight * first[i];
  for (int64_t t = 1; t < pass.filter.taps; ++t) {
    const float* const row = from + sources[t] * inner;
    const float weight = weights[t];
    for (int64_t i = 0; i < inner; ++i) to[i] += weight * row[i];
  }
}

void Resampler::RunPass(const Pass& pass, const float* from, float* to) const {
  const AxisFilter& filter = pass.filter;
  for (int64_t outer = 0; outer < pass.outer; ++outer) {
    if (pass.inner > 1) {
      for (int64_t o = 0; o < filter.output; ++o) CombineRows(pass, o, from, to + o * pass.inner);
    } else {
      const int64_t* source = filter.sources.data();
      const float* weight = filter.weights.data();
      for (int64_t o = 0; o < filter.output; ++o) {
        float sum = *source == AxisFilter::kOutside ? fill_ : weight[0] * from[*source];
        const bool inside = *source != AxisFilter::kOutside;
        for (int64_t t = 1; t < filter.taps && inside; ++t) sum += weight[t] * from[source[t]];
        to[o] = sum;
        source += filter.taps;
        weight += filter.taps;
      }
    }
    from += pass.input * pass.inner;
    to += filter.output * pass.inner;
  }
}

template <typename T>
void Resampler::Run(const T* from, T* to, std::byte* scratch) const {
  if (output_size_ == 0) return;
  if (passes_.empty()) {
    std::memcpy(to, from, static_cast<size_t>(output_size_) * sizeof(T));
    return;
  }
  auto* buffer = reinterpret_cast<float*>(scratch);
  float* other = buffer + buffer_floats_;
  const float* source;
  if constexpr (std::is_same_v<T, float>) {
    source = from;
  } else {
    std::copy(from, from + input_size_, buffer);
    source = buffer;
    std::swap(buffer, other);
  }
  for (size_t i = 0; i < passes_.size(); ++i) {
    float* target = buffer;
    if constexpr (std::is_same_v<T, float>) {
      if (i + 1 == passes_.size()) target = to;
    }
    RunPass(passes_[i], source, target);
    source = target;
    std::swap(buffer, other);
  }
  if constexpr (!std::is_same_v<T, float>) {
    std::transform(source, source + output_size_, to, FromFloat<T>);
  }
}

template void Resampler::Run(const float*, float*, std::byte*) const;
template void Resampler::Run(const int8_t*, int8_t*, std::byte*) const;
template void Resampler::Run(const uint8_t*, uint8_t*, std::byte*) const;
template void Resampler::Run(const int16_t*, int16_t*, std::byte*) const;
template void Resampler::Run(const uint16_t*, uint16_t*, std::byte*) const;
template void Resampler::Run(const int32_t*, int32_t*, std::byte*) const;
template void Resampler::Run(const uint32_t*, uint32_t*, std::byte*) const;
template void Resampler::Run(const int64_t*, int64_t*, std::byte*) const;
template void Resampler::Run(const uint64_t*, uint64_t*, std::byte*) const;

}  // namespace octet::kernels
