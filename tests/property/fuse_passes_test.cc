// Passes that make one operator of several.

#include <cmath>
#include <numbers>

#include "graph/passes/passes.h"
#include "gtest/gtest.h"
#include "tests/support/graph_maker.h"

namespace octet::graph {
namespace {

using testing::ExpectDecline;
using testing::ExpectRewrite;
using testing::GraphMaker;
using testing::Make;

constexpr float kRoot2 = std::numbers::sqrt2_v<float>;
const float kGeluScale = std::sqrt(2 / std::numbers::pi_v<float>);

// A graph whose output is `function` of the input.
template <typename Function>
Make Of(Function function) {
  return [function](GraphMaker& m) { m.Output(function(m, m.Input({kUnknownDim, 7}))); };
}

ValueId Add(GraphMaker& m, ValueId a, ValueId b) { return m.Op("Add", {a, b}); }
ValueId Mul(GraphMaker& m, ValueId a, ValueId b) { return m.Op("Mul", {a, b}); }
ValueId Div(GraphMaker& m, ValueId a, ValueId b) { return m.Op("Div", {a, b}); }

// 1 + erf(x / sqrt(2)).
ValueId ErfGate(GraphMaker& m, ValueId x, bool divides = true) {
  const ValueId scaled = divides ? Div(m, x, m.Scalar(kRoot2)) : Mul(m, m.Scalar(1 / kRoot2), x);
  const ValueId erf = m.Op("Erf", {scaled});
  return divides ? Add(m, erf, m.Scalar(1)) : Add(m, m.Scalar(1), erf);
}

TEST(FuseActivationPatterns, FindsEverySpellingOfGelu) {
  for (const bool divides : {false, true}) {
    ExpectRewrite(FuseActivationPatterns, Of([=](GraphMaker& m, ValueId x) {
                    return Mul(m, Mul(m, x, ErfGate(m, x, divides)), m.Scalar(0.5f));
                  }),
                  "Gelu");
    ExpectRewrite(FuseActivationPatterns, Of([=](GraphMaker& m, ValueId x) {
                    return Mul(m, x, Mul(m, m.Scalar(0.5f), ErfGate(m, x, divides)));
                  }),
                  "Gelu");
    ExpectRewrite(FuseActivationPatterns, Of([=](GraphMaker& m, ValueId x) {
                    return Mul(m, ErfGate(m, x, divides), Mul(m, x, m.Scalar(0.5f)));
                  }),
                  "Gelu");
    ExpectRewrite(FuseActivationPatterns, Of([=](GraphMaker& m, ValueId x) {
                    return Div(m, Mul(m, ErfGate(m, x, divides), x), m.Scalar(2));
                  }),
                  "Gelu");
  }
  ExpectRewrite(FuseActivationPatterns, Of([](GraphMaker& m, ValueId x) {
                  const ValueId half =
                      Mul(m, m.Op("Erf", {Div(m, x, m.Scalar(kRoot2))}), m.Scalar(0.5f));
                  return Mul(m, x, Add(m, half, m.Scalar(0.5f)));
                }),
                "Gelu");
}

TEST(FuseActivationPatterns, FindsGeluByTanh) {
  ExpectRewrite(FuseActivationPatterns, Of([](GraphMaker& m, ValueId x) {
                  const ValueId cube = m.Op("Pow", {x, m.Scalar(3)});
                  const ValueId inner = Add(m, x, Mul(m, cube, m.Scalar(0.044715f)));
                  const ValueId tanh = m.Op("Tanh", {Mul(m, m.Scalar(kGeluScale), inner)});
                  return Mul(m, Mul(m, m.Scalar(0.5f), x), Add(m, m.Scalar(1), tanh));
                }),
                "Gelu");
  ExpectRewrite(
      FuseActivationPatterns, Of([](GraphMaker& m, ValueId x) {
        const ValueId square = Mul(m, Mul(m, x, m.Scalar(0.044715f)), x);
        const ValueId inner = Mul(m, Mul(m, x, m.Scalar(kGeluScale)), Add(m, square, m.Scalar(1)));
        return Mul(m, x, Mul(m, Add(m, m.Op("Tanh", {inner}), m.Scalar(1)), m.Scalar(0.5f)));
      }),
      "Gelu");
}

TEST(FuseActivationPatterns, FindsSwishAndMish) {
  ExpectRewrite(FuseActivationPatterns,
                Of([](GraphMaker& m, ValueId x) { return Mul(m, m.Op("Sigmoid", {x}), x); }),
                "Swish");
  ExpectRewrite(FuseActivationPatterns, Of([](GraphMaker& m, ValueId x) {
                  return Mul(m, x, m.Op("Sigmoid", {Mul(m, x, m.Scalar(1.702f))}));
                }),
                "Swish");
  ExpectRewrite(FuseActivationPatterns, Of([](GraphMaker& m, ValueId x) {
                  return Mul(m, x, m.Op("Tanh", {m.Op("Softplus", {x})}));
                }),
                "Mish");
  ExpectRewrite(FuseActivationPatterns, Of([](GraphMaker& m, ValueId x) {
                  const ValueId log = m.Op("Log", {Add(m, m.Op("Exp", {x}), m.Scalar(1))});
                  return Mul(m, m.Op("Tanh", {log}), x);
                }),
                "Mish");
}

ValueId Relu6(GraphMaker& m, ValueId x) { return m.Op("Clip", {x, m.Scalar(0), m.Scalar(6)}); }

TEST(FuseActivationPatterns, FindsEverySpellingOfHardSwish) {
  const auto shifted = [](GraphMaker& m, ValueId x) {
    return Relu6(m, Add(m, x, m.Constant(Tensor::Of<float>({1}, {3}))));
  };
  ExpectRewrite(FuseActivationPatterns, Of([=](GraphMaker& m, ValueId x) {
                  return Div(m, Mul(m, x, shifted(m, x)), m.Scalar(6));
                }),
                "HardSwish");
  ExpectRewrite(FuseActivationPatterns, Of([=](GraphMaker& m, ValueId x) {
                  return Mul(m, x, Div(m, shifted(m, x), m.Scalar(6)));
                }),
                "HardSwish");
  ExpectRewrite(FuseActivationPatterns, Of([=](GraphMaker& m, ValueId x) {
                  return Mul(m, Mul(m, shifted(m, x), m.Scalar(1.0f / 6)), x);
                }),
                "HardSwish");
  ExpectRewrite(FuseActivationPatterns, Of([](GraphMaker& m, ValueId x) {
                  return Mul(m, x, m.Op("HardSigmoid", {x}, {{"alpha", 1.0f / 6}, {"beta", 0.5f}}));
                }),
                "HardSwish");
  ExpectRewrite(FuseActivationPatterns, Of([](GraphMaker& m, ValueId x) {
                  const ValueId line = Add(m, Div(m, x, m.Scalar(6)), m.Scalar(0.5f));
                  return Mul(m, x, m.Op("Clip", {line, m.Scalar(0), m.Scalar(1)}));
                }),
                "HardSwish");
  // What is multiplied in outside stays outside.
  ExpectRewrite(FuseActivationPatterns, Of([=](GraphMaker& m, ValueId x) {
                  return Mul(m, m.Scalar(0.47f), Div(m, Mul(m, x, shifted(m, x)), m.Scalar(6)));
                }),
                "HardSwish Mul");
}

TEST(FuseActivationPatterns, FindsHardSigmoid) {
  ExpectRewrite(FuseActivationPatterns, Of([](GraphMaker& m, ValueId x) {
                  return Div(m, Relu6(m, Add(m, x, m.Scalar(3))), m.Scalar(6));
                }),
                "HardSigmoid");
  ExpectRewrite(FuseActivationPatterns, Of([](GraphMaker& m, ValueId x) {
                  const ValueId line = Add(m, Mul(m, x, m.Scalar(-0.3f)), m.Scalar(0.4f));
                  return m.Op("Clip", {line, m.Scalar(0), m.Scalar(1)});
                }),
                "HardSigmoid");
}

TEST(FuseActivationPatterns, KeepsAnArgumentThatOthersRead) {
  ExpectRewrite(
      FuseActivationPatterns,
      [](GraphMaker& m) {
        const ValueId x = Add(m, m.Input({3}), m.Scalar(0.5f));
        const ValueId sigmoid = m.Op("Sigmoid", {x});
        m.Output(Mul(m, x, sigmoid));
        m.Output(sigmoid);
      },
      "Add Sigmoid Swish");
}

TEST(FuseActivationPatterns, DeclinesWhatIsOnlySimilar) {
  const auto declines = [](auto function, const std::string& why) {
    ExpectDecline(FuseActivationPatterns, Of(function), why);
  };
  declines([](GraphMaker& m, ValueId x) { return Mul(m, x, ErfGate(m, x)); }, "no half");
  declines(
      [](GraphMaker& m, ValueId x) {
        const ValueId erf = m.Op("Erf", {Div(m, x, m.Scalar(1.4f))});
        return Mul(m, Mul(m, x, Add(m, erf, m.Scalar(1))), m.Scalar(0.5f));
      },
      "not divided by the root of two");
  declines(
      [](GraphMaker& m, ValueId x) {
        const ValueId erf = m.Op("Erf", {Div(m, x, m.Scalar(kRoot2))});
        return Mul(m, Mul(m, x, Add(m, erf, m.Scalar(0.9f))), m.Scalar(0.5f));
      },
      "not one plus erf");
  declines(
      [](GraphMaker& m, ValueId x) {
        const ValueId other = m.Op("Abs", {x});
        return Mul(m, Mul(m, other, ErfGate(m, x)), m.Scalar(0.5f));
      },
      "another factor than erf's argument");
  declines(
      [](GraphMaker& m, ValueId x) {
        const ValueId shifted = Add(m, x, m.Scalar(0.1f));
        return Mul(m, x, m.Op("Sigmoid", {shifted}));
      },
      "a shifted sigmoid");
  declines(
      [](GraphMaker& m, ValueId x) {
        const ValueId clip = m.Op("Clip", {Add(m, x, m.Scalar(3)), m.Scalar(0), m.Scalar(5)});
        return Div(m, Mul(m, x, clip), m.Scalar(6));
      },
      "clipped at five");
  declines(
      [](GraphMaker& m, ValueId x) {
        return Mul(m, x, m.Op("HardSigmoid", {x}, {{"alpha", 0.2f}, {"beta", 0.5f}}));
      },
      "another slope");
  declines(
      [](GraphMaker& m, ValueId x) {
        const ValueId wide = m.Constant(Tensor::Of<float>({1, 1, 1}, {0.5f}));
        return Mul(m, Mul(m, x, ErfGate(m, x)), wide);
      },
      "a constant adds a dimension");
  declines(
      [](GraphMaker& m, ValueId x) {
        const ValueId cube = m.Op("Pow", {x, m.Scalar(3)});
        const ValueId inner = Add(m, x, Mul(m, cube, m.Scalar(0.05f)));
        const ValueId tanh = m.Op("Tanh", {Mul(m, m.Scalar(kGeluScale), inner)});
        return Mul(m, Mul(m, m.Scalar(0.5f), x), Add(m, m.Scalar(1), tanh));
      },
      "another cubic term");
}

TEST(FuseClips, MakesOneOfSeveral) {
  ExpectRewrite(FuseClips, Of([](GraphMaker& m, ValueId x) {
                  return m.Op("Min", {m.Op("Relu", {x}), m.Scalar(2)});
                }),
                "Clip");
  ExpectRewrite(FuseClips, Of([](GraphMaker& m, ValueId x) {
                  return m.Op("Max", {m.Scalar(-1), m.Op("Min", {x, m.Scalar(1.5f)})});
                }),
                "Clip");
  ExpectRewrite(FuseClips,
                Of([](GraphMaker& m, ValueId x) { return m.Op("Max", {x, m.Scalar(0)}); }), "Relu");
  ExpectRewrite(FuseClips, Of([](GraphMaker& m, ValueId x) {
                  const ValueId low = m.Op("Clip", {x, m.Scalar(-2), m.Scalar(-1)});
                  return m.Op("Relu", {low});
                }),
                "Clip");
  ExpectRewrite(FuseClips, Of([](GraphMaker& m, ValueId x) {
                  const ValueId old = m.Op("Clip", {x}, {{"min", -1.0f}, {"max", 2.0f}}, 6);
                  return m.Op("Relu", {old});
                }),
                "Clip");
}

TEST(FuseClips, DeclinesOtherMinima) {
  ExpectDecline(FuseClips,
                Of([](GraphMaker& m, ValueId x) { return m.Op("Min", {x, m.Weights({7})}); }),
                "a bound for every column");
  ExpectDecline(FuseClips, Of([](GraphMaker& m, ValueId x) { return m.Op("Relu", {x}); }),
                "there is nothing to merge");
  ExpectDecline(
      FuseClips,
      [](GraphMaker& m) {
        const ValueId relu = m.Op("Relu", {m.Input({3})});
        m.Output(relu);
        m.Output(m.Op("Clip", {relu, m.Scalar(0.5f), m.Scalar(1)}));
      },
      "the Relu has a second reader");
}

// How an exporter may write the normalization of the last dimensions.
struct NormSpelling {
  bool square_by_pow = true;
  bool root_by_pow = false;
  bool reciprocal = false;
  bool centred = true;
  bool centred_twice = false;
  bool axes_as_input = false;
  bool scale = true;
  bool shift = true;
  std::vector<int64_t> axes = {-1};
  Shape parameter = {6};
};

ValueId MeanOf(GraphMaker& m, ValueId x, const NormSpelling& spelling) {
  if (spelling.axes_as_input) return m.Op("ReduceMean", {x, m.Ints(spelling.axes)}, {}, 18);
  return m.Op("ReduceMean", {x}, {{"axes", spelling.axes}}, 13);
}

ValueId Norm(GraphMaker& m, ValueId x, const NormSpelling& spelling) {
  const auto centred = [&] {
    return spelling.centred ? m.Op("Sub", {x, MeanOf(m, x, spelling)}) : x;
  };
  const ValueId d = centred();
  const ValueId e = spelling.centred_twice ? centred() : d;
  const ValueId square = spelling.square_by_pow ? m.Op("Pow", {e, m.Scalar(2)}) : Mul(m, e, e);
  const ValueId power = Add(m, MeanOf(m, square, spelling), m.Scalar(0.01f));
  ValueId y;
  if (spelling.reciprocal && spelling.root_by_pow) {
    y = Mul(m, m.Op("Pow", {power, m.Scalar(-0.5f)}), d);
  } else {
    const ValueId root =
        spelling.root_by_pow ? m.Op("Pow", {power, m.Scalar(0.5f)}) : m.Op("Sqrt", {power});
    y = spelling.reciprocal ? Mul(m, d, m.Op("Reciprocal", {root})) : Div(m, d, root);
  }
  if (spelling.scale) y = Mul(m, y, m.Weights(spelling.parameter));
  if (spelling.shift) y = Add(m, m.Weights(spelling.parameter), y);
  return y;
}

Make NormGraph(const NormSpelling& spelling) {
  return [spelling](GraphMaker& m) {
    m.Output(Norm(m, m.Input({kUnknownDim, kUnknownDim, 6}), spelling));
  };
}

TEST(FuseLayerNormalization, FindsEverySpelling) {
  for (const NormSpelling& spelling : {
           NormSpelling{},
           NormSpelling{.square_by_pow = false},
           NormSpelling{.root_by_pow = true},
           NormSpelling{.reciprocal = true},
           NormSpelling{.root_by_pow = true, .reciprocal = true},
           NormSpelling{.centred_twice = true},
           NormSpelling{.axes_as_input = true},
           NormSpelling{.shift = false},
           NormSpelling{.scale = false},
           NormSpelling{.scale = false, .shift = false},
           NormSpelling{.axes = {2}},
           NormSpelling{.parameter = {1, 1, 6}},
           NormSpelling{.parameter = {1}},
       }) {
    ExpectRewrite(FuseLayerNormalization, NormGraph(spelling), "LayerNormalization");
  }
  ExpectRewrite(
      FuseLayerNormalization,
      [](GraphMaker& m) {
        m.Output(Norm(m, m.Input({kUnknownDim, 4, 6}), {.axes = {2, 1}, .parameter = {4, 6}}));
      },
      "LayerNormalization");
}

TEST(FuseLayerNormalization, FindsRmsNormalization) {
  for (const NormSpelling& spelling : {
           NormSpelling{.centred = false, .shift = false},
           NormSpelling{
               .square_by_pow = false, .reciprocal = true, .centred = false, .shift = false},
           NormSpelling{.centred = false, .scale = false, .shift = false},
       }) {
    ExpectRewrite(FuseLayerNormalization, NormGraph(spelling), "RMSNormalization");
  }
  ExpectRewrite(FuseLayerNormalization, NormGraph({.centred = false}), "RMSNormalization Add");
}

TEST(FuseLayerNormalization, DeclinesWhatIsOnlySimilar) {
  ExpectDecline(FuseLayerNormalization, NormGraph({.axes = {1}, .parameter = {1}}),
                "not the last dimension");
  ExpectDecline(
      FuseLayerNormalization,
      [](GraphMaker& m) {
        const ValueId x = m.Input({2, kUnknownDim});
        m.Output(Norm(m, x, {.scale = false, .shift = false}));
      },
      "the scale that it needs has an unknown size");
  ExpectDecline(
      FuseLayerNormalization,
      [](GraphMaker& m) {
        const ValueId x = m.Input({2, 6});
        const ValueId d = m.Op("Sub", {x, MeanOf(m, x, {})});
        const ValueId square = Mul(m, x, x);
        const ValueId power = Add(m, MeanOf(m, square, {}), m.Scalar(0.01f));
        m.Output(Div(m, d, m.Op("Sqrt", {power})));
      },
      "the square is of another value");
  ExpectDecline(
      FuseLayerNormalization,
      [](GraphMaker& m) {
        const ValueId x = m.Input({6, 6});
        const auto mean = [&](ValueId of) {
          return m.Op("ReduceMean", {of},
                      {{"axes", std::vector<int64_t>{-1}}, {"keepdims", int64_t{0}}}, 13);
        };
        const ValueId d = m.Op("Sub", {x, mean(x)});
        m.Output(Div(m, d, m.Op("Sqrt", {Add(m, mean(Mul(m, d, d)), m.Scalar(0.01f))})));
      },
      "without its dimension the mean is subtracted from columns");
  ExpectRewrite(
      FuseLayerNormalization,
      [](GraphMaker& m) {
        const ValueId norm = Norm(m, m.Input({2, 3, 6}), {.shift = false});
        m.Output(Add(m, norm, m.Weights({3, 1})));
      },
      "LayerNormalization Add");
}

TEST(FuseElementwise, AbsorbsChainsInOrder) {
  const auto conv = [](GraphMaker& m) {
    return m.Op("Conv", {m.Input({kUnknownDim, 3, 5, 5}), m.Weights({4, 3, 3, 3}), m.Weights({4})});
  };
  ExpectRewrite(
      FuseElementwise,
      [=](GraphMaker& m) {
        const ValueId y = m.Op("HardSwish", {conv(m)});
        m.Output(Add(m, m.Scalar(0.3f), Mul(m, y, m.Scalar(-1.7f))));
      },
      "Conv+HardSwish+Linear");
  ExpectRewrite(
      FuseElementwise,
      [=](GraphMaker& m) {
        m.Output(Relu6(m, Mul(m, Add(m, conv(m), m.Scalar(0.3f)), m.Scalar(2))));
      },
      "Conv+Linear+Clip");
  ExpectRewrite(
      FuseElementwise,
      [=](GraphMaker& m) {
        const ValueId y = m.Op("Gelu", {conv(m)}, {{"approximate", std::string("tanh")}});
        m.Output(m.Op("LeakyRelu", {m.Op("Elu", {y}, {{"alpha", 0.3f}})}, {{"alpha", 0.2f}}));
      },
      "Conv+GeluTanh+Elu+LeakyRelu");
  ExpectRewrite(
      FuseElementwise,
      [](GraphMaker& m) {
        const ValueId image =
            m.Op("ConvTranspose", {m.Input({1, 2, 3, 3}), m.Weights({2, 3, 2, 2})});
        m.Output(m.Op("Sigmoid", {image}));
      },
      "ConvTranspose+Sigmoid");
  ExpectRewrite(
      FuseElementwise,
      [](GraphMaker& m) {
        const ValueId y = m.Op("MatMul", {m.Input({2, 3, 4}, "a"), m.Input({2, 4, 5}, "b")});
        m.Output(m.Op("Swish", {Mul(m, y, m.Scalar(0.5f))}, {{"alpha", 1.5f}}));
      },
      "MatMul+Linear+Swish");
}

TEST(FuseElementwise, AddsTheOtherBranchInTheLaterConv) {
  ExpectRewrite(
      FuseElementwise,
      [](GraphMaker& m) {
        const ValueId x = m.Input({1, 3, 4, 4});
        const ValueId first = m.Op("Relu", {m.Op("Conv", {x, m.Weights({3, 3, 1, 1})})});
        const ValueId second = m.Op("Conv", {first, m.Weights({3, 3, 1, 1})});
        m.Output(m.Op("Relu", {Add(m, x, second)}));
      },
      "Conv+Relu Conv+Add+Relu");
}

TEST(FuseElementwise, DeclinesWhatTheKernelCannotTake) {
  ExpectDecline(
      FuseElementwise,
      [](GraphMaker& m) {
        const ValueId conv = m.Op("Conv", {m.Input({1, 3, 4, 4}), m.Weights({4, 3, 1, 1})});
        m.Output(m.Op("Relu", {conv}));
        m.Output(conv);
      },
      "the Conv is an output too");
  ExpectDecline(
      FuseElementwise,
      [](GraphMaker& m) {
        const ValueId conv = m.Op("Conv", {m.Input({1, 3, 4, 4}), m.Weights({4, 3, 1, 1})});
        m.Output(Add(m, conv, m.Input({1, 4, 1, 1}, "y")));
      },
      "the other operand is broadcast");
  ExpectDecline(
      FuseElementwise,
      [](GraphMaker& m) {
        const ValueId conv = m.Op("Conv", {m.Input({1, 3, 4, 4}), m.Input({4, 3, 1, 1}, "w")});
        m.Output(m.Op("Relu", {conv}));
      },
      "the Conv's weights are no constants");
  ExpectDecline(
      FuseElementwise,
      [](GraphMaker& m) {
        const ValueId conv = m.Op("Conv", {m.Input({1, 3, 4, 4}), m.Weights({4, 3, 1, 1})});
        m.Output(m.Op("Clip", {conv, m.Input({}, "low")}));
      },
      "a bound is no constant");
  ExpectDecline(
      FuseElementwise,
      [](GraphMaker& m) {
        const ValueId conv = m.Op("Conv", {m.Input({1, 3, 4, 4}), m.Weights({4, 3, 1, 1})});
        m.Output(Mul(m, conv, m.Constant(Tensor::Of<float>({1, 1, 1, 1, 1}, {2}))));
      },
      "the factor adds a dimension");
}

}  // namespace
}  // namespace octet::graph
