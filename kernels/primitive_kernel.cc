#include "kernels/primitive_kernel.h"

#include "kernels/dnnl_status.h"

namespace octet::kernels {

dnnl::primitive_attr BaseAttributes() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

class PrimitiveKernel final : public Kernel {
 public:
  PrimitiveKernel(dnnl::primitive primitive, std::string implementation,
                  dnnl::memory::desc scratchpad, std::vector<PrimitiveCall::Argument> arguments,
                  int64_t times)
      : primitive_(std::move(primitive)),
        implementation_(std::move(implementation)),
        scratchpad_(std::move(scratchpad)),
        arguments_(std::move(arguments)),
        times_(times) {}

  std::string implementation() const override { return implementation_; }
  size_t scratch_bytes() const override { return scratchpad_.get_size(); }

  std::unique_ptr<BoundKernel> Bind(const StepMemory& memory) const override {
    auto bound = std::make_unique<Bound>();
    bound->primitive = primitive_;
    bound->stream = dnnl::stream(Engine());
    for (int64_t run = 0; run < times_; ++run) {
      bound->runs.emplace_back();
      for (const PrimitiveCall::Argument& argument : arguments_) {
        const auto& operands = argument.output ? memory.outputs : memory.inputs;
        bound->Add(argument.index, argument.desc,
                   operands[static_cast<size_t>(argument.position)] +
                       static_cast<size_t>(run) * argument.step);
      }
      if (scratchpad_.get_size() > 0) bound->Add(DNNL_ARG_SCRATCHPAD, scratchpad_, memory.scratch);
    }
    return bound;
  }

 private:
  // Arguments in the C API's form: the C++ wrapper would build this array anew in every run.
  struct Bound final : public BoundKernel {
    void Add(int index, const dnnl::memory::desc& desc, std::byte* data) {
      memories.emplace_back(desc, Engine(), data);
      runs.back().push_back({index, memories.back().get()});
    }
    absl::Status Run() override {
      for (const std::vector<dnnl_exec_arg_t>& arguments : runs) {
        const dnnl_status_t status = dnnl_primitive_execute(
            primitive.get(), stream.get(), static_cast<int>(arguments.size()), arguments.data());
        if (status != dnnl_success) {
          return absl::InternalError("oneDNN could not run a primitive");
        }
      }
      return absl::OkStatus();
    }

    dnnl::primitive primitive;
    dnnl::stream stream;
    std::vector<dnnl::memory> memories;
    std::vector<std::vector<dnnl_exec_arg_t>> runs;
  };

  const dnnl::primitive primitive_;
  const std::string implementation_;
  const dnnl::memory::desc scratchpad_;
  const std::vector<PrimitiveCall::Argument> arguments_;
  const int64_t times_;
};

void PrimitiveCall::Input(int argument, int buffer, const dnnl::memory::desc& desc, size_t step) {
  arguments_.push_back({argument, false, static_cast<int>(inputs_.size()), desc, step});
  inputs_.push_back(buffer);
}

void PrimitiveCall::Output(int argument, int buffer, const dnnl::memory::desc& desc, size_t step) {
  arguments_.push_back({argument, true, static_cast<int>(outputs_.size()), desc, step});
  outputs_.push_back(buffer);
}

void PrimitiveCall::Scales(int argument, std::span<const float> scales) {
  const auto size = static_cast<int64_t>(scales.size());
  Input(DNNL_ARG_ATTR_SCALES | argument, context_.SmallConstant(Tensor::Of<float>({size}, scales)),
        {{size}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::x});
}

void PrimitiveCall::ZeroPoint(int argument, int32_t zero_point) {
  Input(DNNL_ARG_ATTR_ZERO_POINTS | argument,
        context_.SmallConstant(Tensor::Of<int32_t>({1}, {zero_point})),
        {{1}, dnnl::memory::data_type::s32, dnnl::memory::format_tag::x});
}

void PrimitiveCall::Emit(const dnnl::primitive& primitive, const dnnl::primitive_desc_base& desc,
                         Work work, int64_t times) {
  context_.Emit(
      std::make_unique<PrimitiveKernel>(primitive, desc.impl_info_str(), desc.scratchpad_desc(),
                                        std::move(arguments_), times),
      std::move(inputs_), std::move(outputs_), work);
}

}  // namespace octet::kernels
