// The load generator against a real server on a free port.

#include "server/grpc/load_client.h"

#include <atomic>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/support/grpc_test_server.h"

namespace octet::server {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr absl::Duration kShort = absl::Milliseconds(100);

class LoadClientTest : public GrpcTestServer {
 protected:
  absl::StatusOr<std::unique_ptr<LoadClient>> Connect(const std::string& model,
                                                      LoadRequestOptions request = {}) {
    return LoadClient::Connect(
        {absl::StrCat("127.0.0.1:", server->port()), model, std::move(request)});
  }
};

TEST_F(LoadClientTest, CountsWhatTheServerAnswered) {
  Start();
  auto client = Connect("sums", {.version = "1", .rows = 2});
  ASSERT_TRUE(client.ok()) << client.status();
  const auto result = (*client)->Run(4, kShort);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_GT(result->latencies.count(), 4u);
  EXPECT_EQ(result->rows, 2 * result->latencies.count());
  EXPECT_THAT(result->errors, IsEmpty());
  EXPECT_GE(result->seconds, 0.1);
  EXPECT_GE(result->mean_batch, 2);
  EXPECT_LE(result->mean_batch, 8);
  EXPECT_GT(result->latencies.Quantile(0.5), 0);
  EXPECT_GE(result->latencies.Quantile(0.99), result->latencies.Quantile(0.5));

  inference::ModelStatisticsRequest question;
  question.set_name("sums");
  question.set_version("1");
  grpc::ClientContext context;
  inference::ModelStatisticsResponse statistics;
  ASSERT_TRUE(stub->ModelStatistics(&context, question, &statistics).ok());
  // The warm-up is not in the result, but the server saw it.
  EXPECT_GT(statistics.model_stats(0).inference_count(), result->rows);
}

TEST_F(LoadClientTest, EveryDatatypeWithRawBytesIsAccepted) {
  std::vector<runtime::TensorSpec> inputs;
  for (const DataType type :
       {DataType::kFloat32, DataType::kFloat64, DataType::kFloat16, DataType::kBFloat16,
        DataType::kInt8, DataType::kUint16, DataType::kInt64, DataType::kBool}) {
    inputs.push_back({absl::StrCat("x", inputs.size()), type, {kUnknownDim, 3}});
  }
  models.emplace_back("types", [inputs] { return testing::FakeModel::Echo(inputs); });
  Start();
  auto client = Connect("types");
  ASSERT_TRUE(client.ok()) << client.status();
  const auto result = (*client)->Run(1, kShort);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(result->errors, IsEmpty());
}

TEST_F(LoadClientTest, SymbolicDimensionsNeedSizes) {
  models.emplace_back("free", [] {
    return testing::FakeModel::Echo({{"x", DataType::kInt64, {kUnknownDim, kUnknownDim, 4}}});
  });
  Start();
  EXPECT_THAT(std::string(Connect("free").status().message()),
              HasSubstr("input x has shape [?,?,4], whose symbolic dimensions need a size"));
  for (const Shape& shape : {Shape{9, 3, 4}, Shape{3, 4}}) {
    EXPECT_TRUE(Connect("free", {.rows = 2, .shapes = {{"x", shape}}}).ok()) << ToText(shape);
  }
  for (const Shape& shape : {Shape{3, 5}, Shape{4}, Shape{1, 1, 3, 4}}) {
    EXPECT_THAT(std::string(Connect("free", {.shapes = {{"x", shape}}}).status().message()),
                HasSubstr(absl::StrCat("input x has shape [?,?,4], not ", ToText(shape))));
  }
  EXPECT_THAT(std::string(Connect("free", {.shapes = {{"y", {3, 4}}}}).status().message()),
              HasSubstr("no input y"));
  EXPECT_TRUE(absl::IsResourceExhausted(
      Connect("free", {.shapes = {{"x", {int64_t{1} << 30, 4}}}}).status()));
}

TEST_F(LoadClientTest, AModelThatDoesNotBatchTakesOneRow) {
  Start();
  auto client = Connect("fixed");
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_TRUE((*client)->Run(1, kShort).ok());
  EXPECT_THAT(std::string(Connect("fixed", {.rows = 2}).status().message()),
              HasSubstr("does not batch"));
}

TEST_F(LoadClientTest, ErrorsAreCountedByCode) {
  // Models are warmed up when they load: what fails, fails later.
  const auto loaded = std::make_shared<std::atomic<bool>>(false);
  const auto runs = std::make_shared<std::atomic<int>>(0);
  models.emplace_back("every_second", [=] {
    return testing::FakeModel::Sums({.on_execute = [=](int64_t) {
      return *loaded && ++*runs % 2 == 0 ? absl::InternalError("even") : absl::OkStatus();
    }});
  });
  models.emplace_back("never", [=] {
    return testing::FakeModel::Sums({.on_execute = [=](int64_t) {
      return *loaded ? absl::InternalError("no luck") : absl::OkStatus();
    }});
  });
  Start();
  *loaded = true;
  const auto result = (*Connect("every_second"))->Run(1, kShort);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_THAT(result->errors, ElementsAre(Pair(absl::StatusCode::kInternal, ::testing::Gt(0u))));
  EXPECT_NEAR(static_cast<double>(result->errors.begin()->second),
              static_cast<double>(result->latencies.count()), 1);
  EXPECT_THAT(std::string((*Connect("never"))->Run(1, kShort).status().message()),
              AllOf(HasSubstr("no request succeeded"), HasSubstr("INTERNAL")));
}

TEST_F(LoadClientTest, WhatCannotBeReachedIsNamed) {
  Start();
  EXPECT_TRUE(absl::IsNotFound(Connect("absent").status()));
  EXPECT_FALSE(Connect("broken").ok());
  auto client = Connect("sums");
  ASSERT_TRUE(client.ok()) << client.status();
  const std::string address = absl::StrCat("127.0.0.1:", server->port());
  manager->Close();
  server.reset();
  EXPECT_TRUE(absl::IsUnavailable((*client)->Run(2, kShort).status()));
  const absl::Status refused = LoadClient::Connect({address, "sums", {}}).status();
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr(address));
}

TEST(LatencyHistogram, QuantilesAreWithinOnePercent) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.Quantile(0.5), 0);
  for (int i = 1; i <= 1000; ++i) histogram.Add(i * 1e-4);
  EXPECT_NEAR(histogram.Quantile(0.5), 0.05, 0.0005);
  EXPECT_NEAR(histogram.Quantile(0.99), 0.099, 0.001);
  LatencyHistogram other;
  other.Add(0);
  other.Add(1e9);
  histogram.Merge(other);
  EXPECT_EQ(histogram.count(), 1002u);
  EXPECT_NEAR(histogram.Quantile(0), 0, 2e-6);
  EXPECT_GT(histogram.Quantile(1), 100);
}

}  // namespace
}  // namespace octet::server
