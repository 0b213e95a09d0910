#include "fuzz_run.h"

#include "fuzz_file.h"
#include "fuzz_line.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>
#include <set>
#include <utility>

namespace berth::inline v0::io::fuzz {

namespace {

constexpr Duration kPatience = std::chrono::seconds(20);
/// Virtual time: delays of many small reads add up, and waiting costs nothing.
constexpr Duration kSimulatedPatience = std::chrono::minutes(20);

/// Turns within one step for a run that follows another one.
constexpr unsigned kTurnsToFollow = 500;

/// A timer that knows when it may fire.
class Timer final : public TimerOp {
 public:
  Timer(RunState& state, Reactor& reactor, std::set<std::pair<TimePoint, std::uint64_t>>& armed)
      : state_(state), reactor_(reactor), armed_(armed) {}
  ~Timer() { disarm(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void arm(TimePoint when, std::uint64_t order) {
    disarm();
    when_ = when;
    order_ = order;
    turn_ = state_.turn;
    armed_.emplace(when, order);
    ++state_.operations;
    state_.call([&] { reactor_.arm(*this, when); });
  }
  void disarm() {
    armed_.erase({when_, order_});
    state_.call([&] { reactor_.disarm(*this); });
  }
  void on_timer() override {
    state_.in_callback("timer");
    if (armed_.erase({when_, order_}) == 0) state_.complain("a disarmed timer fired");
    if (reactor_.clock().now() < when_) state_.complain("a timer fired early");
    // Of those that were armed before this turn, the first comes first.
    const bool first = armed_.empty() || *armed_.begin() > std::make_pair(when_, order_);
    if (!first && turn_ != state_.turn && !armed_in_this_turn) {
      state_.complain("a timer fired before an earlier one");
    }
    ++fired;
  }
  bool armed_in_this_turn = false;  // of any timer; set by the run
  int fired = 0;

 private:
  RunState& state_;
  Reactor& reactor_;
  std::set<std::pair<TimePoint, std::uint64_t>>& armed_;
  TimePoint when_{};
  std::uint64_t order_ = 0;
  std::uint64_t turn_ = 0;
};

/// Runnables that must run in the order of posting.
class Posts {
 public:
  Posts(RunState& state, std::string name) : state_(state), name_(std::move(name)) {}
  Runnable& next() {
    ++state_.operations;
    return jobs_.emplace_back([this, number = jobs_.size()] {
      state_.in_callback(name_);
      if (number != ran_++) state_.complain(name_ + " ran out of order");
    });
  }
  bool all_ran() const { return ran_ == jobs_.size(); }

 private:
  RunState& state_;
  std::string name_;
  std::deque<Job> jobs_;
  std::size_t ran_ = 0;
};

class Run {
 public:
  Run(ReactorRig& rig, const Program& program, const Options& options)
      : rig_(rig), program_(program), options_(options), here_(rig.reactor()), there_(rig.other()) {
    state_.hostile = options.hostile;
    for (std::size_t i = 0; i < program.lines.size(); ++i) {
      Line& line = lines_.emplace_back(state_, program.lines[i], "line " + std::to_string(i));
      line.react = [this, i](std::size_t nth) { react(i, nth); };
    }
    for (std::size_t i = 0; i < program.timers; ++i) timers_.emplace_back(state_, here_, armed_);
    for (std::size_t i = 0; i < program.files; ++i) {
      files_.emplace_back(state_, here_, rig.folder(), i);
    }
  }

  Outcome run() {
    const std::size_t handles = rig_.open_handles();
    make_connections();
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      if (program_.lines[i].socket) continue;
      const PipeEnds ends = rig_.make_pipe();
      lines_[i].open(here_, ends.reader, ends.writer);
    }
    for (const Step& step : program_.steps) {
      if (!state_.wrong.empty()) break;
      take(step);
    }
    wind_up();
    for (Line& line : lines_) line.finish();
    for (const Handle handle : sockets_) here_.close(handle);
    if (state_.wrong.empty() && rig_.open_handles() != handles) state_.complain("handles leaked");
    return report();
  }

 private:
  void turn() {
    for (unsigned i = 0; i < options_.pace; ++i) {
      ++state_.turn;
      for (Timer& timer : timers_) timer.armed_in_this_turn = false;
      here_.poll();
      ++state_.turn;
      there_.poll();
    }
  }

  /// Turns until `done`; a loop that forgets to wake up never gets there.
  template <typename Fn>
  bool until(std::string_view what, Fn done) {
    const bool simulated = here_.engine_name() == "sim";
    const TimePoint late = here_.clock().now() + (simulated ? kSimulatedPatience : kPatience);
    while (!done()) {
      if (!state_.wrong.empty()) return false;
      turn();
      if (here_.clock().now() > late) {
        state_.complain("stuck: " + std::string(what));
        return false;
      }
    }
    return true;
  }

  void make_connections() {
    for (std::size_t i = 0; i < program_.cancels_connect.size(); ++i) {
      Listener listener;
      listener.listener = here_.listen(Address{"127.0.0.1:0"}).value();
      Connector connector(here_.local_address(listener.listener).value());
      state_.operations += 2;
      state_.call([&] { here_.start(listener); });
      state_.call([&] { here_.start(connector); });
      const int cancel_after = program_.cancels_connect[i];
      for (int turns = 0; turns < cancel_after; ++turns) turn();
      if (cancel_after >= 0) state_.call([&] { here_.cancel(connector); });
      until("connect", [&] { return connector.calls == 1; });
      raced_.push_back(connector.error == 0 ? "connected" : "not connected");
      const bool expected = connector.error == 0 || state_.hostile ||
                            (cancel_after >= 0 && connector.error == ECANCELED);
      if (!expected) state_.complain("connect: errno " + std::to_string(connector.error));
      // A cancelled one may have been heard all the same; then it has ended at once.
      if (connector.error == 0) until("accept", [&] { return listener.connections.size() == 1; });
      state_.call([&] { here_.cancel(listener); });
      until("end of accept", [&] { return listener.over; });
      here_.close(listener.listener);
      for (const Handle connection : listener.connections) sockets_.push_back(connection);
      if (connector.error != 0) continue;
      sockets_.push_back(connector.connection);
      if (listener.connections.size() != 1) continue;
      lines_[2 * i].open(here_, listener.connections[0], connector.connection);
      lines_[2 * i + 1].open(here_, connector.connection, listener.connections[0]);
    }
  }

  void take(const Step& step) {
    switch (step.act) {
      case Act::turns:
        if (options_.follow == nullptr) {
          for (std::uint64_t i = 0; i < step.amount; ++i) turn();
        } else {
          for (unsigned i = 0; i < kTurnsToFollow && lags_behind(); ++i) turn();
        }
        return progress_.push_back(progress());
      case Act::await:
        until("flow of line " + std::to_string(step.object), [&] {
          lines_[step.object].let_flow();
          return lines_[step.object].flowed();
        });
        return progress_.push_back(progress());
      case Act::arm:
        for (Timer& timer : timers_) timer.armed_in_this_turn = true;
        timers_[step.object].arm(here_.clock().now() + std::chrono::microseconds(step.amount),
                                 next_order_++);
        return;
      case Act::disarm:
        return timers_[step.object].disarm();
      case Act::post:
        return state_.call([&] { here_.post(posts_.next()); });
      case Act::post_from:
        return state_.call([&] { here_.post_from(there_, far_posts_.next()); });
      case Act::file:
        return files_[step.object].write(step.amount, step.seed);
      case Act::cancel_file:
        return files_[step.object].cancel();
      default:
        return take_on_line(step, lines_[step.object]);
    }
  }

  Progress progress() const {
    Progress now;
    for (const Line& line : lines_) {
      now.lines.push_back({line.received(), line.read_ends.size(), line.poll_ends.size()});
    }
    return now;
  }

  /// Whether the run that is followed had come farther on some line by the end of this step.
  bool lags_behind() const {
    if (progress_.size() >= options_.follow->size()) return false;
    const Progress& wanted = (*options_.follow)[progress_.size()];
    const Progress now = progress();
    for (std::size_t i = 0; i < now.lines.size(); ++i) {
      const Progress::OfLine& far = wanted.lines[i];
      const Progress::OfLine& here = now.lines[i];
      if (here.received < far.received || here.reads_ended < far.reads_ended ||
          here.polls_ended < far.polls_ended) {
        return true;
      }
    }
    return false;
  }

  void take_on_line(const Step& step, Line& line) {
    switch (step.act) {
      case Act::read:
        return line.read();
      case Act::pause:
        return line.pause();
      case Act::resume:
        return line.resume();
      case Act::cancel_read:
        return line.cancel_read();
      case Act::write:
        return line.write(step.amount, step.seed);
      case Act::cancel_write:
        return line.cancel_write();
      case Act::end_writing:
        return line.end_writing();
      case Act::close_reader:
        return line.close_reader();
      case Act::hand_over:
        return line.hand_over(line.home() == &here_ ? there_ : here_);
      case Act::poll:
        return line.poll();
      case Act::cancel_poll:
        return line.cancel_poll();
      default:
        return;
    }
  }

  void react(std::size_t line, std::size_t nth) {
    for (const Reaction& reaction : program_.reactions) {
      if (reaction.line != line || reaction.nth != nth) continue;
      // A loop's own operations are touched from its own callbacks only; on one thread both are.
      take(reaction.step);
    }
  }

  void wind_up() {
    std::string left;
    const bool ended = until("the end", [&] {
      left.clear();
      if (!posts_.all_ran() || !far_posts_.all_ran()) left += " posts";
      if (!armed_.empty()) left += " timers";
      for (std::size_t i = 0; i < lines_.size(); ++i) {
        if (!lines_[i].wind_up()) left += " line " + std::to_string(i);
      }
      for (std::size_t i = 0; i < files_.size(); ++i) {
        if (!files_[i].wind_up()) left += " file " + std::to_string(i);
      }
      return left.empty();
    });
    if (!ended) state_.wrong += ", left:" + left;
    if (state_.wrong.empty()) return;
    // It may be so wrong that nothing can be ended any more.
    std::fprintf(stderr, "%s: %s\n", std::string(here_.engine_name()).c_str(),
                 state_.wrong.c_str());
    // Whatever is wrong: nothing may be left started, or the rig cannot end.
    for (Timer& timer : timers_) timer.disarm();
    for (int turns = 0; turns < 2'000; ++turns) {
      for (Line& line : lines_) {
        line.cancel_read();
        line.cancel_write();
        line.cancel_poll();
      }
      for (File& file : files_) file.cancel();
      turn();
    }
  }

  Outcome report() {
    Outcome outcome;
    outcome.wrong = state_.wrong;
    outcome.operations = state_.operations;
    outcome.raced = std::move(raced_);
    outcome.progress = std::move(progress_);
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      outcome.decided.push_back(lines_[i].outcome());
      const auto add = [&](std::string_view what, const std::vector<std::string>& ends) {
        std::set<std::string> kinds(ends.begin(), ends.end());
        std::string text = "line " + std::to_string(i) + " " + std::string(what);
        for (const std::string& kind : kinds) text += " " + kind;
        outcome.raced.push_back(std::move(text));
      };
      add("reads", lines_[i].read_ends);
      add("polls", lines_[i].poll_ends);
    }
    for (const File& file : files_) outcome.decided.push_back(file.outcome());
    return outcome;
  }

  ReactorRig& rig_;
  const Program& program_;
  const Options options_;
  Reactor& here_;
  Reactor& there_;
  RunState state_;
  std::deque<Line> lines_;
  std::deque<File> files_;
  std::set<std::pair<TimePoint, std::uint64_t>> armed_;
  std::deque<Timer> timers_;
  Posts posts_{state_, "a post"};
  Posts far_posts_{state_, "a post from the other loop"};
  std::uint64_t next_order_ = 0;
  std::vector<Handle> sockets_;
  std::vector<std::string> raced_;
  std::vector<Progress> progress_;
};

}  // namespace

Outcome run(ReactorRig& rig, const Program& program, const Options& options) {
  return Run(rig, program, options).run();
}

}  // namespace berth::inline v0::io::fuzz
