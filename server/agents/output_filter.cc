#include <berth/server/agents/output_filter.h>

#include <algorithm>

namespace berth::server {

namespace {

/// Length of the longest end of `text` that is a proper beginning of `marker`.
std::size_t open_end(std::string_view text, std::string_view marker) {
  for (std::size_t size = std::min(text.size(), marker.size() - 1); size > 0; --size) {
    if (text.ends_with(marker.substr(0, size))) return size;
  }
  return 0;
}

struct Found {
  std::size_t at = std::string_view::npos;
  std::size_t size = 0;
  const std::string* closing = nullptr;
};

/// The first marker in `text`; of several at one place the longest.
Found first_marker(std::string_view text, const OutputMarkers& markers) {
  Found first;
  const auto consider = [&](const std::string& marker, const std::string* closing) {
    if (marker.empty()) return;
    const std::size_t at = text.find(marker);
    if (at == std::string_view::npos || at > first.at) return;
    if (at == first.at && marker.size() <= first.size) return;
    first = {at, marker.size(), closing};
  };
  for (const std::string& marker : markers.strip) consider(marker, nullptr);
  for (const auto& [opening, closing] : markers.strip_between) consider(opening, &closing);
  return first;
}

/// From where on `text` may be the beginning of a marker that the next chunk completes.
std::size_t undecided_from(std::string_view text, const OutputMarkers& markers) {
  std::size_t longest = 0;
  const auto consider = [&](const std::string& marker) {
    if (!marker.empty()) longest = std::max(longest, open_end(text, marker));
  };
  for (const std::string& marker : markers.strip) consider(marker);
  for (const auto& pair : markers.strip_between) consider(pair.first);
  return text.size() - longest;
}

}  // namespace

std::string OutputFilter::feed(std::string_view text) {
  held_ += text;
  std::string shown;
  while (true) {
    if (closing_ != nullptr) {
      const std::size_t end = closing_->empty() ? 0 : held_.find(*closing_);
      if (end == std::string::npos) {
        held_.erase(0, held_.size() - open_end(held_, *closing_));
        return shown;
      }
      held_.erase(0, end + closing_->size());
      closing_ = nullptr;
    }
    const Found found = first_marker(held_, markers_);
    const std::size_t undecided = undecided_from(held_, markers_);
    // A longer marker may begin before the one that is complete: then both wait.
    if (found.at == std::string_view::npos || undecided < found.at) {
      shown += held_.substr(0, undecided);
      held_.erase(0, undecided);
      return shown;
    }
    // One marker may be the beginning of another that the next chunk completes.
    if (undecided == found.at && found.at + found.size <= held_.size() &&
        undecided_from(std::string_view(held_).substr(found.at), markers_) == 0) {
      shown += held_.substr(0, found.at);
      held_.erase(0, found.at);
      return shown;
    }
    shown += held_.substr(0, found.at);
    held_.erase(0, found.at + found.size);
    closing_ = found.closing;
  }
}

std::string OutputFilter::finish() {
  std::string rest = closing_ == nullptr ? std::move(held_) : std::string();
  held_.clear();
  closing_ = nullptr;
  // A short marker that waited for a longer one is a marker all the same.
  std::string shown;
  while (!rest.empty()) {
    const Found found = first_marker(rest, markers_);
    if (found.at == std::string_view::npos) break;
    shown += rest.substr(0, found.at);
    if (found.closing != nullptr) {
      const std::size_t end = rest.find(*found.closing, found.at + found.size);
      rest = end == std::string::npos ? std::string() : rest.substr(end + found.closing->size());
    } else {
      rest.erase(0, found.at + found.size);
    }
  }
  return shown + rest;
}

}  // namespace berth::server
