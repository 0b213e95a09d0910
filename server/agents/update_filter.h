// server/agents/update_filter.h — the output filters of a profile, applied to the updates of an
// ACP session.
#pragma once

#include <berth/server/agents/output_filter.h>

#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// Text of messages and of thoughts loses its markers; an update that was changed carries what the
/// agent wrote as `_meta."berth/raw"`, so that the log holds both. One for each attach.
class UpdateFilter {
 public:
  struct Update {
    std::string json;  ///< Empty: the update as it came.
    std::string kind;
  };

  explicit UpdateFilter(OutputMarkers markers);

  bool active() const { return !markers_.empty(); }
  /// What to show for this update, in order: what was held back may come first, in a chunk of its
  /// own.
  std::vector<Update> pass(std::string_view update, std::string_view kind);
  /// The turn is over: what was held back.
  std::vector<Update> finish();

 private:
  void flush(std::vector<Update>& out);

  OutputMarkers markers_;
  OutputFilter filter_{markers_};
  std::string kind_;  // of the chunks that filter_ is in the middle of
};

}  // namespace berth::server
