// What an int8 layer must compute, one output element at a time, in exact integers: the measure of
// the kernels that compute it fast. It shares no code with them.

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "graph/node.h"
#include "graph/types.h"

namespace octet::runtime {

// One input of the layer: its type, and dense row-major elements, codes if the type has a
// quantizer. Borrowed; absent where the node has no such input. The elements of a fused operator's
// operand may be written after the oracle was made.
struct LayerOperand {
  graph::TensorType type;
  ConstTensorView value;
};

// The codes that float rows are quantized to at run time; a kernel may choose either.
enum class RowCodes : uint8_t { kUint8, kInt8 };

// Conv, and Gemm and MatMul with a matrix on the right, with int8 weights. Not thread-safe.
class IntegerOracle {
 public:
  // `node` and the elements outlive the oracle. Unimplemented for other layers, and for fused
  // operators that it does not know.
  static absl::StatusOr<IntegerOracle> Create(const graph::Node& node,
                                              std::vector<LayerOperand> operands, Shape output,
                                              RowCodes row_codes = RowCodes::kUint8);

  // The real number that this output element stands for, before any quantizer of the output.
  double At(int64_t element) { return Chain(Product(element), element); }
  // The same before the fused operators.
  double Product(int64_t element);
  // The fused operators, applied to `value` in place of the product.
  double Chain(double value, int64_t element) const;

 private:
  // How rows of the input are quantized: a row is an image of a convolution or a row of a matrix.
  struct RowQuantizer {
    double scale = 1;
    int32_t zero_point = 0;
  };

  IntegerOracle(const graph::Node& node, std::vector<LayerOperand> operands, Shape output,
                RowCodes row_codes)
      : node_(node),
        operands_(std::move(operands)),
        output_(std::move(output)),
        row_codes_(row_codes) {}

  absl::Status Prepare();
  absl::Status PrepareConvolution();
  absl::Status PrepareMatrix();

  bool is_convolution() const { return !kernel_.empty(); }
  bool is_dynamic() const { return !operands_[0].type.quant.has_value(); }

  template <typename Visit>
  void ForEachTerm(int64_t element, Visit visit) const;
  template <typename Visit>
  void ForEachConvolutionTerm(int64_t element, Visit visit) const;

  RowQuantizer QuantizerOf(int64_t row);
  int32_t CodeOf(double value, const RowQuantizer& quantizer) const;
  int64_t ChannelOf(int64_t element) const;
  double Addend(int64_t element) const;
  // Element of an operand that broadcasts to the output, as a real number.
  double Broadcast(const LayerOperand& operand, int64_t element) const;

  const graph::Node& node_;
  std::vector<LayerOperand> operands_;
  Shape output_;
  RowCodes row_codes_;

  // Convolutions: by spatial dimension.
  std::vector<int64_t> input_, kernel_, strides_, dilations_, pads_;
  int64_t channels_ = 1, outputs_ = 1, group_channels_ = 1, group_outputs_ = 1;
  int64_t output_plane_ = 1;
  // Matrices.
  int64_t depth_ = 1, columns_ = 1, rows_ = 1;
  bool transpose_left_ = false, transpose_right_ = false;
  double alpha_ = 1, beta_ = 1;

  int64_t row_size_ = 1, rows_per_range_ = 1;
  absl::flat_hash_map<int64_t, RowQuantizer> row_quantizers_;
};

}  // namespace octet::runtime
