// tests/unit/io/uring_rig.h — the io_uring engine for the conformance suite.
#pragma once

#include "fd_rig.h"

#include <berth/io/fd_reactor.h>
#include <berth/io/uring_ring.h>

namespace berth::inline v0::io {

class UringRig : public FdRig {
 public:
  explicit UringRig(const UringSizes& sizes = {})
      : FdRig([sizes] { return make_uring_reactor(sizes).value(); }) {}
  explicit UringRig(Make make) : FdRig(std::move(make)) {}
  explicit UringRig(std::unique_ptr<Reactor> reactor) : FdRig(std::move(reactor)) {}
  FdReactor& uring() { return static_cast<FdReactor&>(reactor()); }
};

}  // namespace berth::inline v0::io
