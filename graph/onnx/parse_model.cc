#include "graph/onnx/parse_model.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <cstdint>
#include <limits>
#include <string>

namespace octet::graph {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;

// Smaller weights are parsed with the rest.
constexpr uint32_t kLeftInFileBytes = 4096;

enum class Message { kModel, kGraph, kTensor };

constexpr uint32_t BytesTag(int field) {
  return WireFormatLite::MakeTag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
}

// The field that leads from a message to the next, and in the end to raw_data.
constexpr uint32_t TagWithin(Message message) {
  switch (message) {
    case Message::kModel:
      return BytesTag(onnx::ModelProto::kGraphFieldNumber);
    case Message::kGraph:
      return BytesTag(onnx::GraphProto::kInitializerFieldNumber);
    case Message::kTensor:
      return BytesTag(onnx::TensorProto::kRawDataFieldNumber);
  }
  return 0;
}

// Copies the serialized model, but for large raw_data of initializers.
class Splitter {
 public:
  explicit Splitter(std::span<const std::byte> file)
      : file_(file),
        in_(reinterpret_cast<const uint8_t*>(file.data()), static_cast<int>(file.size())) {}

  // False if the file is damaged.
  bool Split() {
    const auto limit = in_.PushLimit(static_cast<int>(file_.size()));
    const bool whole = Copy(Message::kModel, rest_);
    in_.PopLimit(limit);
    return whole;
  }

  const std::string& rest() const { return rest_; }
  std::vector<std::span<const std::byte>> TakeRawData() { return std::move(raw_data_); }

 private:
  bool Copy(Message message, std::string& to) {
    for (;;) {
      const int start = in_.CurrentPosition();
      const uint32_t tag = in_.ReadTag();
      if (tag == 0) return in_.ConsumedEntireMessage();
      const bool within = tag == TagWithin(message);
      if (!(within ? CopyWithin(message, start, to) : WireFormatLite::SkipField(&in_, tag))) {
        return false;
      }
      if (!within) Append(start, to);
    }
  }

  bool CopyWithin(Message message, int start, std::string& to) {
    uint32_t size = 0;
    if (!in_.ReadVarint32(&size)) return false;
    if (size > static_cast<uint32_t>(in_.BytesUntilLimit())) return false;
    if (message == Message::kTensor) {
      const auto at = static_cast<size_t>(in_.CurrentPosition());
      if (!in_.Skip(static_cast<int>(size))) return false;
      // Of a field that is there twice the last one counts.
      const bool stays = size >= kLeftInFileBytes;
      raw_data_.back() = stays ? file_.subspan(at, size) : std::span<const std::byte>();
      if (!stays) Append(start, to);
      return true;
    }
    if (message == Message::kGraph) raw_data_.emplace_back();
    std::string inner;
    const auto limit = in_.PushLimit(static_cast<int>(size));
    if (!Copy(message == Message::kModel ? Message::kGraph : Message::kTensor, inner)) return false;
    in_.PopLimit(limit);
    google::protobuf::io::StringOutputStream stream(&to);
    CodedOutputStream out(&stream);
    out.WriteTag(TagWithin(message));
    out.WriteVarint32(static_cast<uint32_t>(inner.size()));
    out.WriteString(inner);
    return true;
  }

  void Append(int start, std::string& to) const {
    const auto from = static_cast<size_t>(start);
    const auto bytes = file_.subspan(from, static_cast<size_t>(in_.CurrentPosition()) - from);
    to.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  const std::span<const std::byte> file_;
  CodedInputStream in_;
  std::string rest_;
  std::vector<std::span<const std::byte>> raw_data_;
};

}  // namespace

absl::StatusOr<ParsedModel> ParseModel(std::span<const std::byte> file) {
  if (file.size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
    return absl::ResourceExhaustedError(
        "the file is larger than 2 GiB; larger models keep their weights as external data");
  }
  ParsedModel model;
  Splitter splitter(file);
  if (!splitter.Split() || !model.proto.ParseFromString(splitter.rest()) ||
      !model.proto.has_graph()) {
    return absl::InvalidArgumentError("not an ONNX model, or a damaged one");
  }
  model.raw_data = splitter.TakeRawData();
  return model;
}

}  // namespace octet::graph
