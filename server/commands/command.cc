#include "server/commands/command.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/config/spelling.h"
#include "server/config/value_form.h"

namespace octet::server {
namespace {

template <typename T>
absl::StatusOr<T> ParseWith(const ValueForm<T>& form, const std::string& name,
                            const std::string& text) {
  ConfigNode node;
  node.kind = ConfigNode::Kind::kScalar;
  node.scalar = text;
  const std::optional<T> value = form.parse(node, "");
  if (value.has_value()) return *value;
  return absl::InvalidArgumentError(
      absl::StrCat(name, ": must be ", form.text, ", not ", Quoted(text)));
}

}  // namespace

void Arguments::Add(const std::string& name, std::string value) {
  values_[name].push_back(std::move(value));
}

std::string Arguments::Get(const std::string& name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? "" : found->second.back();
}

std::vector<std::string> Arguments::All(const std::string& name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? std::vector<std::string>{} : found->second;
}

absl::StatusOr<int64_t> Arguments::GetInteger(const std::string& name, int64_t least, int64_t most,
                                              int64_t otherwise) const {
  if (!Has(name)) return otherwise;
  return ParseWith(Integer<int64_t>(least, most), name, Get(name));
}

absl::StatusOr<double> Arguments::GetReal(const std::string& name, double least, double most,
                                          double otherwise) const {
  if (!Has(name)) return otherwise;
  return ParseWith(Real(least, most), name, Get(name));
}

}  // namespace octet::server
