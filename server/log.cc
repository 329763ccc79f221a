#include "server/log.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/ostream_sink.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/config/utf8.h"

namespace octet::server {
namespace {

constexpr char kTextPattern[] = "%Y-%m-%dT%H:%M:%S.%eZ %-7l %v";
constexpr char kJsonPattern[] = R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})";
constexpr absl::string_view kReplacementCharacter = "\xEF\xBF\xBD";

struct Log {
  LogFormat format = LogFormat::kText;
  std::shared_ptr<spdlog::logger> logger;
};

spdlog::level::level_enum SpdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

Log MakeLog(const LogConfig& config, std::ostream& out) {
  const bool json = config.format == LogFormat::kJson;
  auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(out, /*force_flush=*/true);
  auto logger = std::make_shared<spdlog::logger>("octet", std::move(sink));
  logger->set_level(SpdlogLevel(config.level));
  logger->set_formatter(std::make_unique<spdlog::pattern_formatter>(
      json ? kJsonPattern : kTextPattern, spdlog::pattern_time_type::utc));
  return {config.format, std::move(logger)};
}

// The one log of the process: what is written to the standard error has one form.
Log& ProcessLog() {
  static auto* const log = new Log(MakeLog({}, std::cerr));
  return *log;
}

// As inside the quotes of a JSON string. What is not UTF-8 becomes U+FFFD.
std::string Escaped(absl::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size();) {
    const size_t size = Utf8CharacterSize(text.substr(i));
    const char c = text[i];
    if (size == 0) {
      absl::StrAppend(&result, kReplacementCharacter);
    } else if (size > 1) {
      absl::StrAppend(&result, text.substr(i, size));
    } else if (c == '"' || c == '\\') {
      absl::StrAppend(&result, "\\", text.substr(i, 1));
    } else if (c == '\n') {
      absl::StrAppend(&result, "\\n");
    } else if (c < ' ' || c == '\x7F') {
      absl::StrAppendFormat(&result, "\\u%04x", static_cast<int>(c));
    } else {
      result.push_back(c);
    }
    i += std::max<size_t>(1, size);
  }
  return result;
}

std::string JsonPayload(absl::string_view message, LogFields fields) {
  std::string line = absl::StrCat("\"message\":\"", Escaped(message), "\"");
  for (const LogField& field : fields) {
    const char* const quote = field.literal() ? "" : "\"";
    absl::StrAppend(&line, ",\"", Escaped(field.key()), "\":", quote, Escaped(field.value()),
                    quote);
  }
  return line;
}

// A message is for people: its quotes stay. Only what would break the line is escaped.
std::string TextMessage(absl::string_view message) {
  std::string line;
  for (const char c : message) {
    const bool control = (c >= '\0' && c < ' ') || c == '\x7F';
    if (control) {
      absl::StrAppend(&line, Escaped(absl::string_view(&c, 1)));
    } else {
      line.push_back(c);
    }
  }
  return line;
}

std::string TextPayload(absl::string_view message, LogFields fields) {
  std::string line = TextMessage(message);
  for (const LogField& field : fields) {
    const std::string value = Escaped(field.value());
    const bool plain =
        value == field.value() && !value.empty() && value.find_first_of(" =") == std::string::npos;
    const char* const quote = plain ? "" : "\"";
    absl::StrAppend(&line, " ", field.key(), "=", quote, value, quote);
  }
  return line;
}

void Write(LogLevel level, absl::string_view message, LogFields fields) {
  const Log& log = ProcessLog();
  const spdlog::level::level_enum spdlog_level = SpdlogLevel(level);
  if (!log.logger->should_log(spdlog_level)) return;
  const std::string payload =
      log.format == LogFormat::kJson ? JsonPayload(message, fields) : TextPayload(message, fields);
  log.logger->log(spdlog_level, spdlog::string_view_t(payload.data(), payload.size()));
}

}  // namespace

LogField::LogField(absl::string_view key, bool value)
    : key_(key), value_(value ? "true" : "false"), literal_(true) {}

LogField::LogField(absl::string_view key, double value)
    : key_(key),
      value_(std::isfinite(value) ? absl::StrCat(value) : "null"),  // JSON has no NaN
      literal_(true) {}

void SetUpLogging(const LogConfig& config, std::ostream* out) {
  ProcessLog() = MakeLog(config, out != nullptr ? *out : std::cerr);
}

void LogDebug(absl::string_view message, LogFields fields) {
  Write(LogLevel::kDebug, message, fields);
}

void LogInfo(absl::string_view message, LogFields fields) {
  Write(LogLevel::kInfo, message, fields);
}

void LogWarning(absl::string_view message, LogFields fields) {
  Write(LogLevel::kWarning, message, fields);
}

void LogError(absl::string_view message, LogFields fields) {
  Write(LogLevel::kError, message, fields);
}

}  // namespace octet::server
