#include "reactor_conformance.h"
#include "uring_rig.h"

#include <berth/io/uring_reactor.h>

#include <sys/resource.h>
#include <unistd.h>
#include <array>
#include <cerrno>
#include <filesystem>

namespace berth::io {

std::unique_ptr<ReactorRig> make_uring_rig() {
  return std::make_unique<UringRig>();
}

INSTANTIATE_TEST_SUITE_P(Uring, ReactorConformance,
                         testing::Values(EngineUnderTest{"uring", make_uring_rig}),
                         [](const auto& info) { return info.param.name; });

// A completion ring so small that it overflows all the time: every multishot poll ends and is armed
// again.
INSTANTIATE_TEST_SUITE_P(TinyUring, ReactorConformance,
                         testing::Values(EngineUnderTest{
                             "tiny", [] { return std::make_unique<UringRig>(UringSizes{2, 4}); }}),
                         [](const auto& info) { return info.param.name; });

}  // namespace berth::io
