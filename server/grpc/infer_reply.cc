#include "server/grpc/infer_reply.h"

#include <cstdint>
#include <utility>

#include "proto/open_inference.pb.h"
#include "server/grpc/classification.h"

namespace octet::server {
namespace {

// Tags of length-delimited fields.
constexpr char kRawOutputContents = (6 << 3) | 2;
constexpr char kInferResponse = (2 << 3) | 2;

// An output below this size is cheaper to copy than to hand on.
constexpr size_t kSmallOutput = 1024;

void AppendField(std::string& out, char tag, size_t size) {
  out.push_back(tag);
  while (size >= 0x80) {
    out.push_back(static_cast<char>(size | 0x80));
    size >>= 7;
  }
  out.push_back(static_cast<char>(size));
}

absl::string_view AsText(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// One entry of raw_output_contents: bytes of ours, or classes that were made of them.
struct Payload {
  OutputBytes bytes;
  std::string classes;
  bool classified = false;
  size_t size() const { return classified ? classes.size() : bytes.size(); }
};

void AppendPayload(InferReply& reply, Payload payload) {
  std::string& text = reply.back().text;
  AppendField(text, kRawOutputContents, payload.size());
  if (payload.classified) {
    text += payload.classes;
  } else if (payload.size() <= kSmallOutput) {
    const absl::string_view bytes = AsText(payload.bytes.span());
    text.append(bytes.data(), bytes.size());
  } else {
    reply.back().bytes = std::move(payload.bytes);
    reply.emplace_back();
  }
}

}  // namespace

size_t ByteCount(const InferReply& reply) {
  size_t count = 0;
  for (const ReplyPart& part : reply) count += part.text.size() + part.bytes.size();
  return count;
}

InferReply EncodeInferReply(absl::string_view model_name, absl::string_view model_version,
                            absl::string_view id, const ModelSignature& model,
                            const DecodedRequest& request, InferResult result) {
  inference::ModelInferResponse head;
  head.set_model_name(model_name.data(), model_name.size());
  head.set_model_version(model_version.data(), model_version.size());
  head.set_id(id.data(), id.size());
  std::vector<Payload> payloads(result.outputs.size());
  for (size_t i = 0; i < result.outputs.size(); ++i) {
    const runtime::TensorSpec& spec = model.outputs[request.outputs[i]];
    OutputTensor& tensor = result.outputs[i];
    inference::ModelInferResponse::InferOutputTensor& output = *head.add_outputs();
    output.set_name(spec.name);
    if (request.classes[i] > 0) {
      Classification classes = Classify(spec.dtype, tensor.shape, tensor.bytes.span(),
                                        model.max_batch_size > 0, request.classes[i]);
      output.set_datatype("BYTES");
      tensor.shape = std::move(classes.shape);
      payloads[i].classes = std::move(classes.bytes);
      payloads[i].classified = true;
    } else {
      const absl::string_view datatype = Name(spec.dtype);
      output.set_datatype(datatype.data(), datatype.size());
      payloads[i].bytes = std::move(tensor.bytes);
    }
    output.mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
  }
  InferReply reply(1);
  head.SerializeToString(&reply.back().text);
  for (Payload& payload : payloads) AppendPayload(reply, std::move(payload));
  if (reply.back().text.empty() && reply.size() > 1) reply.pop_back();
  return reply;
}

void WrapAsStreamReply(InferReply& reply) {
  std::string prefix;
  AppendField(prefix, kInferResponse, ByteCount(reply));
  reply.front().text.insert(0, prefix);
}

std::string EncodeStreamError(absl::string_view message, absl::string_view id) {
  inference::ModelStreamInferResponse response;
  response.set_error_message(message.data(), message.size());
  response.mutable_infer_response()->set_id(id.data(), id.size());
  return response.SerializeAsString();
}

}  // namespace octet::server
