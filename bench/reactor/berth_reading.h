// bench/reactor/berth_reading.h — a pipe of lines, read by an operation of berth.
#pragma once

#include "material.h"

#include <berth/io/reactor.h>

namespace berth::bench {

/// `work` is that of all pipes of the same reactor.
class Reading final : public io::ReadOp {
 public:
  explicit Reading(LineWork& work) : lines_(work) {}
  void on_read(std::span<char> bytes) override { lines_.feed({bytes.data(), bytes.size()}); }
  void on_read_end(int) override {}

 private:
  LineReader lines_;
};

}  // namespace berth::bench
