// The server's log: one line per event on the standard error, as text or as a JSON object.
//
//   LogInfo("model ready", {{"model", name}, {"version", version}, {"seconds", elapsed}});
//
//   2025-03-01T12:00:00.000Z info    model ready model=digits version=1 seconds=0.42
//   {"time":"2025-03-01T12:00:00.000Z","level":"info","message":"model ready","model":"digits",...}
//
// Values are escaped: whatever a client sent, an event stays one line and valid JSON.

#pragma once

#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <string>
#include <type_traits>

#include "absl/strings/string_view.h"
#include "server/config/config.h"

namespace octet::server {

// A name and a value that belong to an event.
class LogField {
 public:
  LogField(absl::string_view key, absl::string_view value) : key_(key), value_(value) {}
  LogField(absl::string_view key, const std::string& value) : key_(key), value_(value) {}
  LogField(absl::string_view key, const char* value) : key_(key), value_(value) {}
  LogField(absl::string_view key, bool value);
  LogField(absl::string_view key, double value);
  template <typename Integer, typename = std::enable_if_t<std::is_integral_v<Integer>>>
  LogField(absl::string_view key, Integer value)
      : key_(key), value_(std::to_string(value)), literal_(true) {}

  absl::string_view key() const { return key_; }
  absl::string_view value() const { return value_; }
  bool literal() const { return literal_; }  // a number or a boolean: no quotes in JSON

 private:
  absl::string_view key_;
  std::string value_;
  bool literal_ = false;
};

using LogFields = std::initializer_list<LogField>;

// What is logged from now on goes to `out` (the standard error by default) as `config` says. Before
// the first call it is text from level info on. Not thread-safe; call it before there are threads.
// `out` must live until the next call.
void SetUpLogging(const LogConfig& config, std::ostream* out = nullptr);

// Thread-safe.
void LogDebug(absl::string_view message, LogFields fields = {});
void LogInfo(absl::string_view message, LogFields fields = {});
void LogWarning(absl::string_view message, LogFields fields = {});
void LogError(absl::string_view message, LogFields fields = {});

}  // namespace octet::server
