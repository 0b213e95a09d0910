// bench/instructions/path.h — the ways through the program whose instructions are counted.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace berth::bench {

/// What is done over and over. Each repetition costs the same but for what happens only now and
/// then (a checkpoint of the store), which shall be small against `Path::times` repetitions.
class Work {
 public:
  virtual ~Work() = default;
  virtual void run(std::uint64_t times) = 0;
};

struct Path {
  std::string_view name;  ///< In baseline.txt, and for --path.
  std::uint64_t times;    ///< Enough for a count that repeats, few enough for callgrind.
  std::unique_ptr<Work> (*make)();
};

/// Parsers, framers, writers, coroutines.
std::vector<Path> core_paths();
/// A whole server on a simulated machine.
std::vector<Path> server_paths();

/// Ends the program: a count of what went wrong is no figure.
[[noreturn]] void wrong(std::string_view what);

/// Makes the compiler believe that somebody looks at `value`.
template <typename T>
void keep(const T& value) {
  asm volatile("" : : "r"(&value) : "memory");
}

}  // namespace berth::bench
