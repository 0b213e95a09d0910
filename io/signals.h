// io/signals.h — signals as events of a reactor, for programs; the library itself never touches
// them.
#pragma once

#include <berth/core/result.h>
#include <berth/io/reactor.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>

namespace berth::inline v0::io {

/// Blocks some signals for this thread (and those it starts later) and delivers them to a callback.
class SignalFd {
 public:
  /// Call it in main(), before any thread starts.
  static SignalFd block(std::initializer_list<int> signals);
  SignalFd(SignalFd&&) noexcept;
  ~SignalFd();

  /// What a second signal within one watch means.
  enum class Again : std::uint8_t {
    insists,  ///< The default action is restored first, so that a third ends the program for sure.
    repeats,  ///< It is a wish like the first.
  };
  /// Calls `on_signal` on the reactor's thread for each signal that comes. `reactor` outlives the
  /// watch. Error: `overloaded` when no descriptor is free.
  Result<void> watch(Reactor& reactor, std::function<void()> on_signal,
                     Again again = Again::insists);
  /// Ends the watch; the reactor must turn once more afterwards.
  void unwatch();

 private:
  struct Impl;
  explicit SignalFd(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace berth::inline v0::io
