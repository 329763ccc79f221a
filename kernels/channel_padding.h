// Images of one to three channels for int8 convolutions, which add four products at a time.

#pragma once

#include <cstdint>

namespace octet::kernels {

inline constexpr int64_t kPaddedChannels = 4;

// `channels` (1 to 3) planes of `pixels` bytes, one after the other, become pixels of
// kPaddedChannels bytes, the last of them zero.
void InterleavePlanes(const uint8_t* planes, int64_t channels, int64_t pixels, uint8_t* to);

}  // namespace octet::kernels
