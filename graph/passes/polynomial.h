// Values as polynomials of other values: arithmetic with scalar constants has many spellings, its
// coefficients only one.

#pragma once

#include <array>
#include <optional>

#include "graph/graph.h"

namespace octet::graph {

// coefficients[i] belongs to the i-th power.
using Polynomial = std::array<double, 4>;

// `value` as a polynomial of `x` of degree three or less, if Add, Sub, Mul, Div, Neg and Pow with
// scalar constants make it from `x`.
std::optional<Polynomial> PolynomialOf(const Graph& graph, ValueId x, ValueId value);

// value = scale * base + offset, where `base` is not itself such a form.
struct Affine {
  ValueId base{};
  double scale = 1;
  double offset = 0;
};
Affine AffineOf(const Graph& graph, ValueId value);

// All coefficients are near those.
bool Near(const Polynomial& a, const Polynomial& b);

}  // namespace octet::graph
