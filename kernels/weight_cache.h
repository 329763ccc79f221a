// The weights in the layouts that kernels read, one copy for all plans and contexts of a model.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "base/tensor.h"
#include "base/tensor_file.h"

namespace octet::kernels {

// Thread-safe.
class WeightCache {
 public:
  // Large weights are in `file`: for networks that are to be looked at, not served. Null: all are
  // in memory, also of constants that are not.
  explicit WeightCache(std::shared_ptr<TensorFile> file = nullptr) : file_(std::move(file)) {}

  // The packed form `layout` of the constant with this Tensor::id(). `pack` makes it the first
  // time, under the cache's lock, and its error is returned.
  absl::StatusOr<Tensor> Get(uint64_t constant, const std::string& layout,
                             const std::function<absl::StatusOr<Tensor>()>& pack);

  // The layouts in which it has this constant.
  std::vector<std::string> Layouts(uint64_t constant) const;

  // Forgets the weights that only the cache still holds; not what is known about them, which is
  // small.
  void DropUnused();

  // Bytes of everything in the cache.
  size_t bytes() const;

 private:
  const std::shared_ptr<TensorFile> file_;
  mutable Mutex mutex_;
  absl::flat_hash_map<std::pair<uint64_t, std::string>, Tensor> packed_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace octet::kernels
