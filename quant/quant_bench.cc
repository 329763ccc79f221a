// How long the numeric core takes: calibration per activation value, weights per model.
//
//   octet_quant_bench --benchmark_filter=ResNet50

#include <random>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "quant/codebook.h"
#include "quant/gptq.h"
#include "quant/histogram.h"
#include "quant/weights.h"

namespace octet::quant {
namespace {

std::vector<float> Normal(size_t size, bool rectified = false) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> values(size);
  for (float& value : values) {
    value = normal(random);
    if (rectified && value < 0) value = 0;
  }
  return values;
}

void HistogramAddSample(benchmark::State& state) {
  const std::vector<float> values =
      Normal(static_cast<size_t>(state.range(0)), state.range(1) != 0);
  Histogram histogram;
  for (auto _ : state) histogram.AddSample(values);
  state.SetBytesProcessed(state.iterations() * state.range(0) *
                          static_cast<int64_t>(sizeof(float)));
}
BENCHMARK(HistogramAddSample)
    ->ArgNames({"values", "rectified"})
    ->Args({1000, 0})
    ->Args({200'000, 0})
    ->Args({200'000, 1});

void EstimateActivation(benchmark::State& state) {
  Histogram histogram;
  histogram.AddSample(Normal(200'000));
  const RangeEstimator estimator = RangeEstimators()[static_cast<size_t>(state.range(0))];
  state.SetLabel(std::string(estimator.name));
  for (auto _ : state) {
    const Distribution values = *Distribution::Of(histogram);
    benchmark::DoNotOptimize(estimator.estimate(values, kAsymmetricUint8, {}));
  }
}
BENCHMARK(EstimateActivation)
    ->DenseRange(0, static_cast<int64_t>(RangeEstimators().size()) - 1)
    ->Unit(benchmark::kMicrosecond);

// The shapes of ResNet-50's convolutions and of its classifier, 25.5 million weights.
std::vector<Tensor> ResNet50Weights() {
  std::vector<Shape> shapes = {{64, 3, 7, 7}, {1000, 2048}};
  const int64_t blocks[] = {3, 4, 6, 3};
  int64_t input = 64;
  for (int64_t stage = 0; stage < 4; ++stage) {
    const int64_t width = int64_t{64} << stage;
    shapes.push_back({4 * width, input, 1, 1});
    for (int64_t block = 0; block < blocks[stage]; ++block) {
      shapes.push_back({width, input, 1, 1});
      shapes.push_back({width, width, 3, 3});
      shapes.push_back({4 * width, width, 1, 1});
      input = 4 * width;
    }
  }
  std::vector<Tensor> tensors;
  tensors.reserve(shapes.size());
  for (const Shape& shape : shapes) {
    tensors.push_back(Tensor::Of<float>(shape, Normal(static_cast<size_t>(ElementCount(shape)))));
  }
  return tensors;
}

void QuantizeResNet50(benchmark::State& state) {
  const std::vector<Tensor> tensors = ResNet50Weights();
  const RangeEstimator estimator = RangeEstimators()[static_cast<size_t>(state.range(0))];
  state.SetLabel(std::string(estimator.name));
  int64_t weights = 0;
  for (auto _ : state) {
    for (const Tensor& tensor : tensors) {
      WeightOptions options;
      options.estimator = estimator.name;
      options.axis = 0;
      benchmark::DoNotOptimize(QuantizeWeights(tensor.view(), options)->sqnr_db);
      weights += tensor.size();
    }
  }
  state.SetItemsProcessed(weights);
}
BENCHMARK(QuantizeResNet50)
    ->DenseRange(0, static_cast<int64_t>(RangeEstimators().size()) - 1)
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

// A matrix of MatMul, whose channels are columns: [input, output].
void QuantizeColumns(benchmark::State& state) {
  const Tensor tensor = Tensor::Of<float>({768, 3072}, Normal(size_t{768} * 3072));
  for (auto _ : state) {
    benchmark::DoNotOptimize(QuantizeWeights(tensor.view(), {.axis = 1})->sqnr_db);
  }
  state.SetItemsProcessed(state.iterations() * tensor.size());
}
BENCHMARK(QuantizeColumns)->Unit(benchmark::kMillisecond);

// 16 levels for 131,072 weights, with each algorithm that has a codebook form.
void FitLevels(benchmark::State& state) {
  const RangeEstimator estimator = RangeEstimators()[static_cast<size_t>(state.range(0))];
  if (estimator.fit_codebook == nullptr) {
    state.SkipWithError("no codebook form");
    return;
  }
  state.SetLabel(std::string(estimator.name));
  const std::vector<float> values = Normal(131'072);
  for (auto _ : state) {
    benchmark::DoNotOptimize(FitCodebook(estimator.name, values, {}, 4, {}));
  }
}
BENCHMARK(FitLevels)
    ->DenseRange(0, static_cast<int64_t>(RangeEstimators().size()) - 1)
    ->Unit(benchmark::kMillisecond);

Hessian NormalHessian(int64_t samples, int64_t columns) {
  Hessian hessian(columns);
  benchmark::DoNotOptimize(hessian.Add(Normal(static_cast<size_t>(samples * columns))));
  return hessian;
}

void AccumulateHessian(benchmark::State& state) {
  const std::vector<float> inputs = Normal(static_cast<size_t>(1024 * state.range(0)));
  for (auto _ : state) {
    Hessian hessian(state.range(0));
    benchmark::DoNotOptimize(hessian.Add(inputs));
    benchmark::DoNotOptimize(hessian.At(0, 0));
  }
}
BENCHMARK(AccumulateHessian)
    ->ArgName("columns")
    ->Arg(384)
    ->Arg(1536)
    ->Unit(benchmark::kMillisecond);

// Least squares and min_max for the groups of 128 columns, asymmetric 4 bit.
void Gptq(benchmark::State& state) {
  const WeightRows weights{state.range(0), state.range(1),
                           Normal(static_cast<size_t>(state.range(0) * state.range(1)))};
  const Hessian hessian = NormalHessian(2048, state.range(1));
  GptqOptions options;
  options.groups.estimator = state.range(2) != 0 ? "least_squares" : "min_max";
  state.SetLabel(std::string(options.groups.estimator));
  for (auto _ : state) benchmark::DoNotOptimize(QuantizeGptq(weights, hessian, options));
}
BENCHMARK(Gptq)
    ->Args({384, 1536, 0})
    ->Args({384, 1536, 1})
    ->Args({1536, 384, 1})
    ->Args({1536, 1536, 1})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace octet::quant
