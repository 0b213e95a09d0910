// server/cli/transcript.h — a session's events as a person reads them: text as it streams, the rest
// as lines.
#pragma once

#include <berth/core/json_doc.h>
#include <berth/server/cli/terminal.h>

#include <map>
#include <string>
#include <string_view>

namespace berth::server {

/// Renders events one by one. Keeps only what continues: the place in a line, titles of tool calls.
class Transcript {
 public:
  struct Options {
    std::string session;     ///< For hints on how to answer.
    bool prompts = true;     ///< Show what the user asked.
    bool turn_lines = true;  ///< Show where turns start.
    bool numbers = false;    ///< Questions are answered by a number, not by a command.
  };
  Transcript(Terminal& terminal, Options options)
      : terminal_(terminal), options_(std::move(options)) {}

  /// Shows one event object: `{"seq","type","turn","agent","data"}`. Unknown ones are passed over.
  void show(const JsonView& event);
  /// Shows a question that waits: the data of `interaction.opened`, or an interaction of the API.
  void question(const JsonView& data);
  /// Ends an unfinished line.
  void finish();

 private:
  enum class Flow : unsigned char { none, text, thought };

  void update(const JsonView& data);
  void chunk(Flow flow, const JsonView& data);
  void tool_call(const JsonView& data);
  void plan(const JsonView& data);
  void prompt(const JsonView& data);
  void turn_started(const JsonView& event, const JsonView& data);
  void turn_ended(const JsonView& data);
  void attached(const JsonView& event, const JsonView& data);
  void exited(const JsonView& data);
  void failed(const JsonView& data);
  void change(const JsonView& data);
  void interaction_closed(const JsonView& data);
  void line(Style style, std::string_view text);

  Terminal& terminal_;
  Options options_;
  Flow flow_ = Flow::none;
  bool at_line_start_ = true;
  std::map<std::string, std::string> tools_;  // titles of tool calls that run, by id
};

/// `2 files changed, +10 -3` of a change object.
std::string change_summary(const JsonView& change);
/// One line for each file of a change object.
void show_files(Terminal& terminal, const JsonView& change);

}  // namespace berth::server
