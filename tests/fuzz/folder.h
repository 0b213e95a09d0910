// tests/fuzz/folder.h — a temporary folder, for targets whose parser reads files.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

#include "fuzz.h"

namespace berth::fuzz {

/// Made once for a process and removed when it ends in order.
class Folder {
 public:
  Folder() {
    path_ = (std::filesystem::temp_directory_path() / "berth-fuzz-XXXXXX").string();
    FUZZ_CHECK(::mkdtemp(path_.data()) != nullptr);
  }
  ~Folder() { clear(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }
  static void write(const std::string& file, std::string_view bytes) {
    std::ofstream(file, std::ios::binary | std::ios::trunc)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  static void clear(const std::string& path) {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }

 private:
  std::string path_;
};

}  // namespace berth::fuzz
