// Field rows: one row per setting, from which its parsing, its range check, its error text, `octet
// config explain` and docs/configuration.md all come.
//
//   Value("max_batch_size", &BatchingConfig::max_batch_size, Integer<int>(1, 1024), "Largest ...")
//   Section("tls", &ServerConfig::tls, TlsFields(), "Encryption ...")
//   List("layers", &QuantizationConfig::layers, LayerFields(), "Exceptions ...")

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status.h"
#include "server/config/config_node.h"
#include "server/config/value_form.h"

namespace octet::server {

// Where settings came from: path -> "octet.yaml line 3" or "flag --grpc-port". A setting that has
// no entry has its default.
using Origins = std::map<std::string, std::string>;

// A setting, as explanations and the reference show it.
struct Setting {
  enum class Kind : uint8_t {
    kValue,
    kSection,
    kList,      // sections, repeated; `value` is all of them on one line
    kOverride,  // a section that overrides the top-level section of the same name
  };

  Kind kind = Kind::kValue;
  std::string path;   // "server.grpc_port"; in lists "models[0].name"
  std::string value;  // as YAML
  std::string form;   // "an integer from 0 to 65535"
  std::string help;
};

struct SettingVisitor {
  std::function<void(const Setting&)> show;
  bool into_lists = false;  // also the rows of an element with every default, as "models[].name"
};

// What the rows are being read from: a file or a flag.
struct Reading {
  std::string source;  // file name or flag, for messages
  std::string folder;  // of the file: where relative paths are looked for first; empty for flags
  bool from_flag = false;
  Origins* origins = nullptr;  // not owned; may be null

  // InvalidArgument "file:line N: path: message", or "flag: message".
  absl::Status Error(int line, absl::string_view path, absl::string_view message) const;
  // The error for a value that is not of the wanted form; it knows what later versions will take.
  absl::Status WrongValue(const ConfigNode& node, absl::string_view path, absl::string_view form,
                          const std::vector<std::string>& words) const;
  // OK if `node` is a mapping whose keys are all `known`, or null: an empty section.
  absl::Status CheckKeys(const ConfigNode& node, absl::string_view path,
                         const std::vector<std::string>& known) const;
  // OK if `node` is a list of sections, or null: an empty list.
  absl::Status CheckList(const ConfigNode& node, absl::string_view path) const;
  void Record(const ConfigNode& node, const std::string& path) const;
};

template <typename Struct>
struct Field {
  std::string key;
  std::string form;
  std::string help;
  Setting::Kind kind = Setting::Kind::kValue;
  std::function<absl::Status(const ConfigNode&, const std::string& path, const Reading&, Struct&)>
      read;
  std::function<std::string(const Struct&)> print;  // sections: none
  // The settings inside a section; for a list, inside an element that has every default.
  std::function<void(const Struct&, const std::string& path, const SettingVisitor&)> visit_inside;
};

template <typename Struct>
using Fields = std::vector<Field<Struct>>;

// A rule over several members: what is wrong with them, or "".
template <typename Struct>
using Rule = std::function<std::string(const Struct&)>;

inline std::string JoinPath(const std::string& path, const std::string& key) {
  return path.empty() ? key : absl::StrCat(path, ".", key);
}

// Reads what `node` sets into `into`, in the order of the rows; the rest of `into` stays.
template <typename Struct>
absl::Status ReadFields(const Fields<Struct>& fields, const ConfigNode& node,
                        const std::string& path, const Reading& reading, Struct& into) {
  std::vector<std::string> known;
  for (const Field<Struct>& field : fields) known.push_back(field.key);
  OCTET_RETURN_IF_ERROR(reading.CheckKeys(node, path, known));
  for (const Field<Struct>& field : fields) {
    const ConfigNode* value = node.Find(field.key);
    if (value == nullptr) continue;
    OCTET_RETURN_IF_ERROR(field.read(*value, JoinPath(path, field.key), reading, into));
  }
  return absl::OkStatus();
}

// Shows every row with its value in `from`, sections before what is inside them.
template <typename Struct>
void VisitFields(const Fields<Struct>& fields, const Struct& from, const std::string& path,
                 const SettingVisitor& visitor) {
  for (const Field<Struct>& field : fields) {
    const std::string inside = JoinPath(path, field.key);
    visitor.show(
        {field.kind, inside, field.print ? field.print(from) : "", field.form, field.help});
    if (field.kind == Setting::Kind::kList) {
      if (visitor.into_lists) field.visit_inside(from, absl::StrCat(inside, "[]"), visitor);
    } else if (field.visit_inside) {
      field.visit_inside(from, inside, visitor);
    }
  }
}

// A row for one value.
template <typename Struct, typename T>
Field<Struct> Value(std::string key, T Struct::* member, const ValueForm<T>& form,
                    std::string help) {
  Field<Struct> field{std::move(key), form.text, std::move(help)};
  field.print = [member, form](const Struct& from) { return form.print(from.*member); };
  field.read = [member, form](const ConfigNode& node, const std::string& path,
                              const Reading& reading, Struct& into) {
    std::optional<T> value = form.parse(node, reading.folder);
    if (!value.has_value()) return reading.WrongValue(node, path, form.text, form.words);
    into.*member = *std::move(value);
    reading.Record(node, path);
    return absl::OkStatus();
  };
  return field;
}

// A row for a section of rows. The rule is checked when the section has been read.
template <typename Struct, typename Inner>
Field<Struct> Section(std::string key, Inner Struct::* member, const Fields<Inner>& inner,
                      std::string help, const std::type_identity_t<Rule<Inner>>& rule = nullptr) {
  Field<Struct> field{std::move(key), "a section", std::move(help), Setting::Kind::kSection};
  field.read = [member, &inner, rule](const ConfigNode& node, const std::string& path,
                                      const Reading& reading, Struct& into) {
    OCTET_RETURN_IF_ERROR(ReadFields(inner, node, path, reading, into.*member));
    const std::string problem = rule ? rule(into.*member) : "";
    return problem.empty() ? absl::OkStatus() : reading.Error(node.line, path, problem);
  };
  field.visit_inside = [member, &inner](const Struct& from, const std::string& path,
                                        const SettingVisitor& visitor) {
    VisitFields(inner, from.*member, path, visitor);
  };
  return field;
}

// A section of a list's element that begins as a copy of the top-level section of that name.
template <typename Struct, typename Inner>
Field<Struct> Override(std::string key, Inner Struct::* member, const Fields<Inner>& inner,
                       std::string help, const std::type_identity_t<Rule<Inner>>& rule = nullptr) {
  Field<Struct> field = Section(std::move(key), member, inner, std::move(help), rule);
  field.kind = Setting::Kind::kOverride;
  return field;
}

template <typename Struct, typename Element>
struct ListOptions {
  std::function<Element(const Struct&)> make;  // an element before it is read; null: Element{}
  Rule<Element> rule;
  std::string Element::* unique = nullptr;  // no two elements agree in it
};

// What is set in the section that `field` is of `element`: "key: value, key: value".
template <typename Element>
std::string SectionText(const Field<Element>& field, const Element& element) {
  std::string text;
  field.visit_inside(element, "", {[&](const Setting& setting) {
                       if (setting.value.empty() || setting.value == "none") return;
                       absl::StrAppend(&text, text.empty() ? "" : ", ", setting.path, ": ",
                                       setting.value);
                     }});
  return text;
}

// `elements` on one line of YAML, by what is set in them.
template <typename Element>
std::string ListText(const Fields<Element>& fields, const std::vector<Element>& elements) {
  std::string text = "[";
  for (const Element& element : elements) {
    absl::StrAppend(&text, text.size() > 1 ? ", {" : "{");
    bool first = true;
    const auto add = [&](const std::string& key, const std::string& value) {
      absl::StrAppend(&text, first ? "" : ", ", key, ": ", value);
      first = false;
    };
    for (const Field<Element>& field : fields) {
      if (field.print) {
        const std::string value = field.print(element);
        if (value != "none") add(field.key, value);
        continue;
      }
      const std::string inside = SectionText(field, element);
      if (!inside.empty()) add(field.key, absl::StrCat("{", inside, "}"));
    }
    absl::StrAppend(&text, "}");
  }
  return absl::StrCat(text, "]");
}

// A row for a list of sections. A list that is given replaces the one that was there.
template <typename Struct, typename Element>
Field<Struct> List(std::string key, std::vector<Element> Struct::* member,
                   const Fields<Element>& fields, std::string help,
                   const ListOptions<Struct, Element>& options = {}) {
  Field<Struct> field{std::move(key), "a list of sections", std::move(help), Setting::Kind::kList};
  field.print = [member, &fields](const Struct& from) { return ListText(fields, from.*member); };
  field.visit_inside = [&fields](const Struct&, const std::string& path,
                                 const SettingVisitor& visitor) {
    VisitFields(fields, Element{}, path, visitor);
  };
  field.read = [member, &fields, options](const ConfigNode& node, const std::string& path,
                                          const Reading& reading, Struct& into) {
    OCTET_RETURN_IF_ERROR(reading.CheckList(node, path));
    std::vector<Element> elements;
    std::set<std::string> seen;
    for (const ConfigNode& child : node.children) {
      const std::string inside = absl::StrCat(path, "[", elements.size(), "]");
      Element element = options.make ? options.make(into) : Element{};
      OCTET_RETURN_IF_ERROR(ReadFields(fields, child, inside, reading, element));
      std::string problem = options.rule ? options.rule(element) : "";
      if (problem.empty() && options.unique && !seen.insert(element.*options.unique).second) {
        problem = absl::StrCat("'", element.*options.unique, "' is listed twice");
      }
      if (!problem.empty()) return reading.Error(child.line, inside, problem);
      elements.push_back(std::move(element));
    }
    into.*member = std::move(elements);
    reading.Record(node, path);
    return absl::OkStatus();
  };
  return field;
}

}  // namespace octet::server
