#include "load_run.h"

#include <algorithm>
#include <utility>

namespace berth::bench {

namespace {

constexpr std::int64_t kFloodTimeoutNs = std::int64_t{180} * 1'000'000'000;
constexpr std::size_t kPromptLanes = 8;

std::string berth_config(const Programs& programs, const std::string& limits) {
  return "[agents.flood]\ncommand = \"" + programs.agent +
         "\"\n[limits]\nconnections_max = 4096\nagents_live_max = 16384\n" + limits;
}

}  // namespace

std::unique_ptr<LoadRun> LoadRun::with_berth(const Programs& programs, const std::string& limits) {
  const std::vector<std::string> command = {programs.berth, "serve",        "--state",
                                            "@/state",      "--listen",     "127.0.0.1:0",
                                            "--config",     "@/config.toml"};
  return std::unique_ptr<LoadRun>(new LoadRun(command, berth_config(programs, limits), true));
}

std::unique_ptr<LoadRun> LoadRun::with_bare_loop(const Programs& programs) {
  return std::unique_ptr<LoadRun>(new LoadRun({programs.bare, programs.agent}, {}, false));
}

LoadRun::LoadRun(std::vector<std::string> command, const std::string& config, bool has_turns)
    : server_(std::move(command), config), has_turns_(has_turns) {}

std::string LoadRun::session_name(std::size_t session) {
  return "load-" + std::to_string(session);
}

HttpLane& LoadRun::lane(std::size_t index) {
  while (lanes_.size() <= index) {
    lanes_.push_back(std::make_unique<HttpLane>(poller_, server_.port(), server_.token()));
  }
  return *lanes_[index];
}

/// Works off `count` items, `at_once` in parallel, each with its own lane: `next` sends the item's
/// call number `step`, or says false when the item needs no more.
void LoadRun::call_all(std::size_t first, std::size_t count, std::size_t at_once,
                       const std::function<bool(HttpLane&, std::size_t item, int step)>& next) {
  struct Place {
    std::size_t item = 0;
    int step = -1;  // -1: no item
  };
  std::vector<Place> places(std::min(at_once, count));
  std::size_t begun = 0;
  std::size_t done = 0;
  for (std::size_t i = 0; i < places.size(); ++i) lane(i);
  while (done < count) {
    for (std::size_t i = 0; i < places.size(); ++i) {
      Place& place = places[i];
      while (!lane(i).busy()) {
        if (place.step >= 0 && (lane(i).status() < 200 || lane(i).status() > 299)) {
          std::fprintf(stderr, "%s\n", lane(i).body().c_str());
          die("a call was refused");
        }
        if (place.step < 0) {
          if (begun == count) break;
          place = {first + begun++, 0};
        } else {
          ++place.step;
        }
        if (next(lane(i), place.item, place.step)) break;
        place.step = -1;
        ++done;
      }
    }
    if (done < count) poller_.turn(-1);
  }
}

double LoadRun::open_sessions(std::size_t count, std::size_t at_once) {
  const std::int64_t begin = now_ns();
  call_all(sessions_, count - sessions_, at_once,
           [](HttpLane& lane, std::size_t session, int step) {
             const std::string name = session_name(session);
             switch (step) {
               case 0:
                 lane.send("POST", "/v1/sessions", R"({"id":")" + name + R"(","agent":"flood"})");
                 return true;
               case 1:  // the agent starts with the first prompt
                 lane.send("POST", "/v1/sessions/" + name + "/turns", R"({"prompt":"hello"})",
                           "Prefer: wait=30\r\n");
                 return true;
               default:
                 return false;
             }
           });
  sessions_ = count;
  return static_cast<double>(now_ns() - begin) / 1e9;
}

void LoadRun::add_reader(std::size_t session) {
  readers_.push_back(
      {session, std::make_unique<SseClient>(poller_, totals_, server_.port(), server_.token(),
                                            session_name(session))});
  while (!readers_.back().client->streaming()) poller_.turn(-1);
}

void LoadRun::add_readers() {
  for (std::size_t session = readers_.size(); session < sessions_; ++session) add_reader(session);
}

FloodResult LoadRun::flood(const std::function<std::size_t(std::size_t session)>& count_of,
                           int rate, bool sample_rss) {
  pause(200);  // what was before has its last commits
  std::uint64_t wanted = 0;
  std::uint64_t turns = 0;
  std::vector<std::size_t> prompted;
  for (Reader& reader : readers_) {
    reader.client->begin_turn();
    wanted += count_of(reader.session);
    if (count_of(reader.session) > 0) ++turns;
  }
  for (std::size_t session = 0; session < sessions_; ++session) {
    if (count_of(session) > 0) prompted.push_back(session);
  }
  totals_ = {};
  const std::int64_t cpu_begin = server_.cpu_ns();
  const std::int64_t begin = now_ns();
  call_all(0, prompted.size(), kPromptLanes, [&](HttpLane& lane, std::size_t item, int step) {
    if (step > 0) return false;
    const std::size_t session = prompted[item];
    lane.send("POST", "/v1/sessions/" + session_name(session) + "/turns",
              R"({"prompt":"flood )" + std::to_string(count_of(session)) + " " +
                  std::to_string(rate) + "\"}");
    return true;
  });
  std::int64_t rss_peak = 0;
  std::int64_t next_sample = begin;
  while (totals_.updates < wanted) {
    poller_.turn(100);
    const std::int64_t now = now_ns();
    if (now - begin > kFloodTimeoutNs) die("updates are missing");
    if (sample_rss && now >= next_sample) {
      rss_peak = std::max(rss_peak, server_.rss_bytes());
      next_sample = now + 20'000'000;
    }
  }
  FloodResult result;
  result.seconds = static_cast<double>(now_ns() - begin) / 1e9;
  result.cpu_us = static_cast<double>(server_.cpu_ns() - cpu_begin) / 1e3;
  result.delivered = static_cast<double>(totals_.updates);
  result.p50_us = totals_.delay.quantile(0.5) / 1e3;
  result.p99_us = totals_.delay.quantile(0.99) / 1e3;
  result.rss_peak_mib = static_cast<double>(rss_peak) / (1024 * 1024);
  std::vector<double> means;
  for (const Reader& reader : readers_) {
    if (reader.client->updates() > 0) means.push_back(reader.client->mean_delay_ns());
  }
  std::sort(means.begin(), means.end());
  if (!means.empty()) result.unfairness = means.back() / means[means.size() / 2];
  while (has_turns_ && totals_.turns_ended < turns) poller_.turn(100);
  return result;
}

void LoadRun::pause(int milliseconds) {
  const std::int64_t end = now_ns() + std::int64_t{milliseconds} * 1'000'000;
  for (std::int64_t left = 1; left > 0;) {
    left = (end - now_ns()) / 1'000'000;
    poller_.turn(static_cast<int>(std::max<std::int64_t>(left, 0)));
  }
}

std::string LoadRun::get(const std::string& path) {
  lane(0).send("GET", path, {});
  lane(0).wait();
  return lane(0).body();
}

}  // namespace berth::bench
