#include <berth/core/assert.h>
#include <berth/io/launcher.h>
#include <berth/io/process_tree.h>
#include <berth/io/sandbox_arguments.h>
#include <berth/io/signals_blocked.h>

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

// The child's code runs on our memory beside the sanitizers' bookkeeping and never returns: they
// must not watch it.
#define BERTH_UNWATCHED __attribute__((no_sanitize("address", "thread", "undefined"), noinline))

namespace berth::inline v0::io {

namespace {

constexpr std::size_t kStackBytes = 64 * 1024;
constexpr std::size_t kGuardBytes = 64 * 1024;  // a multiple of every page size
constexpr int kSignalCount = 64;
constexpr int kGroupsMax = 4;  // of version 2, and memory, pids and cpu of version 1
constexpr int kLimitsMax = 5;

struct Limit {
  int resource = 0;
  rlimit value = {};
};

/// The kernel's own form of sigaction: SIG_DFL, no flags, nothing masked.
struct KernelSigaction {
  void* handler = nullptr;
  unsigned long flags = 0;
  void* restorer = nullptr;
  std::uint64_t mask = 0;
};

/// What the child was about to do when it failed.
enum class Step : int {
  group,
  session,
  death_signal,
  confinement,
  descriptors,
  stdio,
  limits,
  directory,
  exec
};

/// Of root's powers the confined keep the one without which a checkout of somebody else's cannot be
/// worked in; where it may be used, Landlock says.
constexpr std::uint64_t kKeptCapabilities = 1ULL << CAP_DAC_OVERRIDE;

struct Prepared {
  std::string path;
  std::vector<std::string> environment_text;
  std::vector<char*> arguments;
  std::vector<char*> environment;
};

bool has_nul(const std::string& text) {
  return text.find('\0') != std::string::npos;
}

Result<void> check(const LaunchSpec& spec) {
  bool nul = has_nul(spec.command) || has_nul(spec.working_directory);
  for (const std::string& argument : spec.arguments) nul = nul || has_nul(argument);
  for (const auto& [name, value] : spec.environment) {
    nul = nul || has_nul(name) || has_nul(value);
    if (name.empty() || name.find('=') != std::string::npos) {
      return fail(ErrorKind::invalid, "bad_launch", "environment: '" + name + "' is not a name");
    }
  }
  if (nul) return fail(ErrorKind::invalid, "bad_launch", "command or environment holds a NUL byte");
  if (spec.command.empty()) return fail(ErrorKind::invalid, "bad_launch", "command is empty");
  return {};
}

Error not_executable(const std::string& path, std::string_view why, int errno_value) {
  Error error = make_error(ErrorKind::denied, "command_not_executable",
                           "cannot run " + path + ": " + std::string(why));
  error.errno_value = errno_value;
  return error;
}

Error not_found(std::string message) {
  Error error = make_error(ErrorKind::not_found, "command_not_found", std::move(message));
  error.errno_value = ENOENT;
  return error;
}

/// Looks `spec.command` up as execvpe(3) does, but in the PATH that the child will have.
Result<std::string> find_command(const LaunchSpec& spec) {
  if (spec.command.find('/') != std::string::npos) return spec.command;
  std::string search = "/usr/local/bin:/usr/bin:/bin";
  for (const auto& [name, value] : spec.environment) {
    if (name == "PATH") search = value;
  }
  std::string_view rest = search;
  std::string seen_unusable;
  for (bool more = true; more;) {
    const std::size_t end = rest.find(':');
    more = end != std::string_view::npos;
    std::string candidate(rest.substr(0, end));
    if (more) rest.remove_prefix(end + 1);
    if (!candidate.starts_with('/')) candidate = spec.working_directory + "/" + candidate;
    candidate += "/" + spec.command;
    struct stat info;
    if (::stat(candidate.c_str(), &info) != 0 || S_ISDIR(info.st_mode)) continue;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    seen_unusable = candidate;
  }
  if (!seen_unusable.empty()) {
    return fail(not_executable(seen_unusable, "it is not executable", EACCES));
  }
  return fail(not_found("command not found: " + spec.command + " (PATH is " + search + ")"));
}

Result<Prepared> prepare(const LaunchSpec& spec, const std::string& marker) {
  Result<void> checked = check(spec);
  if (!checked.has_value()) return fail(std::move(checked.error()));
  Result<std::string> path = find_command(spec);
  if (!path.has_value()) return fail(std::move(path.error()));
  Prepared prepared;
  prepared.path = std::move(*path);
  // First, so that it is found quickly; a marker of whoever started us is replaced.
  prepared.environment_text.push_back(std::string(kMarkerName) + "=" + marker);
  for (const auto& [name, value] : spec.environment) {
    if (name != kMarkerName) prepared.environment_text.push_back(name + "=" + value);
  }
  for (std::string& text : prepared.environment_text) prepared.environment.push_back(text.data());
  prepared.environment.push_back(nullptr);
  // execve wants pointers to char; it does not write through them.
  prepared.arguments.push_back(const_cast<char*>(spec.command.c_str()));
  for (const std::string& argument : spec.arguments) {
    prepared.arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  prepared.arguments.push_back(nullptr);
  return prepared;
}

Error explain(Step step, int errno_value, const LaunchSpec& spec, const std::string& path) {
  struct stat info;
  switch (step) {
    case Step::group:
      return errno_error(errno_value, "cannot enter the control group");
    case Step::session:
      return errno_error(errno_value, "setsid");
    case Step::death_signal:
      return errno_error(errno_value, "prctl(PR_SET_PDEATHSIG)");
    case Step::confinement:
      return errno_error(errno_value, "cannot confine the process");
    case Step::descriptors:
      return errno_error(errno_value, "close_range");
    case Step::stdio:
      return errno_error(errno_value, "cannot hand over stdin, stdout and stderr");
    case Step::limits:
      return errno_error(errno_value, "cannot set the limits of a process");
    case Step::directory: {
      Error error = errno_error(errno_value, "working directory " + spec.working_directory);
      error.code = "bad_working_directory";
      return error;
    }
    case Step::exec:
      break;
  }
  switch (errno_value) {
    case ENOENT:
      // A script whose #! names nothing, or a program whose dynamic loader is missing, reads ENOENT
      // as well.
      if (::stat(path.c_str(), &info) == 0) {
        return not_executable(path, "the interpreter or loader that it names does not exist",
                              ENOENT);
      }
      return not_found("command not found: " + path);
    case ENOTDIR:
      return not_found("command not found: " + path);
    case EACCES:
      return not_executable(path, "permission denied", EACCES);
    case ENOEXEC:
      return not_executable(path, "it is no program (a script needs a #! line)", ENOEXEC);
    case E2BIG: {
      Error error = make_error(ErrorKind::invalid, "bad_launch",
                               "arguments and environment of " + path + " are too long");
      error.errno_value = E2BIG;
      return error;
    }
    default:
      return errno_error(errno_value, "cannot run " + path);
  }
}

/// The program is looked up as for any other, so that a missing one reads the same.
Result<LaunchSpec> in_sandbox(const LaunchSpec& spec) {
  Result<void> checked = check(spec);
  if (!checked.has_value()) return fail(std::move(checked.error()));
  Result<std::string> program = find_command(spec);
  if (!program.has_value()) return fail(std::move(program.error()));
  if (::access(program->c_str(), X_OK) != 0) {
    return fail(explain(Step::exec, errno, spec, *program));
  }
  Result<std::vector<std::string>> arguments = sandbox_arguments(spec, *program);
  if (!arguments.has_value()) return fail(std::move(arguments.error()));
  LaunchSpec outer = spec;
  outer.command = spec.confinement.helper;
  outer.arguments = std::move(*arguments);
  outer.confinement = {};
  return outer;
}

constexpr int kCloneFlags = CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_PIDFD;

#if defined(__x86_64__)
constexpr bool kHasClone3 = true;

/// A system call that returns twice: here, with the pid or a negative errno, and in the child, on
/// the stack that the call has named, as `entry(argument)`, which must not return. libc has no
/// wrapper for clone3, and its clone is intercepted by ThreadSanitizer, which does not expect a
/// child that borrows our memory.
long clone_call(long number, long first, long second, long third, int (*entry)(void*),
                void* argument) {
  register long fourth asm("r10") = 0;
  register long fifth asm("r8") = 0;
  register int (*entry_register)(void*) asm("r12") = entry;
  register void* argument_register asm("r13") = argument;
  long result = number;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "mov %%r13, %%rdi\n\t"  // only the child comes here
      "call *%%r12\n\t"
      "ud2\n"
      "1:"
      : "+a"(result)
      : "D"(first), "S"(second), "d"(third), "r"(fourth), "r"(fifth), "r"(entry_register),
        "r"(argument_register)
      : "rcx", "r11", "cc", "memory");
  return result;
}

long clone3_on_stack(clone_args& arguments, int (*entry)(void*), void* argument) {
  return clone_call(SYS_clone3, reinterpret_cast<long>(&arguments), sizeof(arguments), 0, entry,
                    argument);
}

long clone_on_stack(char* stack_top, int* pidfd, int (*entry)(void*), void* argument) {
  return clone_call(SYS_clone, kCloneFlags | SIGCHLD, reinterpret_cast<long>(stack_top),
                    reinterpret_cast<long>(pidfd), entry, argument);
}
#else
constexpr bool kHasClone3 = false;

long clone3_on_stack(clone_args&, int (*)(void*), void*) {
  return -ENOSYS;
}

long clone_on_stack(char* stack_top, int* pidfd, int (*entry)(void*), void* argument) {
  const int pid = ::clone(entry, stack_top, kCloneFlags | SIGCHLD, argument, pidfd);
  return pid < 0 ? -errno : pid;
}
#endif

}  // namespace

/// Everything the child needs, in memory that both share. Plain pointers: the child calls nothing
/// but the kernel.
struct Launcher::Child {
  const char* path = nullptr;  // null: the child ends at once (try_cgroup)
  char* const* arguments = nullptr;
  char* const* environment = nullptr;
  const char* directory = nullptr;
  int parent_pid = 0;
  bool outlives_parent = false;
  int group_fds[kGroupsMax] = {-1, -1, -1, -1};  // cgroup.procs of what it has to enter by itself
  int rules = -1;                                // of Landlock
  int stdio[3] = {-1, -1, -1};
  Limit limits[kLimitsMax] = {};
  int limit_count = 0;
  Step step = Step::group;
  int error = 0;
};

/// For good, and for all that it will start: no privilege is gained by exec, no capability is kept
/// but one, files are what the rules say. Asks errno to say why not.
BERTH_UNWATCHED bool Launcher::confine(int rules) {
  if (::syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2] = {};
  if (::syscall(SYS_capget, &header, sets) != 0) return false;
  for (int i = 0; i < 2; ++i) {
    const auto kept = static_cast<std::uint32_t>(kKeptCapabilities >> (32 * i));
    sets[i].effective &= kept;
    sets[i].permitted &= kept;
    sets[i].inheritable = 0;  // with no_new_privs what is not permitted never comes back
  }
  if (::syscall(SYS_capset, &header, sets) != 0) return false;
  return ::syscall(SYS_landlock_restrict_self, rules, 0) == 0;
}

BERTH_UNWATCHED void Launcher::child_main(Child& child) {
  child.step = Step::group;
  for (int i = 0; i < kGroupsMax && child.group_fds[i] >= 0; ++i) {
    if (::syscall(SYS_write, child.group_fds[i], "0", 1) != 1) return;
  }
  if (child.path == nullptr) {
    errno = 0;
    return;
  }
  child.step = Step::session;
  if (::syscall(SYS_setsid) < 0) return;
  child.step = Step::death_signal;
  if (!child.outlives_parent) {
    if (::syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return;
    if (::syscall(SYS_getppid) != child.parent_pid) return;  // it died just before
  }

  child.step = Step::confinement;
  if (child.rules >= 0 && !confine(child.rules)) return;

  // Until here the table of descriptors is the parent's too: now we take a copy of its first few
  // entries.
  child.step = Step::descriptors;
  int last = 0;
  for (int i = 0; i < 3; ++i) last = child.stdio[i] > last ? child.stdio[i] : last;
  if (::syscall(SYS_close_range, last + 1, ~0U, CLOSE_RANGE_UNSHARE) != 0) return;
  child.step = Step::stdio;
  for (int i = 0; i < 3; ++i) {
    if (::syscall(SYS_dup3, child.stdio[i], i, 0) < 0) return;  // 0: survives exec
  }
  child.step = Step::descriptors;
  if (::syscall(SYS_close_range, 3U, ~0U, 0U) != 0) return;

  child.step = Step::limits;
  for (int i = 0; i < child.limit_count; ++i) {
    Limit& limit = child.limits[i];
    if (::syscall(SYS_prlimit64, 0, limit.resource, &limit.value, nullptr) != 0) return;
  }

  child.step = Step::directory;
  if (::syscall(SYS_chdir, child.directory) != 0) return;

  // Our handlers are no code of the child's, and a SIGPIPE that we ignore is one that it wants.
  KernelSigaction to_default;
  for (int number = 1; number <= kSignalCount; ++number) {
    ::syscall(SYS_rt_sigaction, number, &to_default, nullptr, sizeof(std::uint64_t));
  }
  std::uint64_t nothing = 0;
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &nothing, nullptr, sizeof(nothing));
  child.step = Step::exec;
  ::syscall(SYS_execve, child.path, child.arguments, child.environment);
}

BERTH_UNWATCHED int Launcher::child_entry(void* argument) {
  Child& child = *static_cast<Child*>(argument);
  child_main(child);
  child.error = errno;
  ::syscall(SYS_exit_group, 127);
  __builtin_unreachable();
}

Launcher::~Launcher() {
  if (stack_ != nullptr) ::munmap(stack_, kGuardBytes + kStackBytes);
}

Result<void> Launcher::init() {
  clone3_works_ = kHasClone3;
  null_.reset(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null_.valid()) return fail(errno_error(errno, "/dev/null"));
  for (Fd& place : parking_) {
    place.reset(::fcntl(null_.get(), F_DUPFD_CLOEXEC, 3));
    if (!place.valid()) return fail(errno_error(errno, "no descriptor for launching processes"));
  }
  void* stack = ::mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return fail(errno_error(errno, "stack for launching processes"));
  stack_ = stack;
  if (::mprotect(stack_, kGuardBytes, PROT_NONE) != 0) {
    return fail(errno_error(errno, "guard page for launching processes"));
  }
  return {};
}

Result<void> Launcher::park_stdio(const std::array<int, 3>& stdio) {
  for (std::size_t i = 0; i < stdio.size(); ++i) {
    if (::dup3(stdio[i], parking_[i].get(), O_CLOEXEC) < 0) {
      return fail(errno_error(errno, "cannot pass stdin, stdout and stderr"));
    }
  }
  return {};
}

Result<Launched> Launcher::run(Child& child, const std::string& cgroup,
                               const std::vector<std::string>& more_cgroups) {
  Fd group;  // to be born in
  if (!cgroup.empty() && clone3_works_) {
    group.reset(::open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!group.valid()) return fail(errno_error(errno, cgroup));
  }
  std::vector<std::string> to_enter = more_cgroups;
  if (!cgroup.empty() && !clone3_works_) to_enter.push_back(cgroup);
  BERTH_ASSERT(to_enter.size() <= kGroupsMax);
  std::array<Fd, kGroupsMax> files;
  for (std::size_t i = 0; i < to_enter.size(); ++i) {
    const std::string path = to_enter[i] + "/cgroup.procs";
    files[i].reset(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!files[i].valid()) return fail(errno_error(errno, path));
    child.group_fds[i] = files[i].get();
  }
  child.parent_pid = ::getpid();

  int pidfd = -1;
  long pid = 0;
  // Between clone and exec a signal must not run a handler of ours in the child.
  const SignalsBlocked blocked;
  char* stack = static_cast<char*>(stack_) + kGuardBytes;
  if (clone3_works_) {
    clone_args arguments = {};
    arguments.flags = static_cast<std::uint64_t>(kCloneFlags);
    arguments.pidfd = reinterpret_cast<std::uintptr_t>(&pidfd);
    arguments.exit_signal = SIGCHLD;
    arguments.stack = reinterpret_cast<std::uintptr_t>(stack);
    arguments.stack_size = kStackBytes;
    if (group.valid()) {
      arguments.flags |= CLONE_INTO_CGROUP;
      arguments.cgroup = static_cast<std::uint64_t>(group.get());
    }
    pid = clone3_on_stack(arguments, &Launcher::child_entry, &child);
  } else {
    pid = clone_on_stack(stack + kStackBytes, &pidfd, &Launcher::child_entry, &child);
  }
  if (pid < 0) return fail(errno_error(static_cast<int>(-pid), "cannot start a process"));
  return Launched{static_cast<int>(pid), Fd(pidfd)};
}

void Launcher::set_limits(const ProcessLimits& wanted, const LaunchExtras& extras, Child& child) {
  const auto add = [&child](int resource, std::uint64_t soft_max, std::uint64_t hard_max) {
    Limit& limit = child.limits[child.limit_count];
    limit.resource = resource;
    if (::getrlimit(static_cast<__rlimit_resource>(resource), &limit.value) != 0) return;
    limit.value.rlim_max = std::min<rlim_t>(limit.value.rlim_max, hard_max);
    limit.value.rlim_cur = std::min<rlim_t>(soft_max, limit.value.rlim_max);
    ++child.limit_count;
  };
  if (wanted.address_space != 0) add(RLIMIT_AS, wanted.address_space, wanted.address_space);
  if (wanted.user_processes != 0) add(RLIMIT_NPROC, wanted.user_processes, wanted.user_processes);
  if (wanted.cpu_seconds != 0) add(RLIMIT_CPU, wanted.cpu_seconds, wanted.cpu_seconds + 1);
  if (extras.data_bytes_max != 0) add(RLIMIT_DATA, extras.data_bytes_max, extras.data_bytes_max);
  if (wanted.open_files != 0) {
    add(RLIMIT_NOFILE, wanted.open_files, wanted.open_files);
  } else if (extras.descriptors_soft != 0) {
    add(RLIMIT_NOFILE, extras.descriptors_soft, RLIM_INFINITY);
  }
}

Result<Launched> Launcher::launch(const LaunchSpec& spec, const LaunchExtras& extras) {
  if (spec.confinement.kind == Confinement::Kind::namespaces) {
    Result<LaunchSpec> outer = in_sandbox(spec);
    if (!outer.has_value()) return fail(std::move(outer.error()));
    return launch(*outer, extras);
  }
  Result<Prepared> prepared = prepare(spec, extras.marker);
  if (!prepared.has_value()) return fail(std::move(prepared.error()));
  Child child;
  child.path = prepared->path.c_str();
  child.arguments = prepared->arguments.data();
  child.environment = prepared->environment.data();
  child.directory = spec.working_directory.c_str();
  child.outlives_parent = extras.outlives_us;
  set_limits(spec.limits, extras, child);
  Fd rules;
  if (spec.confinement.kind == Confinement::Kind::landlock) {
    Result<Fd> made = landlock_.make(spec.confinement);
    if (!made.has_value()) return fail(std::move(made.error()));
    rules = std::move(*made);
    child.rules = rules.get();
  }

  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < parking_.size(); ++i) child.stdio[i] = parking_[i].get();
  Result<void> parked = park_stdio(extras.stdio);
  Result<Launched> launched = parked.has_value()
                                  ? run(child, extras.cgroup, extras.more_cgroups)
                                  : Result<Launched>(fail(std::move(parked.error())));
  // Nothing of the pipes may stay here, or their readers would never see the end.
  for (const Fd& place : parking_) ::dup3(null_.get(), place.get(), O_CLOEXEC);
  if (!launched.has_value() || child.error == 0) return launched;

  siginfo_t info;
  while (::waitid(P_PIDFD, static_cast<id_t>(launched->pidfd.get()), &info, WEXITED) != 0 &&
         errno == EINTR) {
  }
  return fail(explain(child.step, child.error, spec, prepared->path));
}

Result<void> Launcher::try_cgroup(const std::string& cgroup) {
  const std::lock_guard lock(mutex_);
  Child child;
  Result<Launched> launched = run(child, cgroup, {});
  if (!launched.has_value()) return fail(std::move(launched.error()));
  siginfo_t info;
  while (::waitid(P_PIDFD, static_cast<id_t>(launched->pidfd.get()), &info, WEXITED) != 0 &&
         errno == EINTR) {
  }
  if (child.error == 0) return {};
  return fail(errno_error(child.error, "cannot enter the control group " + cgroup));
}

}  // namespace berth::inline v0::io
