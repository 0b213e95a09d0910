#include <berth/server/agents/acp_process.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_rpc.h>
#include <berth/server/agents/acp2_messages.h>
#include <berth/server/agents/acp_messages.h>
#include <berth/server/agents/probe.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace berth::server {

namespace {

/// Of updates that come before the answer that names their session: a handful, of a few KiB.
constexpr std::size_t kEarlyBytesMax = std::size_t{4} << 20;
constexpr Duration kCloseWait = std::chrono::seconds(1);

RpcLimits limits_of(const AgentProfile& profile) {
  RpcLimits limits;
  limits.line_max = profile.line_max;
  limits.exit_grace = profile.timeouts.exit_grace;
  return limits;
}

}  // namespace

AcpProcess::AcpProcess(io::Platform& platform, JsonScanner& scanner, const AgentProfile& profile)
    : profile_(profile),
      clock_(platform.reactor().clock()),
      began_(clock_.now()),
      seats_max_(profile.sessions_per_process),
      connection_(platform, scanner, *this, limits_of(profile)) {}

void AcpProcess::start(const AgentLaunch& launch) {
  connection_.start(launch.spec, launch.door);
  initialize(profile_.acp_v2);
}

void AcpProcess::initialize(bool v2) {
  asked_for_v2_ = v2;
  connection_.call("initialize", v2 ? acp2::initialize_params() : acp::initialize_params(),
                   profile_.timeouts.initialize, initialize_);
}

void AcpProcess::on_initialized(RpcReply reply) {
  // One that knows v1 only should answer 1, and may refuse what it cannot read.
  if (asked_for_v2_ && !reply.error.empty()) return initialize(false);
  initialized_ = std::make_unique<RpcReply>(std::move(reply));
  if (!initialized_->ok()) retired_ = true;
  for (AcpSeat* seat : std::vector<AcpSeat*>(seats_)) seat->on_started();
}

// --- seats ---

bool AcpProcess::takes_seats() const {
  return seats_.size() < seats_max_ && is_open();
}

bool AcpProcess::is_open() const {
  if (retired_ || !connection_.running()) return false;
  const GenerationFacts facts = {memory_bytes_, clock_.now() - began_, served_};
  return generation_over(facts, profile_.generation) == nullptr;
}

void AcpProcess::sit(AcpSeat& seat) {
  seats_.push_back(&seat);
  ++served_;
}

void AcpProcess::name(AcpSeat& seat, std::string_view native_session_id) {
  std::erase_if(by_session_, [&](const auto& entry) { return entry.second == &seat; });
  if (native_session_id.empty()) return;
  by_session_.insert_or_assign(std::string(native_session_id), &seat);
  const auto early = early_.find(native_session_id);
  if (early == early_.end()) return;
  const std::vector<ReplayGuard::Update> updates = std::move(early->second);
  early_.erase(early);
  forget_early_if_all_are_named();
  for (const ReplayGuard::Update& update : updates) seat.on_early_update(update.view());
}

bool AcpProcess::forget_early_if_all_are_named() {
  if (by_session_.size() < seats_.size()) return false;
  early_.clear();
  early_bytes_ = 0;
  return true;
}

void AcpProcess::leave(AcpSeat& seat) {
  name(seat, {});
  std::erase(seats_, &seat);
  connection_.abandon(&seat);
  connection_.resume_reading();  // it may have been the one that wanted no more
  seat.on_over();
}

void AcpProcess::close_behind(std::string_view native_session_id) {
  connection_.call("session/close", acp::session_params(native_session_id), kCloseWait, unheard_);
}

// --- what the process says ---

AcpSeat* AcpProcess::seat_of(std::string_view native_session_id) const {
  if (seats_max_ == 1) return seats_.empty() ? nullptr : seats_[0];
  const auto found = by_session_.find(native_session_id);
  return found == by_session_.end() ? nullptr : found->second;
}

void AcpProcess::on_notification(const RoutedLine& line) {
  if (seats_max_ > 1 && line.session_id.empty()) {
    for (AcpSeat* seat : std::vector<AcpSeat*>(seats_)) seat->on_notification(line);
    return;
  }
  if (AcpSeat* seat = seat_of(line.session_id)) {
    seat->on_notification(line);
  } else {
    keep_early(line);
  }
}

/// An agent may speak of a session before it has answered session/new.
void AcpProcess::keep_early(const RoutedLine& line) {
  if (forget_early_if_all_are_named()) return;
  if (line.update.empty() || early_bytes_ + line.update.size() > kEarlyBytesMax) return;
  early_bytes_ += line.update.size();
  early_[std::string(line.session_id)].push_back({std::string(line.update),
                                                  std::string(line.update_kind),
                                                  std::string(line.tool_call_id), line.has_raw_cr});
}

/// A request without a session may belong to a request of ours: a form in the middle of a call.
AcpSeat* AcpProcess::asked_by(const RoutedLine& line) const {
  if (seats_max_ == 1 || !line.session_id.empty()) return seat_of(line.session_id);
  const Result<JsonDoc> params =
      JsonDoc::parse(line.params.empty() ? std::string_view("{}") : line.params);
  if (!params.has_value()) return nullptr;
  const RpcConnection::Owner owner =
      connection_.owner_of(params->root().get_int64("requestId").value_or(-1));
  const auto found = std::find(seats_.begin(), seats_.end(), owner);
  return found == seats_.end() ? nullptr : *found;
}

void AcpProcess::on_request(const RoutedLine& line) {
  if (AcpSeat* seat = asked_by(line)) {
    seat->on_request(line);
  } else {
    connection_.reply_error(line.id.json, kRpcInvalidParams, "berth has no such session here");
  }
}

void AcpProcess::on_junk(const char* reason, std::uint64_t bytes, std::string_view head) {
  for (AcpSeat* seat : std::vector<AcpSeat*>(seats_)) seat->on_junk(reason, bytes, head);
}

bool AcpProcess::wants_more() {
  return std::all_of(seats_.begin(), seats_.end(),
                     [](AcpSeat* seat) { return seat->wants_more(); });
}

void AcpProcess::on_gone() {
  retired_ = true;
  by_session_.clear();
  for (AcpSeat* seat : std::exchange(seats_, {})) seat->on_over();
}

// --- the processes of a profile ---

AcpProcesses::AcpProcesses(io::Platform& platform, JsonScanner& scanner,
                           const LaunchPolicy& launches, const AgentProfile& profile,
                           std::string directory, std::string tag)
    : platform_(platform),
      scanner_(scanner),
      launches_(launches),
      profile_(profile),
      directory_(std::move(directory)),
      tag_(std::move(tag)) {}

std::shared_ptr<AcpProcess> AcpProcesses::acquire(bool may_start) {
  std::erase_if(processes_, [](const auto& process) { return process.expired(); });
  for (const std::weak_ptr<AcpProcess>& held : processes_) {
    std::shared_ptr<AcpProcess> process = held.lock();
    if (process != nullptr && process->takes_seats()) return process;
  }
  if (!may_start) return nullptr;
  auto process = std::make_shared<AcpProcess>(platform_, scanner_, profile_);
  processes_.push_back(process);
  return process;
}

Task<void> AcpProcesses::weigh() {
  if (profile_.sessions_per_process <= 1 || profile_.generation.memory_max == 0) co_return;
  io::Platform* platform = &platform_;
  const std::vector<std::weak_ptr<AcpProcess>> all = processes_;
  for (const std::weak_ptr<AcpProcess>& held : all) {
    io::ProcessId id;
    {
      const std::shared_ptr<AcpProcess> process = held.lock();
      if (process == nullptr || !process->takes_seats()) continue;
      id = process->connection().process_id();
    }
    // The whole tree: what we started may be no more than a wrapper.
    Result<std::uint64_t> bytes = co_await platform->offload().run(
        io::Lane::files, platform->reactor(), [platform, id]() -> Result<std::uint64_t> {
          const Result<io::VitalSigns> signs = platform->process_table().look(id, true);
          return signs.has_value() ? signs->memory_bytes : 0;
        });
    const std::shared_ptr<AcpProcess> process = held.lock();
    if (process != nullptr && bytes.has_value()) process->weigh(*bytes);
  }
}

Result<AgentLaunch> AcpProcesses::launch_spec(const AttachSpec& spec,
                                              GitFolders git_folders) const {
  LaunchOrder order;
  order.directory = directory_;
  order.key = "acp";
  if (profile_.sessions_per_process <= 1) {
    order.directory = spec.directory;
    order.key = spec.session_key;
    order.project = spec.project;
    order.least = spec.launch;
    order.folders = spec.additional_directories;
    order.folders.push_back(spec.directory);
    order.git = std::move(git_folders);
  }
  order.tag = tag_ + "-" + order.key;
  return launches_.launch(profile_, order);
}

}  // namespace berth::server
