#include "server/metrics/metrics_registry.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/metrics/catalog.h"

namespace octet::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

ModelGauges Gauges() {
  return {.pending_requests = 7,
          .queue_limit = 70,
          .streams = 2,
          .float32_weight_bytes = 4000,
          .served_weight_bytes = 1000,
          .arena_bytes = 300,
          .scratchpad_bytes = 20,
          .shadow = ModelGauges::Shadow{.compared = 5,
                                        .passed_over = 2,
                                        .failed = 1,
                                        .output_sqnr_db = 24.5,
                                        .agreement = 0.75,
                                        .weight_bytes = 4000,
                                        .clip_ratios = {{"conv", 0.01}}},
          .calibration_requests = 96};
}

LoadedModel Loaded() {
  return {.mode = "int8",
          .mode_asked = "auto",
          .load_seconds = 2.5,
          .quantization_seconds = 1.5,
          .warm_start = true,
          .accuracy_verdict = "met",
          .accuracy_metric = "cosine",
          .accuracy_target = 0.99,
          .accuracy = 0.995,
          .output_sqnr_db = 23};
}

TEST(MetricsRegistryTest, ShadowSeriesComeAndGoAndNeverCountBackwards) {
  MetricsRegistry registry;
  const auto model = registry.AddModel("digits", "1");
  const auto with = [&](const std::optional<ModelGauges::Shadow>& shadow) {
    model->Attach(nullptr, [shadow] { return ModelGauges{.shadow = shadow}; });
    return registry.Scrape();
  };
  const std::string compared =
      R"(octet_model_shadow_requests_total{model="digits",result="compared",version="1"} )";
  EXPECT_THAT(with(std::nullopt), Not(HasSubstr("octet_model_shadow_requests_total{")));
  EXPECT_THAT(with(ModelGauges::Shadow{.compared = 5}), HasSubstr(compared + "5\n"));
  EXPECT_THAT(registry.Scrape(), Not(HasSubstr("octet_model_shadow_output_sqnr_db{")));
  EXPECT_THAT(with(ModelGauges::Shadow{.compared = 9, .output_sqnr_db = 30}),
              ::testing::AllOf(HasSubstr(compared + "9\n"),
                               HasSubstr("octet_model_shadow_output_sqnr_db{")));
  // A successor has compared two.
  EXPECT_THAT(with(ModelGauges::Shadow{.compared = 2}),
              ::testing::AllOf(HasSubstr(compared + "11\n"),
                               Not(HasSubstr("octet_model_shadow_output_sqnr_db{"))));
  EXPECT_THAT(with(std::nullopt), Not(HasSubstr("octet_model_shadow_requests_total{")));
}

TEST(MetricsRegistryTest, EveryMetricOfTheCatalogIsServed) {
  MetricsRegistry registry;
  registry.SetBuildInfo("1.2.3", "avx512_core_vnni", "3.7.2");
  const auto model = registry.AddModel("digits", "1", Gauges);
  model->SetLoaded(Loaded());
  const std::string text = registry.Scrape();
  for (const MetricDef* metric : kCatalog) {
    const absl::string_view type = metric->type == MetricDef::Type::kCounter ? "counter"
                                   : metric->type == MetricDef::Type::kGauge ? "gauge"
                                                                             : "histogram";
    EXPECT_THAT(text, HasSubstr(absl::StrCat("# TYPE ", metric->name, " ", type, "\n")));
    EXPECT_THAT(text, HasSubstr(absl::StrCat("# HELP ", metric->name, " ")));
    const std::string series(metric->name);
    const bool has_series = text.find("\n" + series + "{") != std::string::npos ||
                            text.find("\n" + series + "_bucket{") != std::string::npos ||
                            text.find("\n" + series + " ") != std::string::npos;
    EXPECT_TRUE(has_series) << series;
  }
}

TEST(MetricsRegistryTest, CountsWhatHappened) {
  MetricsRegistry registry;
  const auto model = registry.AddModel("digits", "1", Gauges);
  model->CountRequest(absl::StatusCode::kOk, absl::Milliseconds(3));
  model->CountRequest(absl::StatusCode::kOk, absl::Milliseconds(4));
  model->CountRequest(absl::StatusCode::kInvalidArgument, absl::Microseconds(50));
  model->CountDispatch(1);
  model->CountRun(3, absl::Milliseconds(2));
  model->CountRequestOfRun(absl::Milliseconds(1), absl::Milliseconds(2));
  registry.CountUnroutedRequest(absl::StatusCode::kNotFound);
  const std::string text = registry.Scrape();
  const std::string labels = "{model=\"digits\",version=\"1\"";
  const auto series = [&](absl::string_view name, absl::string_view value) {
    EXPECT_THAT(text, HasSubstr(absl::StrCat("\n", name, labels, "} ", value, "\n")));
  };
  EXPECT_THAT(text, HasSubstr("octet_inference_requests_total{code=\"OK\",model=\"digits\","
                              "version=\"1\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("octet_inference_requests_total{code=\"INVALID_ARGUMENT\","
                              "model=\"digits\",version=\"1\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("octet_inference_requests_total{code=\"NOT_FOUND\",model=\"\","
                              "version=\"\"} 1\n"));
  series("octet_inference_count_total", "3");
  series("octet_inference_executions_total", "1");
  series("octet_request_duration_seconds_count", "3");
  series("octet_queue_duration_seconds_count", "1");
  series("octet_compute_duration_seconds_count", "1");
  series("octet_batch_size_sum", "3");
  EXPECT_THAT(text, HasSubstr(absl::StrCat("octet_batch_size_bucket", labels, ",le=\"2\"} 0\n")));
  EXPECT_THAT(text, HasSubstr(absl::StrCat("octet_batch_size_bucket", labels, ",le=\"4\"} 1\n")));
  series("octet_pending_requests", "7");
  series("octet_queue_limit_requests", "70");
  series("octet_model_streams", "2");
  series("octet_stream_busy_seconds_total", "0.002");
  EXPECT_THAT(text, HasSubstr("octet_batch_dispatch_total{model=\"digits\",reason=\"full\","
                              "version=\"1\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("octet_batch_dispatch_total{model=\"digits\","
                              "reason=\"stream_idle\",version=\"1\"} 0\n"));
  series("octet_model_memory_saved_bytes", "3000");
  series("octet_model_arena_bytes", "300");
}

TEST(MetricsRegistryTest, SeriesLeaveWithTheirModel) {
  MetricsRegistry registry;
  auto first = registry.AddModel("digits", "1", Gauges);
  const auto second = registry.AddModel("digits", "2", Gauges);
  first->SetLoaded(Loaded());
  first->CountRequest(absl::StatusCode::kUnavailable, absl::ZeroDuration());
  first.reset();
  const std::string text = registry.Scrape();
  EXPECT_THAT(text, Not(HasSubstr("version=\"1\"")));
  EXPECT_THAT(text, HasSubstr("version=\"2\""));
}

TEST(MetricsRegistryTest, CountersGoOnWhenAModelReplacesAnother) {
  MetricsRegistry registry;
  const auto model = registry.AddModel("digits", "1");
  const int first = 0;
  const int second = 0;
  model->Attach(&first, [] { return ModelGauges{.pending_requests = 1}; });
  model->SetLoaded(Loaded());
  model->CountRequest(absl::StatusCode::kOk, absl::ZeroDuration());
  model->Attach(&second, [] { return ModelGauges{.pending_requests = 2}; });
  model->SetLoaded({.mode = "fp32", .mode_asked = "auto"});
  model->CountSwap(true);
  model->Detach(&first);
  model->CountRequest(absl::StatusCode::kOk, absl::ZeroDuration());
  const std::string text = registry.Scrape();
  EXPECT_THAT(text, HasSubstr("code=\"OK\",model=\"digits\",version=\"1\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("octet_pending_requests{model=\"digits\",version=\"1\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("octet_model_info{asked=\"auto\",mode=\"fp32\""));
  EXPECT_THAT(text, Not(HasSubstr("octet_model_info{asked=\"auto\",mode=\"int8\"")));
  EXPECT_THAT(text, Not(HasSubstr("octet_model_accuracy_verdict{model=\"digits\"")));
  EXPECT_THAT(text, HasSubstr("octet_model_swap_total{model=\"digits\",result=\"ok\","
                              "version=\"1\"} 1\n"));
  model->SetLoaded({.mode = "fp32", .mode_asked = "auto"});
  EXPECT_THAT(registry.Scrape(), HasSubstr("octet_model_info{asked=\"auto\",mode=\"fp32\""));
}

TEST(MetricsRegistryTest, CountsReloadsOfTheConfiguration) {
  MetricsRegistry registry;
  registry.CountConfigReload(ConfigReload::kRejected);
  const std::string text = registry.Scrape();
  EXPECT_THAT(text, HasSubstr("octet_config_reload_total{result=\"rejected\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("octet_config_reload_total{result=\"ok\"} 0\n"));
}

TEST(MetricsRegistryTest, AccuracyIsShownWhereThereIsAVerdict) {
  MetricsRegistry registry;
  const auto int8 = registry.AddModel("int8", "1", Gauges);
  const auto unverified = registry.AddModel("unverified", "1", Gauges);
  const auto fp32 = registry.AddModel("fp32", "1", Gauges);
  int8->SetLoaded(Loaded());
  unverified->SetLoaded(
      {.mode = "int8", .accuracy_verdict = "unverified", .accuracy_metric = "sqnr"});
  fp32->SetLoaded({.mode = "fp32", .mode_asked = "auto"});
  const std::string text = registry.Scrape();
  EXPECT_THAT(text, HasSubstr("octet_model_accuracy{metric=\"cosine\",model=\"int8\","
                              "version=\"1\"} 0.995\n"));
  EXPECT_THAT(text, HasSubstr("octet_model_accuracy_target{metric=\"cosine\",model=\"int8\","
                              "version=\"1\"} 0.99\n"));
  EXPECT_THAT(text, HasSubstr("octet_model_accuracy_verdict{model=\"int8\",verdict=\"met\","
                              "version=\"1\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("octet_model_output_sqnr_db{model=\"int8\",version=\"1\"} 23\n"));
  EXPECT_THAT(text, HasSubstr("octet_model_accuracy_verdict{model=\"unverified\","
                              "verdict=\"unverified\",version=\"1\"} 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("octet_model_output_sqnr_db{model=\"unverified\"")));
  EXPECT_THAT(text, Not(HasSubstr("metric=\"sqnr\",model=\"unverified\",version=\"1\"} 99")));
  EXPECT_THAT(text, Not(HasSubstr("octet_model_accuracy_target{metric=\"\"")));
}

// The value of a series without labels.
double ValueOf(const std::string& text, absl::string_view name) {
  const size_t at = text.find(absl::StrCat("\n", name, " "));
  return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
}

TEST(MetricsRegistryTest, ProcessSeriesAreThoseOfThisProcess) {
  MetricsRegistry registry;
  registry.SetCores(3);
  registry.SetReady(true);
  std::string text = registry.Scrape();
  EXPECT_GT(ValueOf(text, "octet_process_resident_bytes"), 1e6);
  EXPECT_GT(ValueOf(text, "octet_process_memory_limit_bytes"),
            ValueOf(text, "octet_process_resident_bytes"));
  EXPECT_EQ(ValueOf(text, "octet_process_cpu_cores"), 3);
  EXPECT_EQ(ValueOf(text, "octet_ready"), 1);
  const double before = ValueOf(text, "octet_process_cpu_seconds_total");
  EXPECT_GT(before, 0);
  while (ValueOf(text, "octet_process_cpu_seconds_total") <= before) text = registry.Scrape();
  EXPECT_LT(ValueOf(text, "octet_process_cpu_seconds_total"), before + 60);
}

}  // namespace
}  // namespace octet::server
