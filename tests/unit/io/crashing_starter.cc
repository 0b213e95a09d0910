// Starts a shell script through a process host and then sits there, to be killed without
// warning.
//   crashing_starter MODE TAG SCRIPT      prints the script's pid
#include <berth/io/fd_reactor.h>
#include <berth/io/process_direct.h>
#include <berth/io/process_keeper.h>
#include <berth/io/uring_ring.h>

#include <unistd.h>

#include <string>

namespace {

class Listener final : public berth::io::ProcessListener {
 public:
  void on_started() override { started = true; }
  void on_start_failed(berth::Error) override { failed = true; }
  void on_exit(berth::io::ExitStatus) override {}
  bool started = false;
  bool failed = false;
};

}  // namespace

int main(int argc, char** argv) {
  using namespace berth::io;
  if (argc != 4) return 2;
  DirectOptions options;
  const std::string mode = argv[1];
  options.tree_kill = mode.ends_with("ProcWalk") ? TreeKill::proc_walk : TreeKill::cgroup;
  options.clone3 = mode != "CgroupWithoutClone3";
  berth::NullLog log;
  auto reactor = make_uring_reactor();
  if (!reactor.has_value()) return 3;
  auto host = mode.starts_with("Keeper") ? make_keeper_process_host(log, {options, BERTH_KEEPER})
                                         : make_direct_process_host(log, options);
  if (!host.has_value()) return 4;
  LaunchSpec spec;
  spec.command = "/bin/sh";
  spec.arguments = {"-c", argv[3]};
  spec.environment = {{"PATH", "/usr/bin:/bin"}};
  spec.working_directory = "/";
  spec.tag = argv[2];
  Listener listener;
  auto process = (*host)->spawn(**reactor, spec, listener);
  if (!process.has_value()) return 5;
  while (!listener.started && !listener.failed) (*reactor)->poll();
  if (listener.failed) return 5;
  const std::string line = std::to_string((*process)->id().pid) + "\n";
  if (mode.starts_with("KeeperForked") && ::fork() == 0) {
    ::alarm(5);  // a copy that holds every descriptor, for longer than it matters
    for (;;) ::pause();
  }
  if (::write(1, line.data(), line.size()) < 0) return 6;
  (*reactor)->run();
  return 0;
}
