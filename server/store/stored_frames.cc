#include <berth/server/store/stored_frames.h>

#include <charconv>
#include <cstddef>

namespace berth::server {

bool skip_frame(std::string_view& frames, std::uint64_t seq) {
  constexpr std::string_view kId = "id: ";
  constexpr std::string_view kEvent = "\nevent: ";
  constexpr std::string_view kData = "\ndata: ";
  if (!frames.starts_with(kId)) return false;
  std::uint64_t number = 0;
  const auto digits =
      std::from_chars(frames.data() + kId.size(), frames.data() + frames.size(), number);
  if (digits.ec != std::errc() || number != seq) return false;
  std::string_view rest = frames.substr(static_cast<std::size_t>(digits.ptr - frames.data()));
  if (!rest.starts_with(kEvent)) return false;
  const std::size_t line = rest.find('\n', kEvent.size());
  if (line == std::string_view::npos) return false;
  rest.remove_prefix(line);
  if (!rest.starts_with(kData)) return false;
  const std::size_t end = rest.find('\n', kData.size());
  if (end == std::string_view::npos || !rest.substr(end + 1).starts_with('\n')) return false;
  frames = rest.substr(end + 2);
  return true;
}

}  // namespace berth::server
