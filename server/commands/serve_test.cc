#include "server/commands/serve.h"

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/commands/command_line.h"

namespace octet::server {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

class ServeCommandTest : public testing::Test {
 protected:
  ServeCommandTest()
      : file_((std::filesystem::path(testing::TempDir()) /
               (std::string("octet_serve_") +
                testing::UnitTest::GetInstance()->current_test_info()->name() + ".yaml"))
                  .string()) {}
  ~ServeCommandTest() override { std::filesystem::remove(file_); }

  // Puts what Serve() would be given into served_.
  int Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "serve");
    Console console{out_, error_};
    const std::vector<Command> commands = {
        ServeCommand([this](const ServeOptions& options, Console&) {
          served_ = options;
          return result_;
        })};
    return RunCommandLine(commands, arguments, console);
  }

  std::string Write(const std::string& text) {
    std::ofstream(file_) << text;
    return file_;
  }

  std::string file_;
  std::optional<ServeOptions> served_;
  absl::Status result_;
  std::ostringstream out_;
  std::ostringstream error_;
};

TEST_F(ServeCommandTest, AFileSuffices) {
  EXPECT_EQ(Run({"--config", Write("model_repository: /m\nserver: {http_port: 0}\n")}), kExitOk);
  ASSERT_TRUE(served_.has_value());
  EXPECT_EQ(served_->config.model_repository, "/m");
  EXPECT_EQ(served_->config.server.http_port, 0);
}

TEST_F(ServeCommandTest, ARepositorySuffices) {
  EXPECT_EQ(Run({"--model-repository", "models", "--grpc-port", "0"}), kExitOk);
  ASSERT_TRUE(served_.has_value());
  EXPECT_EQ(served_->config.model_repository, "models");
  EXPECT_EQ(served_->config.server.grpc_port, 0);
}

TEST_F(ServeCommandTest, TheModeMayBeAFlag) {
  EXPECT_EQ(Run({"--model-repository", "models", "--mode", "int8"}), kExitOk);
  ASSERT_TRUE(served_.has_value());
  EXPECT_EQ(served_->config.quantization.mode, QuantizationMode::kInt8);
  EXPECT_EQ(Run({"--model-repository", "models", "--mode", "int9"}), kExitUsage);
}

TEST_F(ServeCommandTest, FlagsWinOverTheFile) {
  const std::string file =
      Write("model_repository: /m\nserver: {grpc_port: 1, http_port: 2, drain_seconds: 3}\n");
  EXPECT_EQ(Run({"--config", file, "--model-repository", "/flag", "--grpc-port", "4", "--http-port",
                 "5"}),
            kExitOk);
  ASSERT_TRUE(served_.has_value());
  EXPECT_EQ(served_->config.model_repository, "/flag");
  EXPECT_EQ(served_->config.server.grpc_port, 4);
  EXPECT_EQ(served_->config.server.http_port, 5);
  EXPECT_EQ(served_->config.server.drain_seconds, 3);
}

TEST_F(ServeCommandTest, WantsOneOfTheTwo) {
  EXPECT_EQ(Run({"--grpc-port", "1"}), kExitUsage);
  EXPECT_THAT(error_.str(), HasSubstr("--config FILE, --model-repository DIR, or both"));
  EXPECT_FALSE(served_.has_value());
}

TEST_F(ServeCommandTest, WantsSomethingToServe) {
  EXPECT_EQ(Run({"--config", Write("quantization: {mode: int8}\n")}), kExitUsage);
  EXPECT_THAT(error_.str(), HasSubstr(file_ + ": nothing to serve"));
}

TEST_F(ServeCommandTest, ChecksPorts) {
  EXPECT_EQ(Run({"--model-repository", "m", "--grpc-port", "-1"}), kExitUsage);
  EXPECT_THAT(error_.str(),
              EndsWith("--grpc-port: must be an integer from 0 to 65535, not '-1'\n"));
  EXPECT_EQ(Run({"--model-repository", "m", "--grpc-port", "8002"}), kExitUsage);
  EXPECT_THAT(error_.str(), HasSubstr("must differ"));
}

TEST_F(ServeCommandTest, AServerThatFailsExitsWithOne) {
  result_ = absl::UnavailableError("port 8001 is in use");
  EXPECT_EQ(Run({"--model-repository", "m"}), kExitFailure);
  EXPECT_EQ(error_.str(), "octet: port 8001 is in use\n");
}

}  // namespace
}  // namespace octet::server
