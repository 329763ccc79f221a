// One contract for all algorithms: every registered one keeps every promise on every kind of
// values, and every fault that is put in breaks the promise it should.

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "quant/testing/contract.h"

namespace octet::quant {
namespace {

using testing::AffineSubject;
using testing::CheckAffine;
using testing::CheckCodebook;
using testing::CodebookSubject;
using testing::CodebookSubjectOf;
using ::testing::Contains;
using testing::ContractValues;
using ::testing::IsEmpty;
using testing::NamedValues;
using testing::SubjectOf;
using testing::Target;
using testing::Violations;

struct NamedGrid {
  const char* name;
  Grid grid;
};
constexpr NamedGrid kGrids[] = {{"Symmetric8", kSymmetricInt8},
                                {"Asymmetric8", kAsymmetricUint8},
                                {"Symmetric4", kSymmetricInt4},
                                {"Asymmetric4", kAsymmetricUint4}};

using AffineCase = std::tuple<RangeEstimator, Target, NamedGrid>;

class AffineContract : public ::testing::TestWithParam<AffineCase> {};

TEST_P(AffineContract, Holds) {
  const auto& [estimator, target, grid] = GetParam();
  for (const NamedValues& data : ContractValues()) {
    EXPECT_THAT(CheckAffine(SubjectOf(estimator), target, grid.grid, data.values), IsEmpty())
        << data.name;
  }
}

std::string AffineName(const ::testing::TestParamInfo<AffineCase>& info) {
  const auto& [estimator, target, grid] = info.param;
  return std::string(estimator.name) +
         (target == Target::kWeights ? "_Weights_" : "_Activations_") + grid.name;
}

INSTANTIATE_TEST_SUITE_P(Every, AffineContract,
                         ::testing::Combine(::testing::ValuesIn(RangeEstimators()),
                                            ::testing::Values(Target::kWeights,
                                                              Target::kActivations),
                                            ::testing::ValuesIn(kGrids)),
                         AffineName);

std::vector<RangeEstimator> WithCodebooks() {
  std::vector<RangeEstimator> result;
  for (const RangeEstimator& estimator : RangeEstimators()) {
    if (estimator.fit_codebook != nullptr) result.push_back(estimator);
  }
  return result;
}

using CodebookCase = std::tuple<RangeEstimator, int>;

class CodebookContract : public ::testing::TestWithParam<CodebookCase> {};

TEST_P(CodebookContract, Holds) {
  const auto& [estimator, bits] = GetParam();
  for (const NamedValues& data : ContractValues()) {
    EXPECT_THAT(CheckCodebook(CodebookSubjectOf(estimator), bits, data.values), IsEmpty())
        << data.name;
  }
}

std::string CodebookName(const ::testing::TestParamInfo<CodebookCase>& info) {
  return std::string(std::get<0>(info.param).name) + "_" + std::to_string(std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(Every, CodebookContract,
                         ::testing::Combine(::testing::ValuesIn(WithCodebooks()),
                                            ::testing::Values(4, 8)),
                         CodebookName);

TEST(Contract, CoversTheAlgorithmsThatUsersCanName) {
  std::vector<std::string> names;
  for (const RangeEstimator& estimator : RangeEstimators()) names.emplace_back(estimator.name);
  EXPECT_THAT(names, ::testing::IsSupersetOf({"min_max", "percentile", "entropy", "least_squares",
                                              "histogram_equalization", "decision_tree"}));
  EXPECT_EQ(WithCodebooks().size(), 3u);
}

// --- Faults -------------------------------------------------------------------------------------

Violations AllViolations(const AffineSubject& subject, const Grid& grid) {
  Violations all;
  for (const NamedValues& data : ContractValues()) {
    for (const Target target : {Target::kWeights, Target::kActivations}) {
      all.merge(CheckAffine(subject, target, grid, data.values));
    }
  }
  return all;
}

// `fault` is put into every algorithm in turn.
template <typename Fault>
void ExpectReported(const Grid& grid, const std::string& promise, const Fault& fault) {
  for (const RangeEstimator& estimator : RangeEstimators()) {
    AffineSubject subject = SubjectOf(estimator);
    fault(subject);
    EXPECT_THAT(AllViolations(subject, grid), Contains(promise)) << estimator.name;
  }
}

// Puts a change of the chosen quantizer into a subject.
template <typename Change>
auto Choosing(const Change& change) {
  return [change](AffineSubject& subject) {
    subject.choose = [change, choose = subject.choose](const Distribution& values,
                                                       const Grid& grid) {
      absl::StatusOr<AffineSubject::Choice> choice = choose(values, grid);
      if (choice.ok()) change(*choice, values, grid);
      return choice;
    };
  };
}

using Choice = AffineSubject::Choice;

TEST(AffineFaults, OfScalesAreReported) {
  for (const NamedGrid& grid : kGrids) {
    for (const float factor : {2.0f, 0.5f}) {
      ExpectReported(grid.grid, "grid spans the range",
                     Choosing([factor](Choice& choice, const Distribution&, const Grid&) {
                       choice.affine.scale *= factor;
                     }));
    }
    for (const float bad : {0.0f, -1.0f, std::nanf(""), std::numeric_limits<float>::infinity()}) {
      ExpectReported(grid.grid, "scale is usable",
                     Choosing([bad](Choice& choice, const Distribution&, const Grid&) {
                       choice.affine.scale = bad;
                     }));
    }
  }
}

TEST(AffineFaults, OfZeroPointsAreReported) {
  ExpectReported(kAsymmetricUint8, "zero point is a code",
                 Choosing([](Choice& choice, const Distribution&, const Grid&) {
                   choice.affine.zero_point = -choice.affine.zero_point;
                 }));
  ExpectReported(kAsymmetricUint4, "grid spans the range",
                 Choosing([](Choice& choice, const Distribution&, const Grid& grid) {
                   choice.affine.zero_point = grid.last - choice.affine.zero_point;
                 }));
  ExpectReported(kSymmetricInt8, "symmetric zero point is 0",
                 Choosing([](Choice& choice, const Distribution&, const Grid&) {
                   choice.affine.zero_point = 1;
                 }));
}

TEST(AffineFaults, OfRangesAreReported) {
  ExpectReported(kAsymmetricUint8, "range contains zero",
                 Choosing([](Choice& choice, const Distribution&, const Grid&) {
                   choice.range.low = choice.range.high / 2;
                 }));
  ExpectReported(kSymmetricInt8, "range stays near the values",
                 Choosing([](Choice& choice, const Distribution&, const Grid& grid) {
                   choice.range.high *= 4;
                   choice.affine = AffineFor(choice.range, grid);
                 }));
  ExpectReported(kSymmetricInt8, "unit does not matter",
                 Choosing([](Choice& choice, const Distribution&, const Grid& grid) {
                   choice.range.high += 0.01f;
                   choice.affine = AffineFor(choice.range, grid);
                 }));
  ExpectReported(kSymmetricInt8, "constants are exact",
                 Choosing([](Choice& choice, const Distribution&, const Grid& grid) {
                   choice.range = {choice.range.low / 2, choice.range.high / 2};
                   choice.affine = AffineFor(choice.range, grid);
                 }));
  ExpectReported(kSymmetricInt4, "sign does not matter",
                 Choosing([](Choice& choice, const Distribution& values, const Grid& grid) {
                   choice.range = {0, std::max(values.max(), 0.0f)};
                   choice.affine = AffineFor(choice.range, grid);
                 }));
}

TEST(AffineFaults, OfWhatTheChoiceDependsOnAreReported) {
  ExpectReported(kSymmetricInt8, "order does not matter",
                 Choosing([](Choice& choice, const Distribution& values, const Grid& grid) {
                   const float first = std::abs(values.points()[values.points().size() / 2]);
                   choice.range = {-first, first};
                   choice.affine = AffineFor(choice.range, grid);
                 }));
  const auto calls = std::make_shared<int>(0);
  ExpectReported(kSymmetricInt8, "is deterministic",
                 Choosing([calls](Choice& choice, const Distribution&, const Grid& grid) {
                   if (++*calls % 2 == 0) return;
                   choice.range = {choice.range.low * 0.75f, choice.range.high * 0.75f};
                   choice.affine = AffineFor(choice.range, grid);
                 }));
}

TEST(AffineFaults, OfLeastSquaresAreReported) {
  AffineSubject subject = SubjectOf(*FindRangeEstimator("least_squares"));
  Choosing([](Choice& choice, const Distribution&, const Grid& grid) {
    choice.range = {choice.range.low * 0.9f, choice.range.high * 0.9f};
    choice.affine = AffineFor(choice.range, grid);
  })(subject);
  for (const NamedGrid& grid : kGrids) {
    EXPECT_THAT(AllViolations(subject, grid.grid), Contains("has the least error"));
  }
}

TEST(AffineFaults, OfQuantizersAreReported) {
  for (const NamedGrid& grid : kGrids) {
    ExpectReported(grid.grid, "error is at most half a step inside", [](AffineSubject& subject) {
      subject.quantize = [](std::span<const float> values, Affine affine, const Grid& to) {
        std::vector<int32_t> codes;
        for (const float value : values) {
          const float steps = std::trunc(value / affine.scale);  // instead of rounding
          codes.push_back(
              std::clamp(static_cast<int32_t>(std::clamp(steps, -1e6f, 1e6f)) + affine.zero_point,
                         to.first, to.last));
        }
        return codes;
      };
    });
    ExpectReported(grid.grid, "codes survive a round trip", [](AffineSubject& subject) {
      subject.quantize = [quantize = subject.quantize](std::span<const float> values, Affine affine,
                                                       const Grid& to) {
        std::vector<int32_t> codes = quantize(values, affine, to);
        for (int32_t& code : codes) code = std::min(code + 1, to.last);
        return codes;
      };
    });
    ExpectReported(grid.grid, "codes ascend with the values", [](AffineSubject& subject) {
      subject.quantize = [quantize = subject.quantize](std::span<const float> values, Affine affine,
                                                       const Grid& to) {
        std::vector<int32_t> codes = quantize(values, affine, to);
        for (int32_t& code : codes) code = to.first + to.last - code;
        return codes;
      };
    });
    ExpectReported(grid.grid, "codes are of the grid", [](AffineSubject& subject) {
      subject.quantize = [quantize = subject.quantize](std::span<const float> values, Affine affine,
                                                       const Grid& to) {
        std::vector<int32_t> codes = quantize(values, affine, to);
        for (int32_t& code : codes) code += code == to.last ? 1 : 0;  // as +128 would be
        return codes;
      };
    });
  }
  // Saturates one code early: invisible where nothing is clipped.
  ExpectReported(kSymmetricInt4, "codes survive a round trip", [](AffineSubject& subject) {
    subject.quantize = [quantize = subject.quantize](std::span<const float> values, Affine affine,
                                                     const Grid& to) {
      std::vector<int32_t> codes = quantize(values, affine, to);
      for (int32_t& code : codes) code = std::min(code, to.last - 1);
      return codes;
    };
  });
}

TEST(AffineFaults, OfDequantizersAreReported) {
  ExpectReported(kAsymmetricUint8, "zero is exact", [](AffineSubject& subject) {
    subject.dequantize = [dequantize = subject.dequantize](const std::vector<int32_t>& codes,
                                                           Affine affine) {
      return dequantize(codes, {affine.scale, 0});  // a missing compensation
    };
  });
  ExpectReported(kAsymmetricUint8, "levels ascend", [](AffineSubject& subject) {
    subject.dequantize = [](const std::vector<int32_t>& codes, Affine affine) {
      std::vector<float> values;
      values.reserve(codes.size());
      for (const int32_t code : codes) {
        // Read as signed: codes from 128 on wrap around.
        values.push_back(affine.scale *
                         static_cast<float>(static_cast<int8_t>(code) - affine.zero_point));
      }
      return values;
    };
  });
}

Violations AllViolations(const CodebookSubject& subject, int bits) {
  Violations all;
  for (const NamedValues& data : ContractValues()) {
    all.merge(CheckCodebook(subject, bits, data.values));
  }
  return all;
}

template <typename Change>
void ExpectReported(const std::string& promise, const Change& change) {
  for (const RangeEstimator& estimator : WithCodebooks()) {
    CodebookSubject subject = CodebookSubjectOf(estimator);
    subject.fit = [change, fit = subject.fit](std::span<const float> values,
                                              std::span<const float> weights, int bits) {
      absl::StatusOr<Codebook> codebook = fit(values, weights, bits);
      if (codebook.ok()) change(*codebook, values);
      return codebook;
    };
    EXPECT_THAT(AllViolations(subject, 4), Contains(promise)) << estimator.name;
  }
}

TEST(CodebookFaults, OfLevelsAreReported) {
  ExpectReported("levels ascend", [](Codebook& codebook, auto) {
    std::reverse(codebook.levels.begin(), codebook.levels.end());
  });
  ExpectReported("levels lie among the values", [](Codebook& codebook, auto) {
    for (float& level : codebook.levels) level *= 2;
    for (float& threshold : codebook.thresholds) threshold *= 2;
  });
  ExpectReported("has 1 to 2^bits levels", [](Codebook& codebook, auto) {
    for (int i = 0; i < 16; ++i) codebook.levels.push_back(codebook.levels.back() + 1);
  });
  ExpectReported("uses the levels it can", [](Codebook& codebook, auto) {
    if (codebook.levels.size() < 2) return;
    codebook.levels.pop_back();
    codebook.thresholds.pop_back();
  });
  ExpectReported("order does not matter", [](Codebook& codebook, auto values) {
    const size_t last = codebook.levels.size() - 1;
    if (last == 0) return;
    const float between = 0.5f + 0.5f * std::abs(std::sin(values[0]));
    codebook.levels[last] -= (codebook.levels[last] - codebook.thresholds[last - 1]) * between / 2;
  });
}

TEST(CodebookFaults, OfThresholdsAreReported) {
  ExpectReported("has a threshold between two levels", [](Codebook& codebook, auto) {
    if (!codebook.thresholds.empty()) codebook.thresholds.pop_back();
  });
  ExpectReported("thresholds interleave with levels", [](Codebook& codebook, auto) {
    if (!codebook.thresholds.empty()) codebook.thresholds[0] = codebook.levels[0];
  });
  ExpectReported("takes the nearest level", [](Codebook& codebook, auto) {
    codebook.thresholds.assign(codebook.levels.begin() + 1, codebook.levels.end());
  });
}

TEST(CodebookFaults, OfCodesAreReported) {
  for (const RangeEstimator& estimator : WithCodebooks()) {
    CodebookSubject subject = CodebookSubjectOf(estimator);
    subject.encode = [encode = subject.encode](std::span<const float> values,
                                               const Codebook& codebook) {
      std::vector<uint8_t> codes = encode(values, codebook);
      for (uint8_t& code : codes) code ^= 1;
      return codes;
    };
    EXPECT_THAT(AllViolations(subject, 4), Contains("codes survive a round trip"));
  }
  CodebookSubject subject = CodebookSubjectOf(*FindRangeEstimator("histogram_equalization"));
  subject.least_error = true;
  EXPECT_THAT(AllViolations(subject, 4), Contains("has the least error"));
}

}  // namespace
}  // namespace octet::quant
