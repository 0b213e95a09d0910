// server/cli/remote.h — the running server, as the commands see it: blocking calls that complain by
// themselves.
#pragma once

#include <berth/core/json_doc.h>
#include <berth/core/stop.h>
#include <berth/core/task.h>
#include <berth/io/http_client.h>
#include <berth/io/reactor.h>
#include <berth/server/cli/terminal.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace berth::server {

/// Options that all commands have.
struct GlobalOptions {
  std::string state;    ///< Folder of the server; see state_directory_of().
  std::string url;      ///< Empty: what the server in `state` says in endpoint.json.
  std::string token;    ///< Empty: $BERTH_TOKEN, else the server's token file.
  std::string project;  ///< Empty: $BERTH_PROJECT, else the token's.
  std::string ca_file;  ///< Whom to believe over https; empty: $BERTH_CA_FILE, else the system's.
  bool json = false;
  bool no_color = false;
};

/// An answer below 400, with its body as JSON if it is some.
struct RemoteAnswer {
  io::HttpClientResponse response;
  std::optional<JsonDoc> document;
  /// The body; absent if it is no JSON.
  JsonView json() const { return document ? document->root() : JsonView(); }
};

/// Says what a line means that somebody typed.
class TypedLineReader {
 public:
  virtual ~TypedLineReader() = default;
  /// The request that it stands for, if it does (without the token).
  virtual std::optional<io::HttpClientRequest> on_line(std::string line) = 0;
};

class Remote {
 public:
  /// Finds the server; complains and gives null when there is none to be found.
  static std::unique_ptr<Remote> open(const GlobalOptions& options, Terminal& terminal);
  virtual ~Remote() = default;

  /// One request. Nothing when it failed: then the reason stands on stderr, and exit_code() is for
  /// it.
  virtual std::optional<RemoteAnswer> call(std::string method, std::string target,
                                           std::string body = {}, HttpHeaders headers = {}) = 0;

  enum class FollowEnd { done, timed_out, interrupted, failed };
  /// Gives `sink` the events of a stream, connecting again when it breaks, until done() is called,
  /// `patience` is over (zero: endless), or Ctrl-C.
  virtual FollowEnd follow(std::string target, std::uint64_t after, SseSink& sink,
                           Duration patience) = 0;
  /// From now on, while follow() runs, `reader`, which outlives it, is given each line of stdin,
  /// and what it asks for is sent, one after the other; the end of stdin ends follow() if it is a
  /// terminal.
  virtual void take_typed_lines(TypedLineReader& reader) = 0;
  /// Ends follow(); for sinks.
  virtual void done() = 0;
  /// Ends follow() after `delay` if nothing else does before; for sinks.
  virtual void done_in(Duration delay) = 0;

  virtual int exit_code() const = 0;
  virtual const std::string& url() const = 0;

  /// For commands that do several things at once: runs `task` to its end, which may use what
  /// follows.
  virtual void run_task(Task<void> task) = 0;
  virtual io::Reactor& reactor() = 0;
  /// Asked for by Ctrl-C.
  virtual StopToken interrupted() = 0;
  /// A client of its own, to be closed with close(). If the server was found in the state folder,
  /// it follows a server that was started anew somewhere else.
  virtual std::unique_ptr<io::HttpClient> connect() = 0;
  /// The token, where it is to be shown, and the project that is asked for.
  virtual void authorize(HttpHeaders& headers) const = 0;
};

/// The text at `path`, for a person; `absent` when there is none.
std::string text_of(const JsonView& view, std::string_view path, std::string_view absent = "-");

/// Shows an answer as it came with --json, else `in_words`. Returns the exit code.
int show_answer(Terminal& terminal, const GlobalOptions& global, const RemoteAnswer& answer,
                void (*in_words)(Terminal& terminal, const JsonView& body));

/// `/v1/sessions/ID` + `rest`, with the id encoded.
std::string session_target(std::string_view id, std::string_view rest = {});

}  // namespace berth::server
