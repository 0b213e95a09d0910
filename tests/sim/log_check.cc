#include "log_check.h"

#include <berth/core/json_doc.h>
#include <berth/server/sessions/frames.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <limits>

namespace berth::sim_test {

namespace {

/// Between what the sessions of one process hear of its end.
constexpr std::int64_t kEndsTogetherMs = 1000;

/// Of "2026-11-22T07:10:55.123Z", since 1970.
std::int64_t ms_of(const std::string& time) {
  int year = 0;
  unsigned month = 1;
  unsigned day = 1;
  int hour = 0;
  int minute = 0;
  int second = 0;
  int ms = 0;
  std::sscanf(time.c_str(), "%d-%u-%uT%d:%d:%d.%d", &year, &month, &day, &hour, &minute, &second,
              &ms);
  const std::chrono::sys_days date(std::chrono::year(year) / std::chrono::month(month) /
                                   std::chrono::day(day));
  const std::int64_t seconds = ((hour * 60) + minute) * 60 + second;
  return (date.time_since_epoch().count() * std::int64_t{86'400} + seconds) * 1000 + ms;
}

class LogReader {
 public:
  LogReader(LogStory& story, bool clock_went_back)
      : story_(story), clock_went_back_(clock_went_back) {}

  void take(const server::Frame& frame) {
    story_.events.emplace_back(frame.data);
    const Result<JsonDoc> doc = JsonDoc::parse(frame.data);
    if (!doc.has_value()) return wrong("is no JSON");
    const JsonView root = doc->root();
    const auto number = static_cast<std::int64_t>(story_.events.size());
    if (frame.seq != story_.events.size() || root.get_int64("seq") != number) {
      return wrong("carries the number " + std::to_string(frame.seq));
    }
    if (root.get_string("type") != frame.type) return wrong("has two types");
    const std::string time(root.get_string("time").value_or(""));
    if (time < time_ && !clock_went_back_) wrong("is older than the one before");
    time_ = time;
    const std::string type(frame.type);
    if ((number == 1) != (type == "session.opened")) wrong("is (not) session.opened");
    const std::string turn(root.get_string("turn").value_or(""));
    if (type == "turn.started") running_agent_ = root.get_string("agent").value_or("");
    if (type == "turn.stalled") ++story_.stalls;
    if (type.starts_with("turn.")) return take_turn(type, turn, root.find("data"));
    if (type.starts_with("agent.")) {
      return take_agent(type, std::string(root.get_string("agent").value_or("")),
                        root.find("data"));
    }
    if (type.starts_with("interaction.")) return take_question(type, root.find("data"));
    if (type == "update" && !turn.empty() && turn != running_) {
      // Late words amend the transcript of a turn that is over; nothing comes before its start.
      const auto found = story_.turns.find(turn);
      const bool over = found != story_.turns.end() && !found->second.ending.empty();
      if (!over || !found->second.started) wrong("is an update of a turn that does not run");
    }
    if (type == "update" && root.get_string("data.sessionUpdate") == "agent_message_chunk") {
      take_words(turn, root.get_string("data.content.text").value_or(""));
    }
  }

  void finish() {
    for (const auto& [name, process] : processes_) {
      if (process.pid == 0) continue;
      story_.seats.push_back(process.seat);  // what ends with the server is told by the next one
      story_.seats.back().to_ms = std::numeric_limits<std::int64_t>::max();
      story_.seats.back().lost = true;
    }
  }

 private:
  void wrong(const std::string& what) {
    if (story_.wrong.empty()) story_.wrong = story_.where(what);
  }

  void take_turn(const std::string& type, const std::string& id, const JsonView& data) {
    if (type == "turn.queued") {
      if (story_.turns.contains(id)) return wrong("queues a turn again");
      TurnStory& turn = story_.turns[id];
      turn.number = data.get_int64("number").value_or(0);
      turn.prompt = data.raw("prompt");
      if (turn.number != static_cast<std::int64_t>(story_.turns.size())) {
        wrong("leaves a turn's number out");
      }
      return;
    }
    const auto found = story_.turns.find(id);
    if (found == story_.turns.end()) return wrong("is about a turn that was never queued");
    TurnStory& turn = found->second;
    if (!turn.ending.empty()) return wrong("comes after the turn's ending");
    if (type == "turn.edited") {
      if (turn.started) return wrong("edits a turn that has started");
      turn.edited = true;
      turn.number = data.get_int64("number").value_or(0);
      if (data.find("prompt").is_array()) {
        turn.prompt = data.raw("prompt");
        turn.edits += turn.prompt;
      }
      ++story_.edits;
    } else if (type == "turn.started") {
      if (turn.started || !running_.empty()) return wrong("starts a turn while one runs");
      if (turn.number <= last_started_) return wrong("starts a turn after a later one");
      last_started_ = data.get_int64("number").value_or(0);
      if (last_started_ != turn.number) return wrong("starts a turn under another number");
      turn.started = true;
      running_ = id;
    } else if (type == "turn.ended") {
      if (turn.started && running_ != id) return wrong("ends a turn that does not run");
      turn.ending = data.get_string("state").value_or("?");
      if (turn.started) running_.clear();
    }
  }

  /// The pieces of a streamed text are numbered "[1] ", "[2] " and so on, one event or several.
  /// What repeats older words hides where it is.
  void take_words(const std::string& turn, std::string_view text) {
    long& last = streamed_[turn];
    const bool repeats = !text.starts_with('[') || text.find("You ") != std::string_view::npos;
    if (repeats) last = kUnknown;
    if (repeats || !story_.wrong.empty()) return;
    for (std::size_t at = 0; at != std::string_view::npos; at = text.find('[', at + 1)) {
      long number = 0;
      std::from_chars(text.data() + at + 1, text.data() + text.size(), number);
      if (last != kUnknown && number != 1 && number != last + 1) {
        wrong("says piece " + std::to_string(number) + " of a text after " + std::to_string(last));
      }
      last = number;
    }
  }

  void take_agent(const std::string& type, const std::string& name, const JsonView& data) {
    Process& process = processes_[name];
    if (type == "agent.attached") {
      if (process.pid != 0) {
        wrong("attaches an agent while process " + std::to_string(process.pid) + " lives");
      }
      process.pid = data.get_int64("pid").value_or(-1);
      const std::int64_t epoch = data.get_int64("attach_epoch").value_or(0);
      if (epoch <= process.attach_epoch) wrong("repeats an attach_epoch");
      process.attach_epoch = epoch;
      ++story_.attached[name];
      const std::int64_t now = ms_of(time_);
      process.seat = {name, process.pid, now - data.get_int64("attach_ms").value_or(0), now};
    } else if (type == "agent.evicted") {
      ++story_.evictions;
    } else if (type == "agent.exited") {
      if (data.get_int64("pid") != process.pid) wrong("tells the end of another process");
      process.pid = 0;
      const std::string status(data.get_string("status").value_or(""));
      process.seat.to_ms = ms_of(time_);
      process.seat.left = status.starts_with("left");
      process.seat.lost = status == "lost with the server";
      process.seat.at_work = !running_.empty() && running_agent_ == name;
      story_.seats.push_back(process.seat);
    } else if (type == "agent.failed" && data.get_bool("needs_decision") == true) {
      if (process.undecided) wrong("asks for a decision again");
      process.undecided = true;
    } else if (type == "agent.decided") {
      if (!process.undecided) wrong("decides what nobody asked");
      process.undecided = false;
      ++story_.decisions;
    } else if (type == "agent.told" && process.pid == 0) {
      wrong("tells a story to nobody");
    }
  }

  void take_question(const std::string& type, const JsonView& data) {
    const std::string id(data.get_string("id").value_or(""));
    const bool known = story_.interactions.contains(id);
    if (type == "interaction.opened") {
      if (known) wrong("opens a question again");
      story_.interactions[id];
      return;
    }
    if (!known || !story_.interactions[id].empty())
      return wrong("closes a question that is not open");
    story_.interactions[id] = data.get_string("state").value_or("?");
  }

  LogStory& story_;
  bool clock_went_back_;
  std::string time_;
  std::string running_;
  std::string running_agent_;
  std::int64_t last_started_ = 0;
  struct Process {
    std::int64_t pid = 0;
    std::int64_t attach_epoch = 0;
    bool undecided = false;
    Seat seat;
  };
  std::map<std::string, Process> processes_;
  static constexpr long kUnknown = -1;
  std::map<std::string, long> streamed_;  // the last piece, by turn
};

}  // namespace

std::string LogStory::where(const std::string& what) const {
  return "event " + std::to_string(events.size()) + " " + what + ": " +
         (events.empty() ? std::string() : events.back().substr(0, 400));
}

LogStory read_log(const std::string& frames, bool clock_went_back) {
  LogStory story;
  LogReader reader(story, clock_went_back);
  std::string_view rest = frames;
  for (server::Frame frame; server::next_frame(rest, frame);) reader.take(frame);
  reader.finish();
  return story;
}

namespace {

/// The seats that are taken in `all` when `seat` is, with it.
std::size_t taken_at(const std::vector<Seat>& all, const Seat& seat) {
  return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [&](const Seat& other) {
    return other.from_ms <= seat.from_ms && seat.from_ms < other.to_ms;
  }));
}

/// What is wrong with one process, by the seats in it in the order in which they were taken.
std::string fault_of(const std::vector<Seat>& seats, const SeatRules& rules) {
  if (rules.sessions_max > 0 && seats.size() > rules.sessions_max) {
    return "served " + std::to_string(seats.size()) + " sessions";
  }
  for (const Seat& seat : seats) {
    if (const std::size_t taken = taken_at(seats, seat); taken > rules.seats_max) {
      return "has " + std::to_string(taken) + " sessions at once";
    }
    const std::int64_t age = seat.seeks_ms - seats.front().from_ms;
    if (rules.age_max_ms > 0 && age > rules.age_max_ms) {
      return "takes a session at the age of " + std::to_string(age) + " ms";
    }
    // What the server died over is told by the next one, session by session.
    if (seat.left || seat.lost) continue;
    for (const Seat& other : seats) {
      if (other.lost) continue;
      if (other.from_ms < seat.to_ms && other.to_ms > seat.to_ms + kEndsTogetherMs) {
        return "is dead for one session and alive for another";
      }
    }
  }
  return {};
}

}  // namespace

ProcessStory check_seats(const std::vector<Seat>& seats, const SeatRules& rules) {
  ProcessStory story;
  std::map<std::int64_t, std::vector<Seat>> processes;
  for (const Seat& seat : seats) processes[seat.pid].push_back(seat);
  for (auto& [pid, taken] : processes) {
    std::sort(taken.begin(), taken.end(),
              [](const Seat& a, const Seat& b) { return a.from_ms < b.from_ms; });
  }
  for (const auto& [pid, taken] : processes) {
    const std::string fault = fault_of(taken, rules);
    if (!fault.empty()) story.wrong = "process " + std::to_string(pid) + " " + fault;
    for (const Seat& seat : taken) story.shared += taken_at(taken, seat) > 1 ? 1 : 0;
    const auto at_work = std::count_if(taken.begin(), taken.end(), [](const Seat& seat) {
      return seat.at_work && !seat.left && !seat.lost;
    });
    if (at_work > 1) ++story.deaths_at_work;
    for (const auto& [other, sitting] : processes) {
      const Seat& first = taken.front();
      const std::size_t there = taken_at(sitting, first);
      if (other < pid && sitting.front().agent == first.agent && there > 0 &&
          there < rules.seats_max) {
        ++story.generations;
        break;
      }
    }
  }
  return story;
}

}  // namespace berth::sim_test
