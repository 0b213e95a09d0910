#include "scenarios.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>

namespace berth::bench {

namespace {

/// A command of berth's own CLI on the state of a server that does not run; dies when it fails.
void berth_cli(const Programs& programs, const std::string& folder, const std::string& rest) {
  const std::string command = "'" + programs.berth + "' --state '" + folder + "/state' " + rest +
                              " >>'" + folder + "/cli' 2>&1";
  if (std::system(command.c_str()) != 0) die(command.c_str());
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

std::string string_member(const std::string& json, const std::string& name) {
  const std::string key = "\"" + name + "\":\"";
  const std::size_t begin = json.find(key) + key.size();
  return json.substr(begin, json.find('"', begin) - begin);
}

/// `text` with its last letters replaced by a number: another name of the same form.
std::string renumbered(std::string text, std::size_t number) {
  const std::string digits = std::to_string(number);
  return text.replace(text.size() - digits.size(), digits.size(), digits);
}

/// Fills the store of a server that does not run with copies of its only session, until there are
/// `count`: the lines of an export, with other names in them.
void multiply_session(const Programs& programs, const std::string& folder, std::size_t count) {
  const std::string from = folder + "/one.ndjson";
  const std::string to = folder + "/all.ndjson";
  const std::string command = "'" + programs.berth + "' --state '" + folder +
                              "/state' store export >'" + from + "' 2>/dev/null";
  if (std::system(command.c_str()) != 0) die(command.c_str());
  std::vector<std::string> rows;
  std::string head;
  std::ifstream input(from);
  std::getline(input, head);
  for (std::string line; std::getline(input, line);) {
    if (line.starts_with("{\"table\"")) rows.push_back(std::move(line));
  }
  const std::string key = string_member(rows.front(), "key");
  std::string turn;
  for (const std::string& row : rows) {
    if (row.starts_with(R"({"table":"turns")")) turn = string_member(row, "id");
  }
  std::ofstream output(to);
  output << head << '\n';
  for (const std::string& pattern : rows) {  // tables in the order of the export
    for (std::size_t i = 1; i <= count; ++i) {
      std::string row = pattern;
      const std::string number = std::to_string(i);
      replace_all(row, R"("row":{"no":1,)", R"("row":{"no":)" + number + ",");
      replace_all(row, R"("row":{"session":1,)", R"("row":{"session":)" + number + ",");
      replace_all(row, R"("id":"load-0")", R"("id":"load-)" + std::to_string(i - 1) + '"');
      replace_all(row, key, renumbered(key, i));
      if (!turn.empty()) replace_all(row, turn, renumbered(turn, i));
      output << row << '\n';
    }
  }
  output << R"({"end":)" << rows.size() * count + 1 << "}\n";
  output.close();
  for (const char* name : {"berth.db", "berth.db-wal", "berth.db-log"}) {
    std::filesystem::remove(folder + "/state/" + name);
  }
  berth_cli(programs, folder, "store import <'" + to + "'");
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Starts a server, opens one session with a turn, ends the server, multiplies the session.
void fill_store(LoadRun& run, const Host& host, const Programs& programs, std::size_t count) {
  run.open_sessions(1, 1);
  Call hello = host.prompt_call(LoadRun::session_name(0), "hello");
  hello.headers = "Prefer: wait=30\r\n";
  run.make_calls({hello}, 1);
  run.stop();
  multiply_session(programs, run.server().folder(), count);
}

void start_in_window(LoadRun& run) {
  const PerfWindow window;
  run.start_again();
}

}  // namespace

Figures run_stored(const Scenario& scenario, const Host& host, const Programs& programs) {
  LoadRun run(host, programs);
  run.pause(500);
  const auto alone = static_cast<double>(run.server().rss_bytes());
  const double empty_ms = run.server().start_ms();
  fill_store(run, host, programs, scenario.sessions);
  // The copied session had an agent, so the first start settles all of them: 60 us each.
  run.start_again();
  run.stop();
  std::vector<double> starts;
  for (int i = 0; i < 3; ++i) {
    start_in_window(run);
    starts.push_back(run.server().start_ms());
    if (i < 2) run.stop();
  }
  run.pause(500);
  const auto full = static_cast<double>(run.server().rss_bytes());
  const std::string last = "/v1/sessions/" + LoadRun::session_name(scenario.sessions - 1);
  const bool found = run.get(last).find("\"last_seq\":") != std::string::npos;
  return {{"ready_ms", median(starts)},
          {"ready_ms_empty", empty_ms},
          {"rss_bytes_per_session", (full - alone) / static_cast<double>(scenario.sessions)},
          {"last_session_found", found ? 1 : 0}};
}

Figures run_replay(const Scenario& scenario, const Host& host, const Programs& programs) {
  LoadRun run(host, programs);
  run.open_sessions(1, 1);
  run.add_reader(0);
  {
    const PerfPause fills_the_log;
    run.flood([&](std::size_t) { return scenario.updates_of(host); }, 0);
  }
  run.drop_readers();
  run.pause(500);
  const CpuWindow window(run.server(), programs.agent);
  const std::int64_t begin = now_ns();
  const std::uint64_t before = run.totals().updates;
  for (std::size_t i = 0; i < scenario.readers; ++i) run.add_reader(0);
  const std::uint64_t wanted = before + scenario.readers * scenario.updates_of(host);
  const bool all = run.run_until([&] { return run.totals().updates >= wanted; }, 170'000);
  if (!all && host.must_be_exact()) die("updates are missing");
  const auto came = static_cast<double>(run.totals().updates - before);
  const double seconds = static_cast<double>(run.totals().last_read_ns - begin) / 1e9;
  return {{"events_per_s", came / seconds},
          {"cpu_us", window.so_far().server_us / came},
          {"rss_peak_mib", static_cast<double>(run.server().rss_peak_bytes()) / (1024 * 1024)},
          {"lost", static_cast<double>(wanted - before) - came}};
}

Figures run_crash(const Scenario& scenario, const Host& host, const Programs& programs) {
  LoadRun run(host, programs);
  fill_store(run, host, programs, scenario.sessions);
  run.start_again();
  const std::size_t first = scenario.sessions;  // the stored ones have no agents
  run.assume_sessions(first);
  run.open_sessions(first + scenario.readers, 4);
  for (std::size_t i = 0; i < scenario.readers; ++i) run.add_reader(first + i);
  for (std::size_t i = 0; i < scenario.readers; ++i) run.prompt(first + i, "flood 1000000 200");
  run.run_until([&] { return run.totals().updates >= scenario.readers * 50; }, 60'000);
  const std::vector<std::uint64_t> seen = run.updates_of_readers();
  run.stop(true);
  start_in_window(run);
  const double ready_ms = run.server().start_ms();
  double missing = 0;
  double marked = 0;
  for (std::size_t i = 0; i < scenario.readers; ++i) {
    const std::uint64_t ended = run.totals().turns_ended;
    const SseClient& reader = run.add_reader(first + i);
    if (run.run_until([&] { return run.totals().turns_ended > ended; }, 60'000)) ++marked;
    if (reader.updates() < seen[i]) missing += static_cast<double>(seen[i] - reader.updates());
  }
  return {{"ready_ms", ready_ms}, {"shown_but_lost", missing}, {"turns_marked_ended", marked}};
}

}  // namespace berth::bench
