#include "base/memory.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "gtest/gtest.h"

namespace octet {
namespace {

TEST(AllocateZeroed, IsZeroAndAlignedAndCanBeWritten) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{65}, size_t{4096}, size_t{262'143},
                            size_t{262'144}, size_t{3'000'001}}) {
    for (int again = 0; again < 3; ++again) {  // what was freed comes back zeroed
      const Bytes bytes = AllocateZeroed(size);
      ASSERT_NE(bytes, nullptr);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(bytes.get()) % 64, 0u);
      EXPECT_TRUE(std::all_of(bytes.get(), bytes.get() + size,
                              [](std::byte byte) { return byte == std::byte{0}; }));
      std::memset(bytes.get(), 1, size);
    }
  }
}

TEST(AllocateZeroed, IsNullWithoutMemory) { EXPECT_EQ(AllocateZeroed(SIZE_MAX), nullptr); }

TEST(AllocateZeroed, LargePiecesAreMapped) {
#ifndef __SANITIZE_ADDRESS__
  const Bytes large = AllocateZeroed(size_t{1} << 20);
  EXPECT_EQ(large.get_deleter().mapped_bytes, size_t{1} << 20);
#endif
  EXPECT_EQ(AllocateZeroed(1000).get_deleter().mapped_bytes, 0u);
}

}  // namespace
}  // namespace octet
