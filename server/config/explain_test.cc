#include "server/config/explain.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Explained(absl::string_view text, std::vector<FlagValue> flags = {}) {
  const absl::StatusOr<LoadedConfig> loaded = ParseConfig(text, "f.yaml", flags);
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return loaded.ok() ? ExplainConfig(*loaded) : "";
}

TEST(ExplainConfig, ShowsDefaultsFileAndFlags) {
  const std::string text = Explained("model_repository: /m\nserver:\n  drain_seconds: 3\n",
                                     {{"--grpc-port", "server.grpc_port", "0"}});
  EXPECT_THAT(text, HasSubstr("model_repository: /m    [f.yaml line 1]\n"));
  EXPECT_THAT(text, HasSubstr("server.drain_seconds: 3    [f.yaml line 3]\n"));
  EXPECT_THAT(text, HasSubstr("server.grpc_port: 0    [flag --grpc-port]\n"
                              "    Port of the inference service; 0 takes any free port.\n"
                              "    Values: an integer from 0 to 65535.\n"));
  EXPECT_THAT(text, HasSubstr("server.http_port: 8002    [default]\n"));
  EXPECT_THAT(text, HasSubstr("server.tls.certificate: none    [default]\n"));
  EXPECT_THAT(text, HasSubstr("execution.streams: auto    [default]\n"));
  EXPECT_THAT(text, HasSubstr("quantization.layers: []    [default]\n"));
  EXPECT_THAT(text, Not(HasSubstr("# Model")));
}

TEST(ExplainConfig, ShowsWhatModelsInherit) {
  const std::string text = Explained(R"(batching:
  max_queue_size: 7
models:
  - name: a
    batching: {max_batch_size: 4}
    quantization: {layers: [{match: "/x/*", mode: fp32}, {match: y, weights: {algorithm: minmax}}]}
)");
  EXPECT_THAT(text, HasSubstr("# Model a\n"));
  EXPECT_THAT(text, HasSubstr("models[0].batching.max_batch_size: 4    [f.yaml line 5, model "
                              "override]\n"));
  EXPECT_THAT(text, HasSubstr("models[0].batching.max_queue_size: 7    [f.yaml line 2, top-level "
                              "batching.max_queue_size]\n"));
  EXPECT_THAT(text, HasSubstr("models[0].quantization.mode: fp32    [default]\n"));
  EXPECT_THAT(text, HasSubstr("models[0].quantization.layers: [{match: /x/*, mode: fp32}, {match: "
                              "y, weights: {algorithm: minmax}}]"));
}

TEST(ConfigReference, HasEverySectionWithItsDefaults) {
  const std::string text = ConfigReference();
  for (const char* heading :
       {"## Top level\n", "## `server`\n", "## `server.tls`\n", "## `batching`\n",
        "## `execution`\n", "## `quantization`\n", "## `quantization.weights`\n",
        "## `quantization.layers[]`\n", "## `log`\n", "## `models[]`\n",
        "## Not supported in this version\n"}) {
    EXPECT_THAT(text, HasSubstr(heading));
  }
  EXPECT_THAT(text, HasSubstr("| `grpc_port` | an integer from 0 to 65535 | `8001` | Port of"));
  EXPECT_THAT(text, HasSubstr("| `match` | a glob on node names such as /head/*, or op:Conv, "));
  EXPECT_THAT(text, HasSubstr("| `batching` | a section | the top level's |"));
  EXPECT_THAT(text, HasSubstr("- `quantization.calibration.batch`\n"));
  EXPECT_THAT(text, Not(HasSubstr("models[].batching")));
}

}  // namespace
}  // namespace octet::server
