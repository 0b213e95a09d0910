// git/library.h — turns libgit2 on for as long as somebody holds a Library, and sets its global
// switches.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace berth::git {

/// libgit2 works only while at least one Library lives. Make one in the composition root, before
/// the platform whose threads use it, and so destroy it after them: libgit2 keeps something for
/// each thread that called it, and can give that back only when the thread ends before the last
/// Library does.
///
/// Global effects on the process (a host program that uses libgit2 itself should know): the owner
/// check of repositories is switched off. That check protects programs that *discover* repositories
/// and then run what their configuration names. berth is told exact paths by its caller, never
/// searches upwards when it opens, and runs nothing: libgit2 knows no hooks, no fsmonitor, no
/// textconv and no filter programs. `find_repository`, which does search, checks the owner itself.
/// Its connections become ones that keep deadlines (see patient_stream.h).
/// Objects are not hashed again when they are read (git does not either; zlib's checksum stays):
/// that was a third of the processor time of a checkout.
class Library {
 public:
  struct Options {
    /// Read ~/.gitconfig, the XDG file and /etc/gitconfig (ignore files, line endings). Off in
    /// tests.
    bool user_config = true;
    /// A file of certificates to trust instead of the system's, for https remotes.
    std::string certificates;
  };

  Library() : Library(Options{.user_config = true, .certificates = {}}) {}
  explicit Library(Options options);
  ~Library();
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
};

/// Turns libgit2 on when it is needed first, for programs that may never need it: it loads what
/// https and ssh need, which is 3 MiB. Lives and dies where a Library would.
class LibraryOnDemand {
 public:
  LibraryOnDemand() = default;
  LibraryOnDemand(const LibraryOnDemand&) = delete;
  LibraryOnDemand& operator=(const LibraryOnDemand&) = delete;

  /// Before the first need(), which other threads may not have reached yet either.
  void set(Library::Options options) { options_ = std::move(options); }
  /// From here on libgit2 works. Any thread, any number of times.
  void need();
  /// Any thread.
  bool is_on() const { return on_.load(std::memory_order_acquire); }

 private:
  Library::Options options_;
  std::once_flag once_;
  std::optional<Library> library_;
  std::atomic<bool> on_ = false;
};

/// The version of the libgit2 that is loaded, such as "1.5.1"; for doctor.
std::string library_version();

}  // namespace berth::git
