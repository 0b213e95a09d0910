// server/cli/line_file.h — a file of lines that only grows, and survives being killed at any
// moment.
#pragma once

#include <berth/core/result.h>
#include <berth/io/fd.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace berth::server {

/// Held by one process at a time. Blocking calls; not thread-safe.
class LineFile {
 public:
  /// Opens `path`, made if it is absent, and cuts off what a killed writer left behind its last
  /// line end. Errors: `conflict` ("in_use") while another process has it open; those of the
  /// system.
  static Result<LineFile> open(std::string path);

  /// All whole lines that were there when it was opened.
  const std::string& text() const { return text_; }
  const std::string& path() const { return path_; }

  /// Adds a line (without its end); it is on the disk when this returns. After an error the file is
  /// as it was before.
  Result<void> append(std::string_view line);

 private:
  LineFile(std::string path, io::Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  Result<void> read();

  std::string path_;
  io::Fd fd_;
  std::string text_;
  std::uint64_t size_ = 0;
};

}  // namespace berth::server
