// Weights in few bits, for files and memory, and back to the int8 rows that kernels compute with.
//
//   format             codes    beside them                                    bits per weight
//   kInt8Rows          bytes    a float32 scale per row                        8 + 32 / K
//   kInt4Groups        nibbles  a float16 scale per group                      4 + 16 / G
//   kUint4Groups       nibbles  a float16 scale, a 4-bit zero point per group  4 + 20 / G
//   kCodebookRows      nibbles  16 int8 levels and a float32 scale per row     4 + 160 / K
//   kCodebookTensor    nibbles  16 int8 levels, a float32 scale per row        4 + 32 / K
//   kCodebookGroups    nibbles  16 int8 levels, a float16 scale per group      4 + 16 / G
//   kWideCodebook      bytes    256 float16 levels                             8
//
// Element 2 i of a row is the low nibble of its byte i; rows begin at bytes. The nibbles of
// kInt4Groups are two's complement. Everything here is a pure function: thread-safe.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "quant/group_quantizer.h"
#include "quant/weight_rows.h"

namespace octet::quant {

enum class StorageFormat : uint8_t {
  kInt8Rows,
  kInt4Groups,
  kUint4Groups,
  kCodebookRows,
  kCodebookTensor,
  kCodebookGroups,
  kWideCodebook,
};

// "s8c", "s4g", "u4g", "cb4c", "cb4t", "cb4g", "cb8t".
absl::string_view Name(StorageFormat format);

struct StoredWeights {
  StorageFormat format = StorageFormat::kInt8Rows;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t group = 0;                   // columns per group; 0 in formats without groups
  int exponent = 0;                    // group scales and wide levels are times 2^exponent
  std::vector<uint8_t> codes;          // nibbles or bytes
  std::vector<float> row_scales;       // one per row, or none
  std::vector<uint16_t> group_scales;  // float16, row by row, or none
  std::vector<uint8_t> zero_points;    // nibbles, row by row, as codes are
  std::vector<int8_t> levels;          // 16 per codebook
  std::vector<uint16_t> wide_levels;   // float16

  // Of the arrays: what the weights take in memory and in a file.
  size_t bytes() const;
  int64_t groups_per_row() const { return group > 0 ? (columns + group - 1) / group : 0; }
};

// Two codes from 0 to 15 per byte. `nibbles` has (codes.size() + 1) / 2 bytes.
void PackNibbles(std::span<const uint8_t> codes, std::span<uint8_t> nibbles);
void UnpackNibbles(std::span<const uint8_t> nibbles, std::span<uint8_t> codes);

// InvalidArgument unless the arrays have the sizes that format, rows, columns and group ask for,
// and all scales are finite and not negative: what a file holds must be checked before it is used.
absl::Status Check(const StoredWeights& weights);

// kInt4Groups or kUint4Groups. InvalidArgument for another grid than kSymmetricInt4 and
// kAsymmetricUint4.
absl::StatusOr<StoredWeights> StoreGroups(const GroupedCodes& codes);

struct CodebookOptions {
  StorageFormat format = StorageFormat::kCodebookRows;  // or another one with levels
  absl::string_view algorithm = "least_squares";        // one that has a codebook form
  int64_t group = 128;                                  // of kCodebookGroups, at least 1
  EstimatorOptions estimator_options;
};

// One codebook per row, or one for the matrix, fitted to weights divided by the largest of their
// row or group and weighted by its square, so that the error of the weights themselves is least.
// InvalidArgument for what CheckRows() refuses and for a format without levels; FitCodebook's
// errors.
absl::StatusOr<StoredWeights> StoreCodebook(const WeightRows& weights,
                                            const CodebookOptions& options);

// The weights, row by row. Errors are Check's.
absl::StatusOr<std::vector<float>> Dequantize(const StoredWeights& weights);

// Weights as kernels take them: int8, one scale per row. Formats with one scale per row lose
// nothing on a grid that has their codes; others are rounded once more, to as many steps of the
// largest weight of the row as the symmetric `grid` has.
struct Int8Rows {
  std::vector<int8_t> codes;  // row by row
  std::vector<float> scales;
};
absl::StatusOr<Int8Rows> ExpandToInt8(const StoredWeights& weights,
                                      const Grid& grid = kSymmetricInt8);

}  // namespace octet::quant
