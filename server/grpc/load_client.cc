#include "server/grpc/load_client.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/support/proto_buffer_writer.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "proto/open_inference.grpc.pb.h"

namespace octet::server {
namespace {

using Clock = std::chrono::steady_clock;
using Stub = inference::GRPCInferenceService::Stub;

constexpr char kInferMethod[] = "/inference.GRPCInferenceService/ModelInfer";
constexpr std::chrono::seconds kQuestionTimeout(10);
constexpr std::chrono::seconds kRequestTimeout(60);

absl::Status ToStatus(const grpc::Status& status) {
  return {static_cast<absl::StatusCode>(status.error_code()), status.error_message()};
}

// A connection of its own, as a client in another process would have.
std::shared_ptr<grpc::Channel> Connection(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

// Calls a method of the stub that takes little time.
template <typename Request, typename Response>
absl::Status Ask(Stub& stub,
                 grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                 const Request& request, Response& response) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kQuestionTimeout);
  return ToStatus((stub.*method)(&context, request, &response));
}

// One connection with one request under way.
struct Client {
  explicit Client(const std::string& address) : stub(Connection(address)) {}

  grpc::GenericStub stub;
  std::unique_ptr<grpc::ClientContext> context;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader;
  grpc::ByteBuffer response;
  grpc::Status status;
  Clock::time_point start;
};

void Send(const grpc::ByteBuffer& request, grpc::CompletionQueue& queue, Client& client) {
  client.reader.reset();
  client.context = std::make_unique<grpc::ClientContext>();
  client.context->set_deadline(std::chrono::system_clock::now() + kRequestTimeout);
  client.response.Clear();
  client.start = Clock::now();
  client.reader = client.stub.PrepareUnaryCall(client.context.get(), kInferMethod, request, &queue);
  client.reader->StartCall();
  client.reader->Finish(&client.response, &client.status, &client);
}

// Adds the outcome of the client's last request.
void Count(const Client& client, LoadResult& result) {
  if (client.status.ok()) {
    result.latencies.Add(std::chrono::duration<double>(Clock::now() - client.start).count());
    return;
  }
  const absl::Status error = ToStatus(client.status);
  ++result.errors[error.code()];
  if (result.first_error.ok()) result.first_error = error;
}

// Keeps these clients busy until `end` and returns when all have their answers.
LoadResult Drive(const grpc::ByteBuffer& request, std::vector<std::unique_ptr<Client>>& clients,
                 Clock::time_point end) {
  LoadResult result;
  grpc::CompletionQueue queue;
  size_t under_way = clients.size();
  for (const auto& client : clients) Send(request, queue, *client);
  void* tag = nullptr;
  bool ok = false;
  while (under_way > 0 && queue.Next(&tag, &ok)) {
    Client& client = *static_cast<Client*>(tag);
    Count(client, result);
    const bool gone = client.status.error_code() == grpc::StatusCode::UNAVAILABLE;
    if (gone || Clock::now() >= end) {
      --under_way;
    } else {
      Send(request, queue, client);
    }
  }
  for (const auto& client : clients) client->reader.reset();  // they end before their queue
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  return result;
}

void Merge(const LoadResult& part, LoadResult& whole) {
  whole.latencies.Merge(part.latencies);
  for (const auto& [code, count] : part.errors) whole.errors[code] += count;
  if (whole.first_error.ok()) whole.first_error = part.first_error;
}

class GrpcLoadClient : public LoadClient {
 public:
  explicit GrpcLoadClient(LoadTarget target)
      : target_(std::move(target)), stub_(Connection(target_.address)) {}

  absl::Status Prepare() {
    inference::ModelMetadataRequest question;
    question.set_name(target_.model);
    question.set_version(target_.request.version);
    inference::ModelMetadataResponse metadata;
    OCTET_RETURN_IF_ERROR(
        Annotate(Ask(stub_, &Stub::ModelMetadata, question, metadata), target_.address));
    OCTET_RETURN_IF_ERROR(ReadBatching(metadata));
    OCTET_ASSIGN_OR_RETURN(const inference::ModelInferRequest request,
                           MakeLoadRequest(metadata, target_.request));
    bool own_buffer = false;
    return ToStatus(grpc::GenericSerialize<grpc::ProtoBufferWriter, inference::ModelInferRequest>(
        request, &request_, &own_buffer));
  }

  absl::StatusOr<LoadResult> Run(int clients, absl::Duration duration) override {
    // No more threads than there is work for: clients and server may share the processor.
    const size_t thread_count = std::clamp<size_t>(std::thread::hardware_concurrency() / 2, 1,
                                                   static_cast<size_t>(clients));
    std::vector<std::vector<std::unique_ptr<Client>>> groups(thread_count);
    for (int i = 0; i < clients; ++i) {
      groups[static_cast<size_t>(i) % thread_count].push_back(
          std::make_unique<Client>(target_.address));
    }
    RunGroups(groups, duration / 5);
    const Counts before = ServerCounts();
    LoadResult result = RunGroups(groups, duration);
    const Counts after = ServerCounts();
    if (result.latencies.count() == 0) {
      return Annotate(result.first_error,
                      absl::StrCat(target_.address, ": no request succeeded; the first ended with ",
                                   absl::StatusCodeToString(result.first_error.code())));
    }
    result.rows = result.latencies.count() * static_cast<uint64_t>(target_.request.rows);
    if (after.executions > before.executions) {
      result.mean_batch = static_cast<double>(after.rows - before.rows) /
                          static_cast<double>(after.executions - before.executions);
    }
    return result;
  }

 private:
  struct Counts {
    uint64_t rows = 0;
    uint64_t executions = 0;
  };

  // Servers without ModelConfig batch where the first dimension of every input is symbolic.
  absl::Status ReadBatching(const inference::ModelMetadataResponse& metadata) {
    inference::ModelConfigRequest question;
    question.set_name(target_.model);
    question.set_version(target_.request.version);
    inference::ModelConfigResponse config;
    const absl::Status asked = Ask(stub_, &Stub::ModelConfig, question, config);
    if (asked.ok()) {
      target_.request.batched = config.config().max_batch_size() > 0;
      return absl::OkStatus();
    }
    if (!absl::IsUnimplemented(asked)) return Annotate(asked, target_.address);
    target_.request.batched =
        std::all_of(metadata.inputs().begin(), metadata.inputs().end(),
                    [](const auto& input) { return input.shape_size() > 0 && input.shape(0) < 0; });
    return absl::OkStatus();
  }

  // Of all the model's versions that are meant; zero if the server does not say.
  Counts ServerCounts() {
    inference::ModelStatisticsRequest question;
    question.set_name(target_.model);
    question.set_version(target_.request.version);
    inference::ModelStatisticsResponse statistics;
    Counts counts;
    if (!Ask(stub_, &Stub::ModelStatistics, question, statistics).ok()) return counts;
    for (const inference::ModelStatistics& version : statistics.model_stats()) {
      counts.rows += version.inference_count();
      counts.executions += version.execution_count();
    }
    return counts;
  }

  LoadResult RunGroups(std::vector<std::vector<std::unique_ptr<Client>>>& groups,
                       absl::Duration duration) {
    const Clock::time_point start = Clock::now();
    const Clock::time_point end = start + absl::ToChronoNanoseconds(duration);
    std::vector<LoadResult> parts(groups.size());
    std::vector<std::thread> threads;
    threads.reserve(groups.size());
    for (size_t i = 0; i < groups.size(); ++i) {
      threads.emplace_back([&, i] { parts[i] = Drive(request_, groups[i], end); });
    }
    for (std::thread& thread : threads) thread.join();
    LoadResult result;
    result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    for (const LoadResult& part : parts) Merge(part, result);
    return result;
  }

  LoadTarget target_;
  Stub stub_;
  grpc::ByteBuffer request_;  // its bytes are shared by all calls
};

}  // namespace

absl::StatusOr<std::unique_ptr<LoadClient>> LoadClient::Connect(const LoadTarget& target) {
  auto client = std::make_unique<GrpcLoadClient>(target);
  OCTET_RETURN_IF_ERROR(client->Prepare());
  return client;
}

}  // namespace octet::server
