#include "runtime/algorithm_table.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::runtime {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(CompareAlgorithms, MeanAndWorstOverLayers) {
  QuantizeReport report{.activation_algorithm = "b", .attempts = {{"b", 30.25}}};
  report.details.resize(3);
  report.details[0].weights.algorithms = {{"a", 40, 50}, {"b", 20, 30}};
  report.details[1].weights.algorithms = {{"a", 20, std::nullopt}, {"b", 30, 36}};
  report.details[2].weights.algorithms = {{"a", 30, 20}};
  report.details[0].activations =
      ActivationDetails{.algorithms = {{.name = "b", .sqnr_db = 44}, {.name = "c", .sqnr_db = 22}}};
  const std::vector<AlgorithmRow> rows = CompareAlgorithms(report);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].name, "a");
  EXPECT_DOUBLE_EQ(rows[0].per_tensor->mean, 30);
  EXPECT_DOUBLE_EQ(rows[0].per_tensor->worst, 20);
  EXPECT_DOUBLE_EQ(rows[0].per_channel->mean, 35);
  EXPECT_DOUBLE_EQ(rows[0].per_channel->worst, 20);
  EXPECT_FALSE(rows[0].activations || rows[0].output_sqnr_db);
  EXPECT_DOUBLE_EQ(rows[1].activations->mean, 44);
  EXPECT_EQ(rows[1].output_sqnr_db, 30.25);
  EXPECT_FALSE(rows[2].per_tensor || rows[2].per_channel);
  EXPECT_THAT(AlgorithmTable(report), AllOf(HasSubstr("  35.0 ( 20.0)"), HasSubstr("  chosen\n")));
}

TEST(CompareAlgorithms, NothingWithoutDetails) {
  EXPECT_THAT(CompareAlgorithms(QuantizeReport()), IsEmpty());
}

}  // namespace
}  // namespace octet::runtime
