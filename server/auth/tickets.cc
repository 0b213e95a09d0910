#include <berth/server/auth/tickets.h>

#include <berth/server/auth/secret.h>

#include <utility>

namespace berth::server {

void Tickets::drop_late() {
  const TimePoint now = clock_.now();
  std::erase_if(open_, [now](const auto& entry) { return entry.second.ends <= now; });
}

Result<std::string> Tickets::issue(Caller caller, std::string path) {
  drop_late();
  if (open_.size() >= limits_.tickets_max) {
    return fail(ErrorKind::overloaded, "overloaded",
                "tickets_max: " + std::to_string(open_.size()) + " are open already");
  }
  std::string ticket = make_secret(random_);
  caller.scopes = {AuthScope::sessions_view};
  open_.insert_or_assign(sha256_hex(ticket), Ticket{std::move(caller), std::move(path),
                                                    clock_.now() + limits_.ticket_life});
  return ticket;
}

std::optional<Caller> Tickets::look(std::string_view ticket, std::string_view path) const {
  const auto found = open_.find(sha256_hex(ticket));
  if (found == open_.end() || found->second.path != path || found->second.ends <= clock_.now()) {
    return std::nullopt;
  }
  return found->second.caller;
}

std::optional<Caller> Tickets::take(std::string_view ticket, std::string_view path) {
  std::optional<Caller> caller = look(ticket, path);
  if (caller.has_value()) open_.erase(sha256_hex(ticket));
  return caller;
}

}  // namespace berth::server
