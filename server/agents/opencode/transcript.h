// server/agents/opencode/transcript.h — the parts of a turn's messages as updates, each piece of
// text exactly once.
#pragma once

#include <berth/core/json_doc.h>
#include <berth/server/agents/opencode/translate.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace berth::server::opencode {

/// Takes updates in ACP's shape; views are valid during the call.
class UpdateSink {
 public:
  virtual void on_update(std::string_view update, std::string_view kind,
                         std::string_view tool_call_id) = 0;

 protected:
  ~UpdateSink() = default;
};

/// Sans-I/O. Text comes as deltas and as snapshots of a whole part, from the event stream and from
/// GET, in any mixture: of each part the length of what was shown is kept, and a snapshot shows
/// only what goes beyond it. After a loss of the stream the deltas of the parts that were open then
/// have a hole before them: they are held back until a snapshot fills it.
///
/// opencode 1.18 stores the text of a part when the part ends, so a GET in its middle says "".
class Transcript {
 public:
  /// `sink` outlives it.
  explicit Transcript(UpdateSink& sink) : sink_(sink) {}

  /// A new turn: parts before it are forgotten, late news of them is for nobody.
  void begin_turn();

  /// `part` as in `message.part.updated` (`live`) or as GET gives it.
  void on_part(JsonView part, bool live);
  /// `repaired`: the text is not byte for byte what a snapshot will say.
  void on_delta(std::string_view part_id, std::string_view field, std::string_view delta,
                bool repaired);
  /// The event stream broke: from here on something is missing.
  void on_stream_lost();
  /// No snapshot will come any more (the server died): shows what was held back, and says that a
  /// piece before it is missing.
  void flush();

  const Usage& turn_usage() const { return turn_; }
  /// Limit of the model's context in tokens, and what the session had cost before; for
  /// usage_update.
  void set_context_size(std::int64_t size) { context_size_ = size; }
  void set_session_cost(double cost) { session_cost_ = cost; }

 private:
  enum class Kind : std::uint8_t { unknown, text, thought, tool, step };
  struct Part {
    Kind kind = Kind::unknown;
    bool contiguous = false;  // deltas continue what was shown
    bool ended = false;
    int tool_rank = 0;         // 1 pending, 2 running, 3 over: never goes back
    std::size_t shown = 0;     // bytes
    std::uint64_t digest = 0;  // of the bytes shown
    std::string held;          // deltas behind a hole
  };

  Part& part_of(std::string_view id);
  void on_text(Part& part, std::string_view id, JsonView json);
  void on_tool(Part& part, JsonView json);
  void on_step(Part& part, JsonView json);
  void show(Part& part, std::string_view id, std::string_view text);

  UpdateSink& sink_;
  std::map<std::string, Part, std::less<>> parts_;
  Usage turn_;
  std::int64_t context_size_ = 0;
  double session_cost_ = 0;
};

}  // namespace berth::server::opencode
