#include "server/grpc/request_wire.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status.h"

namespace octet::server {
namespace {

constexpr uint32_t kRawInputContents = 7;
constexpr size_t kMaxRawInputs = 4096;
constexpr int kMaxGroupDepth = 64;

// Strings and messages within the head; each costs protobuf about a hundred bytes of memory, and a
// client two bytes on the wire. Heads shorter than kSmallHead cannot hold enough to matter.
constexpr size_t kMaxHeadEntries = 65'536;
constexpr size_t kSmallHead = 65'536;

enum WireType : uint32_t {
  kVarint = 0,
  kFixed64 = 1,
  kLengthDelimited = 2,
  kStartGroup = 3,
  kEndGroup = 4,
  kFixed32 = 5,
};

absl::Status Damaged(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("the message is not a ModelInferRequest: ", what));
}

// Reads one stream of bytes out of many pieces.
class PieceReader {
 public:
  explicit PieceReader(std::span<const Piece> pieces) : pieces_(pieces) {
    for (const Piece piece : pieces) remaining_ += piece.size();
    SkipEmpty();
  }

  size_t remaining() const { return remaining_; }

  // False at the end of the bytes, or for a varint longer than ten.
  bool ReadVarint(uint64_t& value) {
    value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      if (remaining_ == 0) return false;
      const auto byte = static_cast<uint8_t>(pieces_[index_][offset_]);
      Advance(1);
      if (shift < 64) value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  // Calls visit(piece) for the next `size` bytes; false, and no call, if there are fewer.
  template <typename Visit>
  bool Take(uint64_t size, Visit visit) {
    if (size > remaining_) return false;
    while (size > 0) {
      const Piece rest = pieces_[index_].subspan(offset_);
      const Piece now = rest.first(std::min<uint64_t>(size, rest.size()));
      visit(now);
      size -= now.size();
      Advance(now.size());
    }
    return true;
  }

 private:
  void Advance(size_t count) {
    offset_ += count;
    remaining_ -= count;
    SkipEmpty();
  }
  void SkipEmpty() {
    while (index_ < pieces_.size() && offset_ == pieces_[index_].size()) {
      ++index_;
      offset_ = 0;
    }
  }

  std::span<const Piece> pieces_;
  size_t index_ = 0;
  size_t offset_ = 0;
  size_t remaining_ = 0;
};

void AppendVarint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

bool Copy(PieceReader& reader, uint64_t size, std::string& out) {
  return reader.Take(size, [&out](Piece piece) {
    out.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  });
}

// Copies the value that follows a tag of this wire type, but for groups.
absl::Status CopyValue(PieceReader& reader, uint32_t wire_type, std::string& out) {
  uint64_t value = 0;
  switch (wire_type) {
    case kVarint:
      if (!reader.ReadVarint(value)) return Damaged("a number is cut off");
      AppendVarint(out, value);
      return absl::OkStatus();
    case kFixed64:
      if (!Copy(reader, 8, out)) return Damaged("a number is cut off");
      return absl::OkStatus();
    case kFixed32:
      if (!Copy(reader, 4, out)) return Damaged("a number is cut off");
      return absl::OkStatus();
    case kLengthDelimited:
      if (!reader.ReadVarint(value)) return Damaged("a length is cut off");
      if (value > reader.remaining()) {
        return Damaged(
            absl::StrCat("a field of ", value, " bytes with ", reader.remaining(), " bytes left"));
      }
      AppendVarint(out, value);
      Copy(reader, value, out);
      return absl::OkStatus();
    default:
      return Damaged(absl::StrCat("wire type ", wire_type));
  }
}

absl::Status ReadTag(PieceReader& reader, uint32_t& field, uint32_t& wire_type) {
  uint64_t tag = 0;
  if (!reader.ReadVarint(tag) || tag > 0xffffffffu || (tag >> 3) == 0) {
    return Damaged("a tag is damaged");
  }
  field = static_cast<uint32_t>(tag >> 3);
  wire_type = static_cast<uint32_t>(tag & 7);
  return absl::OkStatus();
}

absl::Status TakeRawInput(PieceReader& reader, std::vector<RawInput>& raw_inputs) {
  uint64_t size = 0;
  if (!reader.ReadVarint(size)) return Damaged("the length of raw_input_contents is cut off");
  if (size > reader.remaining()) {
    return Damaged(absl::StrCat("raw_input_contents of ", size, " bytes with ", reader.remaining(),
                                " bytes left"));
  }
  if (raw_inputs.size() == kMaxRawInputs) {
    return absl::InvalidArgumentError(
        absl::StrCat("more than ", kMaxRawInputs, " entries of raw_input_contents"));
  }
  RawInput& input = raw_inputs.emplace_back();
  input.size = size;
  reader.Take(size, [&input](Piece piece) { input.pieces.push_back(piece); });
  return absl::OkStatus();
}

// The messages of a head that can hold many entries, and where they are.
enum class HeadMessage { kRequest, kInput, kOutput, kContents };

// What field `field` of `message` is; nullopt if it is no message worth looking into.
std::optional<HeadMessage> Submessage(HeadMessage message, uint32_t field) {
  if (message == HeadMessage::kRequest && field == 5) return HeadMessage::kInput;
  if (message == HeadMessage::kRequest && field == 6) return HeadMessage::kOutput;
  if (message == HeadMessage::kInput && field == 5) return HeadMessage::kContents;
  return std::nullopt;
}

// The content of a field that has no groups in it: the bytes of length-delimited ones.
absl::StatusOr<Piece> ReadContent(PieceReader& reader, uint32_t wire_type) {
  uint64_t size = wire_type == kFixed64 ? 8 : wire_type == kFixed32 ? 4 : 0;
  if (wire_type == kVarint) {
    if (!reader.ReadVarint(size)) return Damaged("a number is cut off");
    return Piece();
  }
  if (wire_type == kLengthDelimited && !reader.ReadVarint(size)) {
    return Damaged("a length is cut off");
  }
  Piece value;
  if (wire_type > kFixed32 || !reader.Take(size, [&value](Piece piece) { value = piece; })) {
    return Damaged("a field is cut off");
  }
  return value;
}

// Counts strings and messages down to a depth that the types above limit to three.
absl::Status CountEntries(Piece bytes, HeadMessage message, size_t& entries) {
  PieceReader reader(std::span(&bytes, 1));
  int depth = 0;
  while (reader.remaining() > 0) {
    uint32_t field = 0;
    uint32_t wire_type = 0;
    OCTET_RETURN_IF_ERROR(ReadTag(reader, field, wire_type));
    if (++entries > kMaxHeadEntries) {
      return absl::InvalidArgumentError(
          absl::StrCat("the request has more than ", kMaxHeadEntries, " fields"));
    }
    if (wire_type == kStartGroup || wire_type == kEndGroup) {
      depth += wire_type == kStartGroup ? 1 : -1;
      if (depth < 0 || depth > kMaxGroupDepth) return Damaged("groups are nested wrongly");
      continue;
    }
    OCTET_ASSIGN_OR_RETURN(const Piece value, ReadContent(reader, wire_type));
    const std::optional<HeadMessage> inner = Submessage(message, field);
    if (wire_type == kLengthDelimited && depth == 0 && inner.has_value()) {
      OCTET_RETURN_IF_ERROR(CountEntries(value, *inner, entries));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SplitRequest> SplitInferRequest(std::span<const Piece> pieces) {
  SplitRequest split;
  PieceReader reader(pieces);
  int depth = 0;  // of groups, which only unknown fields use
  while (reader.remaining() > 0) {
    uint32_t field = 0;
    uint32_t wire_type = 0;
    OCTET_RETURN_IF_ERROR(ReadTag(reader, field, wire_type));
    if (field == kRawInputContents && wire_type == kLengthDelimited && depth == 0) {
      OCTET_RETURN_IF_ERROR(TakeRawInput(reader, split.raw_inputs));
      continue;
    }
    AppendVarint(split.head, (uint64_t{field} << 3) | wire_type);
    if (wire_type == kStartGroup || wire_type == kEndGroup) {
      depth += wire_type == kStartGroup ? 1 : -1;
      if (depth < 0 || depth > kMaxGroupDepth) return Damaged("groups are nested wrongly");
      continue;
    }
    OCTET_RETURN_IF_ERROR(CopyValue(reader, wire_type, split.head));
  }
  if (depth != 0) return Damaged("a group is cut off");
  return split;
}

absl::Status ParseInferRequest(std::span<const Piece> pieces, InferRequest& request) {
  OCTET_ASSIGN_OR_RETURN(SplitRequest split, SplitInferRequest(pieces));
  if (split.head.size() > kSmallHead) {
    size_t entries = 0;
    OCTET_RETURN_IF_ERROR(
        CountEntries(std::as_bytes(std::span(split.head)), HeadMessage::kRequest, entries));
  }
  if (!request.head.ParseFromString(split.head)) {
    return Damaged("a field is damaged, or a string is not UTF-8");
  }
  request.raw_inputs = std::move(split.raw_inputs);
  return absl::OkStatus();
}

}  // namespace octet::server
