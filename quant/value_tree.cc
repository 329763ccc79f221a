#include "quant/value_tree.h"

#include <algorithm>

namespace octet::quant {
namespace {

struct Node {
  size_t begin = 0;
  size_t end = 0;
  int depth = 0;
  double weight = 0;
  double mean = 0;
  // The best place to split: cells from `split` on go right. Meaningless for a single cell.
  size_t split = 0;
  double gain = 0;

  bool CanSplit() const { return end - begin > 1; }
};

// Sums are relative to the node's own mean: one outlier elsewhere takes no digits from them.
void FindSplit(std::span<const Cell> cells, Node& node) {
  double left_weight = 0;
  double left_sum = 0;
  node.gain = -1;
  for (size_t i = node.begin; i + 1 < node.end; ++i) {
    left_weight += cells[i].weight;
    left_sum += cells[i].weight * (cells[i].mean - node.mean);
    const double right_weight = node.weight - left_weight;
    const double gain = left_sum * left_sum * node.weight / (left_weight * right_weight);
    if (gain <= node.gain) continue;
    node.gain = gain;
    node.split = i + 1;
  }
  if (node.gain >= 0 || !node.CanSplit()) return;
  // Only where a weight is lost beside another: any split will do.
  node.gain = 0;
  node.split = node.begin + 1;
}

Node MakeNode(std::span<const Cell> cells, size_t begin, size_t end, int depth) {
  Node node{.begin = begin, .end = end, .depth = depth};
  // Relative to the first cell, so that a single cell's mean is exact.
  const double origin = cells[begin].mean;
  double sum = 0;
  for (size_t i = begin; i < end; ++i) {
    node.weight += cells[i].weight;
    sum += cells[i].weight * (cells[i].mean - origin);
  }
  node.mean = origin + sum / node.weight;
  FindSplit(cells, node);
  return node;
}

Leaf LeafOf(std::span<const Cell> cells, const Node& node) {
  Leaf leaf{.begin = node.begin, .end = node.end, .weight = node.weight, .mean = node.mean};
  for (size_t i = node.begin; i < node.end; ++i) {
    const double distance = cells[i].mean - node.mean;
    leaf.error += cells[i].error + cells[i].weight * distance * distance;
  }
  return leaf;
}

}  // namespace

std::vector<Leaf> GrowTree(std::span<const Cell> cells, size_t most_leaves, TreeGrowth growth) {
  if (cells.empty() || most_leaves == 0) return {};
  const auto later = [growth](const Node& a, const Node& b) {
    if (a.CanSplit() != b.CanSplit()) return b.CanSplit();
    if (growth == TreeGrowth::kBalanced && a.depth != b.depth) return a.depth > b.depth;
    if (a.gain != b.gain) return a.gain < b.gain;
    return a.begin > b.begin;
  };
  std::vector<Node> heap = {MakeNode(cells, 0, cells.size(), 0)};
  heap.reserve(most_leaves + 1);
  while (heap.size() < most_leaves && heap.front().CanSplit()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const Node parent = heap.back();
    heap.back() = MakeNode(cells, parent.begin, parent.split, parent.depth + 1);
    std::push_heap(heap.begin(), heap.end(), later);
    heap.push_back(MakeNode(cells, parent.split, parent.end, parent.depth + 1));
    std::push_heap(heap.begin(), heap.end(), later);
  }
  std::sort(heap.begin(), heap.end(),
            [](const Node& a, const Node& b) { return a.begin < b.begin; });
  std::vector<Leaf> leaves;
  leaves.reserve(heap.size());
  for (const Node& node : heap) leaves.push_back(LeafOf(cells, node));
  return leaves;
}

}  // namespace octet::quant
