// server/named/inbox.h — prompts that programs write into a FIFO, from there to a file, and out
// again one by one.
#pragma once

#include <berth/core/scope.h>
#include <berth/core/sync.h>
#include <berth/io/fifo.h>
#include <berth/io/platform.h>
#include <berth/server/named/prompt_cutter.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace berth::server {

/// The FIFO `<folder>/prompts` of a named agent. The kernel moves what comes into a file of
/// `folder` (io/fifo.h), which is let go of only when all of it was settled(): what has left the
/// pipe survives the death of berth. A prompt has a key that is its own for all time, so that
/// reading the file again after a crash gives no prompt twice to who remembers keys.
///
/// Two things can be lost with a berth that is killed: what is in the pipe at that moment and no
/// writer holds on to, and so the end of a prompt whose beginning is in the file. Such a prompt,
/// and what may be the rest of it, comes out as refused ("cut").
class Inbox {
 public:
  struct Prompt {
    CutPrompt what;
    std::string key;
    bool again = false;  ///< It was in the file at the start: its key may be known.
  };

  /// `prompt_max`: bytes of the longest prompt that is taken.
  Inbox(io::Platform& platform, std::string folder, std::size_t prompt_max);
  ~Inbox();

  std::string path() const { return folder_ + "/prompts"; }
  bool open() const { return fifo_ != nullptr; }

  /// Makes and opens the FIFO and takes up what an earlier life left.
  Task<Result<void>> start();
  /// The next prompt; nothing after `stop` or an error, which failure() then tells.
  Task<std::optional<Prompt>> next(StopToken stop);
  /// All that next() has given is stored elsewhere.
  void settled();
  /// Lets writers that have it open finish (a second, about), keeps what they wrote, and closes.
  /// Who opens the FIFO from now on waits until somebody reads again.
  Task<void> close();
  /// Why it takes nothing any more; what it took is in its files.
  const std::optional<Error>& failure() const { return failure_; }

 private:
  class Readable;
  struct File {
    std::int64_t number = 0;
    bool begins_cut = false;
    std::string name() const;
  };

  Task<Result<std::vector<File>>> list_files();
  Task<Result<void>> take_up(File file, bool last, bool clean);
  Task<Result<void>> remove(std::vector<File> gone);
  void begin_file(File file, std::uint64_t size);
  std::int64_t next_number() const;
  Task<Result<io::Fifo::Taken>> take();
  Task<Result<void>> turn_over();
  Task<void> fill(StopToken stop);
  void pass_on();
  void let_go();
  std::string path_of(const File& file) const { return folder_ + "/" + file.name(); }

  io::Platform& platform_;
  std::string folder_;
  std::size_t prompt_max_;
  std::unique_ptr<io::Fifo> fifo_;
  File file_;                // that is being filled
  std::uint64_t size_ = 0;   // of it
  std::uint64_t again_ = 0;  // up to here it was there at the start
  std::vector<File> old_;    // read, and not settled yet
  std::unique_ptr<PromptCutter> cutter_;
  std::deque<Prompt> ready_;
  std::uint64_t ready_bytes_ = 0;
  bool all_settled_ = true;
  std::optional<Error> failure_;
  Event changed_;  // ready_, or room in it
  std::unique_ptr<StopSource> stop_;
  Scope scope_;
};

}  // namespace berth::server
