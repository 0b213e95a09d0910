#include "server_process.h"

#include "http_lane.h"
#include "poller.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

namespace berth::bench {

namespace {

namespace fs = std::filesystem;

constexpr int kEndSeconds = 20;
constexpr int kStartSeconds = 60;
constexpr const char* kPortMark = "%PORT";

/// What can be read of it: a file of a process that ends meanwhile gives an error in the middle.
std::string text_of(const std::string& path) {
  const std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// The string member `key` of a flat line of JSON; empty if there is none.
std::string member_of(const std::string& json, const std::string& key) {
  const std::size_t at = json.find("\"" + key + "\":\"");
  if (at == std::string::npos) return {};
  const std::size_t begin = at + key.size() + 4;
  return json.substr(begin, json.find('"', begin) - begin);
}

std::string make_folder() {
  std::string name = (fs::temp_directory_path() / "berth-bench-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) die("mkdtemp");
  return name;
}

std::string in_folder(const std::string& text, const std::string& folder) {
  return text.starts_with('@') ? folder + text.substr(1) : text;
}

void furnish(const ServerCommand& command, const std::string& folder) {
  std::ofstream(folder + "/config.toml") << command.config;
  for (const auto& [from, name] : command.copies) fs::copy_file(from, folder + "/" + name);
  for (const auto& [to, name] : command.links) {
    const fs::path link = folder + "/" + name;
    fs::create_directories(link.parent_path());
    fs::create_symlink(to, link);
  }
}

/// In the child: never returns. `out` becomes stdout; -1: the log, as for stderr.
[[noreturn]] void become(const ServerCommand& command, const std::string& folder, int out) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const std::string log = folder + "/log";
  ::dup2(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), STDERR_FILENO);
  ::dup2(out >= 0 ? out : STDERR_FILENO, STDOUT_FILENO);
  ::dup2(::open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
  for (const auto& [name, value] : command.environment) {
    ::setenv(name.c_str(), in_folder(value, folder).c_str(), 1);
  }
  std::vector<std::string> texts;
  for (const std::string& argument : command.arguments) {
    texts.push_back(in_folder(argument, folder));
  }
  std::vector<char*> arguments;
  for (std::string& text : texts) arguments.push_back(text.data());
  arguments.push_back(nullptr);
  ::execv(arguments[0], arguments.data());
  ::_exit(127);
}

/// CPU time of all threads of a process; 0 when it is gone.
std::int64_t process_cpu_ns(pid_t pid) {
  clockid_t clock = 0;
  timespec time = {};
  if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &time) != 0) return 0;
  return time.tv_sec * std::int64_t{1'000'000'000} + time.tv_nsec;
}

struct Child {
  pid_t pid = 0;
  std::string name;  // as the kernel has it: at most 15 letters
};

/// All that descend from `root`, by /proc.
std::vector<Child> descendants(pid_t root) {
  std::multimap<pid_t, Child> by_parent;
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc")) {
    const pid_t pid = std::atoi(entry.path().filename().c_str());
    if (pid <= 0) continue;
    const std::string stat = text_of(entry.path() / "stat");  // "PID (NAME) STATE PARENT ..."
    const std::size_t open = stat.find('(');
    const std::size_t close = stat.rfind(") ");
    if (open == std::string::npos || close == std::string::npos) continue;
    const pid_t parent = std::atoi(stat.c_str() + close + 4);
    by_parent.emplace(parent, Child{pid, stat.substr(open + 1, close - open - 1)});
  }
  std::vector<Child> found = {Child{root, {}}};
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto [begin, end] = by_parent.equal_range(found[i].pid);
    for (auto child = begin; child != end; ++child) found.push_back(child->second);
  }
  found.erase(found.begin());
  return found;
}

bool is_agent(const Child& child, const std::string& agent_program) {
  const std::string name = fs::path(agent_program).filename().string().substr(0, 15);
  return child.name == name || child.name == "mock-acp";
}

std::int64_t proc_kib(pid_t pid, const std::string& file, const std::string& key) {
  const std::string text = text_of("/proc/" + std::to_string(pid) + "/" + file);
  const std::size_t at = text.find("\n" + key + ":");
  if (at == std::string::npos) die(file.c_str());
  return std::strtoll(text.c_str() + at + key.size() + 2, nullptr, 10);
}

}  // namespace

ServerProcess::ServerProcess(ServerCommand command)
    : command_(std::move(command)), folder_(make_folder()) {
  for (std::string& argument : command_.arguments) {
    if (argument != kPortMark) continue;
    port_ = free_port();
    port_is_given_ = true;
    argument = std::to_string(port_);
  }
  try {
    furnish(command_, folder_);
    start();
  } catch (...) {
    end();
    throw;
  }
}

void ServerProcess::start() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) die("pipe2");
  const std::int64_t begin = now_ns();
  pid_ = ::fork();
  if (pid_ < 0) die("fork");
  if (pid_ == 0) become(command_, folder_, port_is_given_ ? -1 : ends[1]);
  ::close(ends[1]);
  if (port_is_given_) {
    int fd = -1;
    while ((fd = try_connect(port_)) < 0) {
      if (now_ns() - begin > kStartSeconds * std::int64_t{1'000'000'000}) die("no server");
      ::usleep(1'000);
    }
    ::close(fd);
  } else {
    read_ready_line(ends[0]);
  }
  start_ms_ = static_cast<double>(now_ns() - begin) / 1e6;
  ::close(ends[0]);
  if (::clock_getcpuclockid(pid_, &cpu_clock_) != 0) die("clock_getcpuclockid");
}

void ServerProcess::read_ready_line(int fd) {
  std::string ready;
  char byte = 0;
  while (::read(fd, &byte, 1) == 1 && byte != '\n') ready += byte;
  const std::string url = member_of(ready, "url");
  if (url.empty()) {
    throw Fatal("no ready line from " + command_.arguments[0] + "\n" + text_of(folder_ + "/log"));
  }
  port_ = static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
  token_ = text_of(member_of(ready, "token_file"));
  while (!token_.empty() && token_.back() == '\n') token_.pop_back();
}

ServerProcess::~ServerProcess() {
  end();
}

void ServerProcess::end() {
  stop();
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

void ServerProcess::stop() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGTERM);
  ::kill(pid_, SIGINT);  // insists: no turn is waited for
  for (int centi = 0; ::waitpid(pid_, nullptr, WNOHANG) == 0; ++centi) {
    if (centi == kEndSeconds * 100) ::kill(pid_, SIGKILL);
    ::usleep(10'000);
  }
  pid_ = -1;
}

void ServerProcess::kill_hard() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void ServerProcess::start_again() {
  start();
}

std::int64_t ServerProcess::cpu_ns() const {
  timespec time = {};
  if (::clock_gettime(cpu_clock_, &time) != 0) die("the server has ended");
  return time.tv_sec * std::int64_t{1'000'000'000} + time.tv_nsec;
}

ChildrenCpu ServerProcess::children_cpu(const std::string& agent_program) const {
  ChildrenCpu sum;
  for (const Child& child : descendants(pid_)) {
    (is_agent(child, agent_program) ? sum.agents_ns : sum.helpers_ns) += process_cpu_ns(child.pid);
  }
  return sum;
}

std::vector<pid_t> ServerProcess::agents(const std::string& agent_program) const {
  std::vector<pid_t> found;
  for (const Child& child : descendants(pid_)) {
    if (is_agent(child, agent_program)) found.push_back(child.pid);
  }
  return found;
}

std::int64_t ServerProcess::rss_bytes() const {
  return proc_kib(pid_, "smaps_rollup", "Rss") * 1024;
}

std::int64_t ServerProcess::rss_peak_bytes() const {
  return proc_kib(pid_, "status", "VmHWM") * 1024;
}

bool ServerProcess::log_contains(const std::string& text) const {
  return text_of(folder_ + "/log").find(text) != std::string::npos;
}

}  // namespace berth::bench
