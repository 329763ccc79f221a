#include "kernels/attention.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "base/memory.h"
#include "base/status.h"
#include "kernels/channels_last.h"
#include "kernels/dispatch_gate.h"
#include "kernels/primitive_kernel.h"
#include "oneapi/dnnl/dnnl.h"

namespace octet::kernels {
namespace {

using dnnl::memory;
using DataTypeOf = memory::data_type;

constexpr int kQuery = 0, kKey = 1, kValue = 2, kMask = 3, kResult = 4, kOperands = 5;
constexpr int64_t kChunkBytes = int64_t{128} << 10;
constexpr size_t kAlignment = 64;

size_t Aligned(size_t bytes) { return RoundedUp(bytes, kAlignment); }

int64_t LargestDivisor(int64_t number, int64_t most) {
  for (int64_t divisor = std::min(number, most); divisor > 1; --divisor) {
    if (number % divisor == 0) return divisor;
  }
  return 1;
}

// An operand of the whole step: [batch, heads, x, y].
struct Operand {
  DataTypeOf type = DataTypeOf::f32;
  std::array<int64_t, 4> dims{1, 1, 1, 1};
  std::array<int64_t, 4> strides{};  // in elements

  // As a chunk of these sizes sees it.
  memory::desc Chunk(int64_t batch, int64_t heads, int64_t rows) const {
    memory::dims sizes = {std::min(dims[0], batch), std::min(dims[1], heads),
                          std::min(dims[2], rows), dims[3]};
    return {sizes, type, memory::dims(strides.begin(), strides.end())};
  }

  ptrdiff_t Offset(int64_t batch, int64_t head, int64_t row) const {
    const std::array<int64_t, 3> index = {batch, head, row};
    int64_t elements = 0;
    for (size_t d = 0; d < index.size(); ++d) {
      if (dims[d] > 1) elements += index[d] * strides[d];
    }
    return static_cast<ptrdiff_t>(elements * (type == DataTypeOf::bf16 ? 2 : 4));
  }
};

// Dimensions of a tensor of `rank` as those of an operand: of three the first is the batch.
template <typename Range>
void Place(const Range& from, size_t rank, std::array<int64_t, 4>& to) {
  for (size_t i = 1; i <= from.size(); ++i) {  // from the last
    to[rank == 3 && i == 3 ? 0 : 4 - i] = from[from.size() - i];
  }
}

Operand Dense(const Shape& shape, size_t rank) {
  Operand operand;
  Place(shape, rank, operand.dims);
  int64_t stride = 1;
  for (size_t d = 4; d-- > 0; stride *= operand.dims[d]) operand.strides[d] = stride;
  return operand;
}

// A primitive with the sizes of a chunk; operands are numbers of AttentionStep's memories.
struct Stage {
  dnnl::primitive primitive;
  std::vector<std::pair<int, int>> arguments;  // DNNL_ARG_*, memory
};

constexpr int kScores = kOperands, kShares = kOperands + 1;
constexpr int kScratch = kOperands + 2;  // the first stage's scratchpad; then the others'

// What a chunk runs, and how chunks follow each other.
struct AttentionStep {
  std::array<Operand, kOperands> operands;
  bool masked = false;
  int64_t batch = 1, heads = 1, rows = 1;
  AttentionChunk chunk;
  std::vector<Stage> stages;
  std::vector<memory::desc> descs;  // by memory
  size_t shares_offset = 0, scratch_offset = 0, scratch_bytes = 0;
};

class BoundAttention final : public BoundKernel {
 public:
  BoundAttention(std::shared_ptr<const AttentionStep> step, const StepMemory& memory)
      : step_(std::move(step)), stream_(Engine()) {
    for (int i = 0; i < kResult; ++i) {
      const bool there = i != kMask || step_->masked;
      addresses_[static_cast<size_t>(i)] = there ? memory.inputs[static_cast<size_t>(i)] : nullptr;
    }
    addresses_[kResult] = memory.outputs[0];
    std::vector<std::byte*> first(step_->descs.size(), memory.scratch + step_->scratch_offset);
    std::copy(addresses_.begin(), addresses_.end(), first.begin());
    first[kScores] = memory.scratch;
    first[kShares] = memory.scratch + step_->shares_offset;
    for (size_t i = 0; i < first.size(); ++i) {
      memories_.emplace_back(step_->descs[i], Engine(), first[i]);
    }
    for (const Stage& stage : step_->stages) {
      std::vector<dnnl_exec_arg_t>& arguments = arguments_.emplace_back();
      for (const auto& [index, memory_index] : stage.arguments) {
        arguments.push_back({index, memories_[static_cast<size_t>(memory_index)].get()});
      }
    }
  }

  absl::Status Run() override {
    const AttentionChunk& chunk = step_->chunk;
    for (int64_t b = 0; b < step_->batch; b += chunk.batch) {
      for (int64_t h = 0; h < step_->heads; h += chunk.heads) {
        for (int64_t r = 0; r < step_->rows; r += chunk.rows) {
          OCTET_RETURN_IF_ERROR(RunChunk(b, h, r));
        }
      }
    }
    return absl::OkStatus();
  }

 private:
  absl::Status RunChunk(int64_t batch, int64_t head, int64_t row) {
    for (size_t i = 0; i < kOperands; ++i) {
      if (addresses_[i] == nullptr) continue;
      // Of keys and values each chunk sees all rows.
      const int64_t first_row = i == kKey || i == kValue ? 0 : row;
      std::byte* const data = addresses_[i] + step_->operands[i].Offset(batch, head, first_row);
      if (dnnl_memory_set_data_handle(memories_[i].get(), data) != dnnl_success) {
        return absl::InternalError("oneDNN could not move an operand");
      }
    }
    for (size_t s = 0; s < arguments_.size(); ++s) {
      if (dnnl_primitive_execute(step_->stages[s].primitive.get(), stream_.get(),
                                 static_cast<int>(arguments_[s].size()),
                                 arguments_[s].data()) != dnnl_success) {
        return absl::InternalError("oneDNN could not run a primitive");
      }
    }
    return absl::OkStatus();
  }

  const std::shared_ptr<const AttentionStep> step_;
  dnnl::stream stream_;
  std::array<std::byte*, kOperands> addresses_{};
  std::vector<memory> memories_;
  std::vector<std::vector<dnnl_exec_arg_t>> arguments_;  // by stage
};

class AttentionKernel final : public Kernel {
 public:
  explicit AttentionKernel(std::shared_ptr<const AttentionStep> step) : step_(std::move(step)) {}
  std::string implementation() const override { return "octet:attention"; }
  size_t scratch_bytes() const override { return step_->scratch_bytes; }
  std::unique_ptr<BoundKernel> Bind(const StepMemory& memory) const override {
    return std::make_unique<BoundAttention>(step_, memory);
  }

 private:
  const std::shared_ptr<const AttentionStep> step_;
};

// One step in the making.
class AttentionLowering {
 public:
  AttentionLowering(LoweringContext& context, const AttentionPattern& pattern)
      : context_(context), pattern_(pattern), rank_(context.output_shape(0).size()) {}

  absl::StatusOr<bool> Run() {
    bfloat16_ = context_.node().Int(kBFloat16Attention, 0) != 0;
    for (int i = kQuery; i <= kValue; ++i) step_->operands[static_cast<size_t>(i)] = Lies(i);
    step_->masked = context_.has_input(kMask);
    if (step_->masked) step_->operands[kMask] = Dense(context_.input_shape(kMask), rank_);
    step_->operands[kResult] = Result();
    const auto& query = step_->operands[kQuery].dims;
    step_->batch = query[0];
    step_->heads = query[1];
    step_->rows = query[2];
    keys_ = step_->operands[kKey].dims[3];
    step_->chunk = ChunkOf(step_->batch, step_->heads, step_->rows, keys_);
    if (!AddScores() || !AddSoftmax() || !AddProduct()) return false;
    Finish();
    OCTET_RETURN_IF_ERROR(Emit());
    return true;
  }

 private:
  DataTypeOf ProductType() const { return bfloat16_ ? DataTypeOf::bf16 : DataTypeOf::f32; }

  // The layout that the input lies in, where a product can read it; else dense.
  Operand Lies(int input) {
    Operand operand = Dense(context_.input_shape(input), rank_);
    const auto native = context_.NativeDesc(input);
    if (native && native->get_inner_nblks() == 0 && native->get_submemory_offset() == 0) {
      const memory::dims dims = native->get_dims(), strides = native->get_strides();
      const size_t rank = dims.size();
      if (strides[rank - 1] == 1 || strides[rank - 2] == 1) {
        as_it_lies_[static_cast<size_t>(input)] = InType(*native, ProductType());
        Place(strides, rank, operand.strides);
      }
    }
    operand.type = ProductType();
    return operand;
  }

  // [batch, tokens, heads, size] in memory where that is how it is read.
  Operand Result() const {
    Operand result = Dense(context_.output_shape(0), rank_);
    if (!pattern_.side_by_side) return result;
    const int64_t heads = result.dims[1], tokens = result.dims[2], size = result.dims[3];
    result.strides = {heads * tokens * size, size, heads * size, 1};
    return result;
  }

  memory::desc ChunkDesc(int operand) const {
    const bool whole = operand == kKey || operand == kValue;
    const Operand& of = step_->operands[static_cast<size_t>(operand)];
    return of.Chunk(step_->chunk.batch, step_->chunk.heads, whole ? of.dims[2] : step_->chunk.rows);
  }

  memory::desc ScoresDesc(DataTypeOf type) const {
    const AttentionChunk& chunk = step_->chunk;
    return {{chunk.batch, chunk.heads, chunk.rows, keys_}, type, memory::format_tag::abcd};
  }

  static bool Fast(const dnnl::primitive_desc_base& desc) {
    return desc.get(true) != nullptr && !IsReferenceImplementation(desc.impl_info_str(), false);
  }

  void Add(const dnnl::primitive_desc_base& desc, dnnl::primitive primitive,
           std::vector<std::pair<int, int>> arguments) {
    const memory::desc scratchpad = desc.scratchpad_desc();
    if (scratchpad.get_size() > 0) {
      arguments.emplace_back(DNNL_ARG_SCRATCHPAD, kScratch + static_cast<int>(scratchpads_.size()));
      scratchpads_.push_back(scratchpad);
    }
    step_->stages.push_back({std::move(primitive), std::move(arguments)});
  }

  // The mask is added in the product's kernel if that has a fast one for its shape, else after it.
  bool AddScores() {
    for (const bool fused : {true, false}) {
      const bool adds = fused && step_->masked;
      dnnl::post_ops chain;
      if (pattern_.factor != 1) {
        chain.append_eltwise(dnnl::algorithm::eltwise_linear, pattern_.factor, 0);
      }
      const int position = chain.len();
      if (adds) chain.append_binary(dnnl::algorithm::binary_add, ChunkDesc(kMask));
      dnnl::primitive_attr attributes = BaseAttributes();
      attributes.set_post_ops(chain);
      const dnnl::matmul::primitive_desc desc(Engine(), ChunkDesc(kQuery), ChunkDesc(kKey),
                                              ScoresDesc(DataTypeOf::f32), attributes,
                                              /*allow_empty=*/true);
      if (!Fast(desc)) continue;
      std::vector<std::pair<int, int>> arguments = {
          {DNNL_ARG_SRC, kQuery}, {DNNL_ARG_WEIGHTS, kKey}, {DNNL_ARG_DST, kScores}};
      if (adds) {
        arguments.emplace_back(DNNL_ARG_ATTR_MULTIPLE_POST_OP(position) | DNNL_ARG_SRC_1, kMask);
      }
      Add(desc, dnnl::matmul(desc), std::move(arguments));
      return adds || !step_->masked || AddMask();
    }
    return false;
  }

  bool AddMask() {
    const memory::desc scores = ScoresDesc(DataTypeOf::f32);
    const dnnl::binary::primitive_desc desc(Engine(), dnnl::algorithm::binary_add, scores,
                                            ChunkDesc(kMask), scores, BaseAttributes(),
                                            /*allow_empty=*/true);
    if (!Fast(desc)) return false;
    Add(desc, dnnl::binary(desc),
        {{DNNL_ARG_SRC_0, kScores}, {DNNL_ARG_SRC_1, kMask}, {DNNL_ARG_DST, kScores}});
    return true;
  }

  bool AddSoftmax() {
    const dnnl::softmax_forward::primitive_desc desc(
        Engine(), dnnl::prop_kind::forward_inference, dnnl::algorithm::softmax_accurate,
        ScoresDesc(DataTypeOf::f32), ScoresDesc(ProductType()), 3, BaseAttributes(),
        /*allow_empty=*/true);
    if (!Fast(desc)) return false;
    Add(desc, dnnl::softmax_forward(desc),
        {{DNNL_ARG_SRC, kScores}, {DNNL_ARG_DST, bfloat16_ ? kShares : kScores}});
    return true;
  }

  bool AddProduct() {
    for (const bool side_by_side : {true, false}) {
      if (!side_by_side) step_->operands[kResult] = Dense(context_.output_shape(0), rank_);
      const dnnl::matmul::primitive_desc desc(Engine(), ScoresDesc(ProductType()),
                                              ChunkDesc(kValue), ChunkDesc(kResult),
                                              BaseAttributes(), /*allow_empty=*/true);
      if (!Fast(desc)) continue;
      Add(desc, dnnl::matmul(desc),
          {{DNNL_ARG_SRC, bfloat16_ ? kShares : kScores},
           {DNNL_ARG_WEIGHTS, kValue},
           {DNNL_ARG_DST, kResult}});
      return true;
    }
    return false;
  }

  void Finish() {
    const memory::desc nothing({1}, DataTypeOf::f32, memory::format_tag::a);
    for (int i = 0; i < kOperands; ++i) {
      const bool there = i != kMask || step_->masked;
      step_->descs.push_back(there ? ChunkDesc(i) : nothing);
    }
    const memory::desc scores = ScoresDesc(DataTypeOf::f32);
    const memory::desc shares = bfloat16_ ? ScoresDesc(DataTypeOf::bf16) : nothing;
    step_->descs.insert(step_->descs.end(), {scores, shares});
    step_->descs.insert(step_->descs.end(), scratchpads_.begin(), scratchpads_.end());
    step_->shares_offset = Aligned(scores.get_size());
    step_->scratch_offset = step_->shares_offset + Aligned(shares.get_size());
    step_->scratch_bytes = step_->scratch_offset;
    for (const memory::desc& scratchpad : scratchpads_) {  // one after the other in one place
      step_->scratch_bytes =
          std::max(step_->scratch_bytes, step_->scratch_offset + scratchpad.get_size());
    }
  }

  absl::StatusOr<int> Buffer(int input) {
    const auto& lies = as_it_lies_[static_cast<size_t>(input)];
    if (lies) return context_.InLayout(input, *lies);
    return context_.InLayout(input, *InType(*PlainDesc(context_.input_type(input)), ProductType()));
  }

  absl::Status Emit() {
    std::vector<int> inputs;
    for (int i = kQuery; i <= kValue; ++i) {
      OCTET_ASSIGN_OR_RETURN(const int buffer, Buffer(i));
      inputs.push_back(buffer);
    }
    if (step_->masked) {
      OCTET_ASSIGN_OR_RETURN(const int mask, context_.Plain(kMask));
      inputs.push_back(mask);
    }
    const Shape& shape = context_.output_shape(0);
    const auto& steps = step_->operands[kResult].strides;
    const memory::dims strides = rank_ == 3 ? memory::dims{steps[0], steps[2], steps[3]}
                                            : memory::dims(steps.begin(), steps.end());
    const int output = context_.OutputInLayout(
        0, {memory::dims(shape.begin(), shape.end()), DataTypeOf::f32, strides});
    const auto& query = step_->operands[kQuery].dims;
    const int64_t scores = query[0] * query[1] * query[2] * keys_;
    context_.Emit(
        std::make_unique<AttentionKernel>(step_), std::move(inputs), {output},
        {.macs = scores * (query[3] + step_->operands[kValue].dims[3]), .bfloat16 = bfloat16_});
    return absl::OkStatus();
  }

  LoweringContext& context_;
  const AttentionPattern& pattern_;
  const size_t rank_;  // 3 or 4
  bool bfloat16_ = false;
  int64_t keys_ = 0;
  std::array<std::optional<memory::desc>, 3> as_it_lies_;
  std::vector<memory::desc> scratchpads_;
  std::shared_ptr<AttentionStep> step_ = std::make_shared<AttentionStep>();
};

}  // namespace

AttentionChunk ChunkOf(int64_t batch, int64_t heads, int64_t rows, int64_t keys) {
  const int64_t row_bytes = std::max<int64_t>(keys * 4, 1);
  const int64_t fit = kChunkBytes / (row_bytes * std::max<int64_t>(rows, 1));  // heads
  if (fit >= heads) return {LargestDivisor(batch, fit / heads), heads, rows};
  if (fit >= 1) return {1, LargestDivisor(heads, fit), rows};
  // Chunks of few rows read keys and values too often.
  constexpr int64_t kFewestRows = 32;
  const int64_t some = LargestDivisor(rows, std::max(kChunkBytes / row_bytes, kFewestRows));
  return {1, 1, some < kFewestRows ? rows : some};
}

absl::StatusOr<bool> LowerAttention(LoweringContext& context, const AttentionPattern& pattern) {
  return AttentionLowering(context, pattern).Run();
}

}  // namespace octet::kernels
