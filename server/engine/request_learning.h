// Models that learn from the requests they serve: dynamic int8 at first, static int8 when enough of
// them have come, if that is measured to be worth it.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "runtime/load.h"
#include "server/config/config.h"
#include "server/models/model_manager.h"

namespace octet::server {

// ModelManager::Replace(), where there is a manager.
using ReplaceModel = std::function<bool(const ModelSource& source, ModelLoader loader)>;

// What is served after a load: with a shadow beside it, where one is configured.
using FinishModel = std::function<std::shared_ptr<const runtime::CompiledModel>(
    std::shared_ptr<const runtime::CompiledModel>)>;

// Whether a model that was loaded with these settings is to learn: it is asked for, and no samples
// have calibrated it.
bool LearnsFromRequests(const QuantizationConfig& settings, const runtime::ModelSummary& model);

// Without what single layers ask of samples that have yet to come.
runtime::QuantizeOptions WithoutStaticRules(runtime::QuantizeOptions options);

// Behaves as `served`, which was loaded with `options`, and keeps samples of the requests that it
// runs. When there are enough, calls `replace` with a loader that calibrates with three quarters of
// them, measures with the others (or the validation data, if there are some) and fails, so that
// `served` stays, unless the accuracy target holds and, for calibration.learn_from_traffic, the
// result is faster or nearer to float32. CompiledModel::learning() tells what has become of it.
std::shared_ptr<const runtime::CompiledModel> WithLearning(
    const ModelSource& source, const QuantizationConfig& settings,
    const runtime::LoadOptions& options, ReplaceModel replace, FinishModel finish,
    std::shared_ptr<const runtime::CompiledModel> served);

// What two models were measured to be, with the same samples.
struct LearnedMeasures {
  double sqnr_db_before = 0, sqnr_db_after = 0;  // of the outputs, against float32
  double seconds_before = 0, seconds_after = 0;  // the fastest run
};

// Why the second is not worth taking the place of the first; empty if it is.
std::string WhyNoGain(const LearnedMeasures& measures);

}  // namespace octet::server
