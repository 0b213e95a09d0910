// git/file_writer.h — writes one file of a tree into an open folder. Private to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/handles.h>

#include <sys/stat.h>
#include <string>

struct git_oid;

namespace berth::git::detail {

/// Line endings and `ident` are converted as the attributes say; other filters do not exist here.
/// Keeps what it is given by pointer; `root` is for error texts.
class FileWriter {
 public:
  /// Without `may_convert` no attribute is looked up.
  FileWriter(git_repository* repository, git_odb* odb, std::string root, bool may_convert)
      : repository_(repository), odb_(odb), root_(std::move(root)), may_convert_(may_convert) {}

  /// Makes `leaf`, which must not exist, in the open folder: a file, a link, or the empty folder of
  /// a submodule, as the git `mode` says. `path` is its name in the tree. Answers with what lstat
  /// says of it. Error `conflict` "path_occupied" when something is in the way.
  Result<struct stat> write(int folder, const std::string& leaf, const std::string& path,
                            const git_oid& id, unsigned mode);

 private:
  tl::unexpected<Error> failed(const char* call, const std::string& path) const;
  Result<void> write_link(int folder, const std::string& leaf, const std::string& path,
                          const git_oid& id);
  Result<struct stat> write_file(int folder, const std::string& leaf, const std::string& path,
                                 const git_oid& id, bool executable);
  Result<struct stat> write_bytes(int folder, const std::string& leaf, const std::string& path,
                                  bool executable, const char* data, std::size_t size);

  git_repository* repository_;
  git_odb* odb_;
  std::string root_;
  bool may_convert_;
};

}  // namespace berth::git::detail
