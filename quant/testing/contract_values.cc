#include <algorithm>
#include <functional>
#include <random>

#include "quant/testing/contract.h"

namespace octet::quant::testing {
namespace {

constexpr size_t kSize = 2000;

std::vector<float> Draw(uint32_t seed, size_t size,
                        const std::function<float(std::mt19937&)>& next) {
  std::mt19937 random(seed);
  std::vector<float> values(size);
  for (float& value : values) value = next(random);
  return values;
}

std::vector<float> Times(std::vector<float> values, float factor) {
  for (float& value : values) value *= factor;
  return values;
}

}  // namespace

const std::vector<NamedValues>& ContractValues() {
  static const auto* const values = [] {
    const auto normal = [](std::mt19937& random) {
      return std::normal_distribution<float>()(random);
    };
    auto* all = new std::vector<NamedValues>;
    all->push_back({"normal", Draw(1, kSize, normal)});
    all->push_back({"laplace", Draw(2, kSize, [](std::mt19937& random) {
                      const float size = std::exponential_distribution<float>()(random);
                      return random() % 2 == 0 ? size : -size;
                    })});
    all->push_back({"uniform", Draw(3, kSize, [](std::mt19937& random) {
                      return std::uniform_real_distribution<float>(-1, 3)(random);
                    })});
    all->push_back({"bimodal", Draw(4, kSize, [&](std::mt19937& random) {
                      return normal(random) * 0.2f + (random() % 2 == 0 ? 3.0f : -1.0f);
                    })});
    all->push_back({"rectified", Draw(5, kSize, [&](std::mt19937& random) {
                      return std::max(normal(random), 0.0f);
                    })});
    all->push_back({"one_outlier", Draw(6, kSize, normal)});
    all->back().values[700] = -500;
    all->push_back({"all_zero", std::vector<float>(kSize)});
    all->push_back({"constant", std::vector<float>(kSize, -0.37f)});
    all->push_back({"subnormal", Times(Draw(7, kSize, normal), 1e-40f)});
    all->push_back({"single_element", {2.5f}});
    all->push_back({"two_values", {-1.25f, 3.0f}});
    all->push_back({"huge", Times(Draw(8, kSize, normal), 1e30f)});
    return all;
  }();
  return *values;
}

}  // namespace octet::quant::testing
