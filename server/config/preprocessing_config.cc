// Rows of `quantization.calibration.preprocessing`.

#include <charconv>
#include <cmath>

#include "server/config/fields.h"

namespace octet::server {
namespace {

constexpr int kLongestSide = 16'384;

// All digits that make it this number: two means that differ must not look alike.
std::string Exactly(double value) {
  char digits[32];
  const auto [end, error] = std::to_chars(digits, digits + sizeof(digits), value);
  return std::string(digits, end);
}

// A list of one number for all channels, or of three.
ValueForm<std::vector<double>> ChannelNumbers(bool positive) {
  ValueForm<std::vector<double>> form;
  form.text = absl::StrCat("a list of 1 or 3 ", positive ? "positive numbers" : "numbers");
  form.parse = [positive](const ConfigNode& node,
                          const std::string&) -> std::optional<std::vector<double>> {
    const size_t count = node.children.size();
    if (node.kind != ConfigNode::Kind::kSequence || (count != 1 && count != 3)) return std::nullopt;
    std::vector<double> numbers;
    for (const ConfigNode& child : node.children) {
      const std::optional<double> number =
          child.kind == ConfigNode::Kind::kScalar ? ParseReal(child.scalar) : std::nullopt;
      if (!number.has_value() || !std::isfinite(*number)) return std::nullopt;
      if (positive && *number < 1e-6) return std::nullopt;
      numbers.push_back(*number);
    }
    return numbers;
  };
  form.print = [](const std::vector<double>& numbers) -> std::string {
    if (numbers.empty()) return "none";
    const auto format = [](std::string* text, double number) { *text += Exactly(number); };
    return absl::StrCat("[", absl::StrJoin(numbers, ", ", format), "]");
  };
  return form;
}

// [height, width]; with `or_side` also the length of the shorter side.
ValueForm<ImageSizeConfig> ImageSize(bool or_side) {
  ValueForm<ImageSizeConfig> form;
  form.text = absl::StrCat("[height, width]", or_side ? ", or the length of the shorter side" : "");
  form.parse = [or_side](const ConfigNode& node,
                         const std::string&) -> std::optional<ImageSizeConfig> {
    const ValueForm<int> length = Integer<int>(1, kLongestSide);
    if (or_side && node.kind == ConfigNode::Kind::kScalar) {
      const std::optional<int> side = length.parse(node, "");
      return side.has_value() ? std::optional<ImageSizeConfig>({*side, 0}) : std::nullopt;
    }
    if (node.kind != ConfigNode::Kind::kSequence || node.children.size() != 2) return std::nullopt;
    const std::optional<int> height = length.parse(node.children[0], "");
    const std::optional<int> width = length.parse(node.children[1], "");
    if (!height.has_value() || !width.has_value()) return std::nullopt;
    return ImageSizeConfig{*height, *width};
  };
  form.print = [](const ImageSizeConfig& size) {
    if (size.height == 0) return std::string("none");
    if (size.width == 0) return absl::StrCat(size.height);
    return absl::StrCat("[", size.height, ", ", size.width, "]");
  };
  return form;
}

}  // namespace

const Fields<PreprocessingConfig>& PreprocessingFields() {
  using P = PreprocessingConfig;
  static const auto* const kFields = new Fields<P>{
      Value("resize", &P::resize, ImageSize(/*or_side=*/true),
            "To which size, bilinear, with antialiasing when it shrinks; one number keeps the "
            "proportions. None: the model's height and width."),
      Value("crop", &P::crop, ImageSize(/*or_side=*/false),
            "The middle that is kept of what was resized. None: all of it; where resize is one "
            "number, the model's height and width, if these are fixed."),
      Value("mean", &P::mean, ChannelNumbers(/*positive=*/false),
            "Is subtracted, after scale; one number for all channels or one for each, in the "
            "model's order. Must be set for inputs in floating point."),
      Value("std", &P::std, ChannelNumbers(/*positive=*/true),
            "What is left is divided by, as mean. Must be set for inputs in floating point."),
      Value("scale", &P::scale, Optional(Real(1, 65'536)),
            "Pixels, 0 to 255, are divided by this first. None: 255."),
      Value("layout", &P::layout,
            Optional(
                Choice<ImageLayout>({{"nchw", ImageLayout::kNchw}, {"nhwc", ImageLayout::kNhwc}})),
            "Where the model's input has its channels. None: where it has 1 or 3."),
      Value(
          "color", &P::color,
          Optional(Choice<ImageColor>(
              {{"rgb", ImageColor::kRgb}, {"bgr", ImageColor::kBgr}, {"gray", ImageColor::kGray}})),
          "The order of the model's channels. None: rgb for three, gray for one."),
  };
  return *kFields;
}

std::string CheckPreprocessing(const PreprocessingConfig& preprocessing) {
  const ImageSizeConfig& resize = preprocessing.resize;
  const ImageSizeConfig& crop = preprocessing.crop;
  if (crop.height > 0 && resize.height == 0) return "crop needs resize";
  if (resize.width > 0 && (crop.height > resize.height || crop.width > resize.width)) {
    return "crop is larger than resize";
  }
  if (preprocessing.mean.empty() != preprocessing.std.empty()) return "mean and std go together";
  const bool three = preprocessing.mean.size() == 3 || preprocessing.std.size() == 3;
  if (three && preprocessing.color == ImageColor::kGray) {
    return "color gray has one channel, mean and std are for three";
  }
  return "";
}

}  // namespace octet::server
