// Passes that fold nodes into constants, weights and biases.

#include "graph/passes/passes.h"
#include "gtest/gtest.h"
#include "tests/support/graph_maker.h"

namespace octet::graph {
namespace {

using testing::ExpectDecline;
using testing::ExpectRewrite;
using testing::GraphMaker;
using testing::Make;

// Small variances, so that a forgotten epsilon is seen, and gammas of both signs.
ValueId BatchNorm(GraphMaker& m, ValueId x, int64_t channels,
                  absl::flat_hash_map<std::string, Attribute> attributes = {{"epsilon", 0.1f}}) {
  return m.Op("BatchNormalization",
              {x, m.Weights({channels}), m.Weights({channels}), m.Weights({channels}),
               m.Between(0, 0.05f, {channels})},
              std::move(attributes));
}

TEST(FoldConstants, ComputesWhatDependsOnNoInput) {
  const Make make = [](GraphMaker& m) {
    const ValueId weight = m.Op("Transpose", {m.Weights({4, 3})});
    const ValueId sum = m.Op("Add", {weight, m.Scalar(1)});
    m.Output(m.Op("MatMul", {m.Input({2, 3}), sum}));
  };
  ExpectRewrite(FoldConstants, make, "MatMul");
}

TEST(FoldConstants, LeavesWhatDependsOnAnInput) {
  ExpectDecline(
      FoldConstants, [](GraphMaker& m) { m.Output(m.Op("Add", {m.Input({2}), m.Scalar(1)})); },
      "an operand is an input");
}

TEST(FoldBatchNorm, LeavesOneConv) {
  GraphMaker maker;
  const ValueId conv = maker.Op("Conv", {maker.Input({1, 3, 5, 5}), maker.Weights({4, 3, 3, 3})});
  maker.Output(BatchNorm(maker, conv, 4));
  Graph graph = maker.Take();
  const Pass passes[] = {{"fold_batch_norm", FoldBatchNorm}};
  ASSERT_TRUE(RunPasses(graph, passes).ok());
  EXPECT_EQ(ToText(graph),
            "%Conv1 = Conv(%x, %Conv1.weight, %Conv1.bias)\n"
            "return %Conv1\n");
}

TEST(FoldBatchNorm, KeepsTheFunction) {
  for (const bool with_bias : {false, true}) {
    for (const int64_t groups : {1, 2, 4}) {
      const Make conv = [=](GraphMaker& m) {
        std::vector<ValueId> inputs = {m.Input({kUnknownDim, 4, 5, 5}),
                                       m.Weights({8, 4 / groups, 3, 3})};
        if (with_bias) inputs.push_back(m.Weights({8}));
        m.Output(BatchNorm(m, m.Op("Conv", inputs, {{"group", groups}}), 8));
      };
      ExpectRewrite(FoldBatchNorm, conv, "Conv");
      const Make transposed = [=](GraphMaker& m) {
        std::vector<ValueId> inputs = {m.Input({kUnknownDim, 4, 5, 5}),
                                       m.Weights({4, 8 / groups, 2, 2})};
        if (with_bias) inputs.push_back(m.Weights({8}));
        m.Output(BatchNorm(m, m.Op("ConvTranspose", inputs, {{"group", groups}}), 8));
      };
      ExpectRewrite(FoldBatchNorm, transposed, "ConvTranspose");
    }
    for (const int64_t transposed : {0, 1}) {
      const Make gemm = [=](GraphMaker& m) {
        const int64_t rows = transposed ? 5 : 3;
        std::vector<ValueId> inputs = {m.Input({kUnknownDim, 3}), m.Weights({rows, 8 - rows})};
        if (with_bias) inputs.push_back(m.Weights({5}));
        m.Output(BatchNorm(m, m.Op("Gemm", inputs, {{"transB", transposed}}), 5));
      };
      ExpectRewrite(FoldBatchNorm, gemm, "Gemm");
    }
  }
  const Make matmul = [](GraphMaker& m) {
    m.Output(BatchNorm(m, m.Op("MatMul", {m.Input({kUnknownDim, 3}), m.Weights({3, 5})}), 5));
  };
  ExpectRewrite(FoldBatchNorm, matmul, "MatMul");
}

TEST(FoldBatchNorm, HasADefaultEpsilon) {
  const Make make = [](GraphMaker& m) {
    const ValueId conv = m.Op("Conv", {m.Input({2, 2, 3, 3}), m.Weights({2, 2, 1, 1})});
    m.Output(m.Op("BatchNormalization", {conv, m.Weights({2}), m.Weights({2}), m.Weights({2}),
                                         m.Between(1e-5f, 2e-5f, {2})}));
  };
  ExpectRewrite(FoldBatchNorm, make, "Conv");
}

TEST(FoldBatchNorm, LeavesSharedWeightsToTheOther) {
  const Make make = [](GraphMaker& m) {
    const ValueId x = m.Input({1, 3, 4, 4}), weight = m.Weights({3, 3, 1, 1});
    m.Output(BatchNorm(m, m.Op("Conv", {x, weight}), 3));
    m.Output(m.Op("Conv", {x, weight}));
  };
  ExpectRewrite(FoldBatchNorm, make, "Conv Conv");
}

TEST(FoldBatchNorm, DeclinesWhatItCannotProve) {
  const Shape image = {2, 3, 4, 4}, kernel = {3, 3, 1, 1};
  ExpectDecline(
      FoldBatchNorm,
      [&](GraphMaker& m) {
        const ValueId conv = m.Op("Conv", {m.Input(image), m.Weights(kernel)});
        m.Output(BatchNorm(m, conv, 3));
        m.Output(m.Op("Relu", {conv}));
      },
      "the Conv has a second reader");
  ExpectDecline(
      FoldBatchNorm,
      [&](GraphMaker& m) {
        const ValueId conv = m.Op("Conv", {m.Input(image), m.Weights(kernel)});
        m.Output(conv);
        m.Output(BatchNorm(m, conv, 3));
      },
      "the Conv is an output of the graph");
  ExpectDecline(
      FoldBatchNorm,
      [&](GraphMaker& m) {
        const ValueId conv = m.Op("Conv", {m.Input(image), m.Input(kernel, "w")});
        m.Output(BatchNorm(m, conv, 3));
      },
      "the weights arrive as an input");
  ExpectDecline(
      FoldBatchNorm,
      [&](GraphMaker& m) {
        const ValueId conv = m.Op("Conv", {m.Input(image), m.Weights(kernel)});
        m.Output(m.Op("BatchNormalization", {conv, m.Input({3}, "gamma"), m.Weights({3}),
                                             m.Weights({3}), m.Between(1, 2, {3})}));
      },
      "gamma arrives as an input");
  ExpectDecline(
      FoldBatchNorm,
      [&](GraphMaker& m) {
        const ValueId gemm = m.Op("Gemm", {m.Input({2, 3}), m.Weights({3, 4})}, {{"alpha", 0.5f}});
        m.Output(BatchNorm(m, gemm, 4));
      },
      "the Gemm scales its product");
  ExpectDecline(
      FoldBatchNorm,
      [&](GraphMaker& m) {
        const ValueId product = m.Op("MatMul", {m.Input({2, 4, 3}), m.Weights({3, 4})});
        m.Output(BatchNorm(m, product, 4));
      },
      "the channels of BatchNormalization are not those of the product");
}

TEST(FoldBias, MakesAConstantPerChannelABias) {
  for (const bool with_bias : {false, true}) {
    for (const bool constant_first : {false, true}) {
      for (const Shape& shape : {Shape{1, 4, 1, 1}, Shape{4, 1, 1}, Shape{1}, Shape{}}) {
        const Make make = [=](GraphMaker& m) {
          std::vector<ValueId> inputs = {m.Input({kUnknownDim, 3, 5, 5}), m.Weights({4, 3, 3, 3})};
          if (with_bias) inputs.push_back(m.Weights({4}));
          std::vector<ValueId> operands = {m.Op("Conv", inputs), m.Weights(shape)};
          if (constant_first) std::swap(operands[0], operands[1]);
          m.Output(m.Op("Add", operands));
        };
        ExpectRewrite(FoldBias, make, "Conv");
      }
    }
  }
  ExpectRewrite(
      FoldBias,
      [](GraphMaker& m) {
        const ValueId product = m.Op("MatMul", {m.Input({2, kUnknownDim, 3}), m.Weights({3, 4})});
        m.Output(m.Op("Add", {m.Weights({4}), m.Op("Add", {product, m.Weights({1, 4})})}));
      },
      "MatMul");
  ExpectRewrite(
      FoldBias,
      [](GraphMaker& m) {
        const ValueId image =
            m.Op("ConvTranspose", {m.Input({1, 2, 3, 3}), m.Weights({2, 3, 2, 2})});
        m.Output(m.Op("Add", {image, m.Weights({1, 3, 1, 1})}));
      },
      "ConvTranspose");
}

TEST(FoldBias, DeclinesWhatIsNotOnePerChannel) {
  const auto conv_plus = [](const Shape& shape, int64_t channels) {
    return [=](GraphMaker& m) {
      const ValueId conv = m.Op("Conv", {m.Input({1, 3, 5, 5}), m.Weights({channels, 3, 1, 1})});
      m.Output(m.Op("Add", {conv, m.Weights(shape)}));
    };
  };
  ExpectDecline(FoldBias, conv_plus({5}, 5), "it is one per column");
  ExpectDecline(FoldBias, conv_plus({1, 4, 5, 5}, 4), "it differs along the image");
  ExpectDecline(FoldBias, conv_plus({2, 4, 1, 1}, 4), "it makes the result larger");
  ExpectDecline(FoldBias, conv_plus({1, 1, 4, 1, 1}, 4), "it gives the result a dimension");
  ExpectDecline(
      FoldBias,
      [](GraphMaker& m) {
        const ValueId product = m.Op("MatMul", {m.Input({4, 3}), m.Weights({3})});
        m.Output(m.Op("Add", {product, m.Weights({4})}));
      },
      "the product is a vector of rows");
  ExpectDecline(
      FoldBias,
      [](GraphMaker& m) {
        const ValueId conv = m.Op("Conv", {m.Input({1, 3, 5, 5}), m.Weights({4, 3, 1, 1})});
        m.Output(m.Op("Add", {conv, m.Weights({1, 4, 1, 1})}));
        m.Output(m.Op("Relu", {conv}));
      },
      "the Conv has a second reader");
}

TEST(FoldScale, TakesFactorsBehind) {
  for (const bool with_bias : {false, true}) {
    for (const Shape& shape : {Shape{1, 4, 1, 1}, Shape{1}}) {
      for (const int64_t groups : {1, 2}) {
        ExpectRewrite(
            FoldScale,
            [=](GraphMaker& m) {
              std::vector<ValueId> inputs = {m.Input({kUnknownDim, 6, 5, 5}),
                                             m.Weights({4, 6 / groups, 3, 3})};
              if (with_bias) inputs.push_back(m.Weights({4}));
              const ValueId conv =
                  m.Op("Conv", inputs, {{"group", groups}, {"pads", std::vector<int64_t>(4, 1)}});
              m.Output(m.Op("Mul", {conv, m.Weights(shape)}));
            },
            "Conv");
      }
    }
    ExpectRewrite(
        FoldScale,
        [=](GraphMaker& m) {
          std::vector<ValueId> inputs = {m.Input({kUnknownDim, 3}), m.Weights({4, 3})};
          if (with_bias) inputs.push_back(m.Weights({1}));
          const ValueId gemm = m.Op("Gemm", inputs, {{"transB", int64_t{1}}});
          m.Output(m.Op("Mul", {m.Weights({4}), gemm}));
        },
        "Gemm");
  }
}

TEST(FoldScale, TakesFactorsAndAdditionsBefore) {
  for (const int64_t groups : {1, 2, 4}) {
    ExpectRewrite(
        FoldScale,
        [=](GraphMaker& m) {
          const ValueId x = m.Op("Mul", {m.Input({kUnknownDim, 4, 5, 5}), m.Weights({1, 4, 1, 1})});
          const ValueId shifted = m.Op("Add", {x, m.Weights({1, 4, 1, 1})});
          m.Output(m.Op("Conv", {shifted, m.Weights({8, 4 / groups, 3, 3}), m.Weights({8})},
                        {{"group", groups}}));
        },
        "Conv");
  }
  ExpectRewrite(
      FoldScale,
      [](GraphMaker& m) {
        const ValueId x = m.Op("Add", {m.Input({kUnknownDim, 5, 3}), m.Weights({3})});
        m.Output(m.Op("MatMul", {m.Op("Mul", {x, m.Scalar(-0.3f)}), m.Weights({3, 4})}));
      },
      "MatMul");
  // Padding holds zeros, which a factor leaves and an addition would not.
  ExpectRewrite(
      FoldScale,
      [](GraphMaker& m) {
        const ValueId x = m.Op("Add", {m.Input({1, 2, 5, 5}), m.Scalar(0.7f)});
        const ValueId scaled = m.Op("Mul", {x, m.Scalar(2.5f)});
        m.Output(m.Op("Conv", {scaled, m.Weights({3, 2, 3, 3})},
                      {{"pads", std::vector<int64_t>{1, 1, 1, 1}}}));
      },
      "Add Conv");
}

TEST(FoldScale, MovesFactorsBehindProductsOfActivations) {
  ExpectRewrite(
      FoldScale,
      [](GraphMaker& m) {
        const ValueId q = m.Op("Mul", {m.Input({2, 3, 4}, "q"), m.Scalar(0.35f)});
        const ValueId k = m.Op("Mul", {m.Scalar(0.2f), m.Input({2, 4, 5}, "k")});
        m.Output(m.Op("Relu", {m.Op("MatMul", {q, k})}));
      },
      "MatMul Mul Mul Relu");
}

TEST(FoldScale, DeclinesWhatItCannotProve) {
  ExpectDecline(
      FoldScale,
      [](GraphMaker& m) {
        const ValueId conv = m.Op("Conv", {m.Input({1, 3, 4, 4}), m.Weights({4, 3, 1, 1})});
        m.Output(m.Op("Mul", {conv, m.Weights({4})}));
      },
      "the factors are one per column");
  ExpectDecline(
      FoldScale,
      [](GraphMaker& m) {
        const ValueId conv = m.Op("Conv", {m.Input({1, 3, 4, 4}), m.Weights({4, 3, 1, 1})});
        m.Output(m.Op("Mul", {conv, conv}));
      },
      "the factor is no constant");
  ExpectDecline(
      FoldScale,
      [](GraphMaker& m) {
        const ValueId x = m.Op("Mul", {m.Input({1, 3, 4, 4}), m.Scalar(2)});
        m.Output(m.Op("Conv", {x, m.Weights({4, 3, 1, 1})}));
        m.Output(x);
      },
      "the scaled input has a second reader");
  ExpectDecline(
      FoldScale,
      [](GraphMaker& m) {
        const ValueId x = m.Op("Add", {m.Input({1, 3, 4, 4}), m.Scalar(2)});
        m.Output(
            m.Op("Conv", {x, m.Weights({4, 3, 2, 2})}, {{"auto_pad", std::string("SAME_UPPER")}}));
      },
      "padding stands beside what was added to");
}

TEST(FoldPad, BecomesTheConvsOwn) {
  ExpectRewrite(
      FoldPad,
      [](GraphMaker& m) {
        const ValueId padded = m.Op("Pad", {m.Input({kUnknownDim, 2, 6, 5}),
                                            m.Ints({0, 0, 0, 1, 0, 0, 2, 1}), m.Scalar(0)});
        m.Output(m.Op("Conv", {padded, m.Weights({3, 2, 3, 3})},
                      {{"pads", std::vector<int64_t>{1, 0, 0, 2}}}));
      },
      "Conv");
  ExpectRewrite(
      FoldPad,
      [](GraphMaker& m) {
        const ValueId padded =
            m.Op("Pad", {m.Input({1, 2, 6, 5}), m.Ints({1, 2}), kNoValue, m.Ints({-1})});
        m.Output(
            m.Op("Conv", {padded, m.Weights({3, 2, 3, 3})}, {{"auto_pad", std::string("VALID")}}));
      },
      "Conv");
}

TEST(FoldPad, DeclinesOtherPaddings) {
  const auto padded_conv = [](const std::vector<int64_t>& amounts, float value, std::string mode) {
    return [=](GraphMaker& m) {
      const ValueId padded =
          m.Op("Pad", {m.Input({1, 2, 6, 5}), m.Ints(amounts), m.Scalar(value)}, {{"mode", mode}});
      const int64_t channels = m.graph().value(padded).type.shape[1];
      m.Output(m.Op("Conv", {padded, m.Weights({3, channels, 3, 3})}));
    };
  };
  ExpectDecline(FoldPad, padded_conv({0, 0, 1, 1, 0, 0, 1, 1}, 0.5f, "constant"), "not with zeros");
  ExpectDecline(FoldPad, padded_conv({0, 0, 1, 1, 0, 0, 1, 1}, 0, "reflect"), "a reflection");
  ExpectDecline(FoldPad, padded_conv({0, 1, 0, 0, 0, 0, 0, 0}, 0, "constant"), "a channel more");
  ExpectDecline(FoldPad, padded_conv({0, 0, -1, 0, 0, 0, 0, 0}, 0, "constant"), "a row less");
}

}  // namespace
}  // namespace octet::graph
