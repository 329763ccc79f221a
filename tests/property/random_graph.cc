#include "tests/property/random_graph.h"

#include <array>
#include <vector>

#include "tests/support/graph_maker.h"

namespace octet::testing {
namespace {

using graph::ValueId;

// Grows a graph by one step at a time, from values that are there already.
class Grower {
 public:
  explicit Grower(uint64_t seed) : m_(seed) {
    images_.push_back(m_.Input({kUnknownDim, 4, 6, 6}, "image"));
    rows_.push_back(m_.Input({kUnknownDim, 5, 8}, "rows"));
  }

  graph::Graph Grow() {
    const int64_t steps = 4 + m_.random().Below(12);
    for (int64_t i = 0; i < steps; ++i) {
      if (m_.random().Chance(0.5)) {
        images_.push_back(Bounded(ImageStep(Any(images_))));
      } else {
        rows_.push_back(Bounded(RowStep(Any(rows_))));
      }
    }
    m_.Output(m_.Op("Identity", {images_.back()}));
    m_.Output(m_.Op("Identity", {rows_.back()}));
    if (m_.random().Chance(0.3)) m_.Output(m_.Op("Neg", {Any(images_)}));
    return m_.Take();
  }

 private:
  // Mostly the newest, so that chains come about.
  ValueId Any(const std::vector<ValueId>& values) {
    if (m_.random().Chance(0.7)) return values.back();
    return values[m_.random().Below(static_cast<int64_t>(values.size()))];
  }

  // Now and then something that keeps the numbers from growing.
  ValueId Bounded(ValueId x) { return m_.random().Chance(0.25) ? m_.Op("Tanh", {x}) : x; }

  const Shape& ShapeOf(ValueId x) const { return m_.graph().value(x).type.shape; }

  ValueId Scalar() { return m_.Scalar(m_.random().Between(0.4f, 1.6f)); }

  // All images have four channels and six rows and columns.
  ValueId ImageStep(ValueId x) {
    switch (m_.random().Below(10)) {
      case 0:
        return Conv(x);
      case 1:
        return BatchNorm(Conv(x));
      case 2:
        return m_.Op("Add", {Conv(x), Any(images_)});
      case 3:
        return m_.Op("Mul", {Conv(x), m_.Between(0.5f, 1.5f, {4, 1, 1})});
      case 4:
        return PaddedConv(x);
      case 5:
        return TransposedStep(x);
      case 6:
        return BatchNorm(x);
      default:
        return Elementwise(x, {1, 4, 1, 1});
    }
  }

  ValueId Conv(ValueId x) {
    const int64_t groups = int64_t{1} << m_.random().Below(3);
    const bool pointwise = m_.random().Chance(0.5);
    const int64_t taps = pointwise ? 1 : 3, pad = pointwise ? 0 : 1;
    std::vector<ValueId> inputs = {x, m_.Weights({4, 4 / groups, taps, taps}, 0.4f)};
    if (m_.random().Chance(0.5)) inputs.push_back(m_.Weights({4}));
    return m_.Op("Conv", inputs,
                 {{"group", groups}, {"pads", std::vector<int64_t>{pad, pad, pad, pad}}});
  }

  ValueId PaddedConv(ValueId x) {
    const ValueId padded = m_.Op(
        "Pad", {x, m_.Ints({0, 0, 1, 2, 0, 0, 1, 0}), m_.Scalar(m_.random().Chance(0.7) ? 0 : 1)});
    return m_.Op("Conv", {padded, m_.Weights({4, 4, 3, 3}, 0.3f)});
  }

  ValueId BatchNorm(ValueId x) {
    return m_.Op("BatchNormalization",
                 {x, m_.Weights({4}), m_.Weights({4}), m_.Weights({4}), m_.Between(0, 2, {4})},
                 {{"epsilon", 0.1f}});
  }

  // Channels last and back, as some exporters write it.
  ValueId TransposedStep(ValueId x) {
    ValueId y = m_.Op("Transpose", {x}, {{"perm", std::vector<int64_t>{0, 2, 3, 1}}});
    if (m_.random().Chance(0.7)) y = m_.Op("Add", {y, m_.Weights({4})});
    if (m_.random().Chance(0.7)) y = Elementwise(y, {1, 6, 1, 4});
    return m_.Op("Transpose", {y}, {{"perm", std::vector<int64_t>{0, 3, 1, 2}}});
  }

  // All rows have five entries of eight numbers.
  ValueId RowStep(ValueId x) {
    switch (m_.random().Below(8)) {
      case 0:
        return Linear(x);
      case 1:
        return m_.Op("Add", {m_.Weights({8}), m_.Op("Add", {Linear(x), Any(rows_)})});
      case 2:
        return LayerNorm(x);
      case 3:
        return Attention(x);
      case 4: {
        const ValueId split = m_.Op("Reshape", {x, m_.Ints({-1, 5, 4, 2})});
        return m_.Op("Reshape", {split, m_.Ints({-1, 5, 8})});
      }
      default:
        return Elementwise(x, {8});
    }
  }

  // Some exporters leave the transposition of the weights to the reader.
  ValueId Linear(ValueId x) {
    ValueId weight = m_.Weights({8, 8}, 0.3f);
    if (m_.random().Chance(0.3)) weight = m_.Op("Transpose", {weight});
    return m_.Op("MatMul", {x, weight});
  }

  ValueId LayerNorm(ValueId x) {
    const auto mean = [&](ValueId of) {
      return m_.Op("ReduceMean", {of}, {{"axes", std::vector<int64_t>{-1}}}, 13);
    };
    const bool centred = m_.random().Chance(0.7);
    const ValueId d = centred ? m_.Op("Sub", {x, mean(x)}) : x;
    const bool twice = centred && m_.random().Chance(0.5);
    const ValueId e = twice ? m_.Op("Sub", {x, mean(x)}) : d;
    const ValueId power = m_.Op("Add", {mean(m_.Op("Pow", {e, m_.Scalar(2)})), m_.Scalar(0.5f)});
    const ValueId y = m_.Op("Div", {d, m_.Op("Sqrt", {power})});
    return m_.Op("Add", {m_.Op("Mul", {y, m_.Weights({8})}), m_.Weights({8})});
  }

  ValueId Attention(ValueId x) {
    const ValueId q = m_.Op("Mul", {Linear(x), Scalar()});
    const ValueId k = m_.Op("Transpose", {Linear(x)}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
    const ValueId scores = m_.Op("Div", {m_.Op("MatMul", {q, k}), m_.Scalar(2.8f)});
    return m_.Op("MatMul", {m_.Op("Softmax", {scores}, {{"axis", int64_t{-1}}}), x});
  }

  // `parameter` is a shape that broadcasts to that of x.
  ValueId Elementwise(ValueId x, const Shape& parameter) {
    static constexpr auto kUnary = std::to_array<absl::string_view>(
        {"Relu", "Sigmoid", "Tanh", "HardSwish", "Gelu", "Softplus", "LeakyRelu", "Neg"});
    switch (m_.random().Below(9)) {
      case 0:
        return m_.Op("Add", {x, Scalar()});
      case 1:
        return m_.Op("Sub", {x, m_.Weights(parameter)});
      case 2:
        return m_.Op("Mul", {Scalar(), x});
      case 3:
        return m_.Op("Div", {x, m_.Between(0.8f, 1.5f, parameter)});
      case 4:
        return m_.Op("Mul", {x, m_.Op("Sigmoid", {x})});
      case 5: {
        const ValueId shifted = m_.Op("Add", {x, m_.Scalar(3)});
        const ValueId gate = m_.Op("Clip", {shifted, m_.Scalar(0), m_.Scalar(6)});
        return m_.Op("Div", {m_.Op("Mul", {x, gate}), m_.Scalar(6)});
      }
      case 6:
        return m_.Op("Min", {m_.Op("Relu", {x}), m_.Scalar(m_.random().Between(0.5f, 6))});
      default:
        return m_.Op(kUnary[m_.random().Below(kUnary.size())], {x});
    }
  }

  GraphMaker m_;
  std::vector<ValueId> images_, rows_;
};

}  // namespace

graph::Graph RandomGraph(uint64_t seed) { return Grower(seed).Grow(); }

}  // namespace octet::testing
