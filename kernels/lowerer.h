// The state of lowering one graph. Internal to kernels: operators see LoweringContext.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernels/attention.h"
#include "kernels/lowering.h"

namespace octet::kernels {

class Lowerer {
 public:
  Lowerer(const graph::Graph& graph, WeightCache& weights, size_t first_early);

  absl::StatusOr<Program> Run();

 private:
  friend class LoweringContext;

  // One place where a value lies. Without a desc it is dense and row-major, of a type or shape that
  // oneDNN has no descriptor for.
  struct Placement {
    int buffer = -1;
    std::optional<dnnl::memory::desc> desc;
  };

  absl::Status LowerNode(graph::NodeId id);
  absl::Status LowerPattern(const AttentionPattern& pattern);
  absl::Status LowerByReference(const graph::Node& node);
  absl::Status Outputs();
  // Gives the value to those of the graph's outputs that are early.
  absl::Status OutputsEarly(graph::ValueId id);

  absl::StatusOr<int> Plain(graph::ValueId id);
  absl::StatusOr<int> InLayout(graph::ValueId id, const dnnl::memory::desc& desc);
  absl::StatusOr<int> Reordered(graph::ValueId id, const Placement& from,
                                const dnnl::memory::desc& to);
  void Place(graph::ValueId id, Placement placement);
  bool SomebodyElseReads(int buffer) const;
  bool TakesBFloat16(graph::NodeId reader, graph::ValueId value) const;
  bool AllTakeBFloat16(graph::ValueId value) const;

  int NewBuffer(size_t bytes);
  absl::StatusOr<int> ConstantBuffer(uint64_t constant, const std::string& layout,
                                     const std::function<absl::StatusOr<Tensor>()>& pack);
  int KeepConstant(const Tensor& tensor);
  void Emit(std::unique_ptr<Kernel> kernel, std::vector<int> inputs, std::vector<int> outputs,
            Work work, std::string layout);

  std::vector<Placement>& PlacementsOf(graph::ValueId id) {
    return placements_[static_cast<size_t>(id)];
  }

  const graph::Graph& graph_;
  WeightCache& weights_;
  const size_t first_early_;
  Program program_;
  const graph::Node* current_ = nullptr;
  std::vector<std::vector<Placement>> placements_;  // by ValueId
  std::vector<int> readers_left_;                   // by ValueId; graph outputs count as readers
  std::vector<std::vector<size_t>> early_outputs_;  // by ValueId: which outputs it is
  std::vector<std::vector<graph::ValueId>> values_in_;  // by buffer
};

}  // namespace octet::kernels
