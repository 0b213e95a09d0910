// server/sessions/stream_cursor.h — the place of one client in several logs as one text: the `id:`
// of a multiplexed stream.
#pragma once

#include <berth/core/result.h>
#include <berth/server/store/records.h>

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

namespace berth::server {

/// Opaque to clients, who may send any text: it names places, and is no permission to be there.
struct StreamCursor {
  SessionNo known = 0;  ///< Sessions with a higher number are newer than the stream was.
  std::map<SessionNo, std::uint64_t> places;  ///< The last event of each that was handed on.

  /// [0-9A-Za-z._-]: two bytes a session with less than 512 events, three with less than 16,384;
  /// one or two more where the numbers of sessions leave a gap. It is part of every event of the
  /// stream, because each must say alone, and over a restart, where its client is.
  std::string text() const;
  /// Error `invalid` ("bad_field") naming Last-Event-ID.
  static Result<StreamCursor> parse(std::string_view text, std::size_t places_max);
};

}  // namespace berth::server
