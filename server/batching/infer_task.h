// One request on its way through the batcher: what to compute, until when, and whom to tell.

#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/tensor.h"
#include "runtime/compiled_model.h"

namespace octet::server {

// A block of malloc'ed memory, so that a transport can take it over and free() it later.
class OutputBytes {
 public:
  OutputBytes() = default;
  // ResourceExhausted if there is no memory. The bytes are not initialized.
  static absl::StatusOr<OutputBytes> Allocate(size_t size);

  std::span<std::byte> span() const { return {data_.get(), size_}; }
  size_t size() const { return size_; }

  // The caller frees the block with std::free().
  std::byte* Release() { return data_.release(); }

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t size_ = 0;
};

struct OutputTensor {
  Shape shape;
  OutputBytes bytes;  // dense, in the TensorSpec::dtype of the output
};

// The way of one request, each moment after the one before it.
struct InferTimes {
  absl::Time queued;    // accepted by the queue
  absl::Time taken;     // its batch was formed
  absl::Time loaded;    // rows copied into the plan's inputs
  absl::Time executed;  // kernels finished
  absl::Time stored;    // outputs written
};

struct InferResult {
  std::vector<OutputTensor> outputs;  // in the order of InferTask::outputs
  InferTimes times;
};

struct InferTask {
  // The bytes that `input` borrows stay valid until `done` is called.
  runtime::InputRows input;

  // Which of the model's outputs are wanted, and in which order.
  absl::InlinedVector<int, 4> outputs;

  absl::Time deadline = absl::InfiniteFuture();        // when the caller stops waiting
  absl::Time queue_deadline = absl::InfiniteFuture();  // latest start of its batch

  bool urgent = false;  // goes before those that are not

  // Set when the caller has left; null if it cannot leave. Valid until `done` is called.
  const std::atomic<bool>* cancelled = nullptr;

  // Called exactly once, under no lock, by a worker or by the thread that enqueues:
  //   DeadlineExceeded   the deadline passed, or could not be met, before the batch was formed
  //   Cancelled          the caller left before the batch was formed
  //   other errors       from loading or executing the batch
  absl::AnyInvocable<void(absl::StatusOr<InferResult>) &&> done;

  absl::Time queued;  // set by the queue

  bool IsCancelled() const {
    return cancelled != nullptr && cancelled->load(std::memory_order_relaxed);
  }
};

}  // namespace octet::server
