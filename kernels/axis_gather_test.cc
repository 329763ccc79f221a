#include "kernels/axis_gather.h"

#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::kernels {
namespace {

using ::testing::ElementsAre;
using Lists = std::vector<std::vector<int64_t>>;

template <typename T>
std::vector<T> Gather(const Shape& input, const Lists& lists, const std::vector<T>& from, T fill) {
  size_t size = 1;
  for (const auto& list : lists) size *= list.size();
  std::vector<T> to(size);
  AxisGather(input, lists, sizeof(T))
      .Run(reinterpret_cast<const std::byte*>(from.data()), reinterpret_cast<std::byte*>(to.data()),
           reinterpret_cast<const std::byte*>(&fill));
  return to;
}

TEST(AxisGather, PadsAndReverses) {
  const std::vector<int16_t> from = {1, 2, 3, 4, 5, 6};
  EXPECT_THAT(Gather<int16_t>({2, 3}, {{1, -1}, {-1, 2, 1, 0}}, from, 9),
              ElementsAre(9, 6, 5, 4, 9, 9, 9, 9));
}

TEST(AxisGather, CopiesScalarsAndSkipsEmptyResults) {
  EXPECT_THAT(Gather<float>({}, {}, {5.0f}, 0.0f), ElementsAre(5.0f));
  EXPECT_THAT(Gather<float>({0, 2}, {{}, {0, 1}}, {}, 0.0f), ElementsAre());
  EXPECT_THAT(Gather<float>({0}, {{-1, -1}}, {}, 7.0f), ElementsAre(7.0f, 7.0f));
}

// Lists as padding, upscaling and random choice make them.
std::vector<int64_t> RandomList(std::mt19937& engine, int64_t size) {
  const auto integer = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(engine);
  };
  if (integer(0, 3) == 0) return WholeAxis(size);
  std::vector<int64_t> list;
  const int64_t length = integer(1, 12);
  for (int64_t value = integer(-1, size - 1); static_cast<int64_t>(list.size()) < length;) {
    list.push_back(value);
    const int64_t move = integer(0, 3);  // stay, go on, jump
    if (move == 1) value = std::min(value + 1, size - 1);
    if (move > 1) value = integer(-1, size - 1);
  }
  return list;
}

template <typename T>
void CheckRandom(unsigned seed) {
  SCOPED_TRACE(::testing::Message() << "seed " << seed << ", " << sizeof(T) << " bytes");
  std::mt19937 engine(seed);
  const Shape shape = {std::uniform_int_distribution<int64_t>(1, 4)(engine),
                       std::uniform_int_distribution<int64_t>(1, 9)(engine),
                       std::uniform_int_distribution<int64_t>(1, 9)(engine)};
  Lists lists;
  for (const int64_t size : shape) lists.push_back(RandomList(engine, size));
  std::vector<T> from(static_cast<size_t>(ElementCount(shape)));
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<T>(i + 1);
  std::vector<T> expected;
  for (const int64_t a : lists[0]) {
    for (const int64_t b : lists[1]) {
      for (const int64_t c : lists[2]) {
        const bool fill = a < 0 || b < 0 || c < 0;
        expected.push_back(fill ? T{99} : from[(a * shape[1] + b) * shape[2] + c]);
      }
    }
  }
  EXPECT_EQ(Gather<T>(shape, lists, from, T{99}), expected);
}

TEST(AxisGather, FollowsRandomLists) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    CheckRandom<uint8_t>(seed);
    CheckRandom<uint16_t>(seed);
    CheckRandom<uint32_t>(seed);
    CheckRandom<uint64_t>(seed);
  }
}

TEST(CheckGatherShape, RefusesVeryLongAxes) {
  EXPECT_TRUE(CheckGatherShape({1, 1 << 26}).ok());
  EXPECT_EQ(CheckGatherShape({(int64_t{1} << 26) + 1}).code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace octet::kernels
