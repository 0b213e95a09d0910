// tests/unit/io/fuzz_line.h — one direction of bytes under a random program, and what must hold of
// it at each moment.
#pragma once

#include "fuzz_program.h"
#include "reactor_conformance.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::inline v0::io::fuzz {

/// What all parts of one run share.
struct RunState {
  std::string wrong;  ///< The first promise that was broken.
  /// Under a hostile fault plan connections break, descriptors lack and disks are full: ends may
  /// say so.
  bool hostile = false;
  bool inside_call = false;  ///< Of a start, cancel, pause: no callback may come.
  std::uint64_t turn = 0;
  std::uint64_t operations = 0;  ///< That were started.

  void complain(const std::string& what) {
    if (wrong.empty()) wrong = what;
  }
  void in_callback(std::string_view what) {
    if (inside_call) complain(std::string(what) + ": called back inside a call");
  }
  /// Calls into a reactor.
  template <typename Fn>
  void call(Fn fn) {
    const bool before = std::exchange(inside_call, true);
    fn();
    inside_call = before;
  }
};

class Line {
 public:
  /// Its handles are set when they are known; until then, and if they never are, it is dead.
  Line(RunState& state, const LinePlan& plan, std::string name)
      : state_(state), plan_(plan), name_(std::move(name)) {}
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  void open(Reactor& reactor, Handle reader, Handle writer);
  bool alive() const { return home_ != nullptr; }

  // Steps; those that make no sense now do nothing.
  void read();
  void pause();
  void resume();
  void cancel_read();
  void write(std::size_t bytes, std::uint64_t seed);
  void cancel_write();
  void end_writing();
  void close_reader();
  void hand_over(Reactor& to);
  void poll();
  void cancel_poll();

  /// Everything that was to be written has come out (or cannot, as the reader is gone).
  bool flowed() const;
  /// What a patient owner does until it has: reads, resumes.
  void let_flow();
  /// Ends it in an orderly way; true when nothing is left.
  bool wind_up();
  /// Compares what came out with what went in, closes its handles.
  void finish();

  /// What other engines' runs are compared with: the bytes, where the program alone decides them.
  std::string outcome() const;
  const LinePlan& plan() const { return plan_; }
  Handle reader() const { return reader_; }
  std::size_t received() const { return received_; }
  Handle writer() const { return writer_; }
  Reactor* home() const { return home_; }

  /// Called inside each read, with its number.
  std::function<void(std::size_t nth)> react;
  /// How the operations that a step started ended.
  std::vector<std::string> read_ends;
  std::vector<std::string> poll_ends;

 private:
  class Reading final : public ReadOp {
   public:
    explicit Reading(Line& line) : line_(line) {}
    void on_read(std::span<char> bytes) override { line_.got(bytes); }
    void on_read_end(int error) override { line_.read_ended(error); }

   private:
    Line& line_;
  };
  class Writing final : public WriteOp {
   public:
    explicit Writing(Line& line) : line_(line) {}
    void on_written(int error) override { line_.written(error); }

   private:
    Line& line_;
  };
  class Polling final : public PollOp {
   public:
    explicit Polling(Line& line) : line_(line) {}
    void on_ready(int error) override { line_.polled(error); }

   private:
    Line& line_;
  };

  void got(std::span<char> bytes);
  void read_ended(int error);
  void write_next();
  void written(int error);
  void polled(int error);
  void close_if_wanted();
  bool nothing_more_comes() const { return writer_gone_ || write_failed_; }
  void complain(const std::string& what) { state_.complain(name_ + ": " + what); }

  RunState& state_;
  const LinePlan& plan_;
  std::string name_;
  Reactor* home_ = nullptr;    // the reader's
  Reactor* origin_ = nullptr;  // the writer's
  Handle reader_ = kNoHandle;
  Handle writer_ = kNoHandle;

  Reading reading_{*this};
  bool paused_ = false;
  bool cancel_asked_ = false;
  bool reader_ended_ = false;  // the end of the stream was seen, or the reader is closed
  bool close_reader_ = false;  // when it has ended
  std::size_t reads_ = 0;
  std::uint64_t turn_of_reads_ = 0;
  std::size_t bytes_in_turn_ = 0;
  std::size_t received_ = 0;

  Writing writing_{*this};
  std::deque<std::string> queue_;
  std::vector<iovec> parts_;
  std::string current_;    // what is being written
  std::string offered_;    // all bytes that the kernel took or may take
  std::size_t taken_ = 0;  // of them, those that it said it took
  bool write_cancel_asked_ = false;
  bool end_when_written_ = false;
  bool writer_gone_ = false;   // half-closed, or closed
  bool write_failed_ = false;  // nobody reads any more
  bool writes_were_cut_ = false;

  Polling polling_{*this};
  bool poll_cancel_asked_ = false;
};

}  // namespace berth::inline v0::io::fuzz
