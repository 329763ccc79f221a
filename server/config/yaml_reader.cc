#include "server/config/yaml_reader.h"

#include <yaml-cpp/anchor.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "server/config/spelling.h"
#include "server/config/utf8.h"

namespace octet::server {
namespace {

// Builds the tree from the parser's events. Events, and not YAML::Node: a Node has already lost
// duplicate keys, and has already followed the aliases.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(absl::string_view text, absl::string_view source) : text_(text), source_(source) {
    absl::ConsumePrefix(&text_, "\xEF\xBB\xBF");  // marks do not count the byte order mark
  }

  const absl::Status& status() const { return status_; }
  ConfigNode TakeRoot() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) Fail(mark, "a second document begins here; one per file is allowed");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (Accept(mark, "", anchor)) Add(NewNode(ConfigNode::Kind::kNull, mark), mark);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
    Fail(mark, "anchors and aliases are not supported");
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    if (!Accept(mark, tag, anchor)) return;
    if (!QuoteIsClosed(mark)) return Fail(mark, "the quote that begins here is never closed");
    ConfigNode node = NewNode(ConfigNode::Kind::kScalar, mark);
    node.scalar = value;
    Add(std::move(node), mark);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    Open(ConfigNode::Kind::kSequence, mark, tag, anchor);
  }
  void OnSequenceEnd() override { Close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    Open(ConfigNode::Kind::kMapping, mark, tag, anchor);
  }
  void OnMapEnd() override { Close(); }

 private:
  struct PendingKey {
    std::string text;
    int line;
  };

  // A mapping or sequence whose end has not come yet.
  struct OpenNode {
    ConfigNode node;
    YAML::Mark start;
    std::optional<PendingKey> key;
  };

  static int Line(const YAML::Mark& mark) { return mark.line + 1; }

  static ConfigNode NewNode(ConfigNode::Kind kind, const YAML::Mark& mark) {
    ConfigNode node;
    node.kind = kind;
    node.line = Line(mark);
    return node;
  }

  // The parser goes on after an error; only the first one is kept, and nothing more is stored.
  void Fail(const YAML::Mark& mark, absl::string_view message) {
    if (status_.ok()) status_ = ConfigError(source_, Line(mark), Path(), message);
  }

  std::string Path() const {
    std::string path;
    for (const OpenNode& open : open_) {
      if (open.node.kind == ConfigNode::Kind::kSequence) {
        absl::StrAppend(&path, "[", open.node.children.size(), "]");
      } else if (open.key.has_value()) {
        absl::StrAppend(&path, path.empty() ? "" : ".", open.key->text);
      }
    }
    return path;
  }

  bool Accept(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (!status_.ok()) return false;
    if (anchor != YAML::NullAnchor) {
      Fail(mark, "anchors and aliases are not supported");
    } else if (tag.size() > 1) {  // "?" is a plain scalar, "!" a quoted one
      Fail(mark, absl::StrCat("tags are not supported: ", Quoted(tag)));
    } else if (++values_ > kMaxConfigValues) {
      Fail(mark, absl::StrCat("more than ", kMaxConfigValues, " values"));
    }
    return status_.ok();
  }

  // yaml-cpp takes the end of the file for the end of a quoted text.
  bool QuoteIsClosed(const YAML::Mark& mark) const {
    const auto start = static_cast<size_t>(mark.pos);
    if (start >= text_.size()) return true;
    const char quote = text_[start];
    if (quote != '\'' && quote != '"') return true;
    for (size_t i = start + 1; i < text_.size(); ++i) {
      const bool doubled = quote == '\'' && text_.substr(i, 2) == "''";
      if (doubled || (quote == '"' && text_[i] == '\\')) {
        ++i;
      } else if (text_[i] == quote) {
        return true;
      }
    }
    return false;
  }

  bool NextIsKey() const {
    return !open_.empty() && open_.back().node.kind == ConfigNode::Kind::kMapping &&
           !open_.back().key.has_value();
  }

  void Open(ConfigNode::Kind kind, const YAML::Mark& mark, const std::string& tag,
            YAML::anchor_t anchor) {
    if (!Accept(mark, tag, anchor)) return;
    if (NextIsKey()) return Fail(mark, "a key must be a single word");
    if (open_.size() >= kMaxConfigDepth) {
      return Fail(mark, absl::StrCat("nested deeper than ", kMaxConfigDepth, " levels"));
    }
    open_.push_back({NewNode(kind, mark), mark, std::nullopt});
  }

  void Close() {
    if (!status_.ok() || open_.empty()) return;
    OpenNode closed = std::move(open_.back());
    open_.pop_back();
    Add(std::move(closed.node), closed.start);
  }

  void Add(ConfigNode node, const YAML::Mark& mark) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    OpenNode& parent = open_.back();
    if (parent.node.kind == ConfigNode::Kind::kSequence) {
      parent.node.children.push_back(std::move(node));
    } else if (!parent.key.has_value()) {
      SetKey(node, mark);
    } else {
      node.key = std::move(parent.key->text);
      node.key_line = parent.key->line;
      if (node.kind != ConfigNode::Kind::kScalar) node.line = node.key_line;
      parent.key.reset();
      parent.node.children.push_back(std::move(node));
    }
  }

  void SetKey(ConfigNode& node, const YAML::Mark& mark) {
    if (node.kind != ConfigNode::Kind::kScalar) return Fail(mark, "a key must be a single word");
    OpenNode& parent = open_.back();
    const ConfigNode* first = parent.node.Find(node.scalar);
    parent.key = {std::move(node.scalar), node.line};
    if (parent.key->text == "<<") {
      Fail(mark, "merge keys are not supported");
    } else if (first != nullptr) {
      Fail(mark, absl::StrCat("duplicate key; first set in line ", first->key_line));
    }
  }

  absl::string_view text_;
  std::string source_;
  absl::Status status_;
  ConfigNode root_;
  std::vector<OpenNode> open_;
  int documents_ = 0;
  int values_ = 0;
};

// What yaml-cpp would take, or would complain about in words that do not help.
absl::Status CheckText(absl::string_view text, absl::string_view source) {
  int line = 1;
  bool in_indentation = true;
  bool tab = false;
  for (size_t i = 0; i < text.size();) {
    const size_t size = Utf8CharacterSize(text.substr(i));
    if (size == 0) return ConfigError(source, line, "", "not UTF-8 text");
    const char c = text[i];
    if (c == '\n') {
      ++line;
      in_indentation = true;
      tab = false;
    } else if (c == '\t' || c == ' ') {
      tab = tab || (c == '\t' && in_indentation);
    } else if (size == 1 && c < ' ' && c != '\r') {
      return ConfigError(source, line, "", absl::StrCat("control character ", static_cast<int>(c)));
    } else if (in_indentation) {
      if (tab && c != '#' && c != '\r') {
        return ConfigError(source, line, "", "indented with a tab; YAML wants spaces");
      }
      in_indentation = false;
    }
    i += size;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ConfigError(absl::string_view source, int line, absl::string_view path,
                         absl::string_view message) {
  return absl::InvalidArgumentError(
      absl::StrCat(source, ":line ", line, ": ", path, path.empty() ? "" : ": ", message));
}

absl::StatusOr<ConfigNode> ReadYaml(absl::string_view text, absl::string_view source) {
  if (text.size() > kMaxConfigBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": longer than ", kMaxConfigBytes, " bytes"));
  }
  OCTET_RETURN_IF_ERROR(CheckText(text, source));

  TreeBuilder builder(text, source);
  absl::Status syntax;
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    while (builder.status().ok() && parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& exception) {
    syntax = ConfigError(source, std::max(0, exception.mark.line) + 1, "",
                         absl::StrCat("not valid YAML: ", exception.msg, " (column ",
                                      std::max(0, exception.mark.column) + 1, ")"));
  } catch (const std::exception& exception) {
    syntax =
        absl::InvalidArgumentError(absl::StrCat(source, ": not valid YAML: ", exception.what()));
  }
  OCTET_RETURN_IF_ERROR(builder.status());
  OCTET_RETURN_IF_ERROR(syntax);

  ConfigNode root = builder.TakeRoot();
  if (root.kind == ConfigNode::Kind::kNull) root.kind = ConfigNode::Kind::kMapping;
  if (root.kind != ConfigNode::Kind::kMapping) {
    return ConfigError(
        source, root.line, "",
        absl::StrCat("must be settings such as 'model_repository: DIR', not ", root.Describe()));
  }
  return root;
}

}  // namespace octet::server
