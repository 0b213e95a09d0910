// tests/fuzz/fuzz.h — what the fuzz targets share: checks, and decisions read out of the input.
#pragma once

#include <berth/core/ndjson.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>

/// The entry point that libFuzzer and the replay driver call.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

/// Ends the program when a property does not hold.
#define FUZZ_CHECK(condition)                                                        \
  do {                                                                               \
    if (!(condition)) {                                                              \
      std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                  \
    }                                                                                \
  } while (false)

namespace berth::fuzz {

/// Takes decisions from the front of the input; the rest is the text under test.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size)
      : rest_(reinterpret_cast<const char*>(data), size) {}

  std::uint8_t byte() {
    if (rest_.empty()) return 0;
    const auto value = static_cast<std::uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return value;
  }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

/// Cuts a text into chunks of pseudo-random sizes.
class Chunks {
 public:
  Chunks(std::string_view text, std::uint8_t seed) : text_(text), state_(seed * 2654435761U + 1) {}

  bool done() const { return text_.empty(); }
  std::string_view next() {
    state_ = state_ * 1664525U + 1013904223U;
    const std::size_t size =
        (state_ >> 28) < 12 ? 1 + (state_ >> 24) % 4 : 1 + (state_ >> 16) % 200;
    const std::string_view chunk = text_.substr(0, size);
    text_.remove_prefix(chunk.size());
    return chunk;
  }

 private:
  std::string_view text_;
  std::uint32_t state_;
};

/// A copy of exactly the promised size on the heap, so that the address sanitizer sees every read
/// behind it.
class Padded {
 public:
  Padded(std::string_view text, char padding, std::size_t padding_size = kLinePadding)
      : bytes_(new char[text.size() + padding_size]), size_(text.size()) {
    text.copy(bytes_.get(), text.size());
    for (std::size_t i = 0; i < padding_size; ++i) bytes_[text.size() + i] = padding;
  }
  std::string_view text() const { return {bytes_.get(), size_}; }

 private:
  std::unique_ptr<char[]> bytes_;
  std::size_t size_;
};

}  // namespace berth::fuzz
