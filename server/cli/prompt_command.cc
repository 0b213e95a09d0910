// berth prompt: posts a prompt and follows its turn to the end.
#include <berth/core/json_writer.h>
#include <berth/server/cli/commands.h>
#include <berth/server/cli/exit_codes.h>
#include <berth/server/cli/transcript.h>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kPromptBytesMax = std::size_t{16} << 20;
/// How long the list of changed files is waited for after a turn's end.
constexpr Duration kChangePatience = std::chrono::seconds(2);

/// Shows the events of a turn, and remembers how it ended.
class Follower final : public SseSink {
 public:
  struct Options {
    std::string turn;
    bool wait_for_change = false;
    bool json = false;
  };
  Follower(Remote& remote, Terminal& terminal, Transcript& transcript, Options options)
      : remote_(remote),
        terminal_(terminal),
        transcript_(transcript),
        options_(std::move(options)) {}

  void on_event(const SseEvent& frame) override {
    if (over_) return;
    Result<JsonDoc> document = JsonDoc::parse(frame.data);
    if (!document.has_value()) return;
    const JsonView event = document->root();
    if (!is_ours(event)) return;
    if (options_.json) {
      terminal_.line(frame.data);
    } else {
      transcript_.show(event);
    }
    terminal_.flush();
    watch_for_the_end(event);
  }

  /// The state that the turn ended in; empty: not seen.
  const std::string& ended() const { return ended_; }

 private:
  bool is_ours(const JsonView& event) const {
    return event.get_string("turn").value_or("") == options_.turn;
  }
  void watch_for_the_end(const JsonView& event) {
    const std::string_view type = event.get_string("type").value_or("");
    if (type == "turn.ended") {
      ended_ = std::string(event.get_string("data.state").value_or("failed"));
      if (options_.wait_for_change) return remote_.done_in(kChangePatience);
    }
    const bool change_came = type == "change.recorded" && !ended_.empty();
    if (type == "turn.ended" || change_came) {
      over_ = true;
      remote_.done();
    }
  }

  Remote& remote_;
  Terminal& terminal_;
  Transcript& transcript_;
  Options options_;
  std::string ended_;
  bool over_ = false;
};

bool read_prompt(Terminal& terminal, const PromptOptions& options, std::string& text) {
  const bool from_stdin =
      options.words.empty() || (options.words.size() == 1 && options.words[0] == "-");
  if (!from_stdin) {
    for (const std::string& word : options.words) {
      if (!text.empty()) text += ' ';
      text += word;
    }
  } else {
    if (stdin_is_tty()) terminal.note("prompt (end with Ctrl-D):");
    if (!read_stdin(text, kPromptBytesMax)) {
      terminal.complain("the prompt could not be read from stdin, or is above 16 MiB");
      return false;
    }
    while (!text.empty() && text.back() == '\n') text.pop_back();
  }
  if (text.empty()) terminal.complain("the prompt is empty");
  return !text.empty();
}

std::optional<RemoteAnswer> post_turn(Remote& remote, const PromptOptions& options,
                                      const std::string& text) {
  std::string body;
  JsonWriter writer(body);
  writer.begin_object().member("prompt", text);
  if (!options.agent.empty()) writer.member("agent", options.agent);
  if (!options.on_busy.empty()) writer.member("on_busy", options.on_busy);
  if (options.time_limit_seconds > 0) writer.key("timeout").number(options.time_limit_seconds);
  writer.end_object();
  HttpHeaders headers;
  if (!options.idempotency_key.empty()) {
    headers.emplace_back("Idempotency-Key", options.idempotency_key);
  }
  return remote.call("POST", session_target(options.session, "/turns"), std::move(body),
                     std::move(headers));
}

std::uint64_t last_seq_of(const JsonView& session) {
  return static_cast<std::uint64_t>(session.get_int64("last_seq").value_or(0));
}

}  // namespace

int prompt_command(const GlobalOptions& global, const PromptOptions& options) {
  Terminal terminal(global.no_color);
  std::string text;
  if (!read_prompt(terminal, options, text)) return 1;
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  const std::optional<RemoteAnswer> session = remote->call("GET", session_target(options.session));
  if (!session) return remote->exit_code();
  const std::optional<RemoteAnswer> turn = post_turn(*remote, options, text);
  if (!turn) return remote->exit_code();
  if (options.detach) {
    terminal.line(global.json ? turn->response.body
                              : printable(turn->json().get_string("id").value_or("")));
    return 0;
  }
  if (!global.json && !session->json().find("turn").is_null()) {
    terminal.note("queued behind the running turn");
  }

  // A repeated Idempotency-Key is answered with a turn that began earlier in the log.
  const bool replayed = turn->response.header("idempotent-replayed") == "true";
  const std::uint64_t after = replayed ? 0 : last_seq_of(session->json());
  Transcript transcript(terminal, {options.session, false, false});
  const bool has_files = session->json().get_string("workspace.mode").value_or("none") != "none";
  Follower follower(
      *remote, terminal, transcript,
      {std::string(turn->json().get_string("id").value_or("")), has_files, global.json});
  const auto patience =
      std::chrono::duration_cast<Duration>(std::chrono::duration<double>(options.timeout_seconds));
  const Remote::FollowEnd end =
      remote->follow(session_target(options.session, fmt::format("/events?after={}", after)), 0,
                     follower, patience);
  transcript.finish();
  terminal.flush();
  if (!follower.ended().empty()) return follower.ended() == "completed" ? 0 : 1;
  if (end == Remote::FollowEnd::failed) return 1;
  terminal.note(fmt::format("{}; the turn goes on: berth attach {}",
                            end == Remote::FollowEnd::timed_out ? "timed out" : "detached",
                            options.session));
  return end == Remote::FollowEnd::timed_out ? kExitTimedOut : kExitInterrupted;
}

}  // namespace berth::server
