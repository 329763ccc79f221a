#include "runtime/image_input.h"

#include <numeric>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "runtime/images/decode.h"

namespace octet::runtime {
namespace {

using Color = ImagePreprocessing::Color;
using Layout = ImagePreprocessing::Layout;

constexpr char kSettings[] = "quantization.calibration.preprocessing";
constexpr int64_t kPixelValues = 256;

std::string Describe(const TensorSpec& spec) {
  return absl::StrCat(spec.name, " ", Name(spec.dtype), " ", ToText(spec.shape));
}

bool IsImage(const TensorSpec& spec, bool batchable) {
  const bool type = ComputeType(spec.dtype) == DataType::kFloat32 || spec.dtype == DataType::kUint8;
  return type && spec.shape.size() == 4 &&
         (batchable || spec.shape[0] == 1 || spec.shape[0] == kUnknownDim);
}

absl::Status Wrong(absl::string_view setting, const TensorSpec& spec, absl::string_view problem) {
  return absl::InvalidArgumentError(
      absl::StrCat(kSettings, setting, ": ", problem, ", the model's input is ", Describe(spec)));
}

bool MayBeChannels(int64_t dimension) { return dimension == 1 || dimension == 3; }

// kFromModel if both places of the channels are possible.
Layout LayoutOf(const Shape& shape) {
  const bool first = MayBeChannels(shape[1]), last = MayBeChannels(shape[3]);
  if (first == last) return Layout::kFromModel;
  return first ? Layout::kNchw : Layout::kNhwc;
}

// Grey as ITU-R BT.601 weighs the colours, in 16-bit fixed point.
uint8_t Grey(const uint8_t* pixel) {
  return static_cast<uint8_t>((19595 * pixel[0] + 38470 * pixel[1] + 7471 * pixel[2] + 32768) >>
                              16);
}

// Before it is resized, as images are when they are loaded as grey ones.
Image Recolored(const Image& image, Color color) {
  if (color == Color::kRgb) return image;
  Image result = image;
  for (size_t i = 0; i < result.pixels.size(); i += Image::kChannels) {
    uint8_t* const pixel = &result.pixels[i];
    if (color == Color::kBgr) {
      std::swap(pixel[0], pixel[2]);
    } else {
      pixel[0] = pixel[1] = pixel[2] = Grey(pixel);
    }
  }
  return result;
}

}  // namespace

absl::StatusOr<ImageInput> ImageInput::For(const std::vector<TensorSpec>& inputs, bool batchable,
                                           const ImagePreprocessing& settings) {
  if (inputs.size() != 1 || !IsImage(inputs[0], batchable)) {
    std::string text;
    for (const TensorSpec& spec : inputs) {
      absl::StrAppend(&text, text.empty() ? "" : ", ", Describe(spec));
    }
    return absl::InvalidArgumentError(absl::StrCat(
        "images are for models with one input [N,C,H,W] or [N,H,W,C] of one image at a time, in "
        "floating point or UINT8; the model's inputs are ",
        text));
  }
  ImageInput input;
  input.settings_ = settings;
  input.type_ = ComputeType(inputs[0].dtype);
  OCTET_RETURN_IF_ERROR(input.SetChannels(inputs[0]));
  OCTET_RETURN_IF_ERROR(input.SetSize(inputs[0]));
  OCTET_RETURN_IF_ERROR(input.SetValues(inputs[0]));
  return input;
}

absl::Status ImageInput::SetChannels(const TensorSpec& spec) {
  Layout& layout = settings_.layout;
  if (layout == Layout::kFromModel) layout = LayoutOf(spec.shape);
  if (layout == Layout::kFromModel) {
    return Wrong(".layout", spec, "must be set to nchw or nhwc, for it cannot be told which it is");
  }
  const bool first = layout == Layout::kNchw;
  channels_ = spec.shape[first ? 1 : 3];
  height_ = spec.shape[first ? 2 : 1];
  width_ = spec.shape[first ? 3 : 2];
  Color& color = settings_.color;
  if (channels_ == kUnknownDim && color != Color::kFromModel) {
    channels_ = color == Color::kGray ? 1 : 3;
  }
  if (channels_ == kUnknownDim) {
    return Wrong(".color", spec, "must be set, for the number of channels is not known");
  }
  if (!MayBeChannels(channels_)) {
    return Wrong(".layout", spec, absl::StrCat("expected 1 or 3 channels, found ", channels_));
  }
  if (color == Color::kFromModel) color = channels_ == 1 ? Color::kGray : Color::kRgb;
  if ((color == Color::kGray) != (channels_ == 1)) {
    return Wrong(".color", spec, "gray is for one channel, rgb and bgr are for three");
  }
  return absl::OkStatus();
}

absl::Status ImageInput::SetSize(const TensorSpec& spec) {
  const bool known = height_ != kUnknownDim && width_ != kUnknownDim;
  const bool sized = settings_.resize.has_value() || settings_.shorter_side > 0;
  if (!sized && !known) {
    return Wrong(".resize", spec, "must be set, for height and width are not fixed");
  }
  if (!sized) settings_.resize = ImageSize{height_, width_};
  if (settings_.shorter_side > 0 && !settings_.crop && known) {
    settings_.crop = ImageSize{height_, width_};
  }
  const std::optional<ImageSize>& last = settings_.crop ? settings_.crop : settings_.resize;
  if (!last) return absl::OkStatus();  // as each image is
  const auto fits = [](int64_t wanted, int64_t made) {
    return wanted == kUnknownDim || wanted == made;
  };
  if (!fits(height_, last->height) || !fits(width_, last->width)) {
    return Wrong(settings_.crop ? ".crop" : ".resize", spec,
                 absl::StrCat("makes images of [", last->height, ", ", last->width, "]"));
  }
  return CheckImageSize(last->height, last->width);
}

absl::Status ImageInput::SetValues(const TensorSpec& spec) {
  std::vector<double>& mean = settings_.mean;
  std::vector<double>& std = settings_.std;
  if (type_ != DataType::kFloat32) {
    if (mean.empty() && std.empty()) return absl::OkStatus();
    return Wrong("", spec, "mean and std are for inputs in floating point");
  }
  if (mean.empty() || std.empty()) {
    return Wrong("", spec, "mean and std must be set, to those the model was trained with");
  }
  const auto channels = static_cast<size_t>(channels_);
  if (mean.size() == 1) mean.resize(channels, mean[0]);
  if (std.size() == 1) std.resize(channels, std[0]);
  if (mean.size() != channels || std.size() != channels) {
    return Wrong("", spec, "mean and std must have one number, or one for each channel");
  }
  for (size_t c = 0; c < channels; ++c) {
    for (int64_t pixel = 0; pixel < kPixelValues; ++pixel) {
      const double scaled = static_cast<double>(pixel) / settings_.scale;
      values_.push_back(static_cast<float>((scaled - mean[c]) / std[c]));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Image> ImageInput::Sized(const Image& image) const {
  const ImageSize size =
      settings_.resize ? *settings_.resize : SizeWithShorterSide(image, settings_.shorter_side);
  OCTET_ASSIGN_OR_RETURN(Image sized, Resize(image, size.height, size.width));
  if (!settings_.crop) return sized;
  return CropCenter(sized, settings_.crop->height, settings_.crop->width);
}

template <typename T>
void ImageInput::Fill(const Image& image, const std::vector<T>& values, T* to) const {
  const int64_t pixels = image.height * image.width;
  const bool planes = settings_.layout == Layout::kNchw;
  for (int64_t c = 0; c < channels_; ++c) {
    const T* const value = values.data() + c * kPixelValues;
    for (int64_t i = 0; i < pixels; ++i) {
      const int64_t at = planes ? c * pixels + i : i * channels_ + c;
      to[at] = value[image.pixels[static_cast<size_t>(i * Image::kChannels + c)]];
    }
  }
}

absl::StatusOr<Tensor> ImageInput::ToTensor(const Image& image) const {
  OCTET_ASSIGN_OR_RETURN(const Image sized, Sized(Recolored(image, settings_.color)));
  if ((height_ != kUnknownDim && sized.height != height_) ||
      (width_ != kUnknownDim && sized.width != width_)) {
    return absl::InvalidArgumentError(
        absl::StrCat(kSettings, ".resize: makes an image of [", sized.height, ", ", sized.width,
                     "], the model reads [", height_, ", ", width_, "] (-1: any)"));
  }
  const bool planes = settings_.layout == Layout::kNchw;
  const Shape shape = planes ? Shape{1, channels_, sized.height, sized.width}
                             : Shape{1, sized.height, sized.width, channels_};
  OCTET_ASSIGN_OR_RETURN(Tensor tensor, Tensor::Allocate(type_, shape));
  if (type_ == DataType::kFloat32) {
    Fill(sized, values_, tensor.MutableAs<float>().data());
  } else {
    std::vector<uint8_t> same(static_cast<size_t>(channels_ * kPixelValues));
    std::iota(same.begin(), same.end(), uint8_t{0});
    Fill(sized, same, tensor.MutableAs<uint8_t>().data());
  }
  return tensor;
}

absl::StatusOr<Tensor> ImageInput::Read(const std::string& file) const {
  OCTET_ASSIGN_OR_RETURN(const MappedFile content, MappedFile::Open(file));
  const absl::StatusOr<Image> image = DecodeImage(content.bytes());
  if (!image.ok()) return Annotate(image.status(), file);
  absl::StatusOr<Tensor> tensor = ToTensor(*image);
  if (!tensor.ok()) return Annotate(tensor.status(), file);
  return tensor;
}

}  // namespace octet::runtime
