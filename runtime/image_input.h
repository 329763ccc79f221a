// Image files as samples of a model's input.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "runtime/compiled_model.h"
#include "runtime/images/image.h"
#include "runtime/images/preprocessing.h"

namespace octet::runtime {

// The way from a file to the input of one model. Immutable.
class ImageInput {
 public:
  // InvalidArgument if the model does not read one image, of rank 4 with 1 or 3 channels in
  // floating point or uint8, or if the settings leave open, or contradict, what it reads; the
  // message names the model's inputs or the setting.
  static absl::StatusOr<ImageInput> For(const std::vector<TensorSpec>& inputs, bool batchable,
                                        const ImagePreprocessing& settings);

  // A sample in the engine's type; the first dimension is 1. Errors are those of opening the file,
  // of decoding it, and InvalidArgument if the image cannot be given the size; they name the file.
  absl::StatusOr<Tensor> Read(const std::string& file) const;

  // The same of an image that is at hand.
  absl::StatusOr<Tensor> ToTensor(const Image& image) const;

 private:
  using Layout = ImagePreprocessing::Layout;
  using Color = ImagePreprocessing::Color;

  absl::Status SetChannels(const TensorSpec& spec);
  absl::Status SetSize(const TensorSpec& spec);
  absl::Status SetValues(const TensorSpec& spec);
  absl::StatusOr<Image> Sized(const Image& image) const;
  template <typename T>
  void Fill(const Image& image, const std::vector<T>& values, T* to) const;

  ImagePreprocessing settings_;  // with nothing left open
  DataType type_ = DataType::kFloat32;
  int64_t channels_ = 0;
  int64_t height_ = kUnknownDim;  // the model's
  int64_t width_ = kUnknownDim;
  std::vector<float> values_;  // for each channel, what each of the 256 pixel values becomes
};

}  // namespace octet::runtime
