#include "server/commands/command_line.h"

#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/commands/version.h"

namespace octet::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

// A command line over one command `copy`, and one `group list`.
class CommandLineTest : public testing::Test {
 protected:
  CommandLineTest() {
    commands_.push_back(
        {.name = "copy",
         .summary = "Copy a file",
         .details = "Example:\n  octet copy a --times 2\n",
         .arguments = {{.name = "SOURCE", .help = "What", .required = true},
                       {.name = "--times", .value = "N", .help = "How often"},
                       {.name = "--tag", .value = "TAG", .help = "Label", .repeated = true}},
         .prepare = [this](const Arguments& given) -> absl::StatusOr<Action> {
           given_ = given;
           if (!prepared_.ok()) return prepared_;
           return [this](Console& console) {
             console.out << "copied\n";
             return acted_;
           };
         }});
    commands_.push_back({.name = "group list",
                         .summary = "List the group",
                         .prepare = [](const Arguments&) -> absl::StatusOr<Action> {
                           return [](Console& console) {
                             console.out << "listed\n";
                             return absl::OkStatus();
                           };
                         }});
  }

  int Run(const std::vector<std::string>& arguments) {
    Console console{out_, error_};
    return RunCommandLine(commands_, arguments, console);
  }

  std::vector<Command> commands_;
  Arguments given_;
  absl::Status prepared_;
  absl::Status acted_;
  std::ostringstream out_;
  std::ostringstream error_;
};

TEST_F(CommandLineTest, RunsTheCommandWithItsArguments) {
  EXPECT_EQ(Run({"copy", "--tag", "x", "a.txt", "--times", "3", "--tag=y"}), kExitOk);
  EXPECT_EQ(out_.str(), "copied\n");
  EXPECT_EQ(given_.Get("SOURCE"), "a.txt");
  EXPECT_EQ(given_.Get("--times"), "3");
  EXPECT_THAT(given_.All("--tag"), ElementsAre("x", "y"));
  EXPECT_THAT(error_.str(), IsEmpty());
}

TEST_F(CommandLineTest, KnowsWhatWasNotGiven) {
  EXPECT_EQ(Run({"copy", "a.txt"}), kExitOk);
  EXPECT_FALSE(given_.Has("--times"));
  EXPECT_EQ(given_.Get("--times"), "");
  EXPECT_THAT(given_.All("--tag"), IsEmpty());
}

TEST_F(CommandLineTest, GroupsHaveCommands) {
  EXPECT_EQ(Run({"group", "list"}), kExitOk);
  EXPECT_EQ(out_.str(), "listed\n");
  EXPECT_EQ(Run({"group"}), kExitUsage);
  EXPECT_EQ(Run({"group", "absent"}), kExitUsage);
}

TEST_F(CommandLineTest, TellsUsageFromFailure) {
  prepared_ = absl::InvalidArgumentError("wrong file");
  EXPECT_EQ(Run({"copy", "a"}), kExitUsage);
  EXPECT_EQ(error_.str(), "octet: wrong file\n");
  error_.str("");
  prepared_ = absl::OkStatus();
  acted_ = absl::InvalidArgumentError("broken");
  EXPECT_EQ(Run({"copy", "a"}), kExitFailure);
  EXPECT_EQ(error_.str(), "octet: broken\n");
}

TEST_F(CommandLineTest, RefusesWhatItDoesNotKnow) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{},
                                             {"absent"},
                                             {"copy"},
                                             {"copy", "a", "b"},
                                             {"copy", "a", "--absent"},
                                             {"copy", "a", "--times"},
                                             {"copy", "a", "--times", "1", "--times", "2"}}) {
    error_.str("");
    EXPECT_EQ(Run(arguments), kExitUsage) << testing::PrintToString(arguments);
    EXPECT_THAT(error_.str(), StartsWith("octet: "));
  }
  EXPECT_THAT(out_.str(), IsEmpty());
}

TEST_F(CommandLineTest, HelpSuffices) {
  EXPECT_EQ(Run({"--help"}), kExitOk);
  EXPECT_THAT(out_.str(), HasSubstr("Copy a file"));
  EXPECT_THAT(out_.str(), HasSubstr("Examples:"));
  EXPECT_THAT(out_.str(), HasSubstr("Exit codes: 0 done, 1 failed"));
  out_.str("");
  EXPECT_EQ(Run({"copy", "--help"}), kExitOk);
  EXPECT_THAT(out_.str(), HasSubstr("--times N"));
  EXPECT_THAT(out_.str(), HasSubstr("How often"));
  EXPECT_THAT(out_.str(), HasSubstr("SOURCE"));
  EXPECT_THAT(out_.str(), HasSubstr("octet copy a --times 2"));
  EXPECT_THAT(error_.str(), IsEmpty());
}

TEST(Arguments, NumbersAreChecked) {
  Arguments arguments;
  arguments.Add("--threads", "4");
  arguments.Add("--batch", "x");
  arguments.Add("--seconds", "0.5");
  EXPECT_EQ(arguments.GetInteger("--threads", 1, 8, 1).value(), 4);
  EXPECT_EQ(arguments.GetInteger("--absent", 1, 8, 7).value(), 7);
  EXPECT_EQ(arguments.GetInteger("--threads", 5, 8, 5).status().message(),
            "--threads: must be an integer from 5 to 8, not '4'");
  EXPECT_EQ(arguments.GetInteger("--batch", 1, 8, 1).status().message(),
            "--batch: must be an integer from 1 to 8, not 'x'");
  EXPECT_EQ(arguments.GetReal("--seconds", 0, 1, 1).value(), 0.5);
  EXPECT_FALSE(arguments.GetReal("--batch", 0, 1, 1).ok());
}

TEST(VersionCommand, PrintsItsLines) {
  std::ostringstream out;
  std::ostringstream error;
  Console console{out, error};
  const std::vector<Command> commands = {VersionCommand({{"octet", "1.2"}, {"isa", "avx512"}})};
  EXPECT_EQ(RunCommandLine(commands, {"version"}, console), kExitOk);
  EXPECT_EQ(out.str(), "octet: 1.2\nisa: avx512\n");
}

}  // namespace
}  // namespace octet::server
