// Passes that remove and merge nodes.

#include "graph/passes/passes.h"
#include "gtest/gtest.h"
#include "tests/support/graph_maker.h"

namespace octet::graph {
namespace {

using testing::ExpectDecline;
using testing::ExpectRewrite;
using testing::GraphMaker;

ValueId Transposed(GraphMaker& m, ValueId x, std::vector<int64_t> permutation) {
  return m.Op("Transpose", {x}, {{"perm", std::move(permutation)}});
}

TEST(RemoveIdentity, RemovesWhatDoesNothing) {
  ExpectRewrite(
      RemoveIdentity,
      [](GraphMaker& m) {
        ValueId x = m.Op("Identity", {m.Input({kUnknownDim, 2, 6})});
        x = m.Op("Dropout", {x});
        x = m.Op("Cast", {x}, {{"to", int64_t{1}}});
        x = m.Op("Concat", {x}, {{"axis", int64_t{1}}});
        x = m.Op("Pad", {x, m.Ints({0, 0, 0, 0, 0, 0})});
        x = m.Op("Tile", {x, m.Ints({1, 1, 1})});
        x = m.Op("Reshape", {x, m.Ints({-1, 2, 6})});
        x = m.Op("Reshape", {x, m.Ints({0, 2, 6})});
        m.Output(m.Op("Relu", {x}));
      },
      "Relu");
  ExpectRewrite(
      RemoveIdentity,
      [](GraphMaker& m) {
        ValueId x = m.Input({4, 6});
        x = m.Op("Slice", {x, m.Ints({0}), m.Ints({1000}), m.Ints({1})});
        x = m.Op("Expand", {x, m.Ints({4, 1})});
        x = m.Op("Flatten", {x});
        m.Output(m.Op("Relu", {x}));
      },
      "Relu");
}

TEST(RemoveIdentity, DeclinesWhatItCannotProve) {
  ExpectDecline(
      RemoveIdentity,
      [](GraphMaker& m) {
        m.Output(
            m.Op("Slice", {m.Input({4}), m.Ints({3}), m.Ints({-1000}), m.Ints({0}), m.Ints({-1})}));
      },
      "the elements are reversed");
  ExpectDecline(
      RemoveIdentity,
      [](GraphMaker& m) {
        m.Output(
            m.Op("Slice", {m.Input({kUnknownDim}), m.Ints({0}), m.Ints({100000}), m.Ints({0})}));
      },
      "how many there are is not known");
  ExpectDecline(
      RemoveIdentity,
      [](GraphMaker& m) {
        const ValueId x = m.Op("Reshape", {m.Input({kUnknownDim, kUnknownDim}), m.Ints({0, -1})});
        m.Output(x);
      },
      "two dimensions are not known");
  ExpectDecline(
      RemoveIdentity,
      [](GraphMaker& m) { m.Output(m.Op("Pad", {m.Input({2, 2}), m.Ints({1, 0, -1, 0})})); },
      "rows move down");
  ExpectDecline(
      RemoveIdentity,
      [](GraphMaker& m) { m.Output(m.Op("Cast", {m.Input({2})}, {{"to", int64_t{7}}})); },
      "the type changes");
}

TEST(CommonSubexpressions, MergesEqualNodes) {
  ExpectRewrite(
      MergeCommonSubexpressions,
      [](GraphMaker& m) {
        const ValueId x = m.Input({3, 4});
        const ValueId a = m.Op("Add", {x, m.Scalar(1)}), b = m.Op("Add", {x, m.Scalar(1)});
        const ValueId c = m.Op("LeakyRelu", {a}, {{"alpha", 0.1f}});
        const ValueId d = m.Op("LeakyRelu", {b}, {{"alpha", 0.1f}});
        m.Output(m.Op("Mul", {c, d}));
      },
      "Add LeakyRelu Mul");
}

TEST(CommonSubexpressions, KeepsWhatDiffers) {
  const auto pair = [](const auto& first, const auto& second) {
    return [=](GraphMaker& m) {
      const ValueId x = m.Input({4, 4});
      m.Output(m.Op("Mul", {first(m, x), second(m, x)}));
    };
  };
  const auto leaky = [](float alpha) {
    return [alpha](GraphMaker& m, ValueId x) { return m.Op("LeakyRelu", {x}, {{"alpha", alpha}}); };
  };
  const auto plus = [](const Tensor& constant) {
    return [constant](GraphMaker& m, ValueId x) { return m.Op("Add", {x, m.Constant(constant)}); };
  };
  const auto softmax = [](int opset) {
    return [opset](GraphMaker& m, ValueId x) {
      return m.Op("Softmax", {x}, {{"axis", int64_t{1}}}, opset);
    };
  };
  const testing::PassFn merge = MergeCommonSubexpressions;
  ExpectDecline(merge, pair(leaky(0.1f), leaky(0.2f)), "an attribute differs");
  ExpectDecline(merge, pair(plus(Tensor::Scalar(1.0f)), plus(Tensor::Scalar(2.0f))),
                "a constant differs");
  ExpectDecline(merge,
                pair(plus(Tensor::Of<float>({4}, {1, 2, 3, 4})),
                     plus(Tensor::Of<float>({4, 1}, {1, 2, 3, 4}))),
                "a constant's shape differs");
  ExpectDecline(merge, pair(softmax(11), softmax(13)), "the opset differs");
  ExpectDecline(
      merge,
      [](GraphMaker& m) {
        const ValueId x = m.Input({3});
        m.Output(m.Op("Relu", {x}));
        m.Output(m.Op("Relu", {x}));
      },
      "both are outputs of the graph");
}

TEST(SimplifyArithmetic, HasOneSpelling) {
  ExpectRewrite(
      SimplifyArithmetic,
      [](GraphMaker& m) { m.Output(m.Op("Sub", {m.Input({2, 3}), m.Weights({3})})); }, "Add");
  ExpectRewrite(
      SimplifyArithmetic,
      [](GraphMaker& m) { m.Output(m.Op("Div", {m.Input({2, 3}), m.Between(0.5f, 2, {3})})); },
      "Mul");
  ExpectRewrite(
      SimplifyArithmetic,
      [](GraphMaker& m) {
        ValueId x = m.Op("Sub", {m.Input({2, 3}), m.Weights({3})});
        x = m.Op("Add", {m.Weights({1}), x});
        x = m.Op("Add", {x, m.Scalar(0)});
        x = m.Op("Div", {x, m.Scalar(3)});
        x = m.Op("Mul", {m.Scalar(1), x});
        m.Output(m.Op("Mul", {x, m.Weights({2, 3})}));
      },
      "Add Mul");
}

TEST(SimplifyArithmetic, DeclinesWhatItCannotProve) {
  ExpectDecline(
      SimplifyArithmetic, [](GraphMaker& m) { m.Output(m.Op("Sub", {m.Scalar(1), m.Input({3})})); },
      "the constant is what is subtracted from");
  ExpectDecline(
      SimplifyArithmetic, [](GraphMaker& m) { m.Output(m.Op("Div", {m.Input({3}), m.Scalar(0)})); },
      "zero has no reciprocal");
  ExpectDecline(
      SimplifyArithmetic,
      [](GraphMaker& m) {
        m.Output(m.Op("Mul", {m.Input({3}), m.Constant(Tensor::Of<float>({1, 1}, {1}))}));
      },
      "the factor of one adds a dimension");
  ExpectDecline(
      SimplifyArithmetic,
      [](GraphMaker& m) {
        const ValueId x = m.Op("Add", {m.Input({3}), m.Scalar(1)});
        m.Output(m.Op("Mul", {x, m.Op("Add", {x, m.Scalar(3)})}));
      },
      "the first sum has a second reader");
  ExpectDecline(
      SimplifyArithmetic,
      [](GraphMaker& m) {
        const ValueId x = m.Op("Add", {m.Input({2, 3}), m.Weights({3})});
        m.Output(m.Op("Add", {x, m.Weights({2, 1})}));
      },
      "the constants have different shapes");
}

TEST(SimplifyTransposes, CancelsAndMerges) {
  ExpectRewrite(
      SimplifyTransposes,
      [](GraphMaker& m) {
        const ValueId x = Transposed(m, m.Input({2, 3, 4, 5}), {0, 2, 3, 1});
        m.Output(m.Op("Relu", {Transposed(m, x, {0, 3, 1, 2})}));
      },
      "Relu");
  ExpectRewrite(
      SimplifyTransposes,
      [](GraphMaker& m) {
        const ValueId x = Transposed(m, m.Input({2, 3, 4, 5}), {0, 2, 1, 3});
        m.Output(Transposed(m, x, {0, 1, 3, 2}));
      },
      "Transpose");
  ExpectRewrite(
      SimplifyTransposes,
      [](GraphMaker& m) {
        m.Output(m.Op("Relu", {Transposed(m, m.Op("Abs", {m.Input({2, 3})}), {0, 1})}));
      },
      "Abs Relu");
  ExpectRewrite(
      SimplifyTransposes,
      [](GraphMaker& m) {
        const ValueId x = m.Op("Transpose", {m.Input({2, 3, 4})});
        m.Output(m.Op("Abs", {m.Op("Transpose", {m.Op("Neg", {x})})}));
      },
      "Neg Abs");
}

TEST(SimplifyTransposes, CancelsAcrossElementwiseOperators) {
  ExpectRewrite(
      SimplifyTransposes,
      [](GraphMaker& m) {
        const ValueId x = Transposed(m, m.Input({kUnknownDim, 3, 4, 5}), {0, 2, 3, 1});
        const ValueId y = m.Op("Clip", {m.Op("Mul", {x, m.Scalar(2)}), m.Scalar(-1), m.Scalar(3)});
        m.Output(Transposed(m, y, {0, 3, 1, 2}));
      },
      "Mul Clip");
  // Both operands come transposed, as from two branches.
  ExpectRewrite(
      SimplifyTransposes,
      [](GraphMaker& m) {
        const ValueId a = Transposed(m, m.Input({2, 3, 4}, "a"), {1, 2, 0});
        const ValueId b = Transposed(m, m.Input({2, 3, 4}, "b"), {1, 2, 0});
        const ValueId sum = m.Op("Add", {m.Op("Tanh", {a}), b});
        m.Output(m.Op("Abs", {Transposed(m, sum, {2, 0, 1})}));
      },
      "Tanh Add Abs");
}

TEST(SimplifyTransposes, PermutesConstantsOnTheWay) {
  const Pass passes[] = {{"simplify_transposes", SimplifyTransposes},
                         {"fold_constants", FoldConstants}};
  for (const Shape& shape : {Shape{3}, Shape{5, 3}, Shape{4, 5, 3}, Shape{4, 1, 1}}) {
    GraphMaker m(shape.size());
    const ValueId x = Transposed(m, m.Input({2, 3, 4, 5}), {0, 2, 3, 1});
    m.Output(Transposed(m, m.Op("Add", {m.Weights(shape), x}), {0, 3, 1, 2}));
    Graph graph = m.Take();
    EXPECT_GT(testing::ExpectSameFunction(graph, passes, shape.size()), 0);
    EXPECT_EQ(testing::OpsOf(graph), "Add");
  }
}

TEST(SimplifyTransposes, DeclinesWhatWouldNotPay) {
  ExpectDecline(
      SimplifyTransposes,
      [](GraphMaker& m) {
        const ValueId x = Transposed(m, m.Input({2, 3, 4}), {1, 2, 0});
        m.Output(m.Op("Softmax", {x}));
      },
      "nothing undoes it");
  ExpectDecline(
      SimplifyTransposes,
      [](GraphMaker& m) {
        const ValueId x = Transposed(m, m.Input({2, 3, 4}), {0, 2, 1});
        m.Output(Transposed(m, m.Op("Softmax", {x}), {0, 2, 1}));
      },
      "Softmax is not elementwise");
  ExpectDecline(
      SimplifyTransposes,
      [](GraphMaker& m) {
        const ValueId x = m.Op("Relu", {Transposed(m, m.Input({2, 3, 4}), {0, 2, 1})});
        m.Output(Transposed(m, x, {0, 2, 1}));
        m.Output(x);
      },
      "the transposed value is needed");
  ExpectDecline(
      SimplifyTransposes,
      [](GraphMaker& m) {
        const ValueId x =
            m.Op("Add", {Transposed(m, m.Input({2, 3, 4}), {0, 2, 1}), m.Input({2, 4, 3}, "y")});
        m.Output(Transposed(m, x, {0, 2, 1}));
      },
      "the other operand would have to be transposed instead");
  ExpectDecline(
      SimplifyTransposes,
      [](GraphMaker& m) {
        const ValueId x = m.Op("Relu", {Transposed(m, m.Input({2, 3, 4}), {1, 2, 0})});
        m.Output(Transposed(m, x, {1, 2, 0}));
      },
      "they do not undo each other");
}

TEST(MergeReshapes, ReadsTheOriginal) {
  ExpectRewrite(
      MergeReshapes,
      [](GraphMaker& m) {
        ValueId x = m.Op("Reshape", {m.Input({kUnknownDim, 6}), m.Ints({-1, 2, 3})});
        x = m.Op("Unsqueeze", {x, m.Ints({1})});
        m.Output(m.Op("Reshape", {m.Op("Flatten", {x}), m.Ints({-1, 3})}));
      },
      "Reshape");
}

TEST(MergeReshapes, DeclinesWhatReadsTheShape) {
  ExpectDecline(
      MergeReshapes,
      [](GraphMaker& m) {
        const ValueId x = m.Op("Reshape", {m.Input({4, 6}), m.Ints({2, 12})});
        m.Output(m.Op("Reshape", {x, m.Ints({0, 3, 4})}));
      },
      "a dimension of the first result is kept");
}

}  // namespace
}  // namespace octet::graph
