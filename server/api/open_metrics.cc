#include <berth/server/api/open_metrics.h>

#include <berth/core/json_writer.h>

#include <utility>

namespace berth::server {

namespace {

/// Of a label's value and of a help text.
void append_escaped(std::string& out, std::string_view text) {
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
}

std::string_view type_of(OpenMetrics::Kind kind) {
  switch (kind) {
    case OpenMetrics::Kind::gauge:
      return "gauge";
    case OpenMetrics::Kind::counter:
      return "counter";
    case OpenMetrics::Kind::info:
      return "info";
  }
  return "unknown";
}

std::string_view suffix_of(OpenMetrics::Kind kind) {
  switch (kind) {
    case OpenMetrics::Kind::gauge:
      return "";
    case OpenMetrics::Kind::counter:
      return "_total";
    case OpenMetrics::Kind::info:
      return "_info";
  }
  return "";
}

}  // namespace

void OpenMetrics::family(std::string_view name, Kind kind, std::string_view help) {
  name_ = name;
  kind_ = kind;
  out_ += "# TYPE " + name_ + " ";
  out_ += type_of(kind);
  out_ += "\n# HELP " + name_ + " ";
  append_escaped(out_, help);
  out_ += '\n';
}

void OpenMetrics::sample(double value, Labels labels) {
  out_ += name_;
  out_ += suffix_of(kind_);
  char before = '{';
  for (const auto& [name, text] : labels) {
    out_ += std::exchange(before, ',');
    out_ += name;
    out_ += "=\"";
    append_escaped(out_, text);
    out_ += '"';
  }
  if (before == ',') out_ += '}';
  out_ += ' ';
  JsonWriter(out_).number(value);  // a float is written the same way in both
  out_ += '\n';
}

std::string OpenMetrics::finish() {
  out_ += "# EOF\n";
  return std::move(out_);
}

}  // namespace berth::server
