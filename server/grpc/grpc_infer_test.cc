// Inference over real gRPC: what clients send, good and bad, and what becomes of it.

#include <future>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpcpp/generic/generic_stub.h"
#include "tests/support/grpc_test_server.h"

namespace octet::server {
namespace {

using octet::testing::AddInput;
using octet::testing::FakeModel;
using octet::testing::RawBytes;
using octet::testing::SumsRequest;
using octet::testing::Values;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class GrpcInferTest : public GrpcTestServer {
 protected:
  // ModelInfer with any bytes for a message.
  grpc::Status InferBytes(const std::string& bytes) {
    grpc::GenericStub generic(channel);
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const grpc::Slice slice(bytes);
    const auto call =
        generic.PrepareUnaryCall(&context, "/inference.GRPCInferenceService/ModelInfer",
                                 grpc::ByteBuffer(&slice, 1), &queue);
    call->StartCall();
    grpc::ByteBuffer response;
    grpc::Status status;
    call->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return status;
  }

  // Closes the gate and sends a request that stops at it.
  std::future<grpc::Status> Block() {
    gate.Close();
    const int arrivals = gate.arrivals();
    auto blocked =
        std::async(std::launch::async, [this] { return Infer(SumsRequest("sums", {0, 0, 0, 0})); });
    gate.AwaitArrivals(arrivals + 1);
    return blocked;
  }

  int64_t Waiting() {
    const std::string text = metrics.Scrape();
    const std::string series = "octet_pending_requests{model=\"sums\",version=\"2\"} ";
    return std::stoll(text.substr(text.find(series) + series.size()));
  }

  void AwaitWaiting(int64_t requests) {
    while (Waiting() != requests) std::this_thread::yield();
  }
};

TEST_F(GrpcInferTest, AnswersRawAndTyped) {
  Start();
  inference::ModelInferRequest request = SumsRequest("sums", {1, 2, 3, 4});
  request.set_id("an id");
  inference::ModelInferResponse response;
  ASSERT_TRUE(Infer(request, &response).ok());
  EXPECT_EQ(response.id(), "an id");
  EXPECT_EQ(response.model_version(), "2");
  EXPECT_THAT(Values<float>(response.raw_output_contents(0)), ElementsAre(2, 4, 6, 8));
  request.clear_raw_input_contents();
  for (const float x : {1, 2, 3, 4}) {
    request.mutable_inputs(0)->mutable_contents()->add_fp32_contents(x);
  }
  ASSERT_TRUE(Infer(request, &response).ok());
  ASSERT_EQ(response.raw_output_contents_size(), 2) << "raw, also for typed requests";
  EXPECT_THAT(Values<float>(response.raw_output_contents(1)), ElementsAre(20));
}

TEST_F(GrpcInferTest, EveryDataTypeThereAndBack) {
  const std::vector<DataType> types = {DataType::kFloat32,  DataType::kFloat64, DataType::kFloat16,
                                       DataType::kBFloat16, DataType::kInt8,    DataType::kUint8,
                                       DataType::kInt16,    DataType::kUint16,  DataType::kInt32,
                                       DataType::kUint32,   DataType::kInt64,   DataType::kUint64,
                                       DataType::kBool};
  for (const DataType type : types) {
    models.emplace_back("echo_" + std::string(Name(type)), [type] {
      return FakeModel::Echo({{"x", type, {kUnknownDim, kUnknownDim}}});
    });
  }
  Start();
  for (const DataType type : types) {
    inference::ModelInferRequest request;
    request.set_model_name("echo_" + std::string(Name(type)));
    AddInput(request, "x", std::string(Name(type)), {2, 3});
    std::string bytes;
    for (size_t i = 0; i < 6 * ByteSize(type); ++i) bytes += static_cast<char>(i % 2);
    request.add_raw_input_contents(bytes);
    inference::ModelInferResponse response;
    const grpc::Status status = Infer(request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.outputs(0).datatype(), std::string(Name(type)));
    EXPECT_THAT(response.outputs(0).shape(), ElementsAre(2, 3));
    EXPECT_EQ(response.raw_output_contents(0), bytes);
  }
}

TEST_F(GrpcInferTest, MegabytesThereAndBack) {
  models.emplace_back("echo", [] {
    return FakeModel::Echo({{"x", DataType::kFloat32, {kUnknownDim, kUnknownDim}}});
  });
  Start();
  std::vector<float> values(2 * 600'000);
  std::mt19937 random(1);
  for (float& value : values) value = static_cast<float>(random());
  inference::ModelInferRequest request;
  request.set_model_name("echo");
  AddInput(request, "x", "FP32", {2, 600'000});
  request.add_raw_input_contents(RawBytes(values));
  for (const bool compressed : {false, true}) {
    grpc::ClientContext context;
    if (compressed) context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    const auto big = inference::GRPCInferenceService::NewStub(grpc::CreateCustomChannel(
        absl::StrCat("127.0.0.1:", server->port()), grpc::InsecureChannelCredentials(), arguments));
    inference::ModelInferResponse response;
    const grpc::Status status = big->ModelInfer(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.raw_output_contents(0), request.raw_input_contents(0));
  }
}

TEST_F(GrpcInferTest, ErrorsHaveTheirCodesAndNameTheModel) {
  Start();
  const auto expect = [&](const inference::ModelInferRequest& request, grpc::StatusCode code,
                          const std::string& text) {
    const grpc::Status status = Infer(request);
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(text));
  };
  inference::ModelInferRequest request = SumsRequest("none", {1, 2, 3, 4});
  expect(request, grpc::StatusCode::NOT_FOUND, "\"none\"");
  request.set_model_name("sums");
  request.set_model_version("9");
  expect(request, grpc::StatusCode::NOT_FOUND, "9");
  request.set_model_version("v2");
  expect(request, grpc::StatusCode::INVALID_ARGUMENT, "integer");
  request.set_model_version("");
  request.set_model_name("broken");
  expect(request, grpc::StatusCode::FAILED_PRECONDITION, "operator Loop");
  request.set_model_name("sums");
  request.mutable_inputs(0)->set_datatype("INT32");
  expect(request, grpc::StatusCode::INVALID_ARGUMENT,
         "model \"sums\" version 2: input \"x\": expected datatype FP32, received \"INT32\"");
  expect(SumsRequest("sums", std::vector<float>(9 * 4)), grpc::StatusCode::INVALID_ARGUMENT,
         "from 1 to 8");
  EXPECT_TRUE(Infer(SumsRequest("sums", {1, 2, 3, 4})).ok()) << "and the server lives";
}

TEST_F(GrpcInferTest, DamagedMessagesAreInvalidArgument) {
  Start();
  const std::string good = SumsRequest("sums", {1, 2, 3, 4}).SerializeAsString();
  EXPECT_EQ(InferBytes("no protobuf at all").error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(InferBytes(good.substr(0, good.size() - 3)).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(InferBytes("\x0a\x02\xff\xfe").error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(InferBytes("").error_code(), grpc::StatusCode::NOT_FOUND) << "no model is named";
  EXPECT_TRUE(InferBytes(good + std::string("\xf8\x07\x01", 3)).ok()) << "unknown fields pass";
  std::mt19937 random(7);
  for (int i = 0; i < 300; ++i) {
    std::string damaged = good;
    damaged[random() % damaged.size()] = static_cast<char>(random());
    InferBytes(damaged);
  }
  EXPECT_TRUE(Infer(SumsRequest("sums", {1, 2, 3, 4})).ok());
}

TEST_F(GrpcInferTest, MessageAboveTheLimitIsRefusedByGrpc) {
  options.max_request_bytes = 10'000;
  Start();
  inference::ModelInferRequest request = SumsRequest("sums", {1, 2, 3, 4});
  request.set_id(std::string(20'000, 'x'));
  EXPECT_EQ(Infer(request).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(Infer(SumsRequest("sums", {1, 2, 3, 4})).ok());
}

TEST_F(GrpcInferTest, FullQueueIsResourceExhausted) {
  manager_options.defaults.batching.max_queue_size = 2;
  Start();
  auto blocked = Block();
  std::vector<std::future<grpc::Status>> waiting;
  waiting.reserve(2);
  for (int i = 0; i < 2; ++i) {
    waiting.push_back(std::async(std::launch::async,
                                 [this] { return Infer(SumsRequest("sums", {1, 2, 3, 4})); }));
  }
  AwaitWaiting(2);
  const grpc::Status refused = Infer(SumsRequest("sums", {1, 2, 3, 4}));
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), HasSubstr("max_queue_size"));
  gate.Open();
  EXPECT_TRUE(blocked.get().ok());
  for (auto& call : waiting) EXPECT_TRUE(call.get().ok());
}

TEST_F(GrpcInferTest, DeadlineInTheQueueIsNotExecuted) {
  Start();
  auto blocked = Block();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(50));
  inference::ModelInferResponse response;
  const grpc::Status late =
      stub->ModelInfer(&context, SumsRequest("sums", {1, 2, 3, 4}), &response);
  EXPECT_EQ(late.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  gate.Open();
  EXPECT_TRUE(blocked.get().ok());
  ASSERT_TRUE(Infer(SumsRequest("sums", {1, 2, 3, 4})).ok());
  EXPECT_EQ((*manager->Acquire("sums", ""))->statistics().rows, 2u);
}

TEST_F(GrpcInferTest, CancelledRequestIsNotExecuted) {
  Start();
  auto blocked = Block();
  grpc::ClientContext context;
  auto cancelled = std::async(std::launch::async, [&] {
    inference::ModelInferResponse response;
    return stub->ModelInfer(&context, SumsRequest("sums", {1, 2, 3, 4}), &response);
  });
  AwaitWaiting(1);
  context.TryCancel();
  EXPECT_EQ(cancelled.get().error_code(), grpc::StatusCode::CANCELLED);
  // The server hears of it a moment later; the queue is looked at only when the stream is idle.
  const auto model = *manager->Acquire("sums", "");
  gate.Open();
  EXPECT_TRUE(blocked.get().ok());
  AwaitWaiting(0);
}

TEST_F(GrpcInferTest, TimeoutParameterEndsTheWait) {
  Start();
  auto blocked = Block();
  inference::ModelInferRequest request = SumsRequest("sums", {1, 2, 3, 4});
  (*request.mutable_parameters())["timeout"].set_int64_param(200'000);
  auto impatient = std::async(std::launch::async, [&] { return Infer(request); });
  AwaitWaiting(1);
  const absl::Time expired = absl::Now() + absl::Milliseconds(200);
  while (absl::Now() < expired) std::this_thread::yield();
  gate.Open();
  const grpc::Status status = impatient.get();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_THAT(status.error_message(), HasSubstr("timeout"));
  EXPECT_TRUE(blocked.get().ok());
}

// Whether the answer to random rows, some of them large, is theirs; a few calls have a deadline
// that passes.
enum class Answer { kRight, kWrong, kLate };

template <typename Stub>
Answer CallWithRandomRows(Stub& stub, std::mt19937& random) {
  std::vector<float> values(4 * (1 + random() % 3));
  const float scale = random() % 4 == 0 ? 100.0f : 1.0f;
  for (float& value : values) value = scale * static_cast<float>(random() % 100);
  grpc::ClientContext context;
  if (random() % 10 == 0) {
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::microseconds(random() % 3000));
  }
  inference::ModelInferResponse response;
  const grpc::Status status = stub.ModelInfer(&context, SumsRequest("sums", values), &response);
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) return Answer::kLate;
  if (!status.ok()) return Answer::kWrong;
  const auto doubled = Values<float>(response.raw_output_contents(0));
  for (size_t i = 0; i < values.size(); ++i) {
    if (doubled[i] != 2 * values[i]) return Answer::kWrong;
  }
  return Answer::kRight;
}

TEST_F(GrpcInferTest, ConcurrentCallersGetTheirOwnRows) {
  manager_options.defaults.batching.streams = 2;
  Start();
  std::atomic<int> wrong = 0;
  std::atomic<int> cancelled = 0;
  std::vector<std::thread> threads;
  threads.reserve(8);
  for (int thread = 0; thread < 8; ++thread) {
    threads.emplace_back([&, thread] {
      std::mt19937 random(static_cast<uint32_t>(thread));
      for (int i = 0; i < 100; ++i) {
        const Answer answer = CallWithRandomRows(*stub, random);
        wrong += answer == Answer::kWrong;
        cancelled += answer == Answer::kLate;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_LT(cancelled, 200);
}

TEST_F(GrpcInferTest, StreamAnswersEachRequestAndOutlivesBadOnes) {
  Start();
  grpc::ClientContext context;
  const auto stream = stub->ModelStreamInfer(&context);
  constexpr int kRequests = 200;
  std::thread writer([&] {
    for (int i = 0; i < kRequests; ++i) {
      const auto x = static_cast<float>(i);
      inference::ModelInferRequest request = SumsRequest("sums", {x, x, x, x});
      request.set_id(absl::StrCat(i));
      if (i % 10 == 3) request.mutable_inputs(0)->set_datatype("BAD");
      stream->Write(request);
    }
    stream->WritesDone();
  });
  int good = 0;
  int bad = 0;
  inference::ModelStreamInferResponse response;
  while (stream->Read(&response)) {
    const int id = std::stoi(response.infer_response().id());
    if (id % 10 == 3) {
      EXPECT_THAT(response.error_message(), HasSubstr("\"BAD\""));
      ++bad;
    } else {
      EXPECT_EQ(response.error_message(), "");
      EXPECT_THAT(Values<float>(response.infer_response().raw_output_contents(1)),
                  ElementsAre(8.0f * static_cast<float>(id)));
      ++good;
    }
  }
  writer.join();
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(good, kRequests - kRequests / 10);
  EXPECT_EQ(bad, kRequests / 10);
}

TEST_F(GrpcInferTest, StreamThatIsAbandonedEnds) {
  Start();
  for (int i = 0; i < 20; ++i) {
    grpc::ClientContext context;
    const auto stream = stub->ModelStreamInfer(&context);
    for (int j = 0; j < 5; ++j) stream->Write(SumsRequest("sums", {1, 2, 3, 4}));
    context.TryCancel();
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  EXPECT_TRUE(Infer(SumsRequest("sums", {1, 2, 3, 4})).ok());
}

TEST_F(GrpcInferTest, ClientThatOnlySendsIsNotReadFromForEver) {
  Start();
  gate.Close();
  grpc::ClientContext context;
  const auto stream = stub->ModelStreamInfer(&context);
  std::atomic<int> written = 0;
  std::thread writer([&] {
    while (written < 100'000 && stream->Write(SumsRequest("sums", {1, 2, 3, 4}))) ++written;
  });
  // 64 requests are open: up to 8 in the batch at the gate, or none before the stream's thread has
  // come to them, the others waiting. What else was
  // written waits in the transport's buffers, which are bounded.
  while (Waiting() < 64 - 8) std::this_thread::yield();
  for (int i = 0; i < 1000; ++i) EXPECT_LE(Waiting(), 64);
  context.TryCancel();
  writer.join();
  EXPECT_LT(written, 100'000);
  gate.Open();
  stream->Finish();
}

TEST_F(GrpcInferTest, MetricsCountCodes) {
  Start();
  ASSERT_TRUE(Infer(SumsRequest("sums", {1, 2, 3, 4})).ok());
  inference::ModelInferRequest bad = SumsRequest("sums", {1, 2, 3, 4});
  bad.clear_inputs();
  Infer(bad);
  const std::string text = metrics.Scrape();
  EXPECT_THAT(text, HasSubstr("{code=\"OK\",model=\"sums\",version=\"2\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("{code=\"INVALID_ARGUMENT\",model=\"sums\",version=\"2\"} 1\n"));
}

}  // namespace
}  // namespace octet::server
