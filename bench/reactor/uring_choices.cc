// bench/reactor/uring_choices.cc — `uring-choices [--rounds N] [WORD]...`: the ways of each choice
// take turns within a round; a figure is the median of the rounds, a ratio is formed within the
// round, to the first way. CPU of the process unless the item says otherwise.
#include "uring_choices.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace berth::bench {
namespace {

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void measure(const Choice& choice, std::size_t rounds) {
  std::vector<NamedWay> ways = choice.make();
  std::vector<std::vector<double>> times(ways.size());
  std::vector<std::vector<double>> ratios(ways.size());
  for (std::size_t round = 0; round < rounds + 2; ++round) {
    std::vector<double> of_round;
    for (NamedWay& way : ways) of_round.push_back(way.way->round());
    if (round < 2) continue;  // warming up
    for (std::size_t i = 0; i < ways.size(); ++i) {
      times[i].push_back(of_round[i]);
      ratios[i].push_back(of_round[i] / of_round[0]);
    }
  }
  std::printf("%s (ns for %s)\n", choice.name.c_str(), choice.item.c_str());
  for (std::size_t i = 0; i < ways.size(); ++i) {
    std::printf("  %-34s %9.0f  x%.2f\n", ways[i].name.c_str(), median(times[i]),
                median(ratios[i]));
  }
  std::fflush(stdout);
}

bool wanted(const Choice& choice, const std::vector<std::string_view>& words) {
  return words.empty() || std::any_of(words.begin(), words.end(), [&](std::string_view word) {
           return choice.name.find(word) != std::string::npos;
         });
}

int run(int argc, char** argv) {
  std::size_t rounds = 31;
  std::vector<std::string_view> words;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--rounds" && i + 1 < argc) {
      rounds = static_cast<std::size_t>(std::strtoul(argv[++i], nullptr, 10));
    } else {
      words.push_back(argument);
    }
  }
  std::signal(SIGPIPE, SIG_IGN);
  for (auto* choices : {socket_choices, receive_choices, file_choices}) {
    for (const Choice& choice : choices()) {
      if (wanted(choice, words)) measure(choice, rounds);
    }
  }
  return 0;
}

}  // namespace
}  // namespace berth::bench

int main(int argc, char** argv) {
  return berth::bench::run(argc, argv);
}
