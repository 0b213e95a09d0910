#include "sim_client.h"

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/io/awaitables.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace berth::sim_test {

namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::size_t kPromptsMax = 16;

Duration pick(Random& random, Duration most) {
  return Duration(
      static_cast<Duration::rep>(random.below(static_cast<std::uint64_t>(most.count()) + 1)));
}

/// Asks for an end after a while.
class Scissors final : private io::TimerOp {
 public:
  Scissors(io::Reactor& reactor, StopSource& target) : reactor_(reactor), target_(target) {}
  ~Scissors() { reactor_.disarm(*this); }
  void cut_after(Duration span) { reactor_.arm(*this, reactor_.clock().now() + span); }

 private:
  void on_timer() override { target_.request_stop(); }
  io::Reactor& reactor_;
  StopSource& target_;
};

HttpHeaders headers_of(const Door& door) {
  return {{"Authorization", "Bearer " + door.token}};
}

}  // namespace

// --- the follower ---

Follower::Follower(const Door& door, std::string session, std::uint64_t seed)
    : door_(door),
      session_(std::move(session)),
      random_(seed),
      client_(io::make_http_client(door.reactor, door.origin)),
      cuts_(random_.one_in(2)),
      slow_(random_.one_in(4)) {}

void Follower::on_event(const SseEvent& event) {
  std::uint64_t seq = 0;
  std::from_chars(event.id.data(), event.id.data() + event.id.size(), seq);
  if (event.type == "reset") {
    if (seq <= last_seq_ && wrong_.empty()) {
      wrong_ =
          "behind event " + std::to_string(last_seq_) + " came a reset to " + std::string(event.id);
    }
    gaps_.push_back({last_seq_ + 1, seq});
    last_seq_ = seq;
    return;
  }
  if (seq != last_seq_ + 1 && wrong_.empty()) {
    wrong_ = "after event " + std::to_string(last_seq_) + " the stream gave event " +
             std::string(event.id);
  }
  last_seq_ = seq;
  append_sse_event(copy_, seq, event.type, event.data);
}

Task<void> Follower::run(StopToken stop) {
  while (!stop.stop_requested()) {
    StopSource cut(stop);
    Scissors scissors(door_.reactor, cut);
    if (cuts_) scissors.cut_after(pick(random_, milliseconds(20) * (1 << random_.below(9))));
    co_await follow_once(cut.token());
    co_await client_->close();
    const TimePoint again = door_.reactor.clock().now() + pick(random_, milliseconds(500));
    const bool on = co_await io::Sleep(door_.reactor, again, stop);
    if (!on) break;
  }
  co_await client_->close();
}

Task<void> Follower::follow_once(StopToken cut) {
  ++connections_;
  io::HttpClientRequest request{
      "GET", "/v1/sessions/" + session_ + "/events", headers_of(door_), {}};
  request.headers.emplace_back("Accept", "text/event-stream");
  if (last_seq_ > 0) request.headers.emplace_back("Last-Event-ID", std::to_string(last_seq_));
  const Clock& clock = door_.reactor.clock();
  Result<io::HttpClientResponse> answer =
      co_await client_->begin(std::move(request), clock.now() + minutes(2), cut);
  if (!answer.has_value()) co_return;
  if (answer->status != 200) {
    const bool known = answer->status == 503 || (answer->status == 404 && last_seq_ == 0);
    if (!known && wrong_.empty()) {
      wrong_ = "the stream was refused with " + std::to_string(answer->status);
    }
    co_return;
  }
  SseParser parser(*this);
  for (;;) {
    Result<std::string_view> piece = co_await client_->read_body(clock.now() + minutes(1), cut);
    if (!piece.has_value() || piece->empty()) co_return;
    Result<void> fed = parser.feed(*piece);
    if (!fed.has_value() && wrong_.empty()) wrong_ = fed.error().message;
    if (!slow_ || !random_.one_in(4)) continue;
    const bool on =
        co_await io::Sleep(door_.reactor, clock.now() + pick(random_, milliseconds(300)), cut);
    if (!on) co_return;
  }
}

// --- the driver ---

Driver::Driver(const Door& door, SessionStory& story, std::uint64_t seed, std::uint64_t actions_max)
    : door_(door),
      story_(story),
      random_(seed),
      client_(io::make_http_client(door.reactor, door.origin)),
      actions_left_(actions_max) {}

void Driver::wrong(std::string what) {
  if (story_.wrong.empty()) story_.wrong = std::move(what);
}

Task<void> Driver::sleep(Duration most) {
  const TimePoint until = door_.reactor.clock().now() + pick(random_, most);
  const bool slept = co_await io::Sleep(door_.reactor, until, stop_);
  static_cast<void>(slept);
}

/// One attempt; nothing when no answer came.
Task<Driver::Answer> Driver::call(std::string method, std::string path, std::string body,
                                  HttpHeaders headers) {
  io::HttpClientRequest request{std::move(method), "/v1/sessions" + path, headers_of(door_),
                                std::move(body)};
  request.headers.insert(request.headers.end(), headers.begin(), headers.end());
  // Some have no patience.
  const Duration patience =
      !finishing_ && random_.one_in(6) ? pick(random_, seconds(1)) : Duration(minutes(5));
  if (random_.one_in(8)) co_await client_->close();
  Result<io::HttpClientResponse> answer =
      co_await client_->fetch(std::move(request), door_.reactor.clock().now() + patience, stop_);
  if (!answer.has_value()) co_return std::nullopt;
  co_return std::move(*answer);
}

/// Repeats it until the server takes it, or says that it was done before (`done_code`); false when
/// the test is over or the answer is a wrong one.
Task<bool> Driver::call_until_taken(std::string method, std::string path, std::string body,
                                    HttpHeaders headers, std::string done_code) {
  while (!stop_.stop_requested() && story_.wrong.empty()) {
    Answer answer = co_await call(method, path, body, headers);
    if (answer && answer->status / 100 == 2) {
      taken_ = std::move(*answer);
      co_return true;
    }
    if (answer && !done_code.empty() && answer->body.find(done_code) != std::string::npos) {
      co_return true;
    }
    if (answer && answer->status != 503 && answer->status != 429) {
      wrong(method + " " + path + " was answered " + std::to_string(answer->status) + ": " +
            answer->body.substr(0, 300));
    }
    co_await sleep(milliseconds(500));
  }
  co_return false;
}

void Driver::note_turn(const std::string& turn_json) {
  const Result<JsonDoc> doc = JsonDoc::parse(turn_json);
  if (!doc.has_value()) return wrong("a turn that is no JSON: " + turn_json.substr(0, 300));
  const std::string id(doc->root().get_string("id").value_or(""));
  const std::string state(doc->root().get_string("state").value_or(""));
  const bool ended = doc->root().find("ended_at").as_string().has_value();
  const auto known = story_.endings.find(id);
  if (known != story_.endings.end() && known->second != state) {
    wrong("turn " + id + " was told to be " + known->second + ", then " + state);
  }
  if (ended) story_.endings[id] = state;
}

Task<void> Driver::open() {
  const bool opened = co_await call_until_taken("POST", "", story_.open_body, {});
  static_cast<void>(opened);
}

/// Sends one prompt until a 2xx says that it is in the log; what it said is remembered.
Task<void> Driver::prompt(std::string text, bool wait) {
  const std::string key =
      "key-" + story_.id + "-" + std::to_string(story_.prompts.size() + 1) + "-end";
  text.replace(text.find("KEY"), 3, key);
  const std::size_t index = story_.prompts.size();
  story_.prompts.push_back({key, text, {}, 0});
  std::string body;
  JsonWriter writer(body);
  writer.begin_object().member("prompt", text);
  if (random_.one_in(3)) writer.member("agent", "second");
  if (random_.one_in(6)) writer.member("on_busy", "steer");
  // Without a draw: what a seed does is not to change with what is tested beside it.
  if (!finishing_ && index % 4 == 1) writer.key("timeout").number(0.05);
  writer.end_object();
  HttpHeaders headers = {{"Idempotency-Key", key}};
  if (wait) headers.emplace_back("Prefer", "wait=5");
  const bool taken =
      co_await call_until_taken("POST", "/" + story_.id + "/turns", std::move(body), headers);
  if (!taken) co_return;
  const Result<JsonDoc> doc = JsonDoc::parse(taken_.body);
  if (!doc.has_value()) co_return wrong("a prompt's answer is no JSON");
  story_.prompts[index].turn = doc->root().get_string("id").value_or("");
  story_.prompts[index].number = doc->root().get_int64("number").value_or(0);
  note_turn(taken_.body);
}

std::string Driver::make_prompt() {
  static constexpr const char* kPlain[] = {
      "say KEY",
      "think about it ; say KEY",
      "stream 20 40 ; say KEY",
      "stream 8 300 50 ; say KEY",
      "stream 3 5000 ; say KEY",
      "write notes.txt KEY",
      "append notes.txt KEY ; append sub/more.txt KEY",
      "plan read, think, write ; say KEY",
      "sleep 300 ; say KEY",
      "remember KEY",
      "recall ; say KEY",
      "open-tool KEY",
      "ask write asked.txt KEY",
      "ask write asked.txt KEY ; ask write again.txt KEY",
      "elicit KEY",
      "say KEY ; forget",
  };
  static constexpr const char* kRough[] = {
      "say KEY ; junk",    "bad-json ; say KEY", "bad-utf8 ; say KEY", "raw-cr ; cr-line ; say KEY",
      "foreign ; say KEY", "say KEY ; error",    "say KEY ; refuse",   "stream 5 ; say KEY ; crash",
      "say KEY ; exit 3",  "say KEY ; hang",     "spawn 30 ; say KEY", "open-tool KEY ; crash",
      "say KEY ; wedge",
  };
  if (random_.one_in(3)) return kRough[random_.below(std::size(kRough))];
  return kPlain[random_.below(std::size(kPlain))];
}

Task<void> Driver::run(StopToken stop) {
  stop_ = stop;
  co_await open();
  while (!finishing_ && !stop_.stop_requested() && story_.wrong.empty()) {
    if (actions_left_ > 0) {
      --actions_left_;
      co_await do_something();
    }
    co_await sleep(milliseconds(1) * (1 << random_.below(11)));
  }
  if (finishing_ && !stop_.stop_requested() && story_.wrong.empty()) co_await settle();
  co_await client_->close();
  done_ = true;
}

Task<void> Driver::do_something() {
  const std::uint64_t choice = random_.below(20);
  const std::string self = "/" + story_.id;
  Answer answer;
  if (choice < 6 && story_.prompts.size() < kPromptsMax) {
    std::string text = make_prompt();
    const bool asks = text.starts_with("ask") || text.starts_with("elicit");
    co_await prompt(std::move(text), !asks && random_.one_in(3));
    // The question comes a moment later; its answer should be told before a crash, now and then.
    for (int looks = asks ? 5 : 0; looks > 0 && !stop_.stop_requested(); --looks) {
      co_await sleep(milliseconds(20));
      co_await answer_questions();
    }
  } else if (choice < 9) {
    co_await look_at_turn();
  } else if (choice < 11) {
    co_await answer_questions();
  } else if (choice < 13) {
    co_await read_pages();
  } else if (choice == 13) {
    answer = co_await call("POST", self + "/cancel", "{}", {});
  } else if (choice == 14) {
    const char* agent = random_.one_in(3) ? "second" : "scripted";
    answer = co_await call("POST", self + "/agents/" + agent + "/kill", "{}", {});
  } else if (choice == 15) {
    co_await decide(false);
  } else if (choice < 18) {
    co_await change_queue();
  } else if (choice == 18 && random_.one_in(3)) {
    co_await close_and_revive();
  } else {
    answer = co_await call("POST", self + "/resume-queue", "{}", {});
  }
  if (answer && answer->status / 100 == 5 && answer->status != 503) {
    wrong("a " + std::to_string(answer->status) + ": " + answer->body);
  }
}

/// Edits, removes or sends one prompt that waits, or puts all in another order.
Task<void> Driver::change_queue() {
  const std::string inputs = "/" + story_.id + "/inputs";
  for (int more = 3; more > 0 && story_.prompts.size() < kPromptsMax; --more) {
    co_await prompt(make_prompt(), false);
  }
  Answer answer = co_await call("GET", inputs, {}, {});
  if (!answer || answer->status != 200) co_return;
  const Result<JsonDoc> doc = JsonDoc::parse(answer->body);
  if (!doc.has_value()) co_return wrong("inputs that are no JSON");
  std::vector<std::string> ids;
  for (const JsonView& turn : doc->root().elements("inputs")) {
    ids.emplace_back(turn.get_string("id").value_or(""));
  }
  if (ids.empty()) co_return;
  const std::string chosen = ids[random_.below(ids.size())];
  const std::uint64_t choice = random_.below(8);
  if (choice < 3) {
    co_await edit(chosen);
  } else if (choice == 3) {
    answer = co_await call("DELETE", inputs + "/" + chosen, {}, {});
  } else if (choice == 4) {
    answer = co_await call("POST", inputs + "/" + chosen + "/send", "{}", {});
    if (answer && answer->status == 200) ++story_.sent_now;
  } else {
    for (std::size_t i = ids.size(); i > 1; --i) std::swap(ids[i - 1], ids[random_.below(i)]);
    std::string body;
    JsonWriter writer(body);
    writer.begin_object().key("order").begin_array();
    for (const std::string& id : ids) writer.string(id);
    writer.end_array().end_object();
    answer = co_await call("PUT", inputs, body, {});
  }
  const bool expected =
      !answer || answer->status / 100 == 2 || answer->status == 409 || answer->status == 503;
  if (!expected) wrong("a change of the queue was answered " + answer->body);
}

Task<void> Driver::edit(std::string turn) {
  const auto prompt =
      std::find_if(story_.prompts.begin(), story_.prompts.end(),
                   [&](const SessionStory::Prompt& known) { return known.turn == turn; });
  if (prompt == story_.prompts.end()) co_return;  // the answer to its POST was lost
  const auto index = static_cast<std::size_t>(prompt - story_.prompts.begin());
  const std::string text = "say " + prompt->key + " edit " + std::to_string(++edits_);
  std::string body;
  JsonWriter(body).begin_object().member("prompt", text).end_object();
  Answer answer = co_await call("PATCH", "/" + story_.id + "/inputs/" + turn, body, {});
  if (answer && answer->status == 200) story_.prompts[index].edits.push_back(text);
  if (answer && answer->status != 200 && answer->status != 409 && answer->status != 503) {
    wrong("an edit was answered " + answer->body);
  }
}

/// A session that was closed and made again has the same log and goes on.
Task<void> Driver::close_and_revive() {
  const std::string self = "/" + story_.id;
  Answer cancelled = co_await call("POST", self + "/cancel", "{}", {});
  const bool closed = co_await call_until_taken("POST", self + "/close", "{}", {});
  if (!closed) co_return;
  co_await sleep(milliseconds(200));
  const bool revived = co_await call_until_taken("POST", self + "/revive", "{}", {}, "not_closed");
  if (revived) ++story_.revived;
}

Task<void> Driver::look_at_turn() {
  if (story_.prompts.empty()) co_return;
  const std::string turn = story_.prompts[random_.below(story_.prompts.size())].turn;
  if (turn.empty()) co_return;
  Answer answer = co_await call("GET", "/" + story_.id + "/turns/" + turn, {}, {});
  if (!answer || answer->status == 503) co_return;
  if (answer->status != 200) co_return wrong("turn " + turn + " vanished: " + answer->body);
  note_turn(answer->body);
}

/// A page as JSON; what it shows must stay so.
Task<void> Driver::read_pages() {
  const std::uint64_t after = random_.below(story_.last_seq + 1);
  Answer answer = co_await call(
      "GET", "/" + story_.id + "/events?limit=50&after=" + std::to_string(after), {}, {});
  if (!answer || answer->status == 503) co_return;
  const Result<JsonDoc> doc = JsonDoc::parse(answer->body);
  if (answer->status != 200 || !doc.has_value()) {
    co_return wrong("a page of events was answered " + answer->body.substr(0, 300));
  }
  const auto first = static_cast<std::uint64_t>(doc->root().get_int64("first_seq").value_or(0));
  if (first < story_.first_seq) wrong("the log began earlier than before");
  story_.first_seq = std::max(story_.first_seq, first);
  const std::vector<JsonView> events = doc->root().elements("events");
  std::uint64_t seq = after;
  if (!events.empty() && first > after + 1) {
    // It may have been cut between the reading and the end of this answer.
    seq = static_cast<std::uint64_t>(events.front().get_int64("seq").value_or(0)) - 1;
    if (seq < after || seq >= first) wrong("a page begins at event " + std::to_string(seq + 1));
  }
  for (const JsonView& event : events) {
    const auto [known, added] = story_.pages.emplace(++seq, event.raw());
    if (!added && known->second != event.raw()) wrong("event " + std::to_string(seq) + " changed");
  }
  const auto last = static_cast<std::uint64_t>(doc->root().get_int64("last_seq").value_or(0));
  if (last < story_.last_seq) wrong("the log got shorter");
  story_.last_seq = std::max(story_.last_seq, last);
}

Task<void> Driver::answer_questions() {
  Answer answer = co_await call("GET", "/" + story_.id + "/interactions?state=open", {}, {});
  if (!answer || answer->status != 200) co_return;
  const Result<JsonDoc> doc = JsonDoc::parse(answer->body);
  if (!doc.has_value()) co_return wrong("interactions that are no JSON");
  for (const JsonView& question : doc->root().elements("interactions")) {
    const std::string id(question.get_string("id").value_or(""));
    const bool is_form = question.get_string("kind") == "elicitation";
    std::string body = R"({"kind":"allow_once"})";
    if (is_form) body = R"({"action":"accept","content":{"color":"blue"}})";
    if (is_form && random_.one_in(4)) body = R"({"action":"decline"})";
    if (random_.one_in(3)) body = R"({"outcome":"cancelled"})";
    Answer taken = co_await call("POST", "/" + story_.id + "/interactions/" + id, body, {});
    if (!taken || taken->status != 200) continue;
    const Result<JsonDoc> closed = JsonDoc::parse(taken->body);
    if (!closed.has_value()) co_return wrong("an answered question is no JSON");
    story_.answers[id] = closed->root().get_string("state").value_or("");
    if (is_form && closed->root().get_string("answer.action") == "accept") ++story_.filled_in;
  }
}

/// Chooses for agents that could not be restored; `to_the_end`: so that the last prompt completes.
Task<void> Driver::decide(bool to_the_end) {
  Answer answer = co_await call("GET", "/" + story_.id + "/agents", {}, {});
  const Result<JsonDoc> doc = JsonDoc::parse(answer && answer->status == 200 ? answer->body : "{}");
  if (!doc.has_value()) co_return wrong("agents that are no JSON");
  for (const JsonView& agent : doc->root().elements("agents")) {
    if (agent.get_string("state") != "needs_decision") continue;
    const char* choice = random_.one_in(3) ? "retry" : "history";
    if (!to_the_end && random_.one_in(4)) choice = "fail";
    const std::string path = "/" + story_.id + "/agents/" +
                             std::string(agent.get_string("agent").value_or("")) + "/decision";
    const std::string body = std::string(R"({"choice":")") + choice + R"("})";
    Answer decided = co_await call("POST", path, body, {});
    if (decided && decided->status == 404) co_return wrong("an agent vanished: " + decided->body);
  }
}

/// Nothing goes wrong any more: everything gets its ending and the next prompt works.
Task<void> Driver::settle() {
  co_await prompt("say KEY", false);
  std::string last = story_.prompts.back().turn;
  while (!last.empty() && !stop_.stop_requested() && story_.wrong.empty()) {
    co_await answer_questions();
    co_await decide(true);
    Answer session = co_await call("GET", "/" + story_.id, {}, {});
    const Result<JsonDoc> doc = JsonDoc::parse(session ? session->body : "");
    if (!doc.has_value()) co_return wrong("the session does not answer");
    if (doc->root().get_bool("held") == true) {
      Answer resumed = co_await call("POST", "/" + story_.id + "/resume-queue", "{}", {});
    }
    const std::string running(doc->root().get_string("turn.id").value_or(""));
    // Another session may have wedged the process that this one shares: that is seen, and a person
    // gives the turn up.
    const bool stalled = doc->root().get_bool("stalled") == true;
    if (!running.empty() && (stalled || (running != last && random_.one_in(8)))) {
      const std::string path = "/" + story_.id + "/turns/" + running + "/cancel";
      Answer cancelled = co_await call("POST", path, "{}", {});
    }
    if (stalled && running == last) {
      ++story_.given_up;
      co_await prompt("say KEY", false);
      last = story_.prompts.back().turn;
    }
    Answer turn = co_await call("GET", "/" + story_.id + "/turns/" + last, {}, {});
    if (!turn || turn->status != 200) co_return wrong("the last turn does not answer");
    note_turn(turn->body);
    const auto ending = story_.endings.find(last);
    if (ending != story_.endings.end()) {
      if (ending->second != "completed") wrong("the last prompt was not completed: " + turn->body);
      break;
    }
    co_await sleep(seconds(2));
  }
  co_await read_pages();
}

}  // namespace berth::sim_test
