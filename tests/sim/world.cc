#include "world.h"

#include "model_workspaces.h"

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/io/awaitables.h>
#include <berth/io/stream.h>
#include <berth/server/app.h>
#include <berth/server/store/sqlite_store.h>

#include "scripted_agent.h"

#include <unistd.h>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>

namespace berth::sim_test {

namespace {

using io::FaultPlan;
using io::SimMachine;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr const char* kState = "/state";
constexpr const char* kToken = "bt_simulated_token_of_the_test";
constexpr const char* kAddress = "127.0.0.1:8420";
constexpr const char* kMemory = "/home/agent/sessions";
constexpr const char* kSecondMemory = "/home/second/sessions";
constexpr std::uint64_t kStepsMax = 3'000'000;

// --- the programs of the machine ---

Task<int> scripted_program(io::SimProcess& process, std::function<void(std::size_t)> on_turns) {
  Result<bench::ScriptedOptions> options = bench::parse_scripted_options(process.arguments());
  if (!options.has_value()) co_return 2;
  const std::unique_ptr<io::ByteStream> stream =
      io::make_duplex_stream(process.reactor(), process.stdin_handle, process.stdout_handle);
  bench::ScriptedWorld world;
  world.reactor = &process.reactor();
  world.files = &process.files();
  world.random = &process.random();
  world.stream = stream.get();
  world.stop = process.stop_token();
  world.write_stderr = [](std::string_view) {};
  world.exit_now = [&process](int code) {
    if (code < 0) {
      process.kill(SIGKILL);
    } else {
      process.exit(code);
    }
  };
  world.on_turns = std::move(on_turns);
  world.spawn_sleeper = [&process](int time) {
    process.spawn_child("sleeper", {std::to_string(time)});
  };
  const int code = co_await bench::run_scripted_agent(world, *options);
  co_await stream->close();
  co_return code;
}

Task<int> sleeper_program(io::SimProcess& process) {
  const TimePoint until =
      process.clock().now() + seconds(std::atoi(process.arguments().front().c_str()));
  const bool slept = co_await io::Sleep(process.reactor(), until, process.stop_token());
  co_return slept ? 0 : 1;
}

}  // namespace

/// One life of the server; the members end in the right order.
struct World::Life {
  Life(World& world, bool last_life)
      : last(last_life),
        platform(world.machine_, "server"),
        vfs("sim-" + std::to_string(world.seed_) + "-" + std::to_string(world.life_), world.disk_,
            platform.random(), world.machine_.clock()),
        store({"/berth.db", vfs.name(),
               world.power_safe_ ? server::Durability::power : server::Durability::process},
              world.committed_),
        workspaces(platform, kState),
        app(platform, store, workspaces, world.config_, world.log_),
        scope(platform.reactor()) {
    platform.on_crash([this] { vfs.freeze(); });
    if (!last) vfs.faults() = world.disk_faults_;
    scope.spawn(serve(this));
  }

  static Task<void> serve(Life* life) {
    Result<void> started = co_await life->app.start(life->stop.token());
    if (started.has_value()) {
      life->listens = true;
      co_await life->app.serve(life->stop.token());
    } else {
      life->start_error = started.error().message;
    }
  }

  bool last;
  io::SimPlatform platform;
  server::SimVfs vfs;
  RememberedStore store;
  ModelWorkspaces workspaces;
  server::App app;
  StopSource stop;
  bool listens = false;
  bool was_full = false;
  std::string start_error;
  Scope scope;
};

// --- setting up ---

World::World(std::uint64_t seed, const WorldLimits& limits)
    : seed_(seed),
      limits_(limits),
      plan_(seed * 2 + 1),
      machine_(seed),
      disk_(std::make_shared<server::DiskImage>()),
      clients_(machine_, "clients"),
      door_{clients_, {{kAddress}, kAddress}, kToken},
      clients_scope_(clients_) {
  make_machine();
  config_ = make_config();
  make_groups();
}

void World::tell_to(std::function<void(std::string_view)> sink) {
  tell_ = std::move(sink);
}

void World::make_machine() {
  const FaultPlan plans[] = {FaultPlan::none(), FaultPlan::gentle(), FaultPlan::gentle(),
                             FaultPlan::hostile()};
  machine_.faults() = plans[plan_.below(std::size(plans))];
  if (limits_.calm) machine_.faults() = FaultPlan::none();
  power_safe_ = plan_.one_in(3);
  if (plan_.one_in(4) && !limits_.sound_disk) disk_faults_ = {5, 5, 5};
  machine_.add_program("scripted", [this](io::SimProcess& process) { return run_agent(process); });
  machine_.add_program("sleeper", sleeper_program);
  io::SimDisk& disk = machine_.disk();
  for (const char* folder : {kState, kMemory, kSecondMemory, "/repo"}) {
    BERTH_ASSERT(disk.make_directories(folder, 0700).has_value());
  }
  BERTH_ASSERT(disk.write(std::string(kState) + "/token", kToken, 0600).has_value());
  BERTH_ASSERT(disk.write("/repo/README", "a repository\n", 0600).has_value());
  BERTH_ASSERT(disk.write("/repo/notes.txt", "notes\n", 0600).has_value());
}

server::Config World::make_config() {
  server::Config config;
  config.state_directory = kState;
  config.listen = kAddress;
  server::AgentProfile scripted;
  scripted.name = "scripted";
  scripted.command = "scripted";
  scripted.arguments = {"--sessions", kMemory};
  const char* unknown[] = {"acp", "opencode", "params", "null"};
  if (plan_.one_in(3)) scripted.arguments.emplace_back("--no-resume");
  if (plan_.one_in(4)) scripted.arguments.emplace_back("--no-load");
  scripted.arguments.insert(scripted.arguments.end(),
                            {"--unknown", unknown[plan_.below(std::size(unknown))]});
  config.agents.emplace(scripted.name, scripted);
  server::AgentProfile second = scripted;
  second.name = "second";
  second.arguments = {"--sessions", kSecondMemory, "--unknown",
                      unknown[plan_.below(std::size(unknown))]};
  config.agents.emplace(second.name, second);
  if (plan_.one_in(3)) config.sessions.question_expiry = milliseconds(100);
  if (plan_.one_in(3)) config.sessions.rest_after = milliseconds(100);
  // Small limits now and then, so that each way through the code is taken.
  if (plan_.one_in(3)) config.journal.tail_bytes_max = 2000;
  if (plan_.one_in(3)) config.journal.batch_events_max = 8;
  if (seed_ % 5 == 3) config.journal.joined_text_max = 1 + (seed_ % 2 == 0 ? 0 : seed_ % 2000);
  if (plan_.one_in(3)) config.sessions.page_bytes = 300;
  if (seed_ % 4 == 1) config.sessions.queue_time_max = milliseconds(1 + seed_ % 2000);
  if (plan_.one_in(3)) config.sessions.reader_burst_bytes = 500;
  if (seed_ % 3 == 2) {
    config.tidy_every = milliseconds(50 + seed_ % 1000);
    if (seed_ % 2 == 0) config.sessions.log.events_max = 1 + seed_ % 60;
    if (seed_ % 5 < 2) config.sessions.log.events_bytes_max = 500 + seed_ % 9000;
    if (seed_ % 7 < 2) config.sessions.log.events_age_max = milliseconds(seed_ % 5000);
  }
  if (plan_.one_in(2)) share_processes(config);
  if (plan_.one_in(3)) limit_pool(config);
  if (plan_.one_in(3)) {
    config.sessions.stall_after = seconds(1);
    config.sessions.ping_every = seconds(1);
    config.sessions.ping_max = seconds(2);
  }
  return config;
}

/// Several sessions in one process, which grows old in all three ways.
void World::share_processes(server::Config& config) {
  const std::size_t seats = 2 + plan_.below(2);
  server::GenerationLimits generation;
  if (plan_.one_in(3)) generation.sessions_max = 2 + plan_.below(3);
  if (plan_.one_in(3)) generation.age_max = milliseconds(100 << plan_.below(6));
  if (!plan_.one_in(3)) generation.memory_max = 0;
  for (auto& [name, profile] : config.agents) {
    profile.sessions_per_process = seats;
    profile.generation = generation;
  }
}

void World::limit_pool(server::Config& config) {
  config.pool.agents_live_max = 1 + plan_.below(2);
  if (plan_.one_in(2)) config.pool.agents_idle_ttl = milliseconds(50 << plan_.below(6));
  if (plan_.one_in(3)) config.pool.agents_memory_max = std::uint64_t{1} << 30;
  if (plan_.one_in(3)) config.pool.agents_starting_max = 1;
}

/// No process begins for which there is no place: those that die are gone before the next one
/// comes.
Task<int> World::run_agent(io::SimProcess& process) {
  std::size_t alive = 0;
  machine_.for_each_process([&](io::SimProcess& other) {
    const bool agent = other.spec().command == process.spec().command;
    if (agent && other.host() == process.host()) ++alive;
  });
  const std::size_t places = config_.pool.agents_live_max;
  if (places > 0 && alive > places) {
    wrong(std::to_string(alive) + " processes of agents, and places for " + std::to_string(places));
  }
  if (places > 0 && alive == places) ++report_.capped;
  if (process.random().next() % 4 == 0) process.signs.memory_bytes = std::uint64_t{3} << 30;
  const int pid = process.id().pid;
  return scripted_program(process, [this, pid](std::size_t turns) { turns_of_[pid] = turns; });
}

void World::make_groups() {
  const bool shared = config_.agents.at("scripted").sessions_per_process > 1;
  const std::size_t sessions = shared ? 2 + plan_.below(2) : 1 + plan_.below(3) / 2;
  groups_.resize(limits_.one_session ? 1 : sessions);
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    Group& group = groups_[i];
    const char* names[] = {"alpha", "beta", "gamma"};
    group.story.id = names[i];
    const char* permissions[] = {"ask", "ask", "allow", "reject"};
    JsonWriter writer(group.story.open_body);
    writer.begin_object()
        .member("id", group.story.id)
        .member("agent", "scripted")
        .member("permission", permissions[plan_.below(std::size(permissions))]);
    if (plan_.one_in(2)) writer.member("repository", "/repo");
    writer.end_object();
    group.driver = std::make_unique<Driver>(door_, group.story, plan_.next(), limits_.actions_max);
    for (std::uint64_t left = 1 + plan_.below(2); left > 0; --left) {
      group.followers.push_back(std::make_unique<Follower>(door_, group.story.id, plan_.next()));
    }
  }
}

void World::wrong(const std::string& what) {
  if (report_.wrong.empty()) {
    report_.wrong =
        "seed " + std::to_string(seed_) + ", life " + std::to_string(life_) + ": " + what;
  }
}

void World::die(const std::string& what) {
  wrong(what);
  std::fprintf(stderr, "%s\n", report_.wrong.c_str());
  std::abort();
}

// --- the lives ---

WorldReport World::run() {
  for (Group& group : groups_) {
    clients_scope_.spawn(group.driver->run(clients_stop_.token()));
    for (auto& follower : group.followers) {
      clients_scope_.spawn(follower->run(clients_stop_.token()));
    }
  }
  const std::uint64_t lives = std::min(1 + plan_.below(4), limits_.lives_max);
  for (std::uint64_t left = lives; left > 0; --left) live(false);
  live(true);
  clients_stop_.request_stop();
  const auto outcome =
      machine_.run_until([this] { return clients_scope_.size() == 0; }, minutes(10), kStepsMax);
  if (outcome != SimMachine::Outcome::reached) die("the clients do not end");
  if (clients_.started_operations() + clients_.armed_timers() + clients_.open_handles() != 0) {
    wrong("the clients keep something");
  }
  check_log();
  report_.trace_hash = machine_.trace_hash();
  return report_;
}

void World::live(bool last) {
  ++life_;
  if (last) {
    machine_.faults() = FaultPlan::none();
    // The last prompts are to be completed.
    config_.sessions.queue_time_max = {};
    config_.pool.agents_live_max = 0;
    config_.pool.agents_memory_max = 0;
  }
  {
    Life life(*this, last);
    if (last) {
      let_settle(life);
    } else {
      let_crash(life);
    }
    end_life(life);
  }
  // What a power cut takes is only what was not promised.
  if (power_safe_ && !last && plan_.one_in(2)) {
    disk_->lose_power(machine_.random());
    ++report_.power_cuts;
  }
  machine_.run_for(milliseconds(static_cast<int>(plan_.below(2000))));
}

/// Somebody sets the time of day, or a daemon does: by seconds or by days.
void World::jump_clock() {
  const auto by = WallTime(std::int64_t{1000} << plan_.below(18));
  const bool back = plan_.one_in(2);
  if (limits_.true_clock) return;
  machine_.clock().jump_wall(back ? -by : by);
  clock_went_back_ = clock_went_back_ || back;
  ++report_.clock_jumps;
}

/// The most turns that run in one process.
std::size_t World::busiest() {
  std::size_t most = 0;
  machine_.for_each_process(
      [&](io::SimProcess& process) { most = std::max(most, turns_of_[process.id().pid]); });
  return most;
}

/// Somebody kills the process of an agent, where it hurts most.
void World::kill_an_agent() {
  io::SimProcess* chosen = nullptr;
  machine_.for_each_process([&](io::SimProcess& process) {
    if (process.spec().command != "scripted") return;
    const bool busier =
        chosen == nullptr || turns_of_[process.id().pid] > turns_of_[chosen->id().pid];
    if (busier) chosen = &process;
  });
  if (limits_.calm || chosen == nullptr) return;
  chosen->kill(SIGKILL);
  ++report_.agents_killed;
}

void World::let_crash(Life& life) {
  io::SimPlatform& platform = life.platform;
  const std::uint64_t kind = plan_.below(8);
  Duration patience = seconds(40);
  if (kind < 4) {
    platform.crash_soon(std::uint64_t{25} << plan_.below(6), 40);
  } else if (kind < 6) {
    life.vfs.freeze_at(1 + plan_.below(std::uint64_t{10} << plan_.below(5)));
  } else {
    patience = milliseconds(10) * (1 << plan_.below(12));
  }
  // A disk that died in mid-write takes the process with it.
  const auto over = [&life, &platform, this] {
    if (life.vfs.frozen() && !platform.crashed()) {
      ++report_.crashes_in_write;
      platform.crash();
    }
    return platform.crashed() || life.scope.size() == 0;
  };
  if (plan_.one_in(4)) {
    machine_.run_until(over, milliseconds(1 << plan_.below(13)), kStepsMax);
    jump_clock();
  }
  for (std::uint64_t kills = plan_.one_in(3) ? 1 + plan_.below(4) : 0; kills > 0; --kills) {
    machine_.run_until([&] { return over() || busiest() > 1; }, milliseconds(1 << plan_.below(13)),
                       kStepsMax);
    kill_an_agent();
  }
  if (plan_.one_in(4) && !limits_.sound_disk) {
    // For a while the store takes nothing, and maybe until the end.
    machine_.run_until(over, milliseconds(1 << plan_.below(13)), kStepsMax);
    life.vfs.set_full(true);
    life.was_full = true;
    ++report_.full_disks;
    patience = milliseconds(1 << plan_.below(14));
    if (plan_.one_in(2)) {
      machine_.run_until(over, patience, kStepsMax);
      life.vfs.set_full(false);
    }
  }
  machine_.run_until(over, patience, kStepsMax);
  if (life.scope.size() > 0 && !platform.crashed()) {
    if (kind == 7) return;  // it is asked to stop
    platform.crash();
  }
}

void World::let_settle(Life& life) {
  for (Group& group : groups_) group.driver->finish();
  const auto done = [this, &life] {
    if (life.scope.size() == 0) return true;
    return std::all_of(groups_.begin(), groups_.end(),
                       [](const Group& group) { return group.driver->done(); });
  };
  const auto outcome = machine_.run_until(done, std::chrono::hours(2), kStepsMax);
  if (life.scope.size() == 0) return wrong("the last life does not start: " + life.start_error);
  if (outcome != SimMachine::Outcome::reached) {
    std::string open;
    for (const Group& group : groups_) {
      if (!group.driver->done()) open += " " + group.story.id;
    }
    return wrong("what is left open does not settle in the last life:" + open);
  }
  // Late ends of agents, the last events on their way, a quiet moment to pack the log; and whoever
  // began to connect in an earlier life may need more than two minutes to learn that it failed.
  machine_.run_for(minutes(3));
}

void World::end_life(Life& life) {
  const bool crashed = life.platform.crashed();
  if (crashed) {
    ++report_.crashes;
    if (!life.listens) ++report_.crashes_in_start;
  } else {
    ++report_.polite_ends;
  }
  const server::DiskFaultsFired& fired = life.vfs.fired();
  const std::uint64_t errors = fired.write_errors + fired.disk_full + fired.sync_errors;
  report_.disk_errors += errors;
  if (!life.start_error.empty() && !crashed && errors == 0 && !life.was_full) {
    wrong("the server does not start: " + life.start_error);
  }
  if (tell_) {
    tell_("life " + std::to_string(life_) + (crashed ? " crashed" : " ends") +
          (life.listens ? "" : " before it listened") + " at " +
          std::to_string(machine_.now().time_since_epoch().count()) + " ns");
  }
  check_store_health(life);
  life.stop.request_stop();
  const auto outcome =
      machine_.run_until([&life] { return life.scope.size() == 0; }, minutes(30), kStepsMax);
  if (outcome != SimMachine::Outcome::reached) die(describe_stuck(life, crashed));
  check_given_back(life);
}

std::string World::describe_stuck(Life& life, bool crashed) {
  const io::SimReactor& reactor = life.platform.reactor();
  return std::string("the server does not end after its ") + (crashed ? "crash" : "stop") +
         (life.listens ? "" : ", which came before it listened") + ": " +
         std::to_string(reactor.started_operations()) + " operations, " +
         std::to_string(reactor.armed_timers()) + " timers, " +
         std::to_string(reactor.open_handles()) + " handles, " +
         std::to_string(life.platform.offload().busy()) + " jobs are left";
}

/// Whatever happened to the store, nothing of it is damaged.
void World::check_store_health(Life& life) {
  if (life.platform.crashed() || !life.listens || life.scope.size() == 0) return;
  const server::StoreHealth& health = life.app.store_health();
  if (!health.problems.empty()) wrong("the store is damaged: " + health.problems.front());
  if (life.last && health.check == server::StoreCheck::running) {
    wrong("the check of the store has no end");
  }
  if (health.check == server::StoreCheck::sound) ++report_.store_checks;
}

void World::check_given_back(Life& life) {
  const io::SimReactor& reactor = life.platform.reactor();
  if (reactor.started_operations() != 0) wrong("operations are left on the reactor");
  if (reactor.armed_timers() != 0) wrong("timers are left on the reactor");
  if (reactor.open_handles() != 0) wrong("handles are left open");
  if (life.platform.offload().busy() != 0) wrong("jobs are left on the lanes");
  if (life.platform.crashed() || !life.listens) return;
  machine_.run_for(seconds(1));  // for kills on their way
  machine_.for_each_process([this](io::SimProcess& process) {
    wrong("process " + std::to_string(process.id().pid) + " (" + process.spec().command +
          ") outlives a server that was asked to stop");
  });
}

// --- the log and what was told ---

void World::check_log() {
  Prng random(seed_);
  server::SimVfs vfs("sim-check-" + std::to_string(seed_), disk_, random, machine_.clock());
  server::SqliteStore store({"/berth.db", vfs.name()});
  const Result<server::OwnerEpoch> opened = store.open();
  if (!opened.has_value()) return wrong("the store does not open: " + opened.error().message);
  for (Group& group : groups_) {
    if (!group.story.wrong.empty()) wrong(group.story.id + ": " + group.story.wrong);
    Result<server::SessionNo> no = store.find_session("default", group.story.id);
    if (!no.has_value()) {
      wrong("session " + group.story.id + " vanished: " + no.error().message);
    } else {
      check_group(group, *no, store);
    }
  }
  check_agents_memory();
  check_processes();
}

namespace {

std::string whole_log(server::SessionNo no, server::Store& store, std::string& error) {
  std::string frames;
  for (std::uint64_t after = 0;;) {
    Result<server::EventPage> page = store.read_events(no, after, 1 << 20);
    if (!page.has_value()) error = page.error().message;
    if (!page.has_value() || page->first_seq == 0) return frames;
    frames += page->frames;
    after = page->last_seq;
  }
}

std::string minified(const std::string& json) {
  const Result<JsonDoc> doc = JsonDoc::parse(json);
  return doc.has_value() ? doc->root().raw() : std::string();
}

std::string state_name(server::TurnState state) {
  switch (state) {
    case server::TurnState::completed:
      return "completed";
    case server::TurnState::refused:
      return "refused";
    case server::TurnState::cancelled:
      return "cancelled";
    case server::TurnState::failed:
      return "failed";
    case server::TurnState::interrupted:
      return "interrupted";
    case server::TurnState::expired:
      return "expired";
    default:
      return "";
  }
}

/// Where two copies part, for a person.
std::string difference(const std::string& copy, const std::string& log) {
  const auto [at, in_log] = std::mismatch(copy.begin(), copy.end(), log.begin(), log.end());
  const auto from = static_cast<std::size_t>(at - copy.begin());
  const std::size_t begin = from > 80 ? from - 80 : 0;
  return "they part at byte " + std::to_string(from) + " of " + std::to_string(log.size()) +
         "\n--- shown:\n" + copy.substr(begin, 400) + "\n--- log:\n" + log.substr(begin, 400);
}

/// The first contradiction between what the prompting client was told and the log, or nothing.
std::string contradiction(const SessionStory& told, const LogStory& log,
                          const std::vector<server::TurnRow>& rows) {
  if (told.last_seq > log.events.size()) return "an answer counted more events than there are";
  for (const auto& [seq, event] : told.pages) {
    if (seq > log.events.size() || minified(log.events[seq - 1]) != event) {
      return "a page showed another event " + std::to_string(seq) + ": " + event;
    }
  }
  for (const SessionStory::Prompt& prompt : told.prompts) {
    const auto with_key = std::count_if(rows.begin(), rows.end(), [&](const server::TurnRow& row) {
      return row.idempotency_key == prompt.key;
    });
    if (with_key != (prompt.turn.empty() ? with_key & 1 : 1)) {
      return std::to_string(with_key) + " turns have the key " + prompt.key;
    }
    if (prompt.turn.empty()) continue;
    const auto turn = log.turns.find(prompt.turn);
    if (turn == log.turns.end()) return "the accepted prompt " + prompt.text + " is not in the log";
    if (!turn->second.edited && turn->second.number != prompt.number)
      return "the number of " + prompt.text + " changed";
    if (turn->second.prompt.find(prompt.key) == std::string::npos) {
      return "turn " + prompt.turn + " has another prompt than " + prompt.text;
    }
    for (const std::string& edit : prompt.edits) {
      if (turn->second.edits.find(edit) != std::string::npos) continue;
      return "the accepted edit " + edit + " is not in the log";
    }
  }
  for (const auto& [id, state] : told.endings) {
    const auto turn = log.turns.find(id);
    if (turn == log.turns.end() || turn->second.ending != state) {
      return "turn " + id + " was told to be " + state + ", the log has it " +
             (turn == log.turns.end() ? "not at all" : turn->second.ending);
    }
  }
  for (const auto& [id, state] : told.answers) {
    const auto question = log.interactions.find(id);
    if (question == log.interactions.end() || question->second != state) {
      return "question " + id + " was told to be " + state + ", the log has it " +
             (question == log.interactions.end() ? "not at all" : question->second);
    }
  }
  return {};
}

}  // namespace

namespace {

/// The first event with words of that session; empty: there is none. A line that a death cut off
/// names nobody, and is in the log of each.
std::string words_of(const std::string& session, const LogStory& log) {
  for (const std::string& event : log.events) {
    if (event.find("\"type\":\"agent.junk\"") != std::string::npos) continue;
    if (event.find("key-" + session + "-") != std::string::npos) return event.substr(0, 400);
  }
  return {};
}

}  // namespace

void World::check_group(Group& group, server::SessionNo no, server::Store& store) {
  const std::string name = "session " + group.story.id + ": ";
  std::string error;
  const std::string kept = whole_log(no, store, error);
  const Result<server::LogExtent> extent = store.measure_log(no, 1);
  if (!error.empty() || !extent.has_value()) wrong(name + "the log cannot be read: " + error);
  const std::uint64_t first = extent.has_value() ? extent->first_seq : 1;
  if (extent.has_value() && committed_.frames(no, first, extent->last_seq) != kept) {
    wrong(name + "the log is not what was committed");
  }
  const std::uint64_t last = extent.has_value() ? extent->last_seq : 0;
  // What was cut is judged as well: it was the log once.
  const std::string frames = committed_.frames(no, 1, last);
  if (first > 1) ++report_.cut;
  if (first < group.story.first_seq) wrong(name + "a page told of a later begin of the log");
  const LogStory log = read_log(frames, clock_went_back_);
  if (tell_) tell_(name + "\n" + frames);
  if (!log.wrong.empty()) wrong(name + log.wrong);
  for (const Group& other : groups_) {
    const std::string heard = words_of(other.story.id, log);
    if (&other != &group && !heard.empty()) wrong(name + "hears another session: " + heard);
  }
  for (const auto& follower : group.followers) {
    report_.connections += static_cast<std::uint64_t>(follower->connections());
    if (!follower->wrong().empty()) wrong(name + follower->wrong());
    std::string expected;
    std::uint64_t from = 1;
    for (const Follower::Gap& gap : follower->gaps()) {
      ++report_.resets;
      if (gap.to >= first) wrong(name + "a follower was told that an event went that is there");
      expected += committed_.frames(no, from, gap.from - 1);
      from = gap.to + 1;
    }
    expected += committed_.frames(no, from, last);
    if (follower->copy() != expected) {
      wrong(name +
            "a follower has no true copy of the log: " + difference(follower->copy(), expected));
    }
  }
  Result<std::vector<server::TurnRow>> rows = store.list_turns(no, 0, 1000);
  Result<std::vector<server::InteractionRow>> open = store.list_interactions(no, true, 10);
  if (!rows.has_value() || !open.has_value()) return wrong(name + "its rows cannot be read");
  if (!open->empty()) wrong(name + "a question is left open");
  if (rows->size() != log.turns.size()) wrong(name + "turns and log differ in number");
  for (const server::TurnRow& row : *rows) {
    const auto turn = log.turns.find(row.id);
    if (turn == log.turns.end() || turn->second.ending.empty()) {
      wrong(name + "turn " + row.id + " has no ending in the log");
    } else if (turn->second.ending != state_name(row.state)) {
      wrong(name + "turn " + row.id + " ends in two ways");
    }
    if (row.state == server::TurnState::interrupted) ++report_.interrupted;
    if (row.reason == "the turn's timeout is over") {
      ++report_.timed_out;
      if (row.timeout_ms == 0) wrong(name + "a turn without a timeout timed out");
    }
  }
  const std::string found = contradiction(group.story, log, *rows);
  if (!found.empty()) wrong(name + found);
  report_.prompts += group.story.prompts.size();
  report_.events += log.events.size();
  report_.decisions += static_cast<std::uint64_t>(log.decisions);
  report_.evictions += static_cast<std::uint64_t>(log.evictions);
  report_.stalls += static_cast<std::uint64_t>(log.stalls);
  seats_.insert(seats_.end(), log.seats.begin(), log.seats.end());
  if (log.attached.size() > 1) ++report_.switches;
  report_.filled_in += group.story.filled_in;
  report_.edits += static_cast<std::uint64_t>(log.edits);
  report_.sent_now += group.story.sent_now;
  report_.revived += group.story.revived;
  for (const auto& [id, state] : log.interactions) {
    if (state == "expired") ++report_.expired;
  }
  for (const auto& [id, turn] : log.turns) {
    if (turn.started) started_prompts_ += turn.prompt;
  }
}

/// No agent may have heard of a prompt whose turn is not in the log, and of none twice: a client
/// that got no answer repeats its prompt, and then it must not have been sent before.
void World::check_agents_memory() {
  std::map<std::string, int> heard;
  std::vector<std::string> memories = machine_.disk().list(kMemory);
  for (std::string& path : machine_.disk().list(kSecondMemory)) memories.push_back(std::move(path));
  for (const std::string& path : memories) {
    const Result<JsonDoc> memory = JsonDoc::parse(machine_.disk().find(path)->content);
    if (!memory.has_value()) continue;
    for (const JsonView& entry : memory->root().elements("history")) {
      std::string prompt(entry.get_string("prompt").value_or(""));
      while (prompt.ends_with('\n')) prompt.pop_back();
      const std::size_t at = prompt.find("key-");
      const std::string key = prompt.substr(at, prompt.find("-end", at) + 4 - at);
      if (++heard[key] > 1) wrong("agents were given " + key + " twice");
      if (started_prompts_.find(prompt.substr(at)) == std::string::npos) {
        wrong("an agent was given " + prompt.substr(at) + ", which no log has started");
      }
    }
  }
}

/// What the sessions that shared a process say of it.
void World::check_processes() {
  const server::AgentProfile& profile = config_.agents.at("scripted");
  SeatRules rules;
  rules.seats_max = profile.sessions_per_process;
  rules.sessions_max = profile.generation.sessions_max;
  rules.age_max_ms = std::chrono::duration_cast<milliseconds>(profile.generation.age_max).count();
  if (report_.clock_jumps > 0) return;
  const ProcessStory story = check_seats(seats_, rules);
  if (!story.wrong.empty()) wrong(story.wrong);
  report_.shared += story.shared;
  report_.shared_deaths += story.deaths_at_work;
  report_.generations += story.generations;
}

namespace {

std::uint64_t announced_seed = 0;

void tell_seed(int) {
  static constexpr char kBefore[] = "\nthe simulation was at seed ";
  char digits[24];
  std::size_t at = sizeof digits;
  digits[--at] = '\n';
  std::uint64_t left = announced_seed;
  do {
    digits[--at] = static_cast<char>('0' + left % 10);
    left /= 10;
  } while (left > 0);
  bool told = ::write(STDERR_FILENO, kBefore, sizeof kBefore - 1) > 0;
  told = ::write(STDERR_FILENO, digits + at, sizeof digits - at) > 0 && told;
  static_cast<void>(told);
  for (const int signal_number : {SIGABRT, SIGSEGV}) std::signal(signal_number, SIG_DFL);
}

}  // namespace

void announce_seed(std::uint64_t seed) {
  announced_seed = seed;
  for (const int signal_number : {SIGABRT, SIGSEGV}) std::signal(signal_number, tell_seed);
}

}  // namespace berth::sim_test
