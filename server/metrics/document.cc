#include "server/metrics/document.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/metrics/catalog.h"

namespace octet::server {
namespace {

absl::string_view TypeName(MetricDef::Type type) {
  switch (type) {
    case MetricDef::Type::kCounter:
      return "counter";
    case MetricDef::Type::kGauge:
      return "gauge";
    case MetricDef::Type::kHistogram:
      break;
  }
  return "histogram";
}

constexpr absl::string_view kIntroduction =
    R"(<!-- Written by octet_metrics_document from server/metrics/catalog.h. Do not edit. -->

# Metrics

Octet serves its metrics in Prometheus' text format at `/metrics` on the HTTP port (8002 unless
configured otherwise). Durations are in seconds, sizes in bytes. The last column names the metrics of
Triton (`nv_`) and of the OpenVINO Model Server (`ovms_`) that a metric takes the place of; theirs are
in microseconds where the name says so.

| metric | type | labels | meaning | replaces |
| --- | --- | --- | --- | --- |
)";

constexpr absl::string_view kQueries = R"(
Useful queries:

```
# mean batch size
rate(octet_inference_count_total[1m]) / rate(octet_inference_executions_total[1m])
# 99th percentile of the request time, by model
histogram_quantile(0.99, sum by (model, le) (rate(octet_request_duration_seconds_bucket[5m])))
# share of requests that failed
sum(rate(octet_inference_requests_total{code!="OK"}[5m])) / sum(rate(octet_inference_requests_total[5m]))
```

The series of a model exist while it is loaded. Buckets of durations: )";

}  // namespace

std::string MetricsDocument() {
  std::string text(kIntroduction);
  for (const MetricDef* metric : kCatalog) {
    absl::StrAppend(
        &text, "| `", metric->name, "` | ", TypeName(metric->type), " | ",
        metric->labels.empty() ? std::string("–")
                               : absl::StrCat("`", absl::StrJoin(metric->labels, "`, `"), "`"),
        " | ", metric->help, " | ", metric->replaces.empty() ? "–" : metric->replaces, " |\n");
  }
  absl::StrAppend(&text, kQueries, absl::StrJoin(kLatencyBuckets, ", "),
                  " seconds; of batch sizes: ", absl::StrJoin(kBatchSizeBuckets, ", "), " rows.\n");
  return text;
}

}  // namespace octet::server
