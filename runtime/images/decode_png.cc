// PNG by libpng, which leaves a failing call by longjmp(). No object with a destructor lives in the
// frames that are skipped: what owns memory is outside of Guarded().

#include <csetjmp>
#include <cstdio>
#include <cstring>

#include <png.h>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "runtime/images/decode.h"

namespace octet::runtime {
namespace {

struct Decoder {
  Decoder() = default;
  ~Decoder() { png_destroy_read_struct(&png, &info, nullptr); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  absl::Status Error() const {
    return absl::InvalidArgumentError(absl::StrCat("damaged PNG: ", message));
  }

  std::span<const std::byte> rest;  // what has not been read yet
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::jmp_buf back = {};
  char message[128] = "";
};

[[noreturn]] void Fail(png_structp png, png_const_charp message) {
  auto* const decoder = static_cast<Decoder*>(png_get_error_ptr(png));
  std::snprintf(decoder->message, sizeof(decoder->message), "%s", message);
  std::longjmp(decoder->back, 1);
}

// Of parts that are not needed.
void IgnoreWarning(png_structp, png_const_charp) {}

void ReadBytes(png_structp png, png_bytep to, size_t size) {
  auto* const decoder = static_cast<Decoder*>(png_get_io_ptr(png));
  if (size > decoder->rest.size()) png_error(png, "it ends too early");
  std::memcpy(to, decoder->rest.data(), size);
  decoder->rest = decoder->rest.subspan(size);
}

// False if the library gave up inside `step`, whose locals must have no destructors.
template <typename Step>
bool Guarded(Decoder& decoder, const Step& step) {
  if (setjmp(decoder.back) != 0) return false;
  step();
  return true;
}

void ReadHeader(Decoder& decoder) {
  decoder.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &decoder, Fail, IgnoreWarning);
  if (decoder.png == nullptr) return;
  decoder.info = png_create_info_struct(decoder.png);
  if (decoder.info == nullptr) return;
  png_set_read_fn(decoder.png, &decoder, ReadBytes);
  // All chunks but those that pixels need: texts and profiles may unpack to any size.
  png_set_keep_unknown_chunks(decoder.png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_read_info(decoder.png, decoder.info);
}

// Makes rows 8 bits of red, green and blue whatever the file has.
void ConvertToRgb(Decoder& decoder) {
  png_set_scale_16(decoder.png);
  png_set_palette_to_rgb(decoder.png);
  png_set_expand_gray_1_2_4_to_8(decoder.png);
  png_set_strip_alpha(decoder.png);
  png_set_gray_to_rgb(decoder.png);
}

}  // namespace

absl::StatusOr<Image> DecodePng(std::span<const std::byte> file, int64_t most_pixels) {
  Decoder decoder;
  decoder.rest = file;
  if (!Guarded(decoder, [&] { ReadHeader(decoder); })) return decoder.Error();
  if (decoder.info == nullptr) return absl::ResourceExhaustedError("no memory to read a PNG");
  Image image = {.height = png_get_image_height(decoder.png, decoder.info),
                 .width = png_get_image_width(decoder.png, decoder.info)};
  OCTET_RETURN_IF_ERROR(CheckImageSize(image.height, image.width, most_pixels));
  const size_t row_bytes = static_cast<size_t>(image.width * Image::kChannels);
  int passes = 0;
  const bool prepared = Guarded(decoder, [&decoder, &passes, row_bytes] {
    if (png_get_color_type(decoder.png, decoder.info) == PNG_COLOR_TYPE_PALETTE &&
        png_get_valid(decoder.png, decoder.info, PNG_INFO_PLTE) == 0) {
      png_error(decoder.png, "it has no palette");
    }
    ConvertToRgb(decoder);
    passes = png_set_interlace_handling(decoder.png);
    png_read_update_info(decoder.png, decoder.info);
    if (png_get_rowbytes(decoder.png, decoder.info) != row_bytes) {
      png_error(decoder.png, "its pixels are of no known form");
    }
  });
  if (!prepared) return decoder.Error();
  image.pixels.resize(row_bytes * static_cast<size_t>(image.height));
  uint8_t* const pixels = image.pixels.data();
  const auto height = static_cast<size_t>(image.height);
  const bool complete = Guarded(decoder, [&decoder, pixels, row_bytes, height, passes] {
    for (int pass = 0; pass < passes; ++pass) {
      for (size_t row = 0; row < height; ++row) {
        png_read_row(decoder.png, pixels + row * row_bytes, nullptr);
      }
    }
    png_read_end(decoder.png, nullptr);
  });
  if (!complete) return decoder.Error();
  return image;
}

}  // namespace octet::runtime
