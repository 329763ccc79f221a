// NumPy's files, well-formed and not.

#pragma once

#include <zip.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/tensor.h"

namespace octet::testing {

// A .npy file, version 1, with this header dictionary.
inline std::string NpyWithHeader(std::string header, const std::string& data) {
  header.resize((header.size() + 11 + 63) / 64 * 64 - 11, ' ');
  header += '\n';
  std::string file("\x93NUMPY\x01\x00", 8);
  file += static_cast<char>(header.size() & 0xFF);
  file += static_cast<char>(header.size() >> 8);
  return file + header + data;
}

inline std::string NpyHeader(const std::string& descr, const std::string& shape,
                             const std::string& fortran_order = "False") {
  return absl::StrCat("{'descr': '", descr, "', 'fortran_order': ", fortran_order,
                      ", 'shape': ", shape, ", }");
}

inline std::string Npy(const Tensor& tensor, const std::string& descr) {
  const std::string shape = absl::StrCat("(", absl::StrJoin(tensor.shape(), ","), ",)");
  return NpyWithHeader(
      NpyHeader(descr, shape),
      std::string(reinterpret_cast<const char*>(tensor.data()), tensor.byte_size()));
}

// An archive of files by name; false if it cannot be written.
inline bool WriteZip(const std::string& path,
                     const std::vector<std::pair<std::string, std::string>>& files) {
  int error = 0;
  zip_t* const archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &error);
  if (archive == nullptr) return false;
  for (const auto& [name, content] : files) {
    zip_source_t* const source = zip_source_buffer(archive, content.data(), content.size(), 0);
    zip_file_add(archive, name.c_str(), source, ZIP_FL_OVERWRITE);
  }
  return zip_close(archive) == 0;
}

}  // namespace octet::testing
