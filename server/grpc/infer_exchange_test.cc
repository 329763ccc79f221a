// The whole way of a request but for gRPC itself; also under ThreadSanitizer.

#include "server/grpc/infer_exchange.h"

#include <future>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/grpc/model_messages.h"
#include "tests/support/fake_model.h"
#include "tests/support/infer_requests.h"
#include "tests/support/temporary_directory.h"

namespace octet::server {
namespace {

using octet::testing::FakeModel;
using octet::testing::SumsRequest;
using octet::testing::TemporaryDirectory;
using octet::testing::Values;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class InferExchangeTest : public ::testing::Test {
 protected:
  InferExchangeTest() {
    directory_.Write("sums/3/model.onnx");
    ModelManagerOptions options;
    options.repository = directory_.path();
    options.defaults.batching.streams = 2;
    options.loader = [](const ModelSource&, const ProgressFn&) { return FakeModel::Sums(); };
    manager_ = *ModelManager::Create(std::move(options), metrics_);
    manager_->StartLoading();
    EXPECT_TRUE(manager_->AwaitLoads(absl::InfiniteFuture()));
  }

  absl::StatusOr<inference::ModelInferResponse> Infer(const std::string& bytes) {
    const Piece piece = std::as_bytes(std::span(bytes));
    const std::atomic<bool> cancelled = false;
    std::promise<absl::StatusOr<inference::ModelInferResponse>> promise;
    InferExchange exchange(*manager_, metrics_);
    exchange.Start(std::span(&piece, 1), absl::InfiniteFuture(), cancelled,
                   [&](absl::StatusOr<InferReply> reply) {
                     if (!reply.ok()) return promise.set_value(reply.status());
                     promise.set_value(Parsed<inference::ModelInferResponse>(*reply));
                   });
    return promise.get_future().get();
  }

  template <typename Message>
  static Message Parsed(const InferReply& reply) {
    std::string bytes;
    for (const ReplyPart& part : reply) {
      bytes += part.text;
      bytes.append(reinterpret_cast<const char*>(part.bytes.span().data()), part.bytes.size());
    }
    EXPECT_EQ(bytes.size(), ByteCount(reply));
    Message message;
    EXPECT_TRUE(message.ParseFromString(bytes));
    return message;
  }

  TemporaryDirectory directory_;
  MetricsRegistry metrics_;
  std::unique_ptr<ModelManager> manager_;
};

TEST_F(InferExchangeTest, ReplyNamesWhatRan) {
  inference::ModelInferRequest request = SumsRequest("sums", {1, 2, 3, 4});
  request.set_id("my id");
  const auto response = Infer(request.SerializeAsString());
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->model_name(), "sums");
  EXPECT_EQ(response->model_version(), "3");
  EXPECT_EQ(response->id(), "my id");
  ASSERT_EQ(response->outputs_size(), 2);
  EXPECT_EQ(response->outputs(0).name(), "double");
  EXPECT_EQ(response->outputs(0).datatype(), "FP32");
  EXPECT_THAT(response->outputs(0).shape(), ElementsAre(1, 4));
  ASSERT_EQ(response->raw_output_contents_size(), 2);
  EXPECT_THAT(Values<float>(response->raw_output_contents(0)), ElementsAre(2, 4, 6, 8));
  EXPECT_THAT(Values<float>(response->raw_output_contents(1)), ElementsAre(20));
}

// A request may find a model that is replaced before the request is queued.
TEST_F(InferExchangeTest, NoRequestNoticesThatModelsAreReplaced) {
  const std::string request = SumsRequest("sums", {1, 2, 3, 4}).SerializeAsString();
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> sent = 0;
  std::vector<std::thread> clients;
  clients.reserve(4);
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      while (!stop) {
        ++sent;
        const auto response = Infer(request);
        ASSERT_TRUE(response.ok()) << response.status();
        EXPECT_THAT(Values<float>(response->raw_output_contents(1)), ElementsAre(20));
      }
    });
  }
  for (int i = 0; i < 100; ++i) {
    std::promise<absl::Status> loaded;
    manager_->Reload("sums", [&](const absl::Status& status) { loaded.set_value(status); });
    EXPECT_TRUE(loaded.get_future().get().ok());
  }
  stop = true;
  for (std::thread& client : clients) client.join();
  const InferStatistics statistics = (*manager_->Acquire("sums", ""))->statistics();
  EXPECT_EQ(statistics.succeeded, sent);
  EXPECT_EQ(statistics.failed, 0u);
}

TEST_F(InferExchangeTest, LargeOutputsAreHandedOnInTheirPlace) {
  const std::vector<runtime::TensorSpec> outputs = {{"a", DataType::kUint8, {kUnknownDim}},
                                                    {"b", DataType::kUint8, {kUnknownDim}}};
  DecodedRequest request;
  request.outputs = {1, 0, 0};
  request.classes = {0, 0, 0};
  InferResult result;
  for (const int64_t size : {5000, 0, 20}) {
    OutputTensor tensor{.shape = {size}, .bytes = *OutputBytes::Allocate(size)};
    for (std::byte& byte : tensor.bytes.span()) byte = static_cast<std::byte>(size & 0xff);
    result.outputs.push_back(std::move(tensor));
  }
  const std::byte* const large = result.outputs[0].bytes.span().data();
  const InferReply reply =
      EncodeInferReply("m", "1", "", {.outputs = outputs}, request, std::move(result));
  ASSERT_EQ(reply.size(), 2u);
  EXPECT_EQ(reply[0].bytes.span().data(), large) << "not copied";
  const auto response = Parsed<inference::ModelInferResponse>(reply);
  EXPECT_EQ(response.outputs(0).name(), "b");
  ASSERT_EQ(response.raw_output_contents_size(), 3) << "outputs without elements count as well";
  EXPECT_EQ(response.raw_output_contents(0), std::string(5000, static_cast<char>(5000 & 0xff)));
  EXPECT_EQ(response.raw_output_contents(1), "");
  EXPECT_EQ(response.raw_output_contents(2), std::string(20, 20));
}

TEST_F(InferExchangeTest, ClassificationMakesBytes) {
  inference::ModelInferRequest request = SumsRequest("sums", {1, 9, 3, 4});
  auto& output = *request.add_outputs();
  output.set_name("double");
  (*output.mutable_parameters())["classification"].set_int64_param(2);
  const auto response = Infer(request.SerializeAsString());
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->outputs(0).datatype(), "BYTES");
  EXPECT_THAT(response->outputs(0).shape(), ElementsAre(1, 2));
  EXPECT_EQ(response->raw_output_contents(0), std::string("\x0b\0\0\0", 4) + "18.000000:1" +
                                                  std::string("\x0a\0\0\0", 4) + "8.000000:3");
}

TEST_F(InferExchangeTest, ErrorsNameTheModelAndAreCounted) {
  inference::ModelInferRequest request = SumsRequest("sums", {1, 2, 3, 4});
  request.mutable_inputs(0)->set_datatype("INT8");
  const auto bad = Infer(request.SerializeAsString());
  EXPECT_EQ(bad.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(bad.status().message(), HasSubstr("model \"sums\" version 3: input \"x\""));
  EXPECT_EQ(Infer(SumsRequest("none", {1, 2, 3, 4}).SerializeAsString()).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(Infer("garbage").status().code(), absl::StatusCode::kInvalidArgument);
  const std::string text = metrics_.Scrape();
  EXPECT_THAT(text, HasSubstr("requests_total{code=\"INVALID_ARGUMENT\",model=\"sums\","
                              "version=\"3\"} 1\n"));
  EXPECT_THAT(text,
              HasSubstr("requests_total{code=\"INVALID_ARGUMENT\",model=\"\",version=\"\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("requests_total{code=\"NOT_FOUND\",model=\"\",version=\"\"} 1\n"));
}

TEST_F(InferExchangeTest, ModelIsLookedForBeforeInputsAreChecked) {
  inference::ModelInferRequest request;
  request.set_model_name("none");
  EXPECT_EQ(Infer(request.SerializeAsString()).status().code(), absl::StatusCode::kNotFound);
  request.set_model_version("x");
  EXPECT_EQ(Infer(request.SerializeAsString()).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(InferExchangeTest, StatisticsAndMetricsAgree) {
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(Infer(SumsRequest("sums", {1, 2, 3, 4, 5, 6, 7, 8}).SerializeAsString()).ok());
  }
  const auto model = *manager_->Acquire("sums", "");
  inference::ModelStatistics statistics;
  FillStatistics(*model, statistics);
  EXPECT_EQ(statistics.inference_count(), 10u);
  EXPECT_EQ(statistics.execution_count(), 5u);
  const auto& requests = statistics.inference_stats();
  EXPECT_EQ(requests.success().count(), 5u);
  EXPECT_EQ(requests.queue().count(), 5u);
  EXPECT_EQ(requests.compute_input().count(), 5u);
  EXPECT_EQ(requests.compute_infer().count(), 5u);
  EXPECT_EQ(requests.compute_output().count(), 5u);
  EXPECT_EQ(requests.fail().count(), 0u);
  EXPECT_EQ(requests.success().ns(), requests.queue().ns() + requests.compute_input().ns() +
                                         requests.compute_infer().ns() +
                                         requests.compute_output().ns());
  ASSERT_EQ(statistics.batch_stats_size(), 1);
  EXPECT_EQ(statistics.batch_stats(0).batch_size(), 2u);
  EXPECT_EQ(statistics.batch_stats(0).compute_infer().count(), 5u);
  const std::string text = metrics_.Scrape();
  const std::string labels = "{model=\"sums\",version=\"3\"} ";
  EXPECT_THAT(text, HasSubstr("octet_inference_count_total" + labels + "10\n"));
  EXPECT_THAT(text, HasSubstr("octet_inference_executions_total" + labels + "5\n"));
  EXPECT_THAT(text, HasSubstr("octet_request_duration_seconds_count" + labels + "5\n"));
  EXPECT_THAT(text, HasSubstr("octet_queue_duration_seconds_count" + labels + "5\n"));
}

TEST_F(InferExchangeTest, StreamReplyWrapsTheSameBytes) {
  ModelSignature signature;
  InferReply reply = EncodeInferReply("m", "1", "id", signature, {}, {});
  WrapAsStreamReply(reply);
  EXPECT_EQ(Parsed<inference::ModelStreamInferResponse>(reply).infer_response().id(), "id");
}

TEST_F(InferExchangeTest, ManyCallersGetTheirOwnRows) {
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  threads.reserve(8);
  for (int thread = 0; thread < 8; ++thread) {
    threads.emplace_back([&, thread] {
      std::mt19937 random(static_cast<uint32_t>(thread));
      for (int i = 0; i < 150; ++i) {
        std::vector<float> values(4 * (1 + random() % 3));
        const float scale = random() % 4 == 0 ? 100.0f : 1.0f;
        for (float& value : values) value = scale * static_cast<float>(random() % 100);
        const auto response = Infer(SumsRequest("sums", values).SerializeAsString());
        if (!response.ok()) {
          ++wrong;
          continue;
        }
        const auto doubled = Values<float>(response->raw_output_contents(0));
        for (size_t j = 0; j < values.size(); ++j) wrong += doubled[j] != 2 * values[j];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace octet::server
