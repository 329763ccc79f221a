#include "kernels/channel_padding.h"

#include <array>
#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/channel_padding.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace octet::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

void Interleave(const uint8_t* HWY_RESTRICT planes, int64_t channels, int64_t pixels,
                uint8_t* HWY_RESTRICT to) {
  const hn::ScalableTag<uint8_t> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto zero = hn::Zero(d);
  const auto load = [&](int64_t channel, int64_t at) {
    return channel < channels ? hn::LoadU(d, planes + channel * pixels + at) : zero;
  };
  int64_t i = 0;
  for (; i + lanes <= pixels; i += lanes) {
    hn::StoreInterleaved4(load(0, i), load(1, i), load(2, i), zero, d, to + i * kPaddedChannels);
  }
  for (; i < pixels; ++i) {
    for (int64_t c = 0; c < kPaddedChannels; ++c) {
      to[i * kPaddedChannels + c] = c < channels ? planes[c * pixels + i] : uint8_t{0};
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace octet::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octet::kernels {

HWY_EXPORT(Interleave);

void InterleavePlanes(const uint8_t* planes, int64_t channels, int64_t pixels, uint8_t* to) {
  HWY_DYNAMIC_DISPATCH(Interleave)(planes, channels, pixels, to);
}

}  // namespace octet::kernels
#endif  // HWY_ONCE
