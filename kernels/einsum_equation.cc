#include "kernels/einsum_equation.h"

#include <array>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "kernels/strided_copy.h"

namespace octet::kernels {
namespace {

// Labels are numbers: those of letters first, then the dimensions of the ellipsis counted from the
// right, as broadcasting counts them.
constexpr int kLetters = 52;
// Products of one contraction. Operands are in memory, but the product of their sizes can be
// anything.
constexpr int64_t kMaxProducts = int64_t{1} << 46;

int LabelOf(char letter) { return letter <= 'Z' ? letter - 'A' : letter - 'a' + kLetters / 2; }

// The labels of one term, whose ellipsis stands for `ellipsis_rank` dimensions.
absl::StatusOr<std::vector<int>> ReadTerm(absl::string_view term, int64_t ellipsis_rank) {
  std::vector<int> labels;
  bool has_ellipsis = false;
  for (size_t i = 0; i < term.size(); ++i) {
    if (absl::ascii_isalpha(static_cast<unsigned char>(term[i]))) {
      labels.push_back(LabelOf(term[i]));
    } else if (term.substr(i, 3) == "..." && !has_ellipsis) {
      has_ellipsis = true;
      for (int64_t d = ellipsis_rank; d-- > 0;) labels.push_back(kLetters + static_cast<int>(d));
      i += 2;
    } else {
      return absl::InvalidArgumentError(absl::StrCat(
          "term '", term, "' of the equation: expected letters and at most one ellipsis"));
    }
  }
  return labels;
}

bool HasEllipsis(absl::string_view term) { return term.find('.') != absl::string_view::npos; }

// A dimension of one is repeated along its label, and a label that an operand has twice reads the
// operand's diagonal.
absl::Status AddOperand(absl::string_view term, const Shape& shape, Equation& equation) {
  const auto letters = static_cast<int64_t>(term.size()) - (HasEllipsis(term) ? 3 : 0);
  const int64_t ellipsis_rank = static_cast<int64_t>(shape.size()) - letters;
  if (ellipsis_rank < 0 || (ellipsis_rank > 0 && !HasEllipsis(term))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "term '", term, "' of the equation does not fit an operand of shape ", ToText(shape)));
  }
  OCTET_ASSIGN_OR_RETURN(const std::vector<int> labels, ReadTerm(term, ellipsis_rank));
  const Shape dense = RowMajorStrides(shape);
  Labelled operand;
  Shape own_dims;
  equation.dims.resize(
      std::max(equation.dims.size(), static_cast<size_t>(kLetters + ellipsis_rank)), kUnknownDim);
  for (size_t d = 0; d < labels.size(); ++d) {
    int64_t& common = equation.dims[static_cast<size_t>(labels[d])];
    if (common == kUnknownDim || common == 1) common = shape[d];
    const int64_t stride = shape[d] == 1 ? 0 : dense[d];
    const auto found = std::find(operand.labels.begin(), operand.labels.end(), labels[d]);
    const auto at = static_cast<size_t>(found - operand.labels.begin());
    const bool repeated = found != operand.labels.end();
    if ((shape[d] != 1 && shape[d] != common) || (repeated && own_dims[at] != shape[d])) {
      return absl::InvalidArgumentError(absl::StrCat("dimension ", d, " of an operand of shape ",
                                                     ToText(shape), ", term '", term,
                                                     "', does not equal the others of its label"));
    }
    if (repeated) {
      operand.strides[at] += stride;
      continue;
    }
    operand.labels.push_back(labels[d]);
    operand.strides.push_back(stride);
    own_dims.push_back(shape[d]);
  }
  equation.operands.push_back(std::move(operand));
  return absl::OkStatus();
}

// Without an arrow: the ellipsis, then the labels that occur once, capitals first.
std::vector<int> ImplicitOutput(absl::string_view terms, int64_t ellipsis_rank) {
  std::array<int, kLetters> count = {};
  for (const char c : terms) {
    if (absl::ascii_isalpha(static_cast<unsigned char>(c))) ++count[LabelOf(c)];
  }
  std::vector<int> labels;
  for (int64_t d = ellipsis_rank; d-- > 0;) labels.push_back(kLetters + static_cast<int>(d));
  for (int label = 0; label < kLetters; ++label) {
    if (count[label] == 1) labels.push_back(label);
  }
  return labels;
}

absl::Status CheckOutput(const Equation& equation, absl::string_view term) {
  std::vector<bool> seen(equation.dims.size());
  for (const int label : equation.output) {
    const auto at = static_cast<size_t>(label);
    if (equation.dims[at] == kUnknownDim || seen[at]) {
      return absl::InvalidArgumentError(absl::StrCat(
          "output '", term, "' of the equation has a label twice, or one that no operand has"));
    }
    seen[at] = true;
  }
  if (equation.dims.size() > kLetters && !HasEllipsis(term)) {
    return absl::InvalidArgumentError(
        absl::StrCat("output '", term, "' of the equation lacks the operands' ellipsis"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Equation> ReadEquation(const graph::Node& node, std::span<const Shape> shapes) {
  std::string text = node.String("equation", "");
  std::erase(text, ' ');
  const size_t arrow = text.find("->");
  const absl::string_view inputs = absl::string_view(text).substr(0, arrow);
  const std::vector<absl::string_view> terms = absl::StrSplit(inputs, ',');
  if (!node.Has("equation") || terms.size() != shapes.size()) {
    return absl::InvalidArgumentError(absl::StrCat("equation '", text, "' has ", terms.size(),
                                                   " terms for ", shapes.size(), " operands"));
  }
  Equation equation{.dims = std::vector<int64_t>(kLetters, kUnknownDim)};
  // Twice: a dimension that an operand repeats may be known only from a later one.
  for (int pass = 0; pass < 2; ++pass) {
    equation.operands.clear();
    for (size_t i = 0; i < terms.size(); ++i) {
      OCTET_RETURN_IF_ERROR(AddOperand(terms[i], shapes[i], equation));
    }
  }
  const auto ellipsis_rank = static_cast<int64_t>(equation.dims.size()) - kLetters;
  if (arrow == std::string::npos) {
    equation.output = ImplicitOutput(inputs, ellipsis_rank);
    return equation;
  }
  const absl::string_view output = absl::string_view(text).substr(arrow + 2);
  OCTET_ASSIGN_OR_RETURN(equation.output, ReadTerm(output, ellipsis_rank));
  OCTET_RETURN_IF_ERROR(CheckOutput(equation, output));
  return equation;
}

std::vector<int> ResultLabels(const Equation& equation, const Labelled& left, size_t next) {
  if (next + 1 >= equation.operands.size()) return equation.output;
  std::vector<bool> needed(equation.dims.size());
  for (const int label : equation.output) needed[static_cast<size_t>(label)] = true;
  for (size_t i = next + 1; i < equation.operands.size(); ++i) {
    for (const int label : equation.operands[i].labels) needed[static_cast<size_t>(label)] = true;
  }
  std::vector<int> result;
  for (const Labelled* operand : {&left, &equation.operands[next]}) {
    for (const int label : operand->labels) {
      if (needed[static_cast<size_t>(label)]) result.push_back(label);
      needed[static_cast<size_t>(label)] = false;
    }
  }
  return result;
}

Contraction PlanContraction(const Equation& equation, const Labelled& left, const Labelled& right,
                            const std::vector<int>& result) {
  const auto axis = [&](int label) {
    return Axis{equation.dims[static_cast<size_t>(label)], left.StrideOf(label),
                right.StrideOf(label)};
  };
  Contraction plan;
  std::vector<bool> done(equation.dims.size());
  for (const int label : result) {
    plan.kept.push_back(axis(label));
    done[static_cast<size_t>(label)] = true;
  }
  for (const Labelled* operand : {&left, &right}) {
    for (const int label : operand->labels) {
      if (!done[static_cast<size_t>(label)]) plan.summed.push_back(axis(label));
      done[static_cast<size_t>(label)] = true;
    }
  }
  std::stable_sort(plan.summed.begin(), plan.summed.end(), [](const Axis& a, const Axis& b) {
    return a.left + a.right > b.left + b.right;
  });
  return plan;
}

absl::Status CheckCost(const Contraction& plan) {
  int64_t products = 1;
  bool empty = false, overflow = false;
  for (const std::vector<Axis>* axes : {&plan.kept, &plan.summed}) {
    for (const Axis& axis : *axes) {
      empty = empty || axis.size == 0;
      overflow = overflow || __builtin_mul_overflow(products, axis.size, &products);
    }
  }
  if (empty || (!overflow && products <= kMaxProducts)) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the equation takes more than ", kMaxProducts, " products"));
}

}  // namespace octet::kernels
