// Tensors in a temporary file: in memory while somebody reads them, and not for as long as they
// live. Weights that are worked on one after the other need not all be in memory then.

#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "base/tensor.h"

namespace octet {

// The file has no name, and its space goes back when the tensors in it are gone, whatever becomes
// of the process. Thread-safe.
class TensorFile : public std::enable_shared_from_this<TensorFile> {
 public:
  // Smaller tensors stay where they are.
  static constexpr size_t kLeastBytes = size_t{64} << 10;

  // The file is made in `directory` when the first tensor comes.
  static std::shared_ptr<TensorFile> In(std::string directory);
  ~TensorFile();
  TensorFile(const TensorFile&) = delete;
  TensorFile& operator=(const TensorFile&) = delete;

  // The same tensor, of the same id, with its bytes in the file, read-only, and not in memory until
  // they are read. If it is small, lies in a file already or cannot be written, as it was.
  Tensor Hold(const Tensor& tensor);

  // Why tensors could not be written, naming the directory.
  absl::Status status() const;

 private:
  explicit TensorFile(std::string directory) : directory_(std::move(directory)) {}
  absl::Status OpenOnce() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Where `size` bytes are to be written; none if there is no file.
  bool Reserve(size_t size, size_t& offset);
  absl::Status Write(std::span<const std::byte> bytes, size_t offset) const;
  void GiveBack(size_t size, size_t offset) const;
  void Fail(const absl::Status& status);

  const std::string directory_;
  mutable Mutex mutex_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  size_t end_ ABSL_GUARDED_BY(mutex_) = 0;
  std::atomic<int> fd_ = -1;
};

// The system's directory for temporary files.
std::string TemporaryDirectory();

}  // namespace octet
