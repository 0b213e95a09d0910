// server/api/open_metrics.h — figures as OpenMetrics text (version 1.0.0), for scrapers.
#pragma once

#include <berth/core/histogram.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace berth::server {

/// Writes families one after the other; finish() ends the text. Names and units are the caller's to
/// choose as the format wants them: base units, no session in a label.
class OpenMetrics {
 public:
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;
  enum class Kind { gauge, counter, info, histogram };

  /// Begins a family: `name` without the suffix that samples of its kind have.
  void family(std::string_view name, Kind kind, std::string_view help);
  /// A sample of the family that was begun last.
  void sample(double value, Labels labels = {});
  void sample(std::uint64_t value, Labels labels = {}) {
    sample(static_cast<double>(value), labels);
  }
  /// The samples of one histogram, in the family that was begun last.
  void histogram(const Histogram& times, Labels labels = {});

  /// The whole text.
  std::string finish();

  static constexpr std::string_view kContentType =
      "application/openmetrics-text; version=1.0.0; charset=utf-8";

 private:
  void put(std::string_view suffix, Labels labels, std::string_view bound, double value);

  std::string out_;
  std::string name_;
  Kind kind_ = Kind::gauge;
};

}  // namespace berth::server
