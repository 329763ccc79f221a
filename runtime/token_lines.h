// JSON Lines of token ids as samples: {"input_ids": [101, 7592, 102], "attention_mask": [1, 1, 1]}

#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/compiled_model.h"
#include "runtime/sample_set.h"

namespace octet::runtime {

// Whether all inputs are [batch, length] of int32 or int64, a batch being of any size or of one.
bool ReadsTokens(const std::vector<TensorSpec>& inputs, bool batchable);

// The lines of the .jsonl file `path` that are not empty, an object each, with a list of integers
// for every input, all of the same length, which is each sample's own where the model leaves it
// open. An input named attention_mask may be left out, and is ones then; one named token_type_ids
// is zeros. Other keys are passed over. A line is parsed when its sample is asked for.
//   InvalidArgument  the model does not ReadsTokens(), or a line is not of this form; the message
//                    names file and line. Lines of more than 1 MiB are refused
absl::StatusOr<SampleSet> TokenSamples(const std::string& path,
                                       const std::vector<TensorSpec>& inputs, bool batchable);

}  // namespace octet::runtime
