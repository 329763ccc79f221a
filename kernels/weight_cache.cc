#include "kernels/weight_cache.h"

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "base/status.h"

namespace octet::kernels {
namespace {

constexpr size_t kWeightBytes = 1 << 10;  // a packed weight has at least so many

}  // namespace

absl::StatusOr<Tensor> WeightCache::Get(uint64_t constant, const std::string& layout,
                                        const std::function<absl::StatusOr<Tensor>()>& pack) {
  const MutexLock lock(mutex_);
  const auto found = packed_.find(std::pair(constant, layout));
  if (found != packed_.end()) return found->second;
  OCTET_ASSIGN_OR_RETURN(Tensor packed, pack());
  if (!packed.has_bytes()) return packed;  // released: the next caller may have the bytes
  if (file_ != nullptr) {
    packed = file_->Hold(packed);
  } else if (packed.in_file()) {
    OCTET_ASSIGN_OR_RETURN(packed, Tensor::Copy(packed.view()));
  }
  packed_.emplace(std::pair(constant, layout), packed);
  return packed;
}

std::vector<std::string> WeightCache::Layouts(uint64_t constant) const {
  const MutexLock lock(mutex_);
  std::vector<std::string> layouts;
  for (const auto& [key, tensor] : packed_) {
    if (key.first == constant) layouts.push_back(key.second);
  }
  std::sort(layouts.begin(), layouts.end());
  return layouts;
}

void WeightCache::DropUnused() {
  const MutexLock lock(mutex_);
  absl::erase_if(packed_, [](const auto& entry) {
    return entry.second.byte_size() >= kWeightBytes && !entry.second.shares_bytes();
  });
}

size_t WeightCache::bytes() const {
  const MutexLock lock(mutex_);
  size_t total = 0;
  absl::flat_hash_set<const std::byte*> counted;  // a plain constant may stand under two layouts
  for (const auto& [key, tensor] : packed_) {
    if (counted.insert(tensor.data()).second) total += tensor.byte_size();
  }
  return total;
}

}  // namespace octet::kernels
