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
    case OpenMetrics::Kind::histogram:
      return "histogram";
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
    case OpenMetrics::Kind::histogram:
      return "";  // each of its samples has one of its own
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
  put(suffix_of(kind_), labels, {}, value);
}

void OpenMetrics::histogram(const Histogram& times, Labels labels) {
  std::uint64_t below = 0;
  for (std::size_t i = 0; i <= times.bounds().size(); ++i) {
    below += times.count(i);
    std::string bound = "+Inf";
    if (i < times.bounds().size()) {
      bound.clear();
      JsonWriter(bound).number(times.bounds()[i]);
    }
    put("_bucket", labels, bound, static_cast<double>(below));
  }
  put("_sum", labels, {}, times.sum_seconds());
  put("_count", labels, {}, static_cast<double>(below));
}

void OpenMetrics::put(std::string_view suffix, Labels labels, std::string_view bound,
                      double value) {
  out_ += name_;
  out_ += suffix;
  char before = '{';
  for (const auto& [name, text] : labels) {
    out_ += std::exchange(before, ',');
    out_ += name;
    out_ += "=\"";
    append_escaped(out_, text);
    out_ += '"';
  }
  if (!bound.empty()) {
    out_ += std::exchange(before, ',');
    out_ += "le=\"";
    out_ += bound;
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
