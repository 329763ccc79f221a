#include "server/models/model_version.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::server {
namespace {

using ::testing::ElementsAre;

TEST(ModelVersionTest, RequestedVersion) {
  EXPECT_EQ(*ParseRequestedVersion(""), std::nullopt);
  EXPECT_EQ(*ParseRequestedVersion("-1"), std::nullopt);
  EXPECT_EQ(*ParseRequestedVersion("17"), 17);
  EXPECT_EQ(*ParseRequestedVersion("-2"), -2);
  for (const char* text : {"one", "1.0", " 1", "1 ", "+1", "-", "0x1", "99999999999999999999"}) {
    EXPECT_EQ(ParseRequestedVersion(text).status().code(), absl::StatusCode::kInvalidArgument)
        << text;
  }
}

TEST(ModelVersionTest, FolderNames) {
  EXPECT_EQ(ParseVersionFolder("12"), 12);
  for (const char* name :
       {"", "0", "01", "-1", "v1", "1a", "calibration", "99999999999999999999"}) {
    EXPECT_EQ(ParseVersionFolder(name), std::nullopt) << name;
  }
}

TEST(ModelVersionTest, PoliciesSelect) {
  const std::vector<int64_t> available = {3, 1, 12, 7};
  EXPECT_THAT(SelectVersions({}, available), ElementsAre(12));
  EXPECT_THAT(SelectVersions({.latest = 2}, available), ElementsAre(12, 7));
  EXPECT_THAT(SelectVersions({.latest = 9}, available), ElementsAre(12, 7, 3, 1));
  EXPECT_THAT(SelectVersions({.kind = VersionSelection::Kind::kAll}, available),
              ElementsAre(12, 7, 3, 1));
  EXPECT_THAT(
      SelectVersions({.kind = VersionSelection::Kind::kSpecific, .versions = {1, 4, 1}}, available),
      ElementsAre(4, 1))
      << "a version that is missing is selected, to be reported";
}

}  // namespace
}  // namespace octet::server
