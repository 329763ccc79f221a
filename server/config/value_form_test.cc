#include "server/config/value_form.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::server {
namespace {

using ::testing::Eq;
using ::testing::Optional;

ConfigNode Scalar(const std::string& text) {
  ConfigNode node;
  node.kind = ConfigNode::Kind::kScalar;
  node.scalar = text;
  return node;
}

ConfigNode Mapping(const std::string& key, ConfigNode value) {
  ConfigNode node;
  node.kind = ConfigNode::Kind::kMapping;
  value.key = key;
  node.children.push_back(std::move(value));
  return node;
}

ConfigNode Sequence(const std::vector<std::string>& texts) {
  ConfigNode node;
  node.kind = ConfigNode::Kind::kSequence;
  for (const std::string& text : texts) node.children.push_back(Scalar(text));
  return node;
}

TEST(ParseInteger, TakesDecimalDigitsOnly) {
  EXPECT_THAT(ParseInteger("0"), Optional(0));
  EXPECT_THAT(ParseInteger("-12"), Optional(-12));
  for (const char* text :
       {"", " 1", "1 ", "+1", "0x10", "1_000", "1e3", "1.0", "1k", "9223372036854775808", "--1"}) {
    EXPECT_THAT(ParseInteger(text), Eq(std::nullopt)) << text;
  }
}

TEST(Integer, HoldsItsRange) {
  const ValueForm<int> form = Integer<int>(1, 1024);
  EXPECT_EQ(form.text, "an integer from 1 to 1024");
  EXPECT_THAT(form.parse(Scalar("1"), ""), Optional(1));
  EXPECT_THAT(form.parse(Scalar("1024"), ""), Optional(1024));
  EXPECT_THAT(form.parse(Scalar("0"), ""), Eq(std::nullopt));
  EXPECT_THAT(form.parse(Scalar("1025"), ""), Eq(std::nullopt));
  EXPECT_THAT(form.parse(Scalar("4294967297"), ""), Eq(std::nullopt));
  EXPECT_THAT(form.parse(Sequence({"1"}), ""), Eq(std::nullopt));
}

TEST(IntegerOrAuto, AutoIsZero) {
  const ValueForm<int> form = IntegerOrAuto<int>(8);
  EXPECT_THAT(form.parse(Scalar("auto"), ""), Optional(0));
  EXPECT_THAT(form.parse(Scalar("0"), ""), Optional(0));
  EXPECT_THAT(form.parse(Scalar("8"), ""), Optional(8));
  EXPECT_THAT(form.parse(Scalar("9"), ""), Eq(std::nullopt));
  EXPECT_EQ(form.print(0), "auto");
  EXPECT_EQ(form.print(3), "3");
}

TEST(Real, RefusesWhatIsNoNumberInRange) {
  const ValueForm<double> form = Real(0, 1);
  EXPECT_THAT(form.parse(Scalar("0.35"), ""), Optional(0.35));
  EXPECT_THAT(form.parse(Scalar("1"), ""), Optional(1.0));
  EXPECT_THAT(form.parse(Scalar("2e-1"), ""), Optional(0.2));
  for (const char* text : {"1.01", "-0.1", "nan", "inf", ".nan", "0,5", "", "x"}) {
    EXPECT_THAT(form.parse(Scalar(text), ""), Eq(std::nullopt)) << text;
  }
  EXPECT_EQ(form.print(0.35), "0.35");
}

TEST(Boolean, IsTrueOrFalse) {
  const ValueForm<bool> form = Boolean();
  EXPECT_THAT(form.parse(Scalar("true"), ""), Optional(true));
  EXPECT_THAT(form.parse(Scalar("false"), ""), Optional(false));
  EXPECT_THAT(form.parse(Scalar("yes"), ""), Eq(std::nullopt));
  EXPECT_EQ(form.print(true), "true");
}

TEST(Path, IsLookedForInTheFolderFirst) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / "octet_value_form_test";
  std::filesystem::create_directories(folder / "models");
  const ValueForm<std::string> form = Path("the path of a folder");
  EXPECT_THAT(form.parse(Scalar("models"), folder.string()), Optional(folder / "models"));
  EXPECT_THAT(form.parse(Scalar("absent"), folder.string()), Optional(Eq("absent")));
  EXPECT_THAT(form.parse(Scalar("/models"), folder.string()), Optional(Eq("/models")));
  EXPECT_THAT(form.parse(Scalar("models"), ""), Optional(Eq("models")));
  EXPECT_THAT(form.parse(ConfigNode{}, ""), Optional(Eq("")));
  EXPECT_THAT(form.parse(Scalar(""), ""), Eq(std::nullopt));
  EXPECT_EQ(form.print(""), "none");
  std::filesystem::remove_all(folder);
}

TEST(VersionPolicyForm, KnowsItsFourForms) {
  const ValueForm<VersionPolicyConfig> form = VersionPolicyForm();
  const auto printed = [&](const ConfigNode& node) {
    const std::optional<VersionPolicyConfig> policy = form.parse(node, "");
    return policy.has_value() ? form.print(*policy) : "wrong";
  };
  EXPECT_EQ(printed(Scalar("latest")), "latest");
  EXPECT_EQ(printed(Scalar("all")), "all");
  EXPECT_EQ(printed(Mapping("latest", Scalar("3"))), "{latest: 3}");
  EXPECT_EQ(printed(Mapping("specific", Sequence({"7", "2", "7"}))), "{specific: [2, 7]}");
  EXPECT_EQ(printed(Scalar("newest")), "wrong");
  EXPECT_EQ(printed(Mapping("latest", Scalar("0"))), "wrong");
  EXPECT_EQ(printed(Mapping("specific", Sequence({}))), "wrong");
  EXPECT_EQ(printed(Mapping("specific", Sequence({"1", "-1"}))), "wrong");
  EXPECT_EQ(printed(Mapping("specific", Scalar("1"))), "wrong");
  EXPECT_EQ(printed(ConfigNode{}), "wrong");
}

}  // namespace
}  // namespace octet::server
