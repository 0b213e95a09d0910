#include <berth/server/agents/opencode/servers.h>

#include <algorithm>
#include <utility>

namespace berth::server::opencode {

Servers::Servers(io::Platform& platform, const LaunchPolicy& launches, const AgentProfile& profile,
                 std::string directory, std::string tag)
    : platform_(platform),
      launches_(launches),
      profile_(profile),
      directory_(std::move(directory)),
      tag_(std::move(tag)),
      scope_(platform.reactor()) {}

bool Servers::takes_sessions(const Hosted& hosted) const {
  if (hosted.server->started().is_set() && !hosted.server->live()) return false;
  GenerationFacts facts;
  facts.age = platform_.reactor().clock().now() - hosted.began;
  facts.sessions = hosted.served;
  if (hosted.server->live()) {
    // Of the server alone: what its tools use goes with them.
    const Result<io::ProcessTable::Usage> usage =
        platform_.process_table().usage(hosted.server->process_id());
    if (usage.has_value()) facts.memory_bytes = usage->resident_bytes;
  }
  return generation_over(facts, profile_.generation) == nullptr;
}

bool Servers::takes_sessions(const Server& server) const {
  return current_ != nullptr && current_->server.get() == &server && takes_sessions(*current_);
}

Task<Result<Server*>> Servers::acquire(bool may_start, std::string* stderr_tail, StopToken stop) {
  if (closing_) co_return fail(ErrorKind::cancelled, "stopping", "berth is stopping");
  if (current_ == nullptr || !takes_sessions(*current_)) {
    if (!may_start) co_return fail(ErrorKind::unavailable, kNoSeat, "no server takes it");
    ++generation_;
    auto server = std::make_unique<Server>(platform_, launches_, profile_, directory_,
                                           tag_ + "-oc" + std::to_string(generation_));
    current_ = &hosted_.emplace_back(platform_.reactor(), std::move(server));
    current_->began = platform_.reactor().clock().now();
  }
  Hosted* const hosted = current_;
  Server* const server = hosted->server.get();
  ++hosted->served;
  // One that has no launch has ended within spawn(), and is the current one no more.
  if (++hosted->users == 1) scope_.spawn(host(hosted));
  const bool waited = co_await server->started().wait(stop);
  if (waited && server->live()) co_return server;
  Error error = waited ? server->failure() : make_error(ErrorKind::cancelled, "cancelled", "");
  if (error.message.empty() && waited) {
    error = make_error(ErrorKind::unavailable, "agent_ended", "opencode serve ended");
  }
  *stderr_tail = server->stderr_tail();
  co_await release(server);
  co_return fail(std::move(error));
}

Task<void> Servers::release(Server* server) {
  const auto found = std::find_if(hosted_.begin(), hosted_.end(), [&](const Hosted& hosted) {
    return hosted.server.get() == server;
  });
  BERTH_ASSERT(found != hosted_.end() && found->users > 0);
  if (--found->users > 0) co_return;
  Hosted* const hosted = &*found;
  if (current_ == hosted) current_ = nullptr;
  server->kill();
  co_await server->ended().wait();
  hosted->unused.set();
}

Task<void> Servers::host(Hosted* hosted) {
  co_await hosted->server->run();
  if (current_ == hosted) current_ = nullptr;
  co_await hosted->unused.wait();
  std::erase_if(hosted_, [&](const Hosted& other) { return &other == hosted; });
}

Task<void> Servers::shutdown() {
  closing_ = true;
  for (Hosted& hosted : hosted_) hosted.server->kill();
  co_await scope_.join();
}

}  // namespace berth::server::opencode
