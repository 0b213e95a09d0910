#include <berth/io/asio_reactor.h>
#include <berth/io/uring_ring.h>

#include "fd_rig.h"
#include "reactor_conformance.h"

#include <asio/post.hpp>

namespace berth::io {

namespace {

std::string engine_name_of(const testing::TestParamInfo<EngineUnderTest>& info) {
  return info.param.name;
}
std::unique_ptr<ReactorRig> make_asio_rig() {
  return std::make_unique<FdRig>(make_asio_reactor().value());
}
std::unique_ptr<ReactorRig> make_hosted_rig() {
  return std::make_unique<HostedRig>();
}
std::unique_ptr<ReactorRig> make_hosted_uring_rig() {
  return std::make_unique<HostedRig>(make_uring_reactor().value());
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Asio, ReactorConformance,
                         testing::Values(EngineUnderTest{"asio", make_asio_rig}), engine_name_of);
INSTANTIATE_TEST_SUITE_P(AsioOnAHostsContext, ReactorConformance,
                         testing::Values(EngineUnderTest{"hosted", make_hosted_rig}),
                         engine_name_of);
INSTANTIATE_TEST_SUITE_P(UringOnAHostsContext, ReactorConformance,
                         testing::Values(EngineUnderTest{"hosted_uring", make_hosted_uring_rig}),
                         engine_name_of);

}  // namespace berth::io
