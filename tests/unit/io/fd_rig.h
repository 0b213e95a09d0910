// tests/unit/io/fd_rig.h — the engines on real descriptors for the conformance suite.
#pragma once

#include "reactor_conformance.h"

#include <berth/io/asio_reactor.h>
#include <berth/io/fd_reactor.h>

#include <unistd.h>
#include <array>
#include <asio/io_context.hpp>
#include <filesystem>
#include <iterator>
#include <memory>

namespace berth::io {

class FdRig : public ReactorRig {
 public:
  explicit FdRig(std::unique_ptr<FdReactor> reactor) : reactor_(std::move(reactor)) {}
  FdReactor& reactor() override { return *reactor_; }
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

 protected:
  FdRig() = default;
  std::unique_ptr<FdReactor> reactor_;
};

/// A host program's io_context, whose loop runs the turns.
class HostedRig final : public FdRig {
 public:
  HostedRig() { reactor_ = make_asio_reactor(context_).value(); }
  explicit HostedRig(std::unique_ptr<FdReactor> reactor) : FdRig(std::move(reactor)) {
    BERTH_ASSERT(run_in(context_, *reactor_).has_value());
  }
  ~HostedRig() override { reactor_.reset(); }
  asio::io_context& context() { return context_; }

 private:
  asio::io_context context_{1};
};

}  // namespace berth::io
