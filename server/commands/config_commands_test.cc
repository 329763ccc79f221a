#include "server/commands/config_commands.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/commands/command_line.h"

namespace octet::server {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class ConfigCommandsTest : public testing::Test {
 protected:
  ConfigCommandsTest()
      : file_((std::filesystem::path(testing::TempDir()) /
               (std::string("octet_") +
                testing::UnitTest::GetInstance()->current_test_info()->name() + ".yaml"))
                  .string()) {}
  ~ConfigCommandsTest() override { std::filesystem::remove(file_); }

  int Run(const std::string& command, const std::string& text) {
    std::ofstream(file_) << text;
    Console console{out_, error_};
    return RunCommandLine(ConfigCommands(), {"config", command, file_}, console);
  }

  std::string file_;
  std::ostringstream out_;
  std::ostringstream error_;
};

TEST_F(ConfigCommandsTest, CheckTakesAGoodFile) {
  EXPECT_EQ(Run("check", "model_repository: m\nquantization: {mode: int8}\n"), kExitOk);
  EXPECT_EQ(out_.str(), file_ + ": ok\n");
  EXPECT_THAT(error_.str(), IsEmpty());
}

TEST_F(ConfigCommandsTest, CheckNotesThatThereIsNothingToServe) {
  EXPECT_EQ(Run("check", "quantization: {mode: int8}\n"), kExitOk);
  EXPECT_THAT(error_.str(), StartsWith("note: nothing to serve"));
}

TEST_F(ConfigCommandsTest, CheckRefusesABadFile) {
  EXPECT_EQ(Run("check", "log:\n  levle: info\n"), kExitUsage);
  EXPECT_EQ(error_.str(),
            "octet: " + file_ + ":line 2: log: unknown key 'levle'; did you mean 'level'?\n");
  EXPECT_THAT(out_.str(), IsEmpty());
}

TEST_F(ConfigCommandsTest, CheckRefusesAFileThatIsNotThere) {
  Console console{out_, error_};
  EXPECT_EQ(RunCommandLine(ConfigCommands(), {"config", "check", "/absent.yaml"}, console),
            kExitUsage);
  EXPECT_THAT(error_.str(), StartsWith("octet: /absent.yaml"));
}

TEST_F(ConfigCommandsTest, ExplainShowsValuesAndOrigins) {
  EXPECT_EQ(Run("explain", "log: {level: debug}\n"), kExitOk);
  EXPECT_THAT(out_.str(), HasSubstr("log.level: debug    [" + file_ + " line 1]\n"));
  EXPECT_EQ(Run("explain", "log: 1\n"), kExitUsage);
}

TEST_F(ConfigCommandsTest, ReferenceIsMarkdown) {
  Console console{out_, error_};
  EXPECT_EQ(RunCommandLine(ConfigCommands(), {"config", "reference"}, console), kExitOk);
  EXPECT_THAT(out_.str(), StartsWith("# Configuration\n"));
}

}  // namespace
}  // namespace octet::server
