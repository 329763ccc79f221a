#include "server/metrics/document.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "server/metrics/catalog.h"

namespace octet::server {
namespace {

TEST(MetricsDocumentTest, FileIsFresh) {
  std::ifstream file(OCTET_METRICS_DOCUMENT);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), MetricsDocument())
      << "write it again: octet_metrics_document > docs/metrics.md";
}

TEST(MetricCatalogTest, NamesFollowPrometheus) {
  std::set<absl::string_view> names;
  for (const MetricDef* metric : kCatalog) {
    EXPECT_TRUE(names.insert(metric->name).second) << metric->name << " twice";
    const std::string name(metric->name);
    EXPECT_TRUE(name.starts_with("octet_")) << name;
    EXPECT_EQ(name.ends_with("_total"), metric->type == MetricDef::Type::kCounter) << name;
    EXPECT_EQ(!metric->buckets.empty(), metric->type == MetricDef::Type::kHistogram) << name;
    EXPECT_TRUE(std::is_sorted(metric->buckets.begin(), metric->buckets.end())) << name;
    EXPECT_TRUE(absl::EndsWith(metric->help, ".")) << name;
  }
}

}  // namespace
}  // namespace octet::server
