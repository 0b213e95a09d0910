// bench/process/children.h — tiny children, started by the plainest means and by a ProcessHost.
#pragma once

#include <berth/io/process_host.h>
#include <berth/io/reactor.h>

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace berth::bench {

/// What everybody does: three pipes, posix_spawn in a session of its own; waitpid when it is
/// destroyed. A child that stays does so until then.
class BareChild {
 public:
  explicit BareChild(bool stays);
  BareChild(const BareChild&) = delete;
  BareChild& operator=(const BareChild&) = delete;
  ~BareChild();

 private:
  std::array<std::array<int, 2>, 3> pipes_;
  pid_t pid_ = 0;
};

/// The same child as a ProcessHost wants it.
io::LaunchSpec tiny_child(bool stays);

/// Counts children that ended as they should; stops the reactor at each.
class Ended final : public io::ProcessListener {
 public:
  explicit Ended(io::Reactor& reactor) : reactor_(reactor) {}
  void on_started() override;
  void on_start_failed(Error error) override;
  void on_exit(io::ExitStatus status) override;
  std::size_t started = 0;
  int count = 0;

 private:
  io::Reactor& reactor_;
};

void close_pipes(io::Reactor& reactor, const io::Process& process);

/// Children of a host that live as long as this does. Ends the program when one cannot be started.
class Held {
 public:
  Held(io::Reactor& reactor, io::ProcessHost& host, std::size_t count);
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held();

 private:
  io::Reactor& reactor_;
  Ended nobody_;
  std::vector<std::unique_ptr<io::Process>> processes_;
};

}  // namespace berth::bench
