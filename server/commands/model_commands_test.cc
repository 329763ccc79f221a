// quantize, inspect, bench: what their functions are given.

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/commands/bench.h"
#include "server/commands/command_line.h"
#include "server/commands/inspect.h"
#include "server/commands/probe.h"
#include "server/commands/quantize.h"

namespace octet::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ModelCommandsTest : public testing::Test {
 protected:
  ModelCommandsTest()
      : folder_(std::filesystem::path(testing::TempDir()) /
                (std::string("octet_model_") +
                 testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::create_directories(folder_);
  }
  ~ModelCommandsTest() override { std::filesystem::remove_all(folder_); }

  int Run(const std::vector<std::string>& arguments) {
    Console console{out_, error_};
    const std::vector<Command> commands = {
        QuantizeCommand([this](const QuantizeOptions& options, Console&) {
          quantized_ = options;
          return absl::OkStatus();
        }),
        InspectCommand([this](const InspectOptions& options, Console&) {
          inspected_ = options;
          return absl::OkStatus();
        }),
        ProbeCommand([this](const ProbeOptions& options, Console&) {
          probed_ = options;
          return absl::OkStatus();
        }),
        BenchCommand({.in_process =
                          [this](const BenchOptions& options, Console&) {
                            benched_ = options;
                            return absl::OkStatus();
                          },
                      .server =
                          [this](const BenchServerOptions& options, Console&) {
                            benched_server_ = options;
                            return absl::OkStatus();
                          }})};
    return RunCommandLine(commands, arguments, console);
  }

  std::string Write(const std::string& name, const std::string& text) {
    const std::filesystem::path path = folder_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return path.string();
  }

  std::filesystem::path folder_;
  std::optional<QuantizeOptions> quantized_;
  std::optional<InspectOptions> inspected_;
  std::optional<BenchOptions> benched_;
  std::optional<BenchServerOptions> benched_server_;
  std::optional<ProbeOptions> probed_;
  std::ostringstream out_;
  std::ostringstream error_;
};

TEST_F(ModelCommandsTest, AFlagTakesNoValue) {
  EXPECT_EQ(Run({"quantize", "model.onnx"}), kExitOk);
  EXPECT_FALSE(quantized_->compare_algorithms);
  EXPECT_EQ(Run({"quantize", "--compare-algorithms", "model.onnx"}), kExitOk);
  EXPECT_TRUE(quantized_->compare_algorithms);
  EXPECT_EQ(quantized_->model.path, "model.onnx");
  EXPECT_EQ(Run({"quantize", "model.onnx", "--compare-algorithms=maybe"}), kExitUsage);
}

TEST_F(ModelCommandsTest, ProbeNeedsNothing) {
  EXPECT_EQ(Run({"probe"}), kExitOk);
  ASSERT_TRUE(probed_.has_value());
  EXPECT_EQ(probed_->address, "127.0.0.1:8001");
  EXPECT_EQ(Run({"probe", "--address", "a:1", "--service", "s", "--timeout", "0.5", "--tls-ca", "c",
                 "--tls-certificate", "d", "--tls-key", "e", "--tls-server-name", "f"}),
            kExitOk);
  EXPECT_EQ(probed_->address, "a:1");
  EXPECT_EQ(probed_->service, "s");
  EXPECT_EQ(probed_->timeout, 0.5);
  EXPECT_EQ(probed_->authority, "c");
  EXPECT_EQ(probed_->private_key, "e");
  EXPECT_EQ(probed_->server_name, "f");
}

TEST_F(ModelCommandsTest, ProbeRefusesHalfOfAnIdentity) {
  EXPECT_EQ(Run({"probe", "--tls-ca", "c", "--tls-certificate", "d"}), kExitUsage);
  EXPECT_THAT(error_.str(), HasSubstr("given together"));
  EXPECT_EQ(Run({"probe", "--tls-certificate", "d", "--tls-key", "e"}), kExitUsage);
  EXPECT_THAT(error_.str(), HasSubstr("needs --tls-ca"));
  EXPECT_EQ(Run({"probe", "--timeout", "never"}), kExitUsage);
}

TEST_F(ModelCommandsTest, QuantizeNeedsOnlyAModel) {
  EXPECT_EQ(Run({"quantize", "a/digits.onnx"}), kExitOk);
  ASSERT_TRUE(quantized_.has_value());
  EXPECT_EQ(quantized_->model.path, "a/digits.onnx");
  EXPECT_EQ(quantized_->model.settings.name, "digits");
  EXPECT_EQ(quantized_->model.settings.quantization.mode, QuantizationMode::kInt8);
  EXPECT_EQ(quantized_->model.settings.quantization.calibration.source, CalibrationSource::kAuto);
  EXPECT_THAT(quantized_->report_folder, IsEmpty());
}

TEST_F(ModelCommandsTest, QuantizeTakesCalibrationAndReport) {
  const std::string file =
      Write("o.yaml",
            "quantization: {mode: int8, calibration: {source: dynamic, path: x, samples: 3}}\n");
  EXPECT_EQ(Run({"quantize", "m.onnx", "--calibration", "data", "--config", file, "--report", "r"}),
            kExitOk);
  ASSERT_TRUE(quantized_.has_value());
  const CalibrationConfig& calibration = quantized_->model.settings.quantization.calibration;
  EXPECT_EQ(calibration.source, CalibrationSource::kDataset);
  EXPECT_EQ(calibration.path, "data");
  EXPECT_EQ(calibration.samples, 3);
  EXPECT_EQ(quantized_->report_folder, "r");
}

TEST_F(ModelCommandsTest, TheFileSaysTheModeWhereThereIsOne) {
  const std::string file = Write("o.yaml", "quantization: {mode: fp32}\n");
  EXPECT_EQ(Run({"quantize", "m.onnx", "--config", file}), kExitOk);
  ASSERT_TRUE(quantized_.has_value());
  EXPECT_EQ(quantized_->model.settings.quantization.mode, QuantizationMode::kFloat32);
}

TEST_F(ModelCommandsTest, SettingsAreThoseTheServerWouldUse) {
  const std::string single = Write("single.onnx", "x");
  const std::string listed = Write("models/listed/1/model.onnx", "x");
  const std::string flat = Write("models/flat.onnx", "x");
  const std::string other = Write("models/other/1/model.onnx", "x");
  const std::string file = Write("o.yaml", R"(
model_repository: models
quantization: {calibration: {samples: 10}}
models:
  - {name: one, path: single.onnx, quantization: {calibration: {samples: 1}}}
  - {name: listed, quantization: {calibration: {samples: 2}}}
  - {name: flat, quantization: {calibration: {samples: 3}}}
)");
  const auto samples = [&](const std::string& model) {
    EXPECT_EQ(Run({"inspect", model, "--config", file}), kExitOk) << error_.str();
    EXPECT_EQ(inspected_->model.settings.path, model);
    return inspected_->model.settings.quantization.calibration.samples;
  };
  EXPECT_EQ(samples(single), 1);
  EXPECT_EQ(inspected_->model.settings.name, "one");
  EXPECT_EQ(samples(listed), 2);
  EXPECT_EQ(samples(flat), 3);
  EXPECT_EQ(samples(other), 10);
}

TEST_F(ModelCommandsTest, InspectTakesShapes) {
  EXPECT_EQ(Run({"inspect", "--shape", "ids=1x128", "--shape", "a=b=3", "m.onnx"}), kExitOk);
  ASSERT_TRUE(inspected_.has_value());
  ASSERT_EQ(inspected_->shapes.size(), 2u);
  EXPECT_EQ(inspected_->shapes[0].input, "ids");
  EXPECT_THAT(inspected_->shapes[0].shape, ElementsAre(1, 128));
  EXPECT_EQ(inspected_->shapes[1].input, "a=b");
  EXPECT_THAT(inspected_->shapes[1].shape, ElementsAre(3));
}

TEST_F(ModelCommandsTest, ShapesAreChecked) {
  EXPECT_THAT(ParseInputShape("scalar=").value().shape, IsEmpty());
  for (const char* text : {"", "1x2", "=1", "a=1x", "a=x1", "a=-1", "a=1,2", "a=99999999999"}) {
    EXPECT_FALSE(ParseInputShape(text).ok()) << text;
  }
  EXPECT_EQ(Run({"inspect", "m.onnx", "--shape", "a=1y2"}), kExitUsage);
  EXPECT_EQ(error_.str(), "octet: --shape: must be NAME=1x3x224x224, not 'a=1y2'\n");
}

TEST_F(ModelCommandsTest, BenchHasDefaultsAndLimits) {
  EXPECT_EQ(Run({"bench", "m.onnx"}), kExitOk);
  ASSERT_TRUE(benched_.has_value());
  EXPECT_EQ(benched_->batch, 1);
  EXPECT_EQ(benched_->threads, 1);
  EXPECT_EQ(benched_->seconds, 5);
  EXPECT_EQ(Run({"bench", "m.onnx", "--batch", "8", "--threads", "2", "--duration", "0.5"}),
            kExitOk);
  EXPECT_EQ(benched_->batch, 8);
  EXPECT_EQ(benched_->threads, 2);
  EXPECT_EQ(benched_->seconds, 0.5);
  EXPECT_EQ(Run({"bench", "m.onnx", "--batch", "0"}), kExitUsage);
  EXPECT_THAT(error_.str(), HasSubstr("--batch: must be an integer from 1 to 1024, not '0'"));
}

TEST_F(ModelCommandsTest, BenchMeasuresAServer) {
  EXPECT_EQ(Run({"bench", "--target", "host:1", "--model", "m"}), kExitOk) << error_.str();
  ASSERT_TRUE(benched_server_.has_value());
  EXPECT_FALSE(benched_.has_value());
  EXPECT_EQ(benched_server_->address, "host:1");
  EXPECT_EQ(benched_server_->model, "m");
  EXPECT_THAT(benched_server_->version, IsEmpty());
  EXPECT_THAT(benched_server_->clients, ElementsAre(1, 8, 32));
  EXPECT_EQ(benched_server_->rows, 1);
  EXPECT_EQ(Run({"bench", "--target", "host:1", "--model", "m", "--model-version", "7", "--clients",
                 "4,2", "--rows", "3", "--duration", "0.5", "--shape", "x=3x224x224"}),
            kExitOk);
  EXPECT_EQ(benched_server_->version, "7");
  EXPECT_THAT(benched_server_->clients, ElementsAre(4, 2));
  EXPECT_EQ(benched_server_->rows, 3);
  EXPECT_EQ(benched_server_->seconds, 0.5);
  EXPECT_THAT(benched_server_->shapes.at(0).shape, ElementsAre(3, 224, 224));
}

TEST_F(ModelCommandsTest, BenchTakesAModelOrAServer) {
  const std::vector<std::string> server = {"bench", "--target", "h:1", "--model", "m"};
  const auto with = [](std::vector<std::string> arguments, const std::vector<std::string>& more) {
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  EXPECT_EQ(Run({"bench"}), kExitUsage);
  EXPECT_THAT(error_.str(), HasSubstr("MODEL or --target is required"));
  EXPECT_EQ(Run({"bench", "--target", "h:1"}), kExitUsage);
  EXPECT_THAT(error_.str(), HasSubstr("--model: the model's name on the server is required"));
  EXPECT_EQ(Run(with(server, {"m.onnx"})), kExitUsage);
  EXPECT_EQ(Run(with(server, {"--threads", "2"})), kExitUsage);
  EXPECT_EQ(Run({"bench", "m.onnx", "--clients", "2"}), kExitUsage);
  EXPECT_THAT(error_.str(), HasSubstr("--clients: is for a running server: --target"));
  for (const char* clients : {"", "0", "1,", "1,x", "5000"}) {
    EXPECT_EQ(Run(with(server, {"--clients", clients})), kExitUsage) << clients;
  }
  EXPECT_FALSE(benched_.has_value());
  EXPECT_FALSE(benched_server_.has_value());
}

TEST_F(ModelCommandsTest, AModelIsNeeded) {
  for (const char* command : {"quantize", "inspect", "bench"}) {
    EXPECT_EQ(Run({command}), kExitUsage) << command;
  }
}

TEST_F(ModelCommandsTest, ABadFileIsAUsageError) {
  const std::string file = Write("o.yaml", "log: 3\n");
  EXPECT_EQ(Run({"bench", "m.onnx", "--config", file}), kExitUsage);
  EXPECT_THAT(error_.str(), HasSubstr("o.yaml:line 1: log: "));
}

}  // namespace
}  // namespace octet::server
