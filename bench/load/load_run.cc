#include "load_run.h"

#include <algorithm>
#include <ctime>
#include <utility>

namespace berth::bench {

namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kFloodTimeoutNs = 180'000 * kMs;
constexpr std::int64_t kQuietNs = 3'000 * kMs;  // without an update, all turns ended
constexpr std::int64_t kHungNs = 30'000 * kMs;  // without an update in the middle of turns
constexpr std::size_t kPromptLanes = 8;

double own_cpu_us() {
  timespec time = {};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}

}  // namespace

void send_call(HttpLane& lane, const Call& call) {
  lane.send(call.method, call.path, call.body, call.headers);
}

LoadRun::LoadRun(const Host& host, const Programs& programs, const std::string& limits)
    : host_(host), programs_(programs), server_(host.command(programs, limits)) {}

std::string LoadRun::session_name(std::size_t session) {
  return "load-" + std::to_string(session);
}

/// Lanes that wait for no answer: prompts that are held keep theirs busy.
std::vector<HttpLane*> LoadRun::idle_lanes(std::size_t count) {
  std::vector<HttpLane*> found;
  for (const auto& known : lanes_) {
    if (found.size() < count && !known->busy()) found.push_back(known.get());
  }
  while (found.size() < count) {
    lanes_.push_back(std::make_unique<HttpLane>(poller_, server_.port(), server_.token()));
    found.push_back(lanes_.back().get());
  }
  return found;
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
  std::vector<HttpLane*> lanes = idle_lanes(places.size());
  std::size_t begun = 0;
  std::size_t done = 0;
  while (done < count) {
    for (std::size_t i = 0; i < places.size(); ++i) {
      Place& place = places[i];
      while (!lanes[i]->busy()) {
        if (place.step >= 0 && (lanes[i]->status() < 200 || lanes[i]->status() > 299)) {
          throw Fatal("a call was refused: " + lanes[i]->body());
        }
        if (place.step < 0) {
          if (begun == count) break;
          place = {first + begun++, 0};
        } else {
          ++place.step;
        }
        if (next(*lanes[i], place.item, place.step)) break;
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
           [this](HttpLane& lane, std::size_t session, int step) {
             const std::optional<Call> call = host_.open_call(session_name(session), step);
             if (call) send_call(lane, *call);
             return call.has_value();
           });
  sessions_ = count;
  return static_cast<double>(now_ns() - begin) / 1e9;
}

void LoadRun::make_calls(const std::vector<Call>& calls, std::size_t at_once) {
  call_all(0, calls.size(), at_once, [&calls](HttpLane& lane, std::size_t item, int step) {
    if (step == 0) send_call(lane, calls[item]);
    return step == 0;
  });
}

SseClient& LoadRun::add_reader(std::size_t session) {
  readers_.push_back(
      {session, std::make_unique<SseClient>(poller_, totals_, host_, server_.port(),
                                            server_.token(), session_name(session))});
  SseClient& client = *readers_.back().client;
  while (!client.streaming()) poller_.turn(-1);
  return client;
}

void LoadRun::add_readers() {
  for (std::size_t session = readers_.size(); session < sessions_; ++session) add_reader(session);
}

void LoadRun::prompt_all(const std::vector<std::size_t>& sessions,
                         const std::function<std::string(std::size_t)>& text_of) {
  if (host_.holds_prompts()) {
    for (const std::size_t session : sessions) prompt(session, text_of(session));
    return;
  }
  call_all(0, sessions.size(), kPromptLanes, [&](HttpLane& lane, std::size_t item, int step) {
    const std::size_t session = sessions[item];
    if (step == 0) send_call(lane, host_.prompt_call(session_name(session), text_of(session)));
    return step == 0;
  });
}

void LoadRun::prompt(std::size_t session, const std::string& text) {
  HttpLane& free = *idle_lanes(1).front();
  send_call(free, host_.prompt_call(session_name(session), text));
  if (!host_.holds_prompts()) free.wait();
}

/// True when what has not come by now is lost: all turns have ended and it is quiet since.
bool LoadRun::gave_up(std::uint64_t turns, std::int64_t now) const {
  if (host_.must_be_exact()) return false;
  const bool answered =
      std::none_of(lanes_.begin(), lanes_.end(), [](const auto& known) { return known->busy(); });
  const bool ended = totals_.turns_ended >= turns || (host_.holds_prompts() && answered);
  return now - totals_.last_read_ns > (ended ? kQuietNs : kHungNs);
}

void LoadRun::wait_for_updates(std::uint64_t wanted, std::uint64_t turns, std::int64_t& rss_peak,
                               bool sample_rss) {
  const std::int64_t begin = now_ns();
  std::int64_t next_sample = begin;
  totals_.last_read_ns = std::max(totals_.last_read_ns, begin);
  while (totals_.updates + totals_.lost < wanted) {
    poller_.turn(100);
    const std::int64_t now = now_ns();
    if (gave_up(turns, now)) return;
    if (now - begin > kFloodTimeoutNs) die("updates are missing");
    if (sample_rss && now >= next_sample) {
      rss_peak = std::max(rss_peak, server_.rss_bytes());
      next_sample = now + 20 * kMs;
    }
  }
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
  const double client_begin = own_cpu_us();
  const CpuWindow window(server_, programs_.agent);
  const std::int64_t begin = now_ns();
  prompt_all(prompted, [&](std::size_t session) {
    return "flood " + std::to_string(count_of(session)) + " " + std::to_string(rate);
  });
  std::int64_t rss_peak = 0;
  wait_for_updates(wanted, turns, rss_peak, sample_rss);
  FloodResult result;
  const Spent spent = window.so_far();
  result.cpu_us = spent.server_us;
  result.client_us = own_cpu_us() - client_begin;
  result.agents_us = spent.agents_us;
  result.helpers_us = spent.helpers_us;
  result.seconds = static_cast<double>(totals_.last_read_ns - begin) / 1e9;
  result.delivered = static_cast<double>(totals_.updates);
  result.bytes = static_cast<double>(totals_.bytes);
  result.lost = static_cast<double>(wanted - totals_.updates);
  result.disordered = static_cast<double>(totals_.disordered);
  result.p50_us = totals_.delay.quantile(0.5) / 1e3;
  result.p99_us = totals_.delay.quantile(0.99) / 1e3;
  result.rss_peak_mib = static_cast<double>(rss_peak) / (1024 * 1024);
  std::vector<double> means;
  for (const Reader& reader : readers_) {
    if (reader.client->updates() > 0) means.push_back(reader.client->mean_delay_ns());
  }
  std::sort(means.begin(), means.end());
  if (!means.empty()) result.unfairness = means.back() / means[means.size() / 2];
  while (host_.says_turns() && totals_.turns_ended < turns) poller_.turn(100);
  return result;
}

bool LoadRun::run_until(const std::function<bool()>& done, int timeout_ms) {
  for (const std::int64_t begin = now_ns(); !done(); poller_.turn(50)) {
    if (now_ns() - begin > timeout_ms * kMs) return false;
  }
  return true;
}

void LoadRun::pause(int milliseconds) {
  const std::int64_t end = now_ns() + milliseconds * kMs;
  for (std::int64_t left = 1; left > 0;) {
    left = (end - now_ns()) / kMs;
    poller_.turn(static_cast<int>(std::max<std::int64_t>(left, 0)));
  }
}

std::string LoadRun::get(const std::string& path) {
  HttpLane& free = *idle_lanes(1).front();
  free.send("GET", path, {});
  free.wait();
  return free.body();
}

void LoadRun::stop(bool hard) {
  readers_.clear();
  lanes_.clear();
  if (hard) {
    server_.kill_hard();
  } else {
    server_.stop();
  }
}

std::vector<std::uint64_t> LoadRun::updates_of_readers() const {
  std::vector<std::uint64_t> found;
  for (const Reader& reader : readers_) found.push_back(reader.client->updates());
  return found;
}

void LoadRun::replace_reader(std::size_t index, std::uint64_t updates) {
  Reader& place = readers_[index];
  place.client.reset();
  place.client = std::make_unique<SseClient>(poller_, totals_, host_, server_.port(),
                                             server_.token(), session_name(place.session));
  const SseClient& client = *place.client;
  if (!run_until([&] { return client.updates() >= updates; }, 60'000)) die("a replay hangs");
}

}  // namespace berth::bench
