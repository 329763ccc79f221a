// JPEG and PNG files for tests, written by the libraries themselves.

#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <jpeglib.h>
#include <png.h>

namespace octet::testing {

// What PNG calls IHDR, and what goes with it.
struct PngForm {
  uint32_t width = 0;
  uint32_t height = 0;
  int color_type = PNG_COLOR_TYPE_RGB;
  int bit_depth = 8;
  bool interlaced = false;
  std::vector<png_color> palette;
};

// `rows` are the bytes as PNG has them, height rows of the same size.
inline std::string Png(const PngForm& form, std::vector<uint8_t> rows) {
  std::string file;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  const auto write = [](png_structp to, png_bytep bytes, size_t size) {
    static_cast<std::string*>(png_get_io_ptr(to))->append(reinterpret_cast<char*>(bytes), size);
  };
  png_set_write_fn(png, &file, write, nullptr);
  png_set_IHDR(png, info, form.width, form.height, form.bit_depth, form.color_type,
               form.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (!form.palette.empty()) {
    png_set_PLTE(png, info, form.palette.data(), static_cast<int>(form.palette.size()));
  }
  std::vector<png_bytep> pointers;
  const size_t row_bytes = rows.size() / form.height;
  for (size_t y = 0; y < form.height; ++y) pointers.push_back(rows.data() + y * row_bytes);
  png_set_rows(png, info, pointers.data());
  png_write_png(png, info, PNG_TRANSFORM_IDENTITY, nullptr);
  png_destroy_write_struct(&png, &info);
  return file;
}

// Red, green and blue of every pixel.
inline std::string RgbPng(uint32_t height, uint32_t width, const std::vector<uint8_t>& pixels) {
  return Png({.width = width, .height = height}, pixels);
}

struct JpegForm {
  uint32_t width = 0;
  uint32_t height = 0;
  int components = 3;
  J_COLOR_SPACE colors = JCS_RGB;
  bool progressive = false;
};

// Of best quality. `pixels` are the components of every pixel, row by row.
inline std::string Jpeg(const JpegForm& form, std::vector<uint8_t> pixels) {
  jpeg_compress_struct info = {};
  jpeg_error_mgr errors = {};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &bytes, &size);
  info.image_width = form.width;
  info.image_height = form.height;
  info.input_components = form.components;
  info.in_color_space = form.colors;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 100, TRUE);
  if (form.progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  const size_t row_bytes = pixels.size() / form.height;
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = pixels.data() + info.next_scanline * row_bytes;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  std::string file(reinterpret_cast<char*>(bytes), size);
  jpeg_destroy_compress(&info);
  std::free(bytes);
  return file;
}

}  // namespace octet::testing
