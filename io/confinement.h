// io/confinement.h — what a child and all that it starts may do with this machine.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace berth::inline v0::io {

/// Which files a process tree sees, and whether it has a network. Paths are absolute; those that do
/// not exist are left out, but a path that ends in '/' is a folder that is made when it is absent.
/// A path with symbolic links in it that leads into something hidden is refused ("bad_launch").
///
/// What lies deeper wins: a folder below a hidden one is given by naming it, as is a hidden folder
/// below a readable one.
struct Confinement {
  enum class Kind : std::uint8_t {
    none,
    /// Landlock, no new privileges, no capabilities but to override the permission bits of files.
    /// The network stays. What is not named can neither be read nor written. See landlock.h for
    /// what this kernel's Landlock cannot do.
    landlock,
    /// Namespaces of its own (mount, pid, ipc, uts, network, user where there are any) by
    /// bubblewrap. What is not named is not there; /dev and /proc are its own, /tmp is in memory.
    namespaces,
  };
  Kind kind = Kind::none;
  std::vector<std::string> writable;
  std::vector<std::string> readable;  ///< Programs there can be run.
  std::vector<std::string> hidden;
  // Of `namespaces`:
  std::string bubblewrap;  ///< The program.
  std::string helper;      ///< The program berth-launch (io/launch_main.cc).
  /// A folder (made when absent) and the path where the tree finds it, to write to.
  std::vector<std::pair<std::string, std::string>> placed;
  std::string egress_socket;  ///< What listens there is all the network there is; empty: none.
  /// On this port of its loopback device the tree finds what listens at egress_socket: an HTTP
  /// proxy.
  std::uint16_t egress_port = 0;
  /// Ports of its loopback device that lead through the proxy to the same port of 127.0.0.1
  /// outside.
  std::vector<std::uint32_t> tunnels;
  /// A user namespace of its own: whoever escapes has no capability outside. Where there are none,
  /// only root can be without.
  bool user_namespace = true;
  bool operator==(const Confinement&) const = default;
};

/// What the running kernel's Landlock offers, asked of it and not guessed from its version.
struct LandlockSupport {
  int abi = 0;         ///< 0: none.
  std::string reason;  ///< For people: why not, or which version and what that cannot do.
  /// From version 2 on (Linux 5.19) files can be moved between folders, without which git and every
  /// editor break.
  bool usable() const { return abi >= 2; }
};

}  // namespace berth::inline v0::io
