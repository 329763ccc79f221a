#include "quant/vector_loops.h"

#include <algorithm>
#include <cstring>

// Highway compiles this file once per instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/vector_loops.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace octet::quant {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
constexpr size_t kLanes = hn::MaxLanes(FloatTag());
static_assert(kLanes <= kSkippedBins);

// The last, incomplete vector of an array, filled up with `filler`.
struct Tail {
  HWY_ALIGN float lanes[kLanes];

  Tail(const float* values, size_t count, float filler) {
    std::fill(lanes, lanes + kLanes, filler);
    std::copy(values, values + count, lanes);
  }
};

// --- Scan ------------------------------------------------------------------------------------

// Half as many lanes as a vector of floats has, so that they fit a vector of doubles.
using ScanTag = hn::Rebind<float, hn::ScalableTag<double>>;

class Scanner {
 public:
  // Not "= default": that would be compiled for the baseline instruction set.
  Scanner() {}  // NOLINT(modernize-use-equals-default)

  HWY_INLINE void Add(const float* values) {
    const ScanTag d;
    const hn::ScalableTag<double> dd;
    const auto x = hn::LoadU(d, values);
    const auto finite = hn::IsFinite(x);
    if (HWY_UNLIKELY(!hn::AllTrue(d, finite))) {
      const size_t nans = hn::CountTrue(d, hn::IsNaN(x));
      nans_ += nans;
      infinities_ += hn::Lanes(d) - hn::CountTrue(d, finite) - nans;
      min_ = hn::Min(min_, hn::IfThenElse(finite, x, min_));
      max_ = hn::Max(max_, hn::IfThenElse(finite, x, max_));
    } else {
      min_ = hn::Min(min_, x);
      max_ = hn::Max(max_, x);
    }
    zeros_ += hn::CountTrue(d, hn::Eq(x, hn::Zero(d)));
    const auto wide = hn::PromoteTo(dd, hn::IfThenElseZero(finite, x));
    sum_ = hn::Add(sum_, wide);
    sum_squares_ = hn::MulAdd(wide, wide, sum_squares_);
  }

  ScanResult Finish() const {
    const ScanTag d;
    const hn::ScalableTag<double> dd;
    return {.min = hn::GetLane(hn::MinOfLanes(d, min_)),
            .max = hn::GetLane(hn::MaxOfLanes(d, max_)),
            .sum = hn::GetLane(hn::SumOfLanes(dd, sum_)),
            .sum_squares = hn::GetLane(hn::SumOfLanes(dd, sum_squares_)),
            .zeros = zeros_,
            .nans = nans_,
            .infinities = infinities_};
  }

 private:
  hn::Vec<ScanTag> min_ = hn::Set(ScanTag(), ScanResult().min);
  hn::Vec<ScanTag> max_ = hn::Set(ScanTag(), ScanResult().max);
  hn::Vec<hn::ScalableTag<double>> sum_ = hn::Zero(hn::ScalableTag<double>());
  hn::Vec<hn::ScalableTag<double>> sum_squares_ = hn::Zero(hn::ScalableTag<double>());
  uint64_t zeros_ = 0;
  uint64_t nans_ = 0;
  uint64_t infinities_ = 0;
};

ScanResult Scan(const float* values, size_t size) {
  const size_t lanes = hn::Lanes(ScanTag());
  Scanner scanner;
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) scanner.Add(values + i);
  size_t padding = 0;
  if (i < size) {
    const Tail tail(values + i, size - i, std::numeric_limits<float>::quiet_NaN());
    scanner.Add(tail.lanes);
    padding = lanes - (size - i);
  }
  ScanResult result = scanner.Finish();
  result.nans -= padding;
  return result;
}

// --- BinIndices ------------------------------------------------------------------------------

void BinIndices(const float* values, size_t size, float inverse_width, float first, int32_t* bins) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  const auto scale = hn::Set(d, inverse_width);
  const auto offset = hn::Set(d, first);
  // Skipped values take turns, else counting a run of zeroes would wait for one memory cell.
  const auto skipped = hn::Iota(di, kSkippedBin);
  const auto bins_of = [&](auto x) HWY_ATTR {
    const auto bin = hn::ConvertTo(di, hn::Sub(hn::Floor(hn::Mul(x, scale)), offset));
    const auto kept = hn::AndNot(hn::Eq(x, hn::Zero(d)), hn::IsFinite(x));
    return hn::IfThenElse(hn::RebindMask(di, kept), bin, skipped);
  };
  size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    hn::StoreU(bins_of(hn::LoadU(d, values + i)), di, bins + i);
  }
  if (i < size) {
    const Tail tail(values + i, size - i, 0);
    HWY_ALIGN int32_t buffer[kLanes];
    hn::Store(bins_of(hn::Load(d, tail.lanes)), di, buffer);
    std::copy(buffer, buffer + (size - i), bins + i);
  }
}

// --- SumOverGrid -----------------------------------------------------------------------------

// In units of the scale, so that no square over- or underflows whatever the size of the values.
template <bool kWeighted>
class GridSummer {
 public:
  GridSummer(Affine affine, const Grid& grid)
      : inverse_(hn::Set(FloatTag(), 1 / affine.scale)),
        first_(hn::Set(FloatTag(), static_cast<float>(grid.first - affine.zero_point))),
        last_(hn::Set(FloatTag(), static_cast<float>(grid.last - affine.zero_point))) {}

  HWY_INLINE void Add(const float* points, const float* weights) {
    const FloatTag d;
    const auto x = hn::Mul(hn::LoadU(d, points), inverse_);
    const auto u = hn::Min(hn::Max(hn::Round(x), first_), last_);
    const auto error = hn::Sub(x, u);
    if constexpr (kWeighted) {
      const auto h = hn::LoadU(d, weights);
      const auto weighted_u = hn::Mul(h, u);
      error_ = hn::MulAdd(hn::Mul(h, error), error, error_);
      weighted_xu_ = hn::MulAdd(x, weighted_u, weighted_xu_);
      weighted_uu_ = hn::MulAdd(u, weighted_u, weighted_uu_);
    } else {
      error_ = hn::MulAdd(error, error, error_);
      weighted_xu_ = hn::MulAdd(x, u, weighted_xu_);
      weighted_uu_ = hn::MulAdd(u, u, weighted_uu_);
    }
  }

  // Moves what was added so far into `sums`: floats would lose digits over a long array.
  void Flush(GridSums& sums) {
    sums.error += Take(error_);
    sums.weighted_xu += Take(weighted_xu_);
    sums.weighted_uu += Take(weighted_uu_);
  }

 private:
  using Vector = hn::Vec<FloatTag>;

  static double Take(Vector& lanes) {
    const FloatTag d;
    const double sum = hn::GetLane(hn::SumOfLanes(d, lanes));
    lanes = hn::Zero(d);
    return sum;
  }

  const Vector inverse_;
  const Vector first_;
  const Vector last_;
  Vector error_ = hn::Zero(FloatTag());
  Vector weighted_xu_ = hn::Zero(FloatTag());
  Vector weighted_uu_ = hn::Zero(FloatTag());
};

template <bool kWeighted>
GridSums SumOver(const float* points, const float* weights, size_t size, Affine affine,
                 const Grid& grid) {
  constexpr size_t kBlock = 128 * kLanes;
  GridSummer<kWeighted> summer(affine, grid);
  GridSums sums;
  size_t i = 0;
  while (i + kLanes <= size) {
    const size_t end = i + std::min(kBlock, (size - i) / kLanes * kLanes);
    for (; i < end; i += kLanes) summer.Add(points + i, kWeighted ? weights + i : nullptr);
    summer.Flush(sums);
  }
  if (i < size) {
    const Tail last_points(points + i, size - i, 0);
    const Tail last_weights(kWeighted ? weights + i : points + i, size - i, 0);
    summer.Add(last_points.lanes, last_weights.lanes);
    summer.Flush(sums);
  }
  const double scale = affine.scale;
  return {sums.error * scale * scale, sums.weighted_xu * scale, sums.weighted_uu};
}

GridSums SumOverGrid(const float* points, const float* weights, size_t size, Affine affine,
                     const Grid& grid) {
  return weights == nullptr ? SumOver<false>(points, weights, size, affine, grid)
                            : SumOver<true>(points, weights, size, affine, grid);
}

// --- Quantize --------------------------------------------------------------------------------

template <typename Code>
void Quantize(const float* values, size_t size, Affine affine, const Grid& grid, Code* codes) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  const hn::Rebind<Code, FloatTag> dc;
  const auto scale = hn::Set(d, affine.scale);
  const auto first = hn::Set(d, static_cast<float>(grid.first - affine.zero_point));
  const auto last = hn::Set(d, static_cast<float>(grid.last - affine.zero_point));
  const auto zero_point = hn::Set(di, affine.zero_point);
  const auto codes_of = [&](auto x) HWY_ATTR {
    const auto numbers = hn::IfThenZeroElse(hn::IsNaN(x), x);
    const auto steps = hn::Min(hn::Max(hn::Round(hn::Div(numbers, scale)), first), last);
    return hn::DemoteTo(dc, hn::Add(hn::ConvertTo(di, steps), zero_point));
  };
  size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    hn::StoreU(codes_of(hn::LoadU(d, values + i)), dc, codes + i);
  }
  if (i < size) {
    const Tail tail(values + i, size - i, 0);
    HWY_ALIGN Code buffer[kLanes];
    hn::StoreU(codes_of(hn::Load(d, tail.lanes)), dc, buffer);
    std::copy(buffer, buffer + (size - i), codes + i);
  }
}

void QuantizeInt8(const float* values, size_t size, Affine affine, const Grid& grid,
                  int8_t* codes) {
  Quantize(values, size, affine, grid, codes);
}

void QuantizeUint8(const float* values, size_t size, Affine affine, const Grid& grid,
                   uint8_t* codes) {
  Quantize(values, size, affine, grid, codes);
}

}  // namespace HWY_NAMESPACE
}  // namespace octet::quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octet::quant {

HWY_EXPORT(Scan);
HWY_EXPORT(BinIndices);
HWY_EXPORT(SumOverGrid);
HWY_EXPORT(QuantizeInt8);
HWY_EXPORT(QuantizeUint8);

ScanResult Scan(std::span<const float> values) {
  return HWY_DYNAMIC_DISPATCH(Scan)(values.data(), values.size());
}

void BinIndices(std::span<const float> values, float inverse_width, float first, int32_t* bins) {
  HWY_DYNAMIC_DISPATCH(BinIndices)(values.data(), values.size(), inverse_width, first, bins);
}

GridSums SumOverGrid(std::span<const float> points, std::span<const float> weights, Affine affine,
                     const Grid& grid) {
  return HWY_DYNAMIC_DISPATCH(SumOverGrid)(
      points.data(), weights.empty() ? nullptr : weights.data(), points.size(), affine, grid);
}

void QuantizeLoop(std::span<const float> values, Affine affine, const Grid& grid, int8_t* codes) {
  HWY_DYNAMIC_DISPATCH(QuantizeInt8)(values.data(), values.size(), affine, grid, codes);
}

void QuantizeLoop(std::span<const float> values, Affine affine, const Grid& grid, uint8_t* codes) {
  HWY_DYNAMIC_DISPATCH(QuantizeUint8)(values.data(), values.size(), affine, grid, codes);
}

}  // namespace octet::quant
#endif  // HWY_ONCE
