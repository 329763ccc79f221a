#include "server/engine/report_files.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/config/config_file.h"
#include "tests/support/temporary_directory.h"

namespace octet::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kDigits[] = OCTET_EXAMPLES "/models/digits/1/model.onnx";

// What `report: {settings}` leaves in the folder for a model of one layer.
std::set<std::string> Write(const std::string& settings, const std::filesystem::path& folder) {
  const auto loaded = ParseConfig("quantization: {report: {" + settings + "}}", "f.yaml", {});
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  const QuantizationConfig& config = loaded->config.quantization;
  runtime::QuantizeReport report;
  report.layers.push_back({.node = "the_layer", .op = "Conv"});
  runtime::ReportContext context;
  EXPECT_TRUE(Describe(kDigits, config, context).ok());
  EXPECT_TRUE(WriteReports(folder.string(), config.report.formats, report, context).ok());
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.insert(entry.path().filename().string());
  }
  return names;
}

std::string Text(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(WriteReports, WritesTheFormatsThatAreAskedFor) {
  testing::TemporaryDirectory a, b, c;
  EXPECT_THAT(Write("", a.path()), ElementsAre("report.html", "report.json", "report.txt"));
  EXPECT_THAT(Write("formats: [json]", b.path()), ElementsAre("report.json"));
  EXPECT_THAT(Write("formats: [text, html]", c.path()), ElementsAre("report.html", "report.txt"));
}

TEST(WriteReports, LeavesOutTheLayers) {
  testing::TemporaryDirectory with, without;
  for (const std::string& name : Write("", with.path())) {
    EXPECT_THAT(Text(with.path() / name), HasSubstr("the_layer")) << name;
  }
  for (const std::string& name : Write("per_layer: false", without.path())) {
    EXPECT_THAT(Text(without.path() / name), Not(HasSubstr("the_layer"))) << name;
  }
}

}  // namespace
}  // namespace octet::server
