// tests/unit/io/fd_rig.h — the engines on real descriptors for the conformance suite.
#pragma once

#include "reactor_conformance.h"

#include <berth/io/asio_reactor.h>

#include <asio/io_context.hpp>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace berth::inline v0::io {

class FdRig : public ReactorRig {
 public:
  using Make = std::function<std::unique_ptr<Reactor>()>;
  /// `make` makes one loop of the engine.
  explicit FdRig(Make make) : make_(std::move(make)), reactor_(make_()) {}
  /// One loop, and no other().
  explicit FdRig(std::unique_ptr<Reactor> reactor) : reactor_(std::move(reactor)) {}
  FdRig(const FdRig&) = delete;
  FdRig& operator=(const FdRig&) = delete;
  ~FdRig() override;

  Reactor& reactor() override { return *reactor_; }
  PipeEnds make_pipe() override;
  std::size_t open_handles() override;
  Reactor& other() override;
  void elsewhere(std::vector<std::function<void()>> steps) override;
  bool wait_outside(Reactor& which) override;
  std::string folder() override;
  int start_child() override;
  void end_child(int pid) override;
  int reap_child(int pid) override;
  int stranger() override;

 private:
  Make make_;
  std::unique_ptr<Reactor> reactor_;
  std::unique_ptr<Reactor> other_;
  std::set<Reactor*> asked_;  // for their wait_fd()
  std::size_t own_handles_ = 0;
  std::vector<std::thread> threads_;
  std::string folder_;
  std::map<int, int> children_;  // pid to the write end of its stdin, -1 once it was told to end
};

namespace detail {
struct ContextOfAHost {
  asio::io_context context{1};
};
}  // namespace detail

/// A host program's io_context, whose loop runs the turns.
class HostedRig final : private detail::ContextOfAHost, public FdRig {
 public:
  HostedRig() : FdRig([this] { return make_asio_reactor(context).value(); }) {}
  /// Another engine's loops.
  explicit HostedRig(Make make)
      : FdRig([this, make = std::move(make)] {
          std::unique_ptr<Reactor> reactor = make();
          BERTH_ASSERT(run_in(context, *reactor).has_value());
          return reactor;
        }) {}
};

}  // namespace berth::inline v0::io
