// bench/agents/scripted_agent.h — a deterministic ACP v1 agent that does what the prompt's text
// says.
//
// The same coroutine is a program (scripted_agent_main.cc) and a process of the simulator. A prompt
// is a list of directives, one a line (or separated by " ; "); anything else is answered by "You
// said: ...":
//
//   say TEXT              one agent_message_chunk
//   think TEXT            one agent_thought_chunk
//   stream N [BYTES] [PER_SECOND]   N chunks of text; 300 bytes and as fast as it goes by default
//   write PATH TEXT       a tool call that writes the file (relative to the session's cwd) and
//   completes append PATH TEXT      the same, appending a line ask write PATH TEXT   asks
//   permission first plan A, B, C          a plan whose entries get done one after the other sleep
//   MS              waits (a cancel ends it) hang                  never answers, also not a cancel
//   wedge                 the whole process says and hears nothing any more
//   open-tool TITLE       a tool call that gets no result
//   spawn SECONDS         starts a process of its own session that sleeps
//   meta                    says the `_meta` of this prompt
//   remember WORD, recall   says all words remembered in this session, and how many prompts it saw
//   forget                stores nothing of this session: the next process does not know it
//   elicit QUESTION       asks for a color, red or blue, and says what was filled in
//   junk | bad-json | bad-utf8 | raw-cr | cr-line | half-emoji | big MIB | over MIB   unusual lines
//   on stdout error                 answers the prompt with a JSON-RPC error;   refuse  stopReason
//   refusal exit N | crash        ends the process foreign               sends a request and a
//   notification that no host knows
#pragma once

#include <berth/core/prng.h>
#include <berth/core/stop.h>
#include <berth/core/task.h>
#include <berth/io/platform.h>
#include <berth/io/reactor.h>
#include <berth/io/stream.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace berth::bench {

/// How it misbehaves from the start; command-line options of the program.
struct ScriptedOptions {
  std::string sessions_directory;  ///< Where sessions are stored; empty: they are not.
  bool can_load = true;
  bool can_resume = true;
  int protocol_version = 1;
  int exit_at_start = -1;  ///< Exit code, -1 = stay.
  bool hang_in_initialize = false;
  bool ignore_end_of_input = false;
  /// How an unknown session is answered: "acp" (-32002), "opencode" (-32603 NotFoundError),
  /// "params" (-32602), "null" (-32603 without words), "success" (claims to have it).
  std::string unknown_session = "acp";
  std::string stderr_text;  ///< Written to stderr at the start.
};

/// Reads `--sessions DIR --no-load --no-resume --protocol N --exit-at-start N --hang initialize
/// --ignore-eof
/// --unknown SHAPE --stderr TEXT`. Error `invalid` names the option.
Result<ScriptedOptions> parse_scripted_options(const std::vector<std::string>& arguments);

/// What the agent is given of its world; all outlive the run.
struct ScriptedWorld {
  io::Reactor* reactor = nullptr;
  io::Files* files = nullptr;
  Random* random = nullptr;
  io::ByteStream* stream = nullptr;  ///< stdin and stdout.
  StopToken stop;
  std::function<void(std::string_view)> write_stderr;
  /// Ends the process now, without any farewell; in the simulator it only asks for it.
  std::function<void(int code)> exit_now;
  std::function<void(int seconds)> spawn_sleeper;
  std::function<void(std::size_t)> on_turns = {};  ///< How many run now; may be null.
};

/// Runs until stdin ends, and returns the exit code.
Task<int> run_scripted_agent(ScriptedWorld world, ScriptedOptions options);

}  // namespace berth::bench
