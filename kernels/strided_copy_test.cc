#include "kernels/strided_copy.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace octet::kernels {
namespace {

class RandomBoxes {
 public:
  explicit RandomBoxes(unsigned seed) : engine_(seed) {}
  int64_t Integer(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(engine_);
  }
  std::vector<size_t> Permutation(size_t rank) {
    std::vector<size_t> order(rank);
    for (size_t d = 0; d < rank; ++d) order[d] = d;
    std::shuffle(order.begin(), order.end(), engine_);
    return order;
  }

 private:
  std::mt19937 engine_;
};

// Dense strides with the dimensions in a random order in memory.
Shape PermutedStrides(const Shape& dims, const std::vector<size_t>& order) {
  Shape strides(dims.size());
  int64_t stride = 1;
  for (size_t i = order.size(); i-- > 0;) {
    strides[order[i]] = stride;
    stride *= dims[order[i]];
  }
  return strides;
}

// A box copied element by element, against CopyStrided.
void CheckBox(size_t bytes, const Shape& dims, const Shape& to_strides, const Shape& from_strides,
              int64_t from_offset, int64_t from_size) {
  const auto count = static_cast<size_t>(ElementCount(dims));
  std::vector<std::byte> from(static_cast<size_t>(from_size) * bytes);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::byte>(i * 37 + i / 251);
  std::vector<std::byte> to(count * bytes), expected(count * bytes);
  const std::byte* const start = from.data() + from_offset * static_cast<int64_t>(bytes);
  Shape index(dims.size(), 0);
  for (size_t n = 0; n < count; ++n) {
    int64_t target = 0, source = 0;
    for (size_t d = 0; d < dims.size(); ++d) {
      target += index[d] * to_strides[d];
      source += index[d] * from_strides[d];
    }
    std::memcpy(expected.data() + static_cast<size_t>(target) * bytes,
                start + source * static_cast<int64_t>(bytes), bytes);
    for (size_t d = dims.size(); d > 0; --d) {
      if (++index[d - 1] < dims[d - 1]) break;
      index[d - 1] = 0;
    }
  }
  CopyStrided(bytes, dims, {to.data(), to_strides}, {start, from_strides});
  EXPECT_EQ(to, expected);
}

TEST(CopyStrided, PermutesAnyShape) {
  for (unsigned seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    RandomBoxes random(seed);
    const auto rank = static_cast<size_t>(random.Integer(0, 5));
    Shape dims(rank);
    for (int64_t& dim : dims) dim = random.Integer(1, rank > 3 ? 9 : 40);
    const size_t bytes = size_t{1} << random.Integer(0, 3);
    CheckBox(bytes, dims, PermutedStrides(dims, random.Permutation(rank)),
             PermutedStrides(dims, random.Permutation(rank)), 0, ElementCount(dims));
  }
}

TEST(CopyStrided, TransposesMatricesWhoseRowsCompeteForTheCache) {
  for (const size_t bytes : {1, 2, 4, 8}) {
    for (const Shape& dims : {Shape{70, 1024}, Shape{1024, 45}, Shape{2, 64, 256}}) {
      const size_t rank = dims.size();
      std::vector<size_t> swapped(rank);
      for (size_t d = 0; d < rank; ++d) swapped[d] = d;
      std::swap(swapped[rank - 1], swapped[rank - 2]);
      CheckBox(bytes, dims, RowMajorStrides(dims), PermutedStrides(dims, swapped), 0,
               ElementCount(dims));
    }
  }
}

TEST(CopyStrided, RepeatsSkipsAndWalksBackwards) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    RandomBoxes random(seed);
    const Shape dims = {random.Integer(1, 5), random.Integer(1, 20), random.Integer(1, 20)};
    Shape from = {0, 0, 0};
    int64_t offset = 0, span = 1;
    for (size_t d = 3; d-- > 0;) {
      const int64_t step = random.Integer(-2, 2) * span;
      from[d] = step;
      if (step < 0) offset -= step * (dims[d] - 1);
      span += std::abs(step) * (dims[d] - 1);
    }
    CheckBox(size_t{1} << random.Integer(0, 3), dims, RowMajorStrides(dims), from, offset, span);
  }
}

TEST(CopyStrided, LeavesEmptyBoxesAlone) {
  CopyStrided(4, {3, 0, 2}, {nullptr, {0, 2, 1}}, {nullptr, {0, 2, 1}});
}

}  // namespace
}  // namespace octet::kernels
