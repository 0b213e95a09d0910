// tests/unit/io/uring_rig.h — the io_uring engine for the conformance suite.
#pragma once

#include "reactor_conformance.h"

#include <berth/io/fd_reactor.h>
#include <berth/io/uring_ring.h>

#include <unistd.h>
#include <array>
#include <filesystem>
#include <iterator>

namespace berth::io {

class UringRig final : public ReactorRig {
 public:
  explicit UringRig(const UringSizes& sizes = {}) : reactor_(make_uring_reactor(sizes).value()) {}
  explicit UringRig(std::unique_ptr<FdReactor> reactor) : reactor_(std::move(reactor)) {}
  FdReactor& uring() { return *reactor_; }
  Reactor& reactor() override { return *reactor_; }
  PipeEnds make_pipe() override {
    std::array<int, 2> ends = {-1, -1};
    if (::pipe(ends.data()) != 0) return PipeEnds{};
    return PipeEnds{reactor_->adopt(ends[0]).value(), reactor_->adopt(ends[1]).value()};
  }
  std::size_t open_handles() override {
    const std::filesystem::directory_iterator open("/proc/self/fd");
    return static_cast<std::size_t>(std::distance(begin(open), end(open)));
  }
  bool has_threads() const override { return true; }

 private:
  std::unique_ptr<FdReactor> reactor_;
};

}  // namespace berth::io
