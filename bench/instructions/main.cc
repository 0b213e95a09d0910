// bench/instructions/main.cc — runs what tests/instructions counts under callgrind.
//
//   build/bench/instructions/berth-instructions [--path NAME] [--times N] | --list | --about
#include "path.h"

#include <gnu/libc-version.h>
#include <sqlite3.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

// callgrind is told these names: it begins to count at the first, and writes down what it has at
// the second. Not inlined, not static, not mangled.
extern "C" [[gnu::noinline]] void berth_count_begins() {
  asm volatile("");
}
extern "C" [[gnu::noinline]] void berth_count_ends() {
  asm volatile("");
}

namespace berth::bench {

void wrong(std::string_view what) {
  std::fprintf(stderr, "berth-instructions: %.*s\n", static_cast<int>(what.size()), what.data());
  std::exit(1);
}

namespace {

int usage() {
  std::fputs("usage: berth-instructions [--path NAME] [--times N] | --list | --about\n", stderr);
  return 2;
}

/// What counts depend on beside our sources.
int tell_about() {
  std::printf("clang %s, -O%s, sanitizer %s, glibc %s, SQLite %s\n", __clang_version__,
              BERTH_OPTIMIZATION, BERTH_SANITIZER, ::gnu_get_libc_version(),
              ::sqlite3_libversion());
  return 0;
}

/// Counts only what is done again: the first quarter fills caches, pools and buffers.
void count(const Path& path, std::uint64_t times) {
  const std::unique_ptr<Work> work = path.make();
  work->run(times / 4 + 1);
  berth_count_begins();
  work->run(times);
  berth_count_ends();
  std::printf("%.*s %llu\n", static_cast<int>(path.name.size()), path.name.data(),
              static_cast<unsigned long long>(times));
  std::fflush(stdout);
}

int run(std::string_view only, std::uint64_t times, bool list) {
  std::vector<Path> paths = core_paths();
  for (const Path& path : server_paths()) paths.push_back(path);
  bool found = false;
  for (const Path& path : paths) {
    if (!only.empty() && path.name != only) continue;
    found = true;
    if (list) {
      std::printf("%.*s\n", static_cast<int>(path.name.size()), path.name.data());
    } else {
      count(path, times == 0 ? path.times : times);
    }
  }
  return found ? 0 : usage();
}

}  // namespace
}  // namespace berth::bench

int main(int argc, char** argv) {
  std::string only;
  unsigned long long times = 0;
  bool list = false;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--list") == 0) {
      list = true;
    } else if (std::strcmp(argv[i], "--about") == 0) {
      return berth::bench::tell_about();
    } else if (std::strcmp(argv[i], "--path") == 0 && i + 1 < argc) {
      only = argv[++i];
    } else if (std::strcmp(argv[i], "--times") == 0 && i + 1 < argc) {
      times = std::strtoull(argv[++i], nullptr, 10);
    } else {
      return berth::bench::usage();
    }
  }
  return berth::bench::run(only, times, list);
}
