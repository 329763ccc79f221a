#include "server/grpc/infer_calls.h"

#include <atomic>
#include <cstdlib>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "grpcpp/support/slice.h"
#include "server/grpc/grpc_status.h"
#include "server/grpc/infer_exchange.h"

namespace octet::server {
namespace {

// Requests of one stream that are being answered or whose replies wait to be written. A client that
// sends and does not read is not read from either.
constexpr int kMaxOpenPerStream = 64;

absl::Time DeadlineOf(const grpc::CallbackServerContext& context) {
  const std::chrono::system_clock::time_point deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteFuture();
  return absl::FromChrono(deadline);
}

// The slices of a message, kept alive, and where their bytes are.
class Message {
 public:
  explicit Message(const grpc::ByteBuffer& buffer) {
    if (!buffer.Dump(&slices_).ok()) slices_.clear();
    for (const grpc::Slice& slice : slices_) {
      pieces_.push_back({reinterpret_cast<const std::byte*>(slice.begin()), slice.size()});
    }
  }
  std::span<const Piece> pieces() const { return pieces_; }

 private:
  std::vector<grpc::Slice> slices_;
  absl::InlinedVector<Piece, 8> pieces_;
};

// Outputs pass into the transport's hands, which frees them when they are sent.
grpc::ByteBuffer ToByteBuffer(InferReply reply) {
  absl::InlinedVector<grpc::Slice, 4> slices;
  for (ReplyPart& part : reply) {
    if (!part.text.empty()) slices.emplace_back(part.text);
    const size_t size = part.bytes.size();
    if (size > 0) slices.emplace_back(part.bytes.Release(), size, std::free);
  }
  // A reply without any byte is an empty message, which is not the same as no message.
  if (slices.empty()) slices.emplace_back();
  return {slices.data(), slices.size()};
}

class UnaryInferCall : public grpc::ServerUnaryReactor {
 public:
  UnaryInferCall(const ModelManager& models, MetricsRegistry& metrics,
                 const grpc::ByteBuffer& request, grpc::ByteBuffer& response)
      : exchange_(models, metrics), message_(request), response_(response) {}

  void Start(absl::Time deadline) {
    exchange_.Start(message_.pieces(), deadline, cancelled_,
                    [this](absl::StatusOr<InferReply> reply) {
                      const absl::Status status = reply.status();
                      if (status.ok()) response_ = ToByteBuffer(*std::move(reply));
                      Finish(ToGrpcStatus(status));
                    });
  }

  // The client left, its deadline passed, or the server gives up waiting.
  void OnCancel() override { cancelled_.store(true, std::memory_order_relaxed); }
  void OnDone() override { delete this; }

 private:
  std::atomic<bool> cancelled_ = false;
  InferExchange exchange_;
  const Message message_;
  grpc::ByteBuffer& response_;
};

using RawBidiReactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

class StreamInferCall : public RawBidiReactor {
 public:
  StreamInferCall(const ModelManager& models, MetricsRegistry& metrics, absl::Time deadline)
      : models_(models), metrics_(metrics), deadline_(deadline) {}

  void Start() { StartRead(&incoming_); }

  void OnReadDone(bool ok) override {
    if (!ok) {
      {
        const MutexLock lock(mutex_);
        reading_ended_ = true;
      }
      return Proceed();
    }
    auto* const request = new Request(models_, metrics_, incoming_);
    {
      const MutexLock lock(mutex_);
      ++open_;
      reading_ = false;
    }
    request->exchange.Start(request->message.pieces(), deadline_, cancelled_,
                            [this, request](absl::StatusOr<InferReply> reply) {
                              Answer(std::unique_ptr<Request>(request), std::move(reply));
                            });
    Proceed();
  }

  void OnWriteDone(bool ok) override {
    {
      const MutexLock lock(mutex_);
      writing_ = false;
      --open_;
      // The client is gone: there is nobody to write to, but requests may still be on their way.
      if (!ok) cancelled_ = true;
    }
    Proceed();
  }

  void OnCancel() override { cancelled_.store(true, std::memory_order_relaxed); }
  void OnDone() override { delete this; }

 private:
  struct Request {
    Request(const ModelManager& models, MetricsRegistry& metrics, const grpc::ByteBuffer& buffer)
        : message(buffer), exchange(models, metrics) {}
    const Message message;
    InferExchange exchange;
  };

  void Answer(std::unique_ptr<Request> request, absl::StatusOr<InferReply> reply) {
    grpc::ByteBuffer buffer;
    if (reply.ok()) {
      WrapAsStreamReply(*reply);
      buffer = ToByteBuffer(*std::move(reply));
    } else {
      grpc::Slice slice(EncodeStreamError(reply.status().message(), request->exchange.id()));
      buffer = grpc::ByteBuffer(&slice, 1);
    }
    request.reset();
    Proceed(&buffer);
  }

  // Does what can be done next: write a reply, read a request, finish. gRPC is called outside of
  // the lock, since it may call back at once. A reply is added in the same critical section: once
  // it can be seen, another thread may write it, finish, and destroy this object.
  void Proceed(grpc::ByteBuffer* reply = nullptr) {
    bool write = false;
    bool read = false;
    bool finish = false;
    {
      const MutexLock lock(mutex_);
      if (finished_) return;
      if (reply != nullptr) replies_.push_back(*reply);
      if (cancelled_ && !writing_) {
        open_ -= static_cast<int>(replies_.size());
        replies_.clear();
      }
      if (!writing_ && !replies_.empty()) {
        outgoing_ = replies_.front();
        replies_.pop_front();
        write = writing_ = true;
      }
      if (!reading_ && !reading_ended_ && open_ < kMaxOpenPerStream) read = reading_ = true;
      finish = finished_ = reading_ended_ && open_ == 0;
    }
    if (write) StartWrite(&outgoing_);
    if (read) StartRead(&incoming_);
    if (finish) Finish(grpc::Status::OK);
  }

  const ModelManager& models_;
  MetricsRegistry& metrics_;
  const absl::Time deadline_;
  std::atomic<bool> cancelled_ = false;
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;

  Mutex mutex_;
  std::deque<grpc::ByteBuffer> replies_ ABSL_GUARDED_BY(mutex_);
  int open_ ABSL_GUARDED_BY(mutex_) = 0;  // requests read and not yet answered in full
  bool reading_ ABSL_GUARDED_BY(mutex_) = true;
  bool reading_ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerUnaryReactor* StartUnaryInfer(const ModelManager& models, MetricsRegistry& metrics,
                                          const grpc::CallbackServerContext& context,
                                          const grpc::ByteBuffer& request,
                                          grpc::ByteBuffer& response) {
  auto* const call = new UnaryInferCall(models, metrics, request, response);
  call->Start(DeadlineOf(context));
  return call;
}

RawBidiReactor* StartStreamInfer(const ModelManager& models, MetricsRegistry& metrics,
                                 const grpc::CallbackServerContext& context) {
  auto* const call = new StreamInferCall(models, metrics, DeadlineOf(context));
  call->Start();
  return call;
}

}  // namespace octet::server
