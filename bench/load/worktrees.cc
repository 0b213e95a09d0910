#include "scenarios.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace berth::bench {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFilesOfFolder = 50;
constexpr std::size_t kTouched = 20;

/// A repository with a commit of `count` files of about 200 bytes.
std::string make_repository(const std::string& folder, std::size_t count) {
  const std::string path = folder + "/repository";
  for (std::size_t i = 0; i < count; ++i) {
    const std::string in = path + "/d" + std::to_string(i / kFilesOfFolder);
    if (i % kFilesOfFolder == 0) fs::create_directories(in);
    std::ofstream(in + "/f" + std::to_string(i % kFilesOfFolder)) << "file " << i << '\n'
                                                                  << std::string(200, 'x') << '\n';
  }
  const std::string git =
      "git -C '" + path + "' -c user.name=bench -c user.email=bench@localhost -c gc.auto=0 ";
  const std::string command = git + "init -q && " + git + "add -A && " + git + "commit -q -m base";
  if (std::system(command.c_str()) != 0) die("git");
  return path;
}

double at_share(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

}  // namespace

Figures run_diff(const Scenario& scenario, const Host& host, const Programs& programs) {
  LoadRun run(host, programs);
  const std::string repository = make_repository(run.server().folder(), scenario.sessions);
  const std::int64_t begin = now_ns();
  run.make_calls({{"POST", "/v1/sessions",
                   R"({"id":"load-0","agent":"flood","repository":")" + repository + "\"}"}},
                 1);
  const double opened_ms = static_cast<double>(now_ns() - begin) / 1e6;
  run.assume_sessions(1);
  run.make_calls(
      {{"POST", "/v1/sessions/load-0/turns", R"({"prompt":"hello"})", "Prefer: wait=30\r\n"}}, 1);
  run.add_reader(0);
  run.pause(500);
  std::vector<double> turns;
  std::vector<double> changes;
  std::vector<double> patches;
  double bytes = 0;
  const CpuWindow window(run.server(), programs.agent);
  for (std::size_t i = 0; i < scenario.updates; ++i) {
    const std::uint64_t known = run.totals().changes;
    const std::int64_t asked = now_ns();
    run.prompt(0, "touch " + std::to_string(kTouched) + " " + std::to_string(i));
    if (!run.run_until([&] { return run.totals().changes > known; }, 60'000)) die("no change");
    turns.push_back(static_cast<double>(run.totals().last_end_ns - asked) / 1e6);
    changes.push_back(static_cast<double>(run.totals().last_change_ns - run.totals().last_end_ns) /
                      1e6);
    const std::int64_t wanted = now_ns();
    bytes = static_cast<double>(run.get("/v1/sessions/load-0/changes/patch").size());
    patches.push_back(static_cast<double>(now_ns() - wanted) / 1e6);
  }
  return {{"open_ms", opened_ms},
          {"turn_p50_ms", at_share(turns, 0.5)},
          {"turn_max_ms", at_share(turns, 1)},
          {"change_after_turn_p50_ms", at_share(changes, 0.5)},
          {"change_after_turn_max_ms", at_share(changes, 1)},
          {"patch_p50_ms", at_share(patches, 0.5)},
          {"patch_bytes", bytes},
          {"cpu_ms", window.so_far().server_us / 1e3 / static_cast<double>(scenario.updates)}};
}

}  // namespace berth::bench
