// git/patient_stream.h — connections of libgit2 that give up when patience does. Private to this
// folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/patience.h>

#include <string>
#include <string_view>

namespace berth::git::detail {

/// libgit2 1.5 waits for a silent server without end, and its own sockets know no deadline. While
/// one of these lives, the connections that libgit2 makes on this thread ask `patience` while they
/// wait (those of ssh only while they are made: libssh2 takes the descriptor). One at a time per
/// thread; outlived by `patience`.
class PatientConnections {
 public:
  /// `host` and `port`: the only ones to connect to; an empty host means any.
  PatientConnections(const Patience& patience, std::string host, std::string port);
  ~PatientConnections();
  PatientConnections(const PatientConnections&) = delete;
  PatientConnections& operator=(const PatientConnections&) = delete;

  const Patience& patience() const { return patience_; }
  /// A redirect could lead anywhere, and libgit2 would hand the credentials over there.
  bool allows(std::string_view host, std::string_view port) const {
    return host_.empty() || (host == host_ && port == port_);
  }

 private:
  const Patience& patience_;
  std::string host_;
  std::string port_;
};

/// Makes libgit2 use these connections for everything in this process. Called by Library.
Result<void> register_patient_streams();

}  // namespace berth::git::detail
