#include "server/config/yaml_reader.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::server {
namespace {

using Kind = ConfigNode::Kind;

std::string ErrorOf(absl::string_view text) {
  const absl::StatusOr<ConfigNode> node = ReadYaml(text, "f.yaml");
  if (node.ok()) return "ok";
  EXPECT_EQ(node.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(node.status().message());
}

TEST(ReadYaml, BuildsATreeWithLines) {
  const absl::StatusOr<ConfigNode> root = ReadYaml(R"(# comment
server:
  grpc_port: 1
  tls: {key: "a b"}
models:
  - name: x

  - {name: y, list: [1, ~]}
)",
                                                   "f.yaml");
  ASSERT_TRUE(root.ok()) << root.status();
  ASSERT_EQ(root->kind, Kind::kMapping);
  const ConfigNode* server = root->Find("server");
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(server->line, 2);
  EXPECT_EQ(server->Find("grpc_port")->scalar, "1");
  EXPECT_EQ(server->Find("grpc_port")->line, 3);
  EXPECT_EQ(server->Find("tls")->Find("key")->scalar, "a b");
  EXPECT_EQ(server->Find("absent"), nullptr);
  const ConfigNode* models = root->Find("models");
  ASSERT_EQ(models->children.size(), 2u);
  EXPECT_EQ(models->children[0].line, 6);
  EXPECT_EQ(models->children[1].line, 8);
  const ConfigNode* list = models->children[1].Find("list");
  ASSERT_EQ(list->children.size(), 2u);
  EXPECT_EQ(list->children[1].kind, Kind::kNull);
}

TEST(ReadYaml, AnEmptyFileHasNoSettings) {
  for (const char* text : {"", "\n\n", "# nothing\n", "---\n", "~\n"}) {
    const absl::StatusOr<ConfigNode> root = ReadYaml(text, "f.yaml");
    ASSERT_TRUE(root.ok()) << root.status();
    EXPECT_EQ(root->kind, Kind::kMapping);
    EXPECT_TRUE(root->children.empty());
  }
}

TEST(ReadYaml, TakesAByteOrderMarkAndWindowsLines) {
  const absl::StatusOr<ConfigNode> root = ReadYaml(
      "\xEF\xBB\xBF"
      "a: 1\r\nb: 2\r\n",
      "f.yaml");
  ASSERT_TRUE(root.ok()) << root.status();
  EXPECT_EQ(root->Find("a")->scalar, "1");
  EXPECT_EQ(root->Find("b")->line, 2);
}

TEST(ReadYaml, RefusesDuplicateKeys) {
  EXPECT_EQ(ErrorOf("server:\n  grpc_port: 1\n  http_port: 2\n  grpc_port: 3\n"),
            "f.yaml:line 4: server.grpc_port: duplicate key; first set in line 2");
  EXPECT_EQ(ErrorOf("a: 1\n'a': 2\n"), "f.yaml:line 2: a: duplicate key; first set in line 1");
  EXPECT_EQ(ErrorOf("models:\n- {name: a}\n- {name: b, name: c}\n"),
            "f.yaml:line 3: models[1].name: duplicate key; first set in line 3");
}

TEST(ReadYaml, RefusesAnchorsAliasesMergeKeysAndTags) {
  EXPECT_EQ(ErrorOf("a: &x 1\n"), "f.yaml:line 1: a: anchors and aliases are not supported");
  EXPECT_EQ(ErrorOf("a: 1\nb:\n  c: &x {d: 1}\n"),
            "f.yaml:line 3: b.c: anchors and aliases are not supported");
  EXPECT_EQ(ErrorOf("a: &x [1]\n"), "f.yaml:line 1: a: anchors and aliases are not supported");
  EXPECT_EQ(ErrorOf("a: &x\nb: 1\n"), "f.yaml:line 1: a: anchors and aliases are not supported");
  EXPECT_EQ(ErrorOf("a: 1\n<<: {b: 1}\n"), "f.yaml:line 2: <<: merge keys are not supported");
  EXPECT_EQ(ErrorOf("a: !!int 1\n"),
            "f.yaml:line 1: a: tags are not supported: 'tag:yaml.org,2002:int'");
  EXPECT_EQ(ErrorOf("a: !x {b: 1}\n"), "f.yaml:line 1: a: tags are not supported: '!x'");
}

TEST(ReadYaml, RefusesKeysThatAreNoWords) {
  EXPECT_EQ(ErrorOf("? [a, b]\n: 1\n"), "f.yaml:line 1: a key must be a single word");
  EXPECT_EQ(ErrorOf("a: {? {b: 1} : 2}\n"), "f.yaml:line 1: a: a key must be a single word");
  EXPECT_EQ(ErrorOf("a: 1\n~: 1\n"), "f.yaml:line 2: a key must be a single word");
}

TEST(ReadYaml, RefusesASecondDocument) {
  EXPECT_EQ(ErrorOf("a: 1\n---\nb: 2\n"),
            "f.yaml:line 2: a second document begins here; one per file is allowed");
  EXPECT_EQ(ErrorOf("---\na: 1\n...\n"), "ok");
}

TEST(ReadYaml, RefusesWhatIsNoMapping) {
  EXPECT_EQ(ErrorOf("text\n"),
            "f.yaml:line 1: must be settings such as 'model_repository: DIR', not 'text'");
  EXPECT_EQ(ErrorOf("\n- a\n"),
            "f.yaml:line 2: must be settings such as 'model_repository: DIR', not a list");
}

TEST(ReadYaml, RefusesBadText) {
  EXPECT_EQ(ErrorOf("a: 1\nb: \xFF\n"), "f.yaml:line 2: not UTF-8 text");
  EXPECT_EQ(ErrorOf(absl::string_view("a: 1\nb: \0\n", 10)), "f.yaml:line 2: control character 0");
  EXPECT_EQ(ErrorOf("a: \x1B[31m\n"), "f.yaml:line 1: control character 27");
  EXPECT_EQ(ErrorOf("a:\n\tb: 1\n"), "f.yaml:line 2: indented with a tab; YAML wants spaces");
  EXPECT_EQ(ErrorOf("a:\n  \tb: 1\n"), "f.yaml:line 2: indented with a tab; YAML wants spaces");
  EXPECT_EQ(ErrorOf("a: 1 \t# comment\n\t\n\t# comment\n"), "ok");
}

TEST(ReadYaml, TellsWhereTheSyntaxIsWrong) {
  EXPECT_THAT(ErrorOf("a: 1\nb: [1, 2\n"), testing::StartsWith("f.yaml:line 3: not valid YAML: "));
  EXPECT_THAT(ErrorOf("a: 1\n  b: 2\n"), testing::StartsWith("f.yaml:line 2: not valid YAML: "));
  EXPECT_EQ(ErrorOf("a: 1\nb: 'x''\n"),
            "f.yaml:line 2: b: the quote that begins here is never closed");
  EXPECT_EQ(ErrorOf("\xEF\xBB\xBF"
                    "a: \"\xC3\xA9\"\nb: \"x\\\"\n"),
            "f.yaml:line 2: b: the quote that begins here is never closed");
  EXPECT_EQ(ErrorOf("a: \"x\\\"\"\nb: 'it''s'\nc: 'two\n  lines'\n"), "ok");
  EXPECT_THAT(ErrorOf("a: *x\n"), testing::StartsWith("f.yaml:line 1: "));
}

}  // namespace
}  // namespace octet::server
