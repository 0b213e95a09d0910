// tests/unit/io/fuzz_file.h — a file under a random program: steps in a row, cancelled at random.
#pragma once

#include "fuzz_line.h"

#include <deque>
#include <string>
#include <utility>

namespace berth::inline v0::io::fuzz {

/// Opens, writes what it is given piece by piece, renames in the middle, syncs, reads all of it
/// back, removes and closes. What a cancelled step did is told by its result, and must be so.
class File {
 public:
  File(RunState& state, Reactor& reactor, const std::string& folder, std::size_t number);
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  void write(std::size_t bytes, std::uint64_t seed);
  void cancel();
  bool idle() const { return !step_.started(); }
  /// True when it is removed and closed, which it does once this was asked.
  bool wind_up();
  /// The bytes, if no step was cancelled.
  std::string outcome() const;

 private:
  enum class Stage : std::uint8_t { open, write, sync, rename, read, unlink, close, done };
  class FileStep final : public FileOp {
   public:
    explicit FileStep(File& file) : file_(file) {}
    void on_file(std::int64_t result) override { file_.stepped(result); }

   private:
    File& file_;
  };

  void begin(Stage stage);
  void stepped(std::int64_t result);
  Stage after_success(std::int64_t result);
  void go_on(Stage stage);
  bool may_fail(std::int64_t result) const;
  void complain(const std::string& what) { state_.complain(path_ + ": " + what); }

  RunState& state_;
  Reactor& reactor_;
  std::string path_;
  std::string new_path_;
  FileStep step_{*this};
  Stage stage_ = Stage::open;
  Handle handle_ = kNoHandle;
  std::deque<std::string> queue_;
  std::string content_;
  std::string buffer_;
  std::string read_back_;
  bool ending_ = false;
  bool renamed_ = false;
  bool cancel_asked_ = false;
  bool was_cancelled_ = false;
};

}  // namespace berth::inline v0::io::fuzz
