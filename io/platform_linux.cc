#include <berth/io/fd_reactor.h>
#include <berth/io/files_linux.h>
#include <berth/io/platform_linux.h>
#include <berth/io/process_table.h>
#include <berth/io/resolver.h>

#include <malloc.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>

#include <cerrno>

namespace berth::inline v0::io {

namespace {

/// Reads the time at each call, on any thread (a reactor's clock stands still within a turn).
class SystemClock final : public Clock {
 public:
  TimePoint now() const override { return std::chrono::steady_clock::now(); }
  WallTime wall() const override {
    return std::chrono::duration_cast<WallTime>(
        std::chrono::system_clock::now().time_since_epoch());
  }
};

/// The kernel's generator, fit for secrets; about 0.2 us a number.
class KernelRandom final : public Random {
 public:
  std::uint64_t next() override {
    std::uint64_t bits = 0;
    // For so few bytes it neither fails nor comes back short once the system has started.
    BERTH_ASSERT(::getrandom(&bits, sizeof(bits), 0) == sizeof(bits));
    return bits;
  }
};

class ProcessEnvironment final : public Environment {
 public:
  std::optional<std::string> get(const std::string& name) const override {
    const char* value = ::getenv(name.c_str());  // nothing here ever sets one
    if (value == nullptr) return {};
    return std::string(value);
  }
};

class LinuxPlatform final : public Platform {
 public:
  Result<void> init(LogSink& log, const LinuxOptions& options);

  Reactor& reactor() override { return *reactor_; }
  Offload& offload() override { return *offload_; }
  Files& files() override { return files_; }
  ProcessHost& processes() override { return *processes_; }
  ProcessTable& process_table() override { return process_table_; }
  Resolver& resolver() override { return resolver_; }
  Clock& clock() override { return clock_; }
  Random& random() override { return random_; }
  Environment& environment() override { return environment_; }
  void give_memory_back() override { ::malloc_trim(0); }

 private:
  LinuxFiles files_;
  ProcProcessTable process_table_;
  SystemResolver resolver_;
  SystemClock clock_;
  KernelRandom random_;
  ProcessEnvironment environment_;
  // These three go in the opposite order: processes need a reactor that turns, finished jobs one
  // that exists.
  std::unique_ptr<Reactor> reactor_;
  std::unique_ptr<OffloadThreads> offload_;
  std::unique_ptr<ProcessHost> processes_;
};

Result<void> LinuxPlatform::init(LogSink& log, const LinuxOptions& options) {
  DirectOptions processes = options.processes;
  rlimit limit;
  if (options.raise_descriptor_limit && ::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    processes.child_descriptors_soft = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);  // up to the hard limit is always allowed
  }
  Result<std::unique_ptr<Reactor>> reactor = make_reactor(options.engine, log);
  if (!reactor.has_value()) return fail(std::move(reactor.error()));
  reactor_ = std::move(*reactor);
  Result<std::unique_ptr<OffloadThreads>> offload = OffloadThreads::start(options.offload);
  if (!offload.has_value()) return fail(std::move(offload.error()));
  offload_ = std::move(*offload);
  Result<std::unique_ptr<ProcessHost>> host =
      options.process_keeping == ProcessKeeping::keeper
          ? make_keeper_process_host(log, {processes, options.keeper_program})
          : make_direct_process_host(log, processes);
  if (!host.has_value()) return fail(std::move(host.error()));
  processes_ = std::move(*host);
  log.write(LogLevel::info, "platform",
            "trees of processes are killed by " + processes_->describe());
  return {};
}

}  // namespace

Result<std::unique_ptr<Platform>> make_linux_platform(LogSink& log, const LinuxOptions& options) {
  auto platform = std::make_unique<LinuxPlatform>();
  Result<void> ready = platform->init(log, options);
  if (!ready.has_value()) return fail(std::move(ready.error()));
  return std::unique_ptr<Platform>(std::move(platform));
}

}  // namespace berth::inline v0::io
