// JPEG by libjpeg(-turbo), which leaves a failing call by longjmp(). No object with a destructor
// lives in the frames that are skipped: what owns memory is outside of Guarded().

#include <csetjmp>
#include <cstdio>  // jpeglib.h needs it and does not include it
#include <string>

#include <jerror.h>
#include <jpeglib.h>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "runtime/images/decode.h"

namespace octet::runtime {
namespace {

// A progressive file may repeat scans over all pixels; real ones have about ten.
constexpr int kMostScans = 100;

struct Failure {
  jpeg_error_mgr errors;  // first: the library hands back a pointer to it
  std::jmp_buf back;
  char message[JMSG_LENGTH_MAX];
};

struct Decompressor {
  Decompressor() { info.err = jpeg_std_error(&failure.errors); }
  ~Decompressor() { jpeg_destroy_decompress(&info); }
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;

  absl::Status Error() const {
    return absl::InvalidArgumentError(absl::StrCat("damaged JPEG: ", failure.message));
  }

  Failure failure = {};
  jpeg_progress_mgr progress = {};
  jpeg_decompress_struct info = {};
};

[[noreturn]] void Fail(j_common_ptr info) {
  auto* const failure = reinterpret_cast<Failure*>(info->err);
  failure->errors.format_message(info, failure->message);
  std::longjmp(failure->back, 1);
}

// Warnings have a negative level: the library would go on with grey in place of what is missing.
void OnMessage(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_EXTRANEOUS_DATA:  // cameras leave some between parts
    case JWRN_JFIF_MAJOR:
      return;
    default:
      Fail(info);
  }
}

void OnProgress(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMostScans) return;
  auto* const failure = reinterpret_cast<Failure*>(info->err);
  std::snprintf(failure->message, sizeof(failure->message), "more than %d scans", kMostScans);
  std::longjmp(failure->back, 1);
}

// False if the library gave up inside `step`, whose locals must have no destructors.
template <typename Step>
bool Guarded(Failure& failure, const Step& step) {
  if (setjmp(failure.back) != 0) return false;
  step();
  return true;
}

}  // namespace

absl::StatusOr<Image> DecodeJpeg(std::span<const std::byte> file, int64_t most_pixels) {
  Decompressor jpeg;
  jpeg_decompress_struct& info = jpeg.info;
  jpeg.failure.errors.error_exit = Fail;
  jpeg.failure.errors.emit_message = OnMessage;
  jpeg.progress.progress_monitor = OnProgress;
  const bool header = Guarded(jpeg.failure, [&] {
    jpeg_create_decompress(&info);
    info.progress = &jpeg.progress;
    jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(file.data()), file.size());
    jpeg_read_header(&info, TRUE);
  });
  if (!header) return jpeg.Error();
  Image image = {.height = info.image_height, .width = info.image_width};
  OCTET_RETURN_IF_ERROR(CheckImageSize(image.height, image.width, most_pixels));
  if (info.jpeg_color_space != JCS_GRAYSCALE && info.jpeg_color_space != JCS_YCbCr &&
      info.jpeg_color_space != JCS_RGB) {
    return absl::InvalidArgumentError(
        absl::StrCat("the JPEG is in CMYK or another colour space of ", info.num_components,
                     " components, expected grey or RGB"));
  }
  info.out_color_space = JCS_RGB;
  const size_t row_bytes = static_cast<size_t>(image.width * Image::kChannels);
  image.pixels.resize(row_bytes * static_cast<size_t>(image.height));
  uint8_t* const pixels = image.pixels.data();
  const bool complete = Guarded(jpeg.failure, [&info, pixels, row_bytes] {
    jpeg_start_decompress(&info);
    while (info.output_scanline < info.output_height) {
      JSAMPROW row = pixels + row_bytes * info.output_scanline;
      jpeg_read_scanlines(&info, &row, 1);
    }
    jpeg_finish_decompress(&info);
  });
  if (!complete) return jpeg.Error();
  return image;
}

}  // namespace octet::runtime
