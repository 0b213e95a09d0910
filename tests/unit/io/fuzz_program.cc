#include "fuzz_program.h"

#include <berth/core/prng.h>

#include <array>

namespace berth::inline v0::io::fuzz {

namespace {

struct Chance {
  Act act;
  unsigned weight;
};
constexpr std::array kChances = {
    Chance{Act::turns, 20},       Chance{Act::await, 5},        Chance{Act::read, 12},
    Chance{Act::pause, 8},        Chance{Act::resume, 12},      Chance{Act::cancel_read, 6},
    Chance{Act::write, 24},       Chance{Act::cancel_write, 3}, Chance{Act::end_writing, 1},
    Chance{Act::close_reader, 1}, Chance{Act::hand_over, 3},    Chance{Act::poll, 4},
    Chance{Act::cancel_poll, 3},  Chance{Act::arm, 6},          Chance{Act::disarm, 3},
    Chance{Act::post, 4},         Chance{Act::post_from, 4},    Chance{Act::file, 5},
    Chance{Act::cancel_file, 2},
};

Act pick_act(Prng& random) {
  unsigned total = 0;
  for (const Chance& chance : kChances) total += chance.weight;
  std::uint64_t at = random.below(total);
  for (const Chance& chance : kChances) {
    if (at < chance.weight) return chance.act;
    at -= chance.weight;
  }
  return Act::turns;
}

/// Mostly small, now and then as much as a pipe holds or a byte beside it, or much more.
std::uint64_t pick_size(Prng& random) {
  switch (random.below(12)) {
    case 0:
      return 64 * 1024 - 1 + random.below(3);
    case 1:
      return 1 + random.below(200'000);
    case 2:
    case 3:
      return 1 + random.below(20'000);
    default:
      return 1 + random.below(2'000);
  }
}

LinePlan pick_line(Prng& random, bool socket) {
  LinePlan line;
  line.socket = socket;
  if (socket && random.one_in(2)) line.way = ReadOp::Way::buffers;
  line.turn_budget = random.one_in(3) ? 10 + random.below(500)
                                      : 500 + random.below(random.one_in(2) ? 5'000 : 100'000);
  line.cancels_writes = random.one_in(3);
  line.closes_reader = !socket && random.one_in(4);
  return line;
}

Step pick_step(Prng& random, const Program& program) {
  for (;;) {
    Step step;
    step.act = pick_act(random);
    step.seed = random.next();
    step.object = random.below(program.lines.size());
    const LinePlan& line = program.lines[step.object];
    switch (step.act) {
      case Act::turns:
        step.amount = 1 + random.below(random.one_in(4) ? 20 : 3);
        return step;
      case Act::write:
        step.amount = pick_size(random);
        return step;
      case Act::cancel_write:
        if (!line.cancels_writes) continue;
        return step;
      case Act::close_reader:
        if (!line.closes_reader) continue;
        return step;
      case Act::hand_over:
        if (line.socket) continue;
        return step;
      case Act::poll:
      case Act::cancel_poll:
        // Beside a read by buffers the kernel may have taken the bytes already, or not yet.
        if (line.way == ReadOp::Way::buffers) continue;
        return step;
      case Act::arm:
        step.object = random.below(program.timers);
        step.amount = random.below(random.one_in(3) ? 1 : 800);
        return step;
      case Act::disarm:
        step.object = random.below(program.timers);
        return step;
      case Act::file:
      case Act::cancel_file:
        if (program.files == 0) continue;
        step.object = random.below(program.files);
        step.amount = 1 + random.below(5'000);
        return step;
      default:
        return step;
    }
  }
}

}  // namespace

std::string_view to_string(Act act) {
  static constexpr std::array<std::string_view, kActs> kNames = {
      "turns",       "await",     "read",         "pause",       "resume",
      "cancel_read", "write",     "cancel_write", "end_writing", "close_reader",
      "hand_over",   "poll",      "cancel_poll",  "arm",         "disarm",
      "post",        "post_from", "file",         "cancel_file"};
  return kNames[static_cast<std::size_t>(act)];
}

Program make_program(std::uint64_t seed) {
  Prng random(seed);
  Program program;
  program.seed = seed;
  for (std::uint64_t left = random.below(3); left > 0; --left) {
    program.cancels_connect.push_back(random.one_in(3) ? static_cast<int>(random.below(4)) : -1);
    for (int i = 0; i < 2; ++i) program.lines.push_back(pick_line(random, true));
  }
  for (std::uint64_t left = 1 + random.below(3); left > 0; --left) {
    program.lines.push_back(pick_line(random, false));
  }
  program.timers = 1 + random.below(4);
  program.files = random.below(3);
  for (std::uint64_t left = 20 + random.below(100); left > 0; --left) {
    program.steps.push_back(pick_step(random, program));
  }
  for (std::uint64_t left = random.below(6); left > 0; --left) {
    Reaction reaction;
    reaction.line = random.below(program.lines.size());
    reaction.nth = random.below(12);
    static constexpr std::array kActsInside = {Act::pause, Act::resume, Act::cancel_read,
                                               Act::arm,   Act::post,   Act::disarm};
    reaction.step.act = kActsInside[random.below(kActsInside.size())];
    const bool timer = reaction.step.act == Act::arm || reaction.step.act == Act::disarm;
    reaction.step.object = random.below(timer ? program.timers : program.lines.size());
    reaction.step.amount = random.below(300);
    program.reactions.push_back(reaction);
  }
  return program;
}

std::string describe(const Program& program) {
  std::string text = "program " + std::to_string(program.seed) + "\n";
  for (const int after : program.cancels_connect) {
    text += "connection, connect cancelled after " + std::to_string(after) + " turns\n";
  }
  for (std::size_t i = 0; i < program.lines.size(); ++i) {
    const LinePlan& line = program.lines[i];
    text += "line " + std::to_string(i) + (line.socket ? " of a socket" : " of a pipe") +
            (line.way == ReadOp::Way::buffers ? " by buffers" : "") + ", budget " +
            std::to_string(line.turn_budget) + "\n";
  }
  const auto add = [&text](const Step& step) {
    text.append(to_string(step.act)).append(" ").append(std::to_string(step.object));
    text.append(" ").append(std::to_string(step.amount)).append("\n");
  };
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    text += std::to_string(i) + ": ";
    add(program.steps[i]);
  }
  for (const Reaction& reaction : program.reactions) {
    text += "in read " + std::to_string(reaction.nth) + " of line " +
            std::to_string(reaction.line) + ": ";
    add(reaction.step);
  }
  return text;
}

}  // namespace berth::inline v0::io::fuzz
