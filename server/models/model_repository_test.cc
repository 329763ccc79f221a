#include "server/models/model_repository.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temporary_directory.h"

namespace octet::server {
namespace {

namespace fs = std::filesystem;
using octet::testing::TemporaryDirectory;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ModelRepositoryTest : public ::testing::Test {
 protected:
  RepositoryContents Scan() {
    auto contents = ScanRepository(directory_.path());
    EXPECT_TRUE(contents.ok()) << contents.status();
    return *std::move(contents);
  }
  // "name:version,version" or "name: problem" of every model.
  std::vector<std::string> Text() {
    std::vector<std::string> text;
    for (const RepositoryModel& model : Scan().models) {
      std::string line = model.name + ":";
      for (const VersionFile& version : model.versions) {
        absl::StrAppend(&line, version.version, version.problem.empty() ? "" : "!", " ");
      }
      text.push_back(line + (model.problem.empty() ? "" : "problem"));
    }
    return text;
  }

  TemporaryDirectory directory_;
};

TEST_F(ModelRepositoryTest, FindsTheThreeLayouts) {
  directory_.Write("versioned/1/model.onnx");
  directory_.Write("versioned/12/model.onnx");
  directory_.Write("versioned/calibration/batch.npy");
  directory_.Write("plain/model.onnx");
  directory_.Write("single.onnx");
  EXPECT_THAT(Text(), ElementsAre("plain:1 ", "single:1 ", "versioned:1 12 "));
  EXPECT_EQ(Scan().models[2].versions[1].file, directory_.path() / "versioned/12/model.onnx");
}

TEST_F(ModelRepositoryTest, PassesOverWhatIsNoModel) {
  directory_.Write("README.md");
  directory_.Write(".git/1/model.onnx");
  directory_.Write("lost+found/model.onnx");
  directory_.Write("calibration/images.npz");
  directory_.Write("m.onnx");
  EXPECT_THAT(Text(), ElementsAre("m:1 "));
  EXPECT_THAT(Scan().warnings, ElementsAre(HasSubstr("calibration: holds no model")));
}

TEST_F(ModelRepositoryTest, FileOfAnotherNameIsNamedInTheProblem) {
  directory_.Write("resnet/resnet50.onnx");
  directory_.Write("bert/1/bert.onnx");
  const RepositoryContents contents = Scan();
  EXPECT_THAT(contents.models[0].versions[0].problem,
              HasSubstr("1/model.onnx: no such file; found \"bert.onnx\""));
  EXPECT_THAT(contents.models[1].problem, HasSubstr("found \"resnet50.onnx\""));
}

TEST_F(ModelRepositoryTest, TwoModelsOfOneNameAreAProblem) {
  directory_.Write("m.onnx");
  directory_.Write("m/1/model.onnx");
  EXPECT_THAT(Text(), ElementsAre("m:problem"));
  EXPECT_THAT(Scan().models[0].problem, HasSubstr("two models of this name"));
}

TEST_F(ModelRepositoryTest, TwoLayoutsInOneFolderAreAProblem) {
  directory_.Write("m/model.onnx");
  directory_.Write("m/1/model.onnx");
  EXPECT_THAT(Scan().models[0].problem, HasSubstr("both model.onnx and version folders"));
}

TEST_F(ModelRepositoryTest, LoopsOfLinksAreAProblemOfThatModelOnly) {
  fs::create_symlink(directory_.path() / "b.onnx", directory_.path() / "a.onnx");
  fs::create_symlink(directory_.path() / "a.onnx", directory_.path() / "b.onnx");
  fs::create_directories(directory_.path() / "deep");
  fs::create_directory_symlink(directory_.path() / "deep", directory_.path() / "deep/1");
  directory_.Write("good.onnx");
  const RepositoryContents contents = Scan();
  ASSERT_EQ(contents.models.size(), 4u);
  EXPECT_THAT(contents.models[0].problem, HasSubstr("symbolic links"));
  EXPECT_THAT(contents.models[2].versions[0].problem, HasSubstr("no such file"));
  EXPECT_EQ(contents.models[3].problem, "");
}

TEST_F(ModelRepositoryTest, LinksAreFollowedAndDeadOnesReported) {
  TemporaryDirectory elsewhere;
  elsewhere.Write("blob");
  fs::create_symlink(elsewhere.path() / "blob", directory_.path() / "linked.onnx");
  fs::create_symlink(elsewhere.path() / "gone", directory_.path() / "dead.onnx");
  const RepositoryContents contents = Scan();
  EXPECT_THAT(contents.models[0].problem, HasSubstr("leads to nothing"));
  EXPECT_EQ(contents.models[1].problem, "");
}

TEST_F(ModelRepositoryTest, FolderInPlaceOfTheFileIsAProblem) {
  fs::create_directories(directory_.path() / "m/1/model.onnx");
  EXPECT_THAT(Scan().models[0].versions[0].problem, HasSubstr("not a regular file"));
}

TEST_F(ModelRepositoryTest, UnreadableFolderIsAProblem) {
  directory_.Write("secret/1/model.onnx");
  fs::permissions(directory_.path(), fs::perms(0755));
  fs::permissions(directory_.path() / "secret", fs::perms::none);
  const bool root = ::geteuid() == 0;
  ASSERT_EQ(root ? ::seteuid(65534) : 0, 0);  // root reads everything
  const auto contents = ScanRepository(directory_.path());
  ASSERT_EQ(root ? ::seteuid(0) : 0, 0);
  fs::permissions(directory_.path() / "secret", fs::perms::owner_all);
  ASSERT_TRUE(contents.ok()) << contents.status();
  ASSERT_EQ(contents->models.size(), 1u);
  EXPECT_THAT(contents->models[0].problem, HasSubstr("Permission denied"));
}

TEST_F(ModelRepositoryTest, OddNamesAreProblemsWithPrintableNames) {
  directory_.Write("a b.onnx");
  directory_.Write("caf\xe9.onnx");
  const RepositoryContents contents = Scan();
  EXPECT_EQ(contents.models[0].name, "a b");
  EXPECT_THAT(contents.models[0].problem, HasSubstr("letters, digits"));
  EXPECT_EQ(contents.models[1].name, "caf\\xe9");
}

TEST_F(ModelRepositoryTest, RootMustBeAFolder) {
  EXPECT_EQ(ScanRepository(directory_.path() / "none").status().code(),
            absl::StatusCode::kNotFound);
  const fs::path file = directory_.Write("file");
  EXPECT_EQ(ScanRepository(file).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(ModelNameTest, TraversalIsNoName) {
  EXPECT_TRUE(IsModelName("PP-OCRv4_rec.int8"));
  for (const char* name : {"", ".", "..", "../m", "a/b", ".hidden", "a\nb"}) {
    EXPECT_FALSE(IsModelName(name)) << name;
    EXPECT_THAT(ScanModel(name, "/").versions, IsEmpty());
  }
}

}  // namespace
}  // namespace octet::server
