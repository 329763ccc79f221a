// Rows of `models`, and of the top level.

#include "server/config/fields.h"

namespace octet::server {
namespace {

std::string CheckModel(const ModelConfig& model) {
  if (model.name.empty()) return "name is missing";
  if (model.name.find('/') != std::string::npos) return "name must not contain '/'";
  return "";
}

// What a model's entry does not set is the top level's.
ModelConfig InheritedModel(const Config& config) {
  ModelConfig model;
  model.batching = config.batching;
  model.execution = config.execution;
  model.quantization = config.quantization;
  return model;
}

}  // namespace

const Fields<ModelConfig>& ModelFields() {
  static const auto* const kFields = new Fields<ModelConfig>{
      Value("name", &ModelConfig::name, Text("a name"),
            "The model's name in requests, or of its folder in the model repository."),
      Value("path", &ModelConfig::path, Path("the path of a file or folder"),
            "An .onnx file, or a folder with version folders; none is the folder of that name in "
            "the model repository."),
      Value("version_policy", &ModelConfig::version_policy, VersionPolicyForm(),
            "Which versions are served: the highest, the N highest, all, or these."),
      Override("batching", &ModelConfig::batching, BatchingFields(),
               "Replaces keys of the top-level `batching`."),
      Override("execution", &ModelConfig::execution, ExecutionFields(),
               "Replaces keys of the top-level `execution`."),
      Override("quantization", &ModelConfig::quantization, QuantizationFields(),
               "Replaces keys of the top-level `quantization`.", CheckQuantization),
  };
  return *kFields;
}

const Fields<Config>& ConfigFields() {
  static const auto* const kFields = new Fields<Config>{
      Value("model_repository", &Config::model_repository, Path("the path of a folder"),
            "Folder of models as Triton and OpenVINO Model Server know it, "
            "NAME/VERSION/model.onnx; single NAME.onnx files are models too."),
      Section("server", &Config::server, ServerFields(), "Where and how requests are taken."),
      Section("batching", &Config::batching, BatchingFields(),
              "How requests are put together; for each model."),
      Section("execution", &Config::execution, ExecutionFields(),
              "How batches use the machine; for each model."),
      Section("quantization", &Config::quantization, QuantizationFields(),
              "What models are turned into when they are loaded.", CheckQuantization),
      Section("log", &Config::log, LogFields(), "What the server writes."),
      // Last: its elements begin as copies of the sections above.
      List("models", &Config::models, ModelFields(),
           "Models outside the repository, and settings of single models.",
           {.make = InheritedModel, .rule = CheckModel, .unique = &ModelConfig::name}),
  };
  return *kFields;
}

}  // namespace octet::server
