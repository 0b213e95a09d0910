#include <berth/server/named/named_agents.h>

#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kSpecBytesMax = std::size_t{1} << 20;
constexpr int kSessionNamesMax = 1000;

Error unknown(std::string_view name) {
  return make_error(ErrorKind::not_found, "agent_not_found", "no named agent " + std::string(name));
}

}  // namespace

NamedAgents::NamedAgents(SessionContext& context, Directory& directory, AgentProfiles& profiles)
    : context_(context), directory_(directory), profiles_(profiles) {}

NamedAgents::~NamedAgents() = default;

std::string NamedAgents::folder_of(std::string_view name) const {
  return context_.state_directory + "/named/" + std::string(name);
}

NamedAgents::Entry* NamedAgents::entry_of(const AgentName& name) const {
  const auto found = entries_.find(name.name);
  return found == entries_.end() ? nullptr : found->second.get();
}

/// Asked with the lock on its verbs: before, it may be on its way in or out.
Result<void> NamedAgents::require(const Entry& entry, const AgentName& name) const {
  if (entry.agent != nullptr && entry.agent->spec().project == name.project) return {};
  return fail(unknown(name.name));
}

// --- from one life of the server to the next ---

Task<Result<void>> NamedAgents::read() {
  io::Files* files = &context_.platform.files();
  using Found = std::vector<std::pair<std::string, Result<std::string>>>;
  Result<Found> found = co_await context_.platform.offload().run(
      io::Lane::files, context_.reactor(),
      [files, folder = context_.state_directory + "/named"]() -> Result<Found> {
        Found specs;
        if (!files->exists(folder)) return specs;
        Result<std::vector<io::FolderEntry>> names = files->list(folder);
        if (!names.has_value()) return fail(std::move(names.error()));
        for (const io::FolderEntry& entry : *names) {
          if (!entry.folder) continue;
          specs.emplace_back(entry.name,
                             files->read(folder + "/" + entry.name + "/agent.json", kSpecBytesMax));
        }
        return specs;
      });
  if (!found.has_value()) co_return fail(std::move(found.error()));
  for (auto& [name, text] : *found) {
    // A crash before the first write of the file leaves a folder without one.
    if (!text.has_value() && text.error().kind == ErrorKind::not_found) continue;
    Result<NamedSpec> spec = fail(ErrorKind::invalid, "bad_agent_file", "it cannot be read");
    if (text.has_value()) spec = parse_named_spec(*text);
    Result<void> ready = spec.has_value() ? derive(*spec) : fail(std::move(spec.error()));
    if (!ready.has_value()) {
      context_.log.write(LogLevel::error, "agent " + name, ready.error().message);
      continue;
    }
    auto entry = std::make_unique<Entry>(context_.reactor());
    entry->spec = std::move(*spec);
    entries_.emplace(name, std::move(entry));
  }
  co_return Result<void>();
}

Result<void> NamedAgents::derive(const NamedSpec& spec) {
  const auto base = profiles_.find(spec.profile);
  if (base == profiles_.end()) {
    return fail(ErrorKind::invalid, "bad_field", "profile: no profile \"" + spec.profile + "\"");
  }
  if (base->second.driver != Driver::checkpoint) {
    return fail(ErrorKind::invalid, "bad_field",
                "profile: " + spec.profile + " has the driver " +
                    std::string(to_string(base->second.driver)) + ", not checkpoint");
  }
  profiles_[spec.name] = derived_profile(base->second, spec);
  return {};
}

Task<void> NamedAgents::begin() {
  for (auto& [name, entry] : entries_) co_await begin_one(entry.get());
}

Task<void> NamedAgents::begin_one(Entry* entry) {
  const Mutex::Guard one = co_await entry->verbs.lock();
  const std::string name = entry->spec.name;
  const bool wanted = entry->spec.wanted;
  Result<SessionUse> session = co_await directory_.find({entry->spec.project, entry->spec.session});
  Result<void> done;
  if (session.has_value()) {
    entry->agent = std::make_unique<NamedAgent>(context_, profiles_.at(name), folder_of(name),
                                                entry->spec, std::move(*session));
    if (entry->agent->spec().leaving != NamedSpec::Leaving::no) {
      done = co_await finish_removal(entry);
    } else {
      entry->agent->session().set_paused(!wanted);
      done = co_await entry->agent->watch();
      if (done.has_value() && wanted) done = co_await entry->agent->start();
    }
  } else if (entry->spec.leaving != NamedSpec::Leaving::no) {
    // Its session is gone already; the folder was next.
    io::Files* files = &context_.platform.files();
    done = co_await context_.platform.offload().run(
        io::Lane::files, context_.reactor(),
        [files, folder = folder_of(name)] { return files->remove_all(folder); });
  } else {
    done = fail(std::move(session.error()));
  }
  if (!done.has_value()) {
    context_.log.write(LogLevel::error, "agent " + name, done.error().message);
  }
}

Task<void> NamedAgents::shutdown() {
  down_ = true;
  for (auto& [name, entry] : entries_) {
    if (entry->agent != nullptr) entry->agent->go_down();
  }
  for (auto& [name, entry] : entries_) {
    const Mutex::Guard one = co_await entry->verbs.lock();
    if (entry->agent != nullptr) co_await entry->agent->shutdown();
  }
}

// --- verbs ---

std::vector<const NamedAgent*> NamedAgents::list(std::string_view project) const {
  std::vector<const NamedAgent*> agents;
  for (const auto& [name, entry] : entries_) {
    if (entry->agent == nullptr || entry->agent->spec().project != project) continue;
    agents.push_back(entry->agent.get());
  }
  return agents;
}

Result<const NamedAgent*> NamedAgents::find(const AgentName& name) const {
  const Entry* entry = entry_of(name);
  if (entry == nullptr) return fail(unknown(name.name));
  Result<void> own = require(*entry, name);
  if (!own.has_value()) return fail(std::move(own.error()));
  return entry->agent.get();
}

Task<Result<const NamedAgent*>> NamedAgents::start(NamedSpec asked) {
  if (!is_profile_name(asked.name)) {
    co_return fail(ErrorKind::invalid, "bad_field", "name: must match [a-z0-9][a-z0-9-]{0,63}");
  }
  std::unique_ptr<Entry>& slot = entries_[asked.name];
  if (slot == nullptr) slot = std::make_unique<Entry>(context_.reactor());
  Entry* entry = slot.get();
  const Mutex::Guard one = co_await entry->verbs.lock();
  if (down_) co_return fail(draining());
  Result<void> done;
  if (entry->agent == nullptr) {
    done = co_await make(entry, std::move(asked));
  } else {
    done = check_same_options(entry->agent->spec(), asked);
  }
  if (down_) done = fail(draining());
  if (done.has_value()) done = co_await entry->agent->start();
  if (!done.has_value()) co_return fail(std::move(done.error()));
  co_return entry->agent.get();
}

Task<Result<void>> NamedAgents::make(Entry* entry, NamedSpec spec) {
  // The profile of an agent that was removed is still there, and is derived anew.
  const bool own_profile = entry->spec.name == spec.name && entry->spec.profile != spec.name;
  if (spec.profile.empty()) spec.profile = spec.name;
  const bool plain = spec.provider.empty() && spec.model.empty() && spec.arguments.empty();
  if (spec.profile != spec.name && profiles_.contains(spec.name) && !own_profile) {
    co_return fail(ErrorKind::conflict, "agent_conflict",
                   "name: " + spec.name + " is the name of a profile");
  }
  if (spec.profile == spec.name && (!plain || own_profile)) {
    co_return fail(ErrorKind::invalid, "bad_field",
                   "profile: name one; only a profile's own name needs none, and then its "
                   "provider, model and args are the configured ones");
  }
  Result<void> derived = derive(spec);
  if (!derived.has_value()) co_return derived;
  entry->spec = spec;
  Result<SessionUse> session = co_await open_session(&spec);
  if (!session.has_value()) co_return fail(std::move(session.error()));
  io::Files* files = &context_.platform.files();
  const std::string folder = folder_of(spec.name);
  Result<void> made = co_await context_.platform.offload().run(
      io::Lane::files, context_.reactor(),
      [files, folder] { return files->make_directories(folder, 0700); });
  if (!made.has_value()) co_return made;
  entry->agent = std::make_unique<NamedAgent>(context_, profiles_.at(spec.name), folder, spec,
                                              std::move(*session));
  Result<void> ready = co_await entry->agent->watch();
  if (ready.has_value()) ready = co_await entry->agent->save();
  if (!ready.has_value()) {
    co_await entry->agent->shutdown();
    entry->agent.reset();
  }
  co_return ready;
}

/// Under the agent's own name, or, when a session is or was called so, with a number behind it.
Task<Result<SessionUse>> NamedAgents::open_session(NamedSpec* spec) {
  for (int number = 1; number <= kSessionNamesMax; ++number) {
    spec->session = number == 1 ? spec->name : spec->name + "." + std::to_string(number);
    Result<OpenedSession> opened = co_await directory_.open(open_request(*spec));
    if (opened.has_value() && opened->session->row().state == SessionState::open) {
      co_return std::move(opened->session);
    }
    if (!opened.has_value() && opened.error().kind != ErrorKind::conflict) {
      co_return fail(std::move(opened.error()));
    }
  }
  co_return fail(ErrorKind::conflict, "session_conflict",
                 "the sessions " + spec->name + ".N are all taken");
}

Task<Result<const NamedAgent*>> NamedAgents::stop(AgentName name, bool now) {
  Entry* entry = entry_of(name);
  if (entry == nullptr) co_return fail(unknown(name.name));
  if (now && require(*entry, name).has_value()) entry->agent->end_now();
  const Mutex::Guard one = co_await entry->verbs.lock();
  if (Result<void> own = require(*entry, name); !own.has_value()) {
    co_return fail(std::move(own.error()));
  }
  Result<void> unwanted = co_await entry->agent->want(false);
  if (!unwanted.has_value()) co_return fail(std::move(unwanted.error()));
  co_await entry->agent->stop(now);
  co_return entry->agent.get();
}

Task<Result<const NamedAgent*>> NamedAgents::restart(AgentName name, bool now) {
  Entry* entry = entry_of(name);
  if (entry == nullptr) co_return fail(unknown(name.name));
  const Mutex::Guard one = co_await entry->verbs.lock();
  if (Result<void> own = require(*entry, name); !own.has_value()) {
    co_return fail(std::move(own.error()));
  }
  co_await entry->agent->stop(now);
  if (down_) co_return fail(draining());
  Result<void> started = co_await entry->agent->start();
  if (!started.has_value()) co_return fail(std::move(started.error()));
  co_return entry->agent.get();
}

Task<Result<const NamedAgent*>> NamedAgents::reset(AgentName name, bool now) {
  Entry* entry = entry_of(name);
  if (entry == nullptr) co_return fail(unknown(name.name));
  const Mutex::Guard one = co_await entry->verbs.lock();
  if (Result<void> own = require(*entry, name); !own.has_value()) {
    co_return fail(std::move(own.error()));
  }
  const bool ran = entry->agent->running();
  co_await entry->agent->stop(now);
  if (down_) co_return fail(draining());
  Result<void> done = co_await entry->agent->forget();
  if (done.has_value() && ran) done = co_await entry->agent->start();
  if (!done.has_value()) co_return fail(std::move(done.error()));
  co_return entry->agent.get();
}

Task<Result<void>> NamedAgents::remove(AgentName name, Removal order) {
  Entry* entry = entry_of(name);
  if (entry == nullptr) co_return fail(unknown(name.name));
  const Mutex::Guard one = co_await entry->verbs.lock();
  if (Result<void> own = require(*entry, name); !own.has_value()) {
    co_return fail(std::move(own.error()));
  }
  const Binding* bound = entry->agent->binding();
  const bool up = entry->agent->running() || (bound != nullptr && bound->up());
  if (up && !order.force) {
    co_return fail(ErrorKind::conflict, "agent_running",
                   name.name + " is running; stop it, or remove it by force");
  }
  Result<void> noted = co_await entry->agent->leave(order.purge ? NamedSpec::Leaving::purging
                                                                : NamedSpec::Leaving::removing);
  if (!noted.has_value()) co_return noted;
  co_return co_await finish_removal(entry);
}

/// The intent is in the file, which goes last.
Task<Result<void>> NamedAgents::finish_removal(Entry* entry) {
  NamedAgent& agent = *entry->agent;
  const NamedSpec spec = agent.spec();
  Session& session = agent.session();
  co_await agent.stop(true);
  co_await agent.shutdown();
  if (down_) co_return fail(draining());
  Result<void> done;
  if (spec.leaving == NamedSpec::Leaving::purging) {
    RemoveOrder order;
    order.force = true;
    done = co_await session.remove(order, true);
  } else if (session.row().state == SessionState::open) {
    done = co_await session.archive();
  }
  if (!done.has_value()) co_return done;
  io::Files* files = &context_.platform.files();
  done = co_await context_.platform.offload().run(
      io::Lane::files, context_.reactor(),
      [files, agents = agent.agent_folder(), folder = folder_of(spec.name)]() -> Result<void> {
        Result<void> gone = files->remove_all(agents);
        if (gone.has_value()) gone = files->remove_if_exists(folder + "/prompts");
        if (gone.has_value()) gone = files->remove_all(folder);
        return gone;
      });
  if (!done.has_value()) co_return done;
  entry->agent.reset();
  co_return done;
}

}  // namespace berth::server
