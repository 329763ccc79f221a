#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/channels_last.h"
#include "kernels/lowerer.h"
#include "kernels/operator.h"
#include "kernels/primitive_kernel.h"

namespace octet::kernels {
namespace {

std::string LayoutName(const dnnl::memory::desc& desc) {
  if (desc.get_inner_nblks() > 0) return "blocked";
  const auto dims = desc.get_dims();
  const auto strides = desc.get_strides();
  if (dims.size() >= 3 && strides[1] == 1 && dims[1] > 1) return "channels last";
  return "plain";
}

// Of the names that the weight cache has for a constant, those of `form`, with their layouts.
std::vector<std::pair<std::string, dnnl::memory::desc>> PackedForms(
    const std::vector<std::string>& names, absl::string_view form) {
  dnnl::memory::desc some({1}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::a);
  const size_t size = form.size() + some.get_blob().size();
  std::vector<std::pair<std::string, dnnl::memory::desc>> packed;
  for (const std::string& name : names) {
    if (name.size() != size || !absl::StartsWith(name, form)) continue;
    const auto begin = name.begin() + static_cast<ptrdiff_t>(form.size());
    packed.emplace_back(name, dnnl::memory::desc(std::vector<uint8_t>(begin, name.end())));
  }
  return packed;
}

}  // namespace

WeightCache& LoweringContext::weights() const { return lowerer_.weights_; }

bool LoweringContext::has_output(int i) const {
  return static_cast<size_t>(i) < node_.outputs.size() && node_.outputs[i] != graph::kNoValue;
}

const graph::TensorType& LoweringContext::input_type(int i) const {
  return lowerer_.graph_.value(node_.inputs[i]).type;
}

const graph::TensorType& LoweringContext::output_type(int i) const {
  return lowerer_.graph_.value(node_.outputs[i]).type;
}

bool LoweringContext::is_constant(int i) const {
  return has_input(i) && lowerer_.graph_.IsConstant(node_.inputs[i]);
}

const Tensor& LoweringContext::constant(int i) const {
  return *lowerer_.graph_.value(node_.inputs[i]).constant;
}

absl::StatusOr<int> LoweringContext::Plain(int i) { return lowerer_.Plain(node_.inputs[i]); }

std::optional<dnnl::memory::desc> LoweringContext::NativeDesc(int i) const {
  const auto& placements = lowerer_.PlacementsOf(node_.inputs[i]);
  if (placements.empty()) return PlainDesc(input_type(i));
  if (LiesInBFloat16(i)) return InType(*placements.front().desc, StorageType(input_type(i)));
  return placements.front().desc;
}

bool LoweringContext::LiesInBFloat16(int i) const {
  const auto& placements = lowerer_.PlacementsOf(node_.inputs[i]);
  return !placements.empty() && placements.front().desc &&
         placements.front().desc->get_data_type() == dnnl::memory::data_type::bf16;
}

bool LoweringContext::OutputMayBeBFloat16(int i) const {
  const graph::TensorType& type = output_type(i);
  return type.dtype == DataType::kFloat32 && !type.quant &&
         lowerer_.AllTakeBFloat16(node_.outputs[i]);
}

absl::StatusOr<int> LoweringContext::InLayout(int i, const dnnl::memory::desc& desc) {
  return lowerer_.InLayout(node_.inputs[i], desc);
}

absl::StatusOr<int> LoweringContext::PackedWeight(
    int i, const std::string& layout, const std::function<absl::StatusOr<Tensor>()>& pack) {
  const Tensor& weight = constant(i);
  return lowerer_.ConstantBuffer(weight.id(), layout, [&]() -> absl::StatusOr<Tensor> {
    if (!weight.has_bytes()) return weight;
    absl::StatusOr<Tensor> packed = pack();
    weight.DropPages();
    return packed;
  });
}

absl::StatusOr<int> LoweringContext::PackedWeight(int i, const dnnl::memory::desc& from,
                                                  const dnnl::memory::desc& to) {
  return PackedWeight(i, PackedName(i, "", to), [&]() -> absl::StatusOr<Tensor> {
    OCTET_ASSIGN_OR_RETURN(
        Tensor packed, Tensor::Allocate(DataType::kUint8, {static_cast<int64_t>(to.get_size())}));
    dnnl::memory source(from, Engine(), const_cast<std::byte*>(constant(i).data()));
    dnnl::memory target(to, Engine(), packed.mutable_data());
    dnnl::stream stream(Engine());
    dnnl::reorder(source, target).execute(stream, source, target);
    stream.wait();
    return packed;
  });
}

std::string LoweringContext::PackedName(int i, absl::string_view form,
                                        const dnnl::memory::desc& layout) const {
  // Blobs of equal layouts may differ, in bytes that mean nothing: the first one made is the name.
  for (const auto& [name, packed] : PackedForms(weights().Layouts(constant(i).id()), form)) {
    if (packed == layout) return name;
  }
  dnnl::memory::desc copy = layout;  // get_blob() is not const
  const std::vector<uint8_t> blob = copy.get_blob();
  return absl::StrCat(form, std::string(blob.begin(), blob.end()));
}

std::vector<dnnl::memory::desc> LoweringContext::PackedLayouts(int i,
                                                               absl::string_view form) const {
  std::vector<dnnl::memory::desc> layouts;
  for (auto& [name, packed] : PackedForms(weights().Layouts(constant(i).id()), form)) {
    layouts.push_back(std::move(packed));
  }
  return layouts;
}

int LoweringContext::SmallConstant(const Tensor& tensor) { return lowerer_.KeepConstant(tensor); }

int LoweringContext::PlainOutput(int i) {
  const graph::TensorType& type = output_type(i);
  const int buffer =
      lowerer_.NewBuffer(static_cast<size_t>(ElementCount(type.shape)) * ByteSize(type.dtype));
  lowerer_.Place(node_.outputs[i], {.buffer = buffer, .desc = PlainDesc(type)});
  return buffer;
}

int LoweringContext::OutputInLayout(int i, const dnnl::memory::desc& desc) {
  const int buffer = lowerer_.NewBuffer(desc.get_size());
  lowerer_.Place(node_.outputs[i], {.buffer = buffer, .desc = desc});
  return buffer;
}

absl::StatusOr<int> LoweringContext::OutputOverInput(int output, int input,
                                                     const dnnl::memory::desc& from,
                                                     const dnnl::memory::desc& to) {
  OCTET_ASSIGN_OR_RETURN(int buffer, InLayout(input, from));
  if (lowerer_.SomebodyElseReads(buffer)) {
    const dnnl::reorder::primitive_desc copy(Engine(), from, Engine(), from, BaseAttributes());
    const int copied = lowerer_.NewBuffer(from.get_size());
    PrimitiveCall call(*this);
    call.Input(DNNL_ARG_FROM, buffer, from);
    call.Output(DNNL_ARG_TO, copied, from);
    call.Emit(dnnl::reorder(copy), copy);
    buffer = copied;
  }
  lowerer_.Place(node_.outputs[output], {.buffer = buffer, .desc = to});
  return buffer;
}

absl::Status LoweringContext::AliasPlain(int output, int input) {
  OCTET_ASSIGN_OR_RETURN(const int buffer, Plain(input));
  lowerer_.Place(node_.outputs[output], {.buffer = buffer, .desc = PlainDesc(output_type(output))});
  return absl::OkStatus();
}

absl::Status LoweringContext::AliasView(int output, int input, const dnnl::memory::desc& desc) {
  const auto& placements = lowerer_.PlacementsOf(node_.inputs[input]);
  if (placements.empty()) OCTET_RETURN_IF_ERROR(Plain(input).status());
  const auto& found = lowerer_.PlacementsOf(node_.inputs[input]).front();
  lowerer_.Place(node_.outputs[output],
                 {.buffer = found.buffer, .desc = InType(desc, found.desc->get_data_type())});
  return absl::OkStatus();
}

int LoweringContext::Temporary(size_t bytes) { return lowerer_.NewBuffer(bytes); }

void LoweringContext::Emit(std::unique_ptr<Kernel> kernel, std::vector<int> inputs,
                           std::vector<int> outputs, Work work) {
  std::string layout = "plain";
  if (has_output(0)) {
    const auto& placements = lowerer_.PlacementsOf(node_.outputs[0]);
    if (!placements.empty() && placements.front().desc) {
      layout = LayoutName(*placements.front().desc);
    }
  }
  lowerer_.Emit(std::move(kernel), std::move(inputs), std::move(outputs), work, std::move(layout));
}

}  // namespace octet::kernels
