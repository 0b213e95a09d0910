// io/sim_platform.h — the door to a simulated machine for one process on it: the server, mostly.
// or a client.
#pragma once

#include <berth/io/platform.h>
#include <berth/io/sim_files.h>
#include <berth/io/sim_machine.h>
#include <berth/io/sim_offload.h>
#include <berth/io/sim_process.h>
#include <berth/io/sim_reactor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::inline v0::io {

/// One life of a process. After crash() it only serves to tear down what used it; the next life is
/// a new SimPlatform on the same machine. The machine outlives it, it outlives what uses it.
class SimPlatform final : public Platform {
 public:
  SimPlatform(SimMachine& machine, std::string name);

  SimReactor& reactor() override { return reactor_; }
  SimOffload& offload() override { return offload_; }
  SimFiles& files() override { return files_; }
  SimProcessHost& processes() override { return processes_; }
  ProcessTable& process_table() override { return process_table_; }
  Resolver& resolver() override { return resolver_; }
  Clock& clock() override { return machine_.clock(); }
  Random& random() override { return random_; }
  Environment& environment() override { return environment_; }
  void give_memory_back() override { ++memory_given_back_; }
  std::uint64_t memory_given_back() const { return memory_given_back_; }
  SimMachine& machine() { return machine_; }

  void set_environment(std::string name, std::string value);

  /// Ends the process that this platform stands for, as `kill -9` would: from now on nothing that
  /// it does is seen by anybody. Its operations answer ECANCELED, its disk refuses, its handles are
  /// closed, its children die or linger. May be called from anywhere, in the middle of a job or a
  /// callback too. The caller then ends what uses the platform by its ordinary stop path, steps the
  /// machine until that is done, and destroys it.
  void crash();
  bool crashed() const { return reactor_.frozen(); }
  /// Called by crash(), last registered first: for disks that are not this machine's (the store's
  /// SimVfs).
  void on_crash(std::function<void()> hook) { hooks_.push_back(std::move(hook)); }

  /// Crashes by itself at a moment within the next `operations` operations of its reactor, or (one
  /// time in three) before or after one of its next `jobs` blocking jobs, by the seed of the
  /// machine.
  void crash_soon(std::uint64_t operations, std::uint64_t jobs);

 private:
  std::uint64_t memory_given_back_ = 0;  // times
  class Table final : public ProcessTable {
   public:
    explicit Table(SimMachine& machine) : machine_(machine), own_pid_(machine.next_pid()) {}
    int own_pid() override { return own_pid_; }
    Result<Usage> usage(ProcessId id) override;
    Result<VitalSigns> look(ProcessId id, bool whole_tree) override;
    Usage self() override { return Usage{64 << 20, 1'000'000}; }

   private:
    SimMachine& machine_;
    int own_pid_;
  };

  class Names final : public Resolver {
   public:
    explicit Names(SimMachine& machine) : machine_(machine) {}
    Result<std::vector<Address>> resolve(std::string_view host_and_port) override;

   private:
    SimMachine& machine_;
  };

  class Variables final : public Environment {
   public:
    std::optional<std::string> get(const std::string& name) const override;
    std::map<std::string, std::string> values;
  };

  SimMachine& machine_;
  Prng random_;
  SimReactor reactor_;
  SimOffload offload_;
  SimFiles files_;
  SimProcessHost processes_;
  Table process_table_;
  Names resolver_;
  Variables environment_;
  std::vector<std::function<void()>> hooks_;
};

}  // namespace berth::inline v0::io
