// berth attach: follows a session live; what is typed is a prompt, or the answer to a question.
#include <berth/core/json_writer.h>
#include <berth/core/uri.h>
#include <berth/server/cli/commands.h>
#include <berth/server/cli/transcript.h>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <deque>
#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kTypedMax = 64;

io::HttpClientRequest post(std::string target, std::string body) {
  io::HttpClientRequest request;
  request.method = "POST";
  request.target = std::move(target);
  request.body = std::move(body);
  return request;
}

/// A question that waits, as far as a typed answer needs it.
struct OpenQuestion {
  std::string id;
  bool is_form = false;
  std::vector<std::string> options;  // ids, in the order of their numbers
};

/// Shows the events of a session, and gives typed lines their meaning.
class Attached final : public SseSink, public TypedLineReader {
 public:
  struct Options {
    std::string session;
    std::uint64_t until = 0;  ///< Up to this event; 0: endless.
    bool json = false;
    bool typing = false;
  };
  Attached(Remote& remote, Terminal& terminal, Options options)
      : remote_(remote),
        terminal_(terminal),
        options_(std::move(options)),
        transcript_(terminal, {options_.session, true, true, options_.typing}) {}

  void on_event(const SseEvent& frame) override;
  std::optional<io::HttpClientRequest> on_line(std::string line) override;

  /// A question from before the first event that is shown.
  void show_open(const JsonView& interaction) {
    if (!options_.json) transcript_.question(interaction);
    remember(interaction);
    terminal_.flush();
  }
  void finish() {
    transcript_.finish();
    terminal_.flush();
  }

 private:
  void remember(const JsonView& interaction);
  bool was_typed_here(const JsonView& event);
  std::optional<io::HttpClientRequest> answer(const std::string& line);
  std::optional<io::HttpClientRequest> command(std::string_view line);

  Remote& remote_;
  Terminal& terminal_;
  Options options_;
  Transcript transcript_;
  std::deque<OpenQuestion> open_;
  std::deque<std::string> typed_;  // prompts that stand on the terminal already
  bool over_ = false;
};

void Attached::on_event(const SseEvent& frame) {
  if (over_) return;
  Result<JsonDoc> document = JsonDoc::parse(frame.data);
  if (!document.has_value()) return;
  const JsonView event = document->root();
  const std::string_view type = event.get_string("type").value_or("");
  if (type == "interaction.opened") {
    remember(event.find("data"));
  } else if (type == "interaction.closed") {
    const std::string_view id = event.get_string("data.id").value_or("");
    std::erase_if(open_, [&](const OpenQuestion& question) { return question.id == id; });
  }
  if (options_.json) {
    terminal_.line(frame.data);
  } else if (!was_typed_here(event)) {
    transcript_.show(event);
  }
  terminal_.flush();
  const auto seq = static_cast<std::uint64_t>(event.get_int64("seq").value_or(0));
  if (options_.until > 0 && seq >= options_.until) {
    over_ = true;
    remote_.done();
  }
}

void Attached::remember(const JsonView& interaction) {
  OpenQuestion question;
  question.id = interaction.get_string("id").value_or("");
  for (const OpenQuestion& known : open_) {
    if (known.id == question.id) return;
  }
  question.is_form = interaction.get_string("kind").value_or("") != "permission";
  for (const JsonView& option : interaction.elements("request.options")) {
    question.options.emplace_back(option.get_string("optionId").value_or(""));
  }
  open_.push_back(std::move(question));
}

bool Attached::was_typed_here(const JsonView& event) {
  if (event.get_string("type").value_or("") != "turn.queued") return false;
  const std::vector<JsonView> blocks = event.elements("data.prompt");
  if (blocks.size() != 1) return false;
  const std::string text(blocks[0].get_string("text").value_or(""));
  const auto found = std::find(typed_.begin(), typed_.end(), text);
  if (found == typed_.end()) return false;
  typed_.erase(found);
  return true;
}

std::optional<io::HttpClientRequest> Attached::on_line(std::string line) {
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
  if (line.empty()) return std::nullopt;
  if (line.front() == ':') return command(line);
  if (!open_.empty()) {
    std::optional<io::HttpClientRequest> answered = answer(line);
    if (answered) return answered;
  }
  std::string body;
  JsonWriter(body).begin_object().member("prompt", line).end_object();
  typed_.push_back(std::move(line));
  if (typed_.size() > kTypedMax) typed_.pop_front();
  return post(session_target(options_.session, "/turns"), std::move(body));
}

/// The answer to the oldest open question, if the line is one.
std::optional<io::HttpClientRequest> Attached::answer(const std::string& line) {
  const OpenQuestion& question = open_.front();
  std::string body;
  JsonWriter writer(body);
  writer.begin_object();
  if (question.is_form) {
    const Result<JsonDoc> content = JsonDoc::parse(line);
    if (!content.has_value() || !content->root().is_object()) return std::nullopt;
    writer.member("action", "accept").member_raw("content", line);
  } else {
    std::size_t number = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), number);
    const bool whole = error == std::errc() && end == line.data() + line.size();
    if (!whole || number < 1 || number > question.options.size()) return std::nullopt;
    writer.member("option_id", question.options[number - 1]);
  }
  writer.end_object();
  std::string rest = "/interactions/";
  append_percent_encoded(rest, question.id);
  return post(session_target(options_.session, rest), std::move(body));
}

std::optional<io::HttpClientRequest> Attached::command(std::string_view line) {
  if (line == ":cancel") return post(session_target(options_.session, "/cancel"), {});
  if (line == ":detach") {
    remote_.done();
    return std::nullopt;
  }
  if (line == ":decline" && !open_.empty()) {
    const OpenQuestion& question = open_.front();
    std::string rest = "/interactions/";
    append_percent_encoded(rest, question.id);
    return post(session_target(options_.session, rest),
                question.is_form ? R"({"action":"decline"})" : R"({"outcome":"cancelled"})");
  }
  terminal_.note(
      "a line is a prompt; a number answers a question, a JSON object fills in a form\n"
      ":decline  refuse the question    :cancel  stop the turn    :detach  or Ctrl-D: leave");
  return std::nullopt;
}

/// The event to begin behind; nothing when there is none to show.
std::optional<std::uint64_t> begin_behind(const AttachOptions& options, const JsonView& session,
                                          std::uint64_t newest) {
  if (options.last) {
    const std::uint64_t after = newest - std::min(newest, *options.last);
    if (!options.follow && after == newest) return std::nullopt;
    return after;
  }
  if (options.after) return *options.after;
  const std::optional<std::int64_t> first = session.get_int64("turn.started_seq");
  if (first && *first > 0) return static_cast<std::uint64_t>(*first) - 1;
  return newest;
}

}  // namespace

int attach_command(const GlobalOptions& global, const AttachOptions& options) {
  Terminal terminal(global.no_color);
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  const std::optional<RemoteAnswer> session = remote->call("GET", session_target(options.session));
  if (!session) return remote->exit_code();
  const auto newest = static_cast<std::uint64_t>(session->json().get_int64("last_seq").value_or(0));
  const std::optional<std::uint64_t> after = begin_behind(options, session->json(), newest);
  if (!after) return 0;
  // A pipe is read where it is asked for; a terminal where a person sits in front of it.
  const bool person = stdin_is_tty() && terminal.is_tty() && !global.json && options.follow;
  const bool typing = options.post_lines || person;
  if (!global.json && options.follow) {
    terminal.note(fmt::format("following {} after event {}; {}Ctrl-C detaches", options.session,
                              *after, typing ? "a line is a prompt, :help tells more, " : ""));
  }
  Attached attached(*remote, terminal,
                    {options.session, options.follow ? 0 : newest, global.json, typing});
  if (typing) {
    const std::optional<RemoteAnswer> open =
        remote->call("GET", session_target(options.session, "/interactions?state=open"));
    if (!open) return remote->exit_code();
    for (const JsonView& question : open->json().elements("interactions")) {
      attached.show_open(question);
    }
    remote->take_typed_lines(attached);
  }
  const Remote::FollowEnd end =
      remote->follow(session_target(options.session, fmt::format("/events?after={}", *after)), 0,
                     attached, Duration::zero());
  attached.finish();
  return end == Remote::FollowEnd::failed ? 1 : 0;
}

}  // namespace berth::server
