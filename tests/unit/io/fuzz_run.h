// tests/unit/io/fuzz_run.h — runs a random program on an engine, and says whether every promise was
// kept and how everything ended.
#pragma once

#include "fuzz_program.h"
#include "reactor_conformance.h"

#include <cstdint>
#include <string>
#include <vector>

namespace berth::inline v0::io::fuzz {

/// How far each line was: bytes that came out, reads and polls that had ended.
struct Progress {
  struct OfLine {
    std::size_t received = 0;
    std::size_t reads_ended = 0;
    std::size_t polls_ended = 0;
  };
  std::vector<OfLine> lines;
};

struct Outcome {
  /// The first promise that was broken; empty if all were kept.
  std::string wrong;
  /// What the program alone decides, object by object: the same on every engine.
  std::vector<std::string> decided;
  /// What the race between the program and the world decides, object by object: which ways there
  /// are is found out by simulation.
  std::vector<std::string> raced;
  std::uint64_t operations = 0;
  /// After each step of the program that let the loops turn.
  std::vector<Progress> progress;
};

struct Options {
  /// The rig's fault plan breaks connections, lacks descriptors and disk: ends may say so.
  bool hostile = false;
  /// Turns of the loops for one of the program. A simulated turn may do less than a real one.
  unsigned pace = 1;
  /// Another engine's run of the same program: the loops turn as often as it takes to come as far
  /// as that run had come, step by step, and not much farther.
  const std::vector<Progress>* follow = nullptr;
};

Outcome run(ReactorRig& rig, const Program& program, const Options& options = {});

}  // namespace berth::inline v0::io::fuzz
