#include <berth/server/sessions/git_command_process.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <optional>
#include <utility>

namespace berth::server {

namespace {

/// How often the thread that waits looks at its cancel flag, which tells nobody when it is set.
constexpr auto kLook = std::chrono::milliseconds(20);
constexpr std::size_t kErrorMax = 64 * 1024;

}  // namespace

/// One run of git. It lives in the frame of the lane's thread; between post_remote() and the last
/// thing that it does on the reactor, only the reactor touches it, the guarded part excepted.
class GitCommandProcess::Running final : public ListNode, private io::ProcessListener {
 public:
  Running(GitCommandProcess& owner, const git::GitRun& run)
      : owner_(owner),
        reactor_(owner.platform_.reactor()),
        run_(run),
        start_(*this),
        kill_(*this),
        leave_(*this),
        stdout_(*this),
        stdin_(*this) {}

  /// On the lane's thread.
  Result<git::GitOutput> wait() {
    reactor_.post_remote(start_);
    std::unique_lock lock(mutex_);
    while (!done_) {
      if (kill_asked_) {
        changed_.wait(lock);
        continue;
      }
      changed_.wait_for(lock, kLook);
      if (done_ || !run_.patience.exhausted()) continue;
      kill_asked_ = true;
      reactor_.post_remote(kill_);
    }
    if (failure_) return fail(*std::move(failure_));
    if (kill_asked_) {
      if (Result<void> patient = run_.patience.check("git"); !patient) {
        return fail(std::move(patient).error());
      }
    }
    return std::move(output_);
  }

  /// On the reactor: ends it soon.
  void kill(ErrorKind kind, const char* code, const char* why) {
    if (!failure_) failure_ = make_error(kind, code, why);
    kill_tree();
  }

 private:
  struct Start final : Runnable {
    explicit Start(Running& owner) : owner(owner) {}
    void run() override { owner.start(); }
    Running& owner;
  };
  struct Kill final : Runnable {
    explicit Kill(Running& owner) : owner(owner) {}
    void run() override { owner.on_kill(); }
    Running& owner;
  };
  struct Leave final : Runnable {
    explicit Leave(Running& owner) : owner(owner) {}
    void run() override { owner.leave(); }
    Running& owner;
  };
  struct Out final : io::ReadOp {
    explicit Out(Running& owner) : owner(owner) {}
    void on_read(std::span<char> bytes) override { owner.on_read(bytes); }
    void on_read_end(int) override {
      owner.reactor_.close(std::exchange(handle, io::kNoHandle));
      owner.check_finished();
    }
    Running& owner;
  };
  struct In final : io::WriteOp {
    explicit In(Running& owner) : owner(owner) {}
    // EPIPE: git did not want it all; its exit code tells the rest.
    void on_written(int) override {
      owner.reactor_.close(std::exchange(handle, io::kNoHandle));
      owner.check_finished();
    }
    Running& owner;
  };

  void start() {
    owner_.running_.push_back(*this);
    if (owner_.closing_) {
      failure_ = make_error(ErrorKind::cancelled, "cancelled", "git: berth is shutting down");
      return finish();
    }
    io::LaunchSpec spec;
    spec.command = "git";
    spec.arguments = run_.arguments;
    spec.environment = run_.environment;
    spec.environment.emplace_back("PATH", owner_.path_);
    spec.working_directory = run_.directory;
    spec.tag = "berth-git";
    Result<std::unique_ptr<io::Process>> spawned =
        owner_.platform_.processes().spawn(reactor_, spec, *this);
    if (!spawned.has_value()) {
      failure_ = std::move(spawned.error());
      return finish();
    }
    process_ = std::move(*spawned);
    stdout_.handle = process_->stdout_handle;
    stdin_.handle = process_->stdin_handle;
    reactor_.start(stdout_);
    if (run_.input.empty()) {
      reactor_.close(std::exchange(stdin_.handle, io::kNoHandle));
      return;
    }
    input_ = {const_cast<char*>(run_.input.data()), run_.input.size()};
    stdin_.parts = {&input_, 1};
    reactor_.start(stdin_);
  }

  void on_read(std::span<char> bytes) {
    if (output_.output.size() + bytes.size() > run_.output_max) {
      return kill(ErrorKind::overloaded, "git_output_too_large", "git: printed too much");
    }
    output_.output.append(bytes.data(), bytes.size());
  }

  void on_stderr(std::string_view bytes) override {
    if (output_.error.size() < kErrorMax) output_.error.append(bytes);
  }

  void on_start_failed(Error error) override {
    if (error.kind == ErrorKind::not_found) {
      error = make_error(ErrorKind::unsupported, "git_command_missing", std::move(error.message));
    }
    if (!failure_) failure_ = std::move(error);
    exited_ = true;
    if (stdin_.started()) reactor_.cancel(stdin_);
    check_finished();
  }

  void on_exit(io::ExitStatus status) override {
    exited_ = true;
    output_.exit_code =
        status.kind == io::ExitStatus::Kind::exited ? status.value : 128 + status.value;
    if (stdin_.started()) reactor_.cancel(stdin_);
    check_finished();
  }

  void on_kill() {
    killed_ = true;
    kill_tree();
    if (finished_) {
      finish();
    } else {
      check_finished();
    }
  }

  void kill_tree() {
    if (process_ && !exited_) process_->kill_tree();
    // Whatever holds the pipes open beyond the tree is not waited for.
    if (stdout_.started()) reactor_.cancel(stdout_);
    if (stdin_.started()) reactor_.cancel(stdin_);
  }

  void check_finished() {
    if (!exited_ || stdout_.handle != io::kNoHandle || stdin_.handle != io::kNoHandle) {
      return;
    }
    finish();
  }

  void finish() {
    finished_ = true;
    // A kill that is on its way still needs this object.
    const std::lock_guard lock(mutex_);
    if (kill_asked_ && !killed_) return;
    kill_asked_ = killed_ = true;
    if (!std::exchange(leaving_, true)) reactor_.post(leave_);
  }

  /// Outside of all callbacks of this object: the lane's thread may end it at once.
  void leave() {
    process_.reset();
    owner_.left(*this);
    const std::lock_guard lock(mutex_);
    done_ = true;
    changed_.notify_one();
  }

  GitCommandProcess& owner_;
  io::Reactor& reactor_;
  const git::GitRun& run_;
  git::GitOutput output_;
  std::optional<Error> failure_;
  std::unique_ptr<io::Process> process_;
  Start start_;
  Kill kill_;
  Leave leave_;
  Out stdout_;
  In stdin_;
  iovec input_{};
  bool exited_ = false;
  bool finished_ = false;
  bool killed_ = false;
  bool leaving_ = false;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool kill_asked_ = false;  // guarded by mutex_
  bool done_ = false;        // guarded by mutex_
};

GitCommandProcess::GitCommandProcess(io::Platform& platform, std::string scratch_folder)
    : platform_(platform),
      scratch_folder_(std::move(scratch_folder)),
      path_(platform.environment().get("PATH").value_or("/usr/bin:/bin")),
      idle_(platform.reactor()) {}

GitCommandProcess::~GitCommandProcess() {
  BERTH_ASSERT(entered_ == 0);
}

bool GitCommandProcess::enter() {
  const std::lock_guard lock(mutex_);
  if (!closing_) ++entered_;
  return !closing_;
}

void GitCommandProcess::left(Running& running) {
  running.unlink();
  const std::lock_guard lock(mutex_);
  --entered_;
  if (entered_ == 0 && closing_) idle_.set();
}

Result<git::GitOutput> GitCommandProcess::run(const git::GitRun& run) {
  if (Result<void> patient = run.patience.check("git"); !patient) {
    return fail(std::move(patient).error());
  }
  if (!enter()) {
    return fail(ErrorKind::cancelled, "cancelled", "git: berth is shutting down");
  }
  return Running(*this, run).wait();
}

Task<void> GitCommandProcess::close() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    if (entered_ == 0) idle_.set();
  }
  running_.for_each([](Running& running) {
    running.kill(ErrorKind::cancelled, "cancelled", "git: berth is shutting down");
  });
  co_await idle_.wait();
}

}  // namespace berth::server
