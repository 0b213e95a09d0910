#include <berth/server/sessions/continuation.h>

#include <berth/core/json_doc.h>
#include <berth/server/sessions/frames.h>
#include <berth/server/sessions/tool_calls.h>
#include <berth/server/sessions/transcript.h>

#include <utility>

namespace berth::server {

namespace {

/// An agent that said nothing in its last so many turns has nothing that could be taken for new.
constexpr int kTurnsLookedBackAt = 32;

/// Reads the log page by page; `take` is called for each frame up to `last_seq`.
template <typename Take>
Task<Result<void>> walk_log(SessionContext& context, SessionNo session, std::uint64_t after,
                            std::uint64_t last_seq, Take take) {
  const std::size_t page_bytes = context.limits.page_bytes;
  while (after < last_seq) {
    Result<EventPage> page = co_await context.read([session, after, page_bytes](Store& store) {
      return store.read_events(session, after, page_bytes);
    });
    if (!page.has_value()) co_return fail(std::move(page.error()));
    if (page->first_seq == 0) break;
    std::string_view frames = frames_after(page->frames, page->first_seq, after);
    for (Frame frame; next_frame(frames, frame) && frame.seq <= last_seq;) take->take(frame);
    after = page->last_seq;
    if constexpr (requires { take->over(); }) {
      if (take->over()) break;
    }
  }
  co_return Result<void>();
}

struct StoryAndTranscript {
  void take(const Frame& frame) {
    teller.take(frame);
    transcript.take(frame);
  }
  Storyteller teller;
  Transcript transcript;
};

class OneTurn {
 public:
  OneTurn(std::string turn, std::uint64_t started_seq)
      : turn_(std::move(turn)), started_seq_(started_seq) {}

  void take(const Frame& frame) {
    // The log may begin behind it.
    over_ = over_ || (!began_ && frame.seq != started_seq_);
    began_ = true;
    if (over_) return;
    teller.take(frame);
    if (frame.type != "turn.ended") return;
    const Result<JsonDoc> doc = JsonDoc::parse(frame.data);
    over_ = doc.has_value() && doc->root().get_string("turn") == turn_;
  }
  bool over() const { return over_; }
  Storyteller teller;

 private:
  std::string turn_;
  std::uint64_t started_seq_;
  bool began_ = false;
  bool over_ = false;
};

class OpenCalls {
 public:
  void take(const Frame& frame) {
    if (frame.type != "update") return;
    const Result<JsonDoc> doc = JsonDoc::parse(frame.data);
    if (doc.has_value()) calls.note(doc->root().find("data"));
  }
  ToolCalls calls;
};

class LastWords {
 public:
  LastWords(std::string agent, std::string turn)
      : agent_(std::move(agent)), turn_(std::move(turn)) {}
  void take(const Frame& frame) {
    if (frame.type != "update") return;
    const Result<JsonDoc> doc = JsonDoc::parse(frame.data);
    if (!doc.has_value()) return;
    const JsonView root = doc->root();
    if (root.get_string("agent") != agent_ || root.get_string("turn") != turn_) return;
    const JsonView data = root.find("data");
    const std::string update = data.raw();
    said.note({update, data.get_string("sessionUpdate").value_or(""),
               data.get_string("toolCallId").value_or(""), false});
  }
  Said said;

 private:
  std::string agent_;
  std::string turn_;
};

Task<Result<void>> write_transcript(SessionContext& context, std::string path, std::string text) {
  io::Files* files = &context.platform.files();
  co_return co_await context.platform.offload().run(
      io::Lane::files, context.reactor(), [files, path, text]() -> Result<void> {
        Result<void> made = files->make_directories(path.substr(0, path.rfind('/')), 0700);
        if (!made.has_value()) return made;
        return files->write_atomic(path, text, 0600);
      });
}

}  // namespace

std::string transcript_path(const SessionContext& context, std::string_view key) {
  return context.state_directory + "/transcripts/" + std::string(key) + "/transcript.md";
}

Task<Result<Story>> build_continuation(SessionContext& context, SessionNo session, std::string key,
                                       std::uint64_t last_seq, StoryRequest request) {
  StoryAndTranscript reader;
  Result<std::optional<LogCutRow>> cut =
      co_await context.read([session](Store& store) { return store.find_log_cut(session); });
  if (!cut.has_value()) co_return fail(std::move(cut.error()));
  if (cut->has_value()) {
    request.cut = true;
    reader.transcript.begin_at((*cut)->first_seq);
    std::string_view frames = (*cut)->head;
    for (Frame frame; next_frame(frames, frame);) reader.take(frame);
  }
  Result<void> read = co_await walk_log(context, session, 0, last_seq, &reader);
  if (!read.has_value()) co_return fail(std::move(read.error()));
  request.bytes_max = context.limits.continuation_bytes_max;
  const std::vector<ToldTurn> turns = reader.teller.turns();
  const std::string plan = reader.teller.plan();
  Story story = tell(turns, plan, request);
  if (story.text.empty()) co_return story;
  const std::string path = transcript_path(context, key);
  Result<void> written = co_await write_transcript(context, path, reader.transcript.text());
  if (!written.has_value()) {
    context.log.write(LogLevel::warning, "session",
                      "the transcript was not written: " + written.error().message);
    co_return story;
  }
  request.transcript = path;
  co_return tell(turns, plan, request);
}

Task<Said> read_last_said(SessionContext& context, SessionNo session, std::string agent) {
  Result<std::vector<TurnRow>> turns = co_await context.read(
      [session](Store& store) { return store.list_turns(session, 0, kTurnsLookedBackAt); });
  if (!turns.has_value()) co_return Said();
  std::uint64_t before = ~std::uint64_t{0};  // where the next turn began
  for (const TurnRow& turn : *turns) {
    if (turn.started_seq == 0) continue;
    if (turn.agent == agent && turn.ended_ms != 0) {
      LastWords words(agent, turn.id);
      Result<void> read = co_await walk_log(context, session, turn.started_seq, before, &words);
      if (!read.has_value()) co_return Said();
      if (!words.said.empty()) co_return std::move(words.said);
    }
    before = turn.started_seq;
  }
  co_return Said();
}

Task<Result<std::string>> read_answer(SessionContext& context, SessionNo session, TurnRow turn) {
  if (turn.started_seq == 0) co_return std::string();
  OneTurn reader(turn.id, turn.started_seq);
  Result<void> read =
      co_await walk_log(context, session, turn.started_seq - 1, ~std::uint64_t{0}, &reader);
  if (!read.has_value()) co_return fail(std::move(read.error()));
  const std::vector<ToldTurn> told = reader.teller.turns();
  co_return told.empty() ? std::string() : told.front().answer;
}

Task<Result<std::vector<std::string>>> find_open_tool_calls(SessionContext& context,
                                                            SessionNo session,
                                                            std::uint64_t after) {
  OpenCalls calls;
  Result<void> read = co_await walk_log(context, session, after, ~std::uint64_t{0}, &calls);
  if (!read.has_value()) co_return fail(std::move(read.error()));
  co_return calls.calls.open_ids();
}

}  // namespace berth::server
