// io/keeper.h — the work of berth-keeper: starts, watches and kills processes for one berth.
#pragma once

#include <berth/io/child_start.h>
#include <berth/io/fd.h>
#include <berth/io/keeper_socket.h>
#include <berth/io/keeper_wire.h>
#include <berth/io/process_tree.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace berth::inline v0::io::keeper {

/// A process that is kept, from its start until its tree is gone.
///
///   running --pidfd readable--> ending its tree --tree gone, reaped--> its last words, its end
///   told --> forgotten
///
/// As with the direct host, a zombie root is reaped only when its tree is gone: until then its pid,
/// and with it the number of its session and group, belongs to nobody else.
struct Ward {
  std::uint64_t number = 0;
  std::size_t lane = 0;
  ProcessId id;
  Fd pidfd;
  Fd errors;  ///< The read end of its stderr.
  std::string marker;
  TreeGroups groups;
  bool exited = false;
  bool reaped = false;
  bool gone = false;           ///< Its tree too.
  bool leaving = false;        ///< To be told when there is room for its last words.
  std::size_t last_words = 0;  ///< Bytes that it has left in the pipe then.
  bool told = false;
  ExitStatus status;
  std::chrono::milliseconds next_retry{1};
  std::chrono::steady_clock::time_point due;
  std::chrono::steady_clock::time_point patience_end;
};

/// One thread, one loop over epoll. It never waits for berth and keeps no bytes of anybody: stderr
/// is read when a lane has room for it, a packet full each turn; while it has none, who writes
/// waits. It is a subreaper: whatever its children start and leave
/// behind becomes its child, in whatever session. When the control socket closes or berth has
/// ended, for whatever reason, it ends everything and returns.
class Keeper {
 public:
  explicit Keeper(Fd control);
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;
  ~Keeper();

  /// Returns the program's exit code: 0 when berth went away, 1 when it could not begin.
  int run();

 private:
  using Clock = std::chrono::steady_clock;
  struct Lane {
    Fd socket;
    Fd errors;                          // an epoll set of the pipes of its wards' stderr
    std::deque<std::uint64_t> leaving;  // wards to be told
    std::vector<std::string> outgoing;  // packets; the last one is still being filled
    std::size_t sent = 0;               // of `outgoing`
    bool waits_for_room = false;
  };
  enum class Source : std::uint64_t { control, lane, errors, ward, signal };

  Result<void> begin();
  void raise_descriptor_limit();
  Result<void> watch(int descriptor, Source source, std::uint64_t number, std::uint32_t events);
  void turn();
  int wait_time() const;

  void on_control();
  void on_lane(std::size_t index);
  void on_errors(std::size_t index);
  void on_signal();
  void take_requests(std::size_t index);
  void perform(std::size_t lane, Start& request);
  Result<Started> start(std::size_t lane, Start& request);
  Result<LaunchSpec> read_spec(Start& request);
  void kill(std::uint64_t number);

  void on_exited(Ward& ward);
  void end_tree(Ward& ward);
  void tree_is_gone(Ward& ward);
  void tree_still_lives(Ward& ward);
  void leave(Ward& ward);
  void tell_ends(std::size_t index);
  void tell(Ward& ward);
  void forget(std::uint64_t number);
  bool reap(Ward& ward);
  void sweep();
  void retry_due();
  void reap_adopted();
  void give_memory_back();
  void end_everything();

  std::size_t pass_on_stderr(Ward& ward, std::size_t most);
  void report(std::size_t lane, const Report& report);
  void set_room(std::size_t lane, bool room);
  void flush(std::size_t lane);
  void close_lane(std::size_t index);
  Ward* find(std::uint64_t number);

  Fd control_;
  Fd berth_;  // pidfd
  Fd epoll_;
  Fd signals_;
  bool open_ = true;  // berth is there
  Hello options_;
  Launcher launcher_;
  TreePlan plan_;
  PacketReader packet_;
  std::vector<Lane> lanes_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Ward>> wards_;
  std::unordered_map<int, std::uint64_t> number_of_pid_;
  std::vector<std::uint64_t> ending_;    // exited, their trees not gone yet
  std::vector<std::uint64_t> to_sweep_;  // by a walk at the end of the turn
  bool adopted_ended_ = false;           // a child that is no ward may wait to be reaped
  Clock::time_point next_adopted_look_;
};

}  // namespace berth::inline v0::io::keeper
