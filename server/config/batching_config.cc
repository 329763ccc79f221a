// Rows of `batching` and `execution`.

#include "server/config/fields.h"

namespace octet::server {

const Fields<BatchingConfig>& BatchingFields() {
  static const auto* const kFields = new Fields<BatchingConfig>{
      Value("max_batch_size", &BatchingConfig::max_batch_size, Integer<int>(1, 1024),
            "Most rows that run together. 1 turns batching off. Batching is on for models whose "
            "inputs and outputs all have the same symbolic first dimension."),
      Value("max_queue_delay_microseconds", &BatchingConfig::max_queue_delay_microseconds,
            Integer<int>(0, 1'000'000),
            "Longest that a request waits for company while other streams are busy; 0 starts a "
            "batch as soon as a stream is free."),
      Value("max_queue_size", &BatchingConfig::max_queue_size, Integer<int>(1, 1'000'000),
            "Requests waiting per model; the next one is answered RESOURCE_EXHAUSTED."),
  };
  return *kFields;
}

const Fields<ExecutionConfig>& ExecutionFields() {
  static const auto* const kFields = new Fields<ExecutionConfig>{
      Value("streams", &ExecutionConfig::streams, IntegerOrAuto<int>(1024),
            "Batches of a model that run at the same time; 1 gives the lowest latency, auto the "
            "highest throughput."),
      Value("threads_per_stream", &ExecutionConfig::threads_per_stream, IntegerOrAuto<int>(1024),
            "Threads that work on one batch; auto divides the cores that the process may use among "
            "the streams."),
  };
  return *kFields;
}

}  // namespace octet::server
