// io/resolver.h — host names to addresses by the system's own rules.
#pragma once

#include <berth/io/platform.h>

namespace berth::inline v0::io {

/// Thread-safe; blocks for as long as the system's resolver does (seconds when a name server is
/// silent).
class SystemResolver final : public Resolver {
 public:
  /// `name:port`, `1.2.3.4:port`, `[::1]:port`, and `unix:/path`, which stays as it is. Errors:
  /// `invalid`, `not_found` (there is no such name), `unavailable` (ask again later).
  Result<std::vector<Address>> resolve(std::string_view host_and_port) override;
};

}  // namespace berth::inline v0::io
