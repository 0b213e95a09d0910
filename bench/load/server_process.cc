#include "server_process.h"

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

namespace berth::bench {

namespace {

constexpr int kEndSeconds = 20;

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// The string member `key` of a flat line of JSON; empty if there is none.
std::string member_of(const std::string& json, const std::string& key) {
  const std::size_t at = json.find("\"" + key + "\":\"");
  if (at == std::string::npos) return {};
  const std::size_t begin = at + key.size() + 4;
  return json.substr(begin, json.find('"', begin) - begin);
}

std::string make_folder() {
  std::string name = (std::filesystem::temp_directory_path() / "berth-load-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) die("mkdtemp");
  return name;
}

/// In the child: never returns.
[[noreturn]] void become(const std::vector<std::string>& command, int out, const std::string& log) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), STDERR_FILENO);
  ::dup2(::open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
  std::vector<char*> arguments;
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  ::execv(arguments[0], arguments.data());
  ::_exit(127);
}

}  // namespace

ServerProcess::ServerProcess(std::vector<std::string> command, const std::string& config)
    : folder_(make_folder()) {
  std::ofstream(folder_ + "/config.toml") << config;
  for (std::string& argument : command) {
    if (argument.starts_with('@')) argument.replace(0, 1, folder_);
  }
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) die("pipe2");
  pid_ = ::fork();
  if (pid_ < 0) die("fork");
  if (pid_ == 0) become(command, ends[1], folder_ + "/log");
  ::close(ends[1]);
  std::string ready;
  char byte = 0;
  while (::read(ends[0], &byte, 1) == 1 && byte != '\n') ready += byte;
  ::close(ends[0]);
  const std::string url = member_of(ready, "url");
  if (url.empty()) {
    std::fprintf(stderr, "%s", text_of(folder_ + "/log").c_str());
    die(("no ready line from " + command[0]).c_str());
  }
  port_ = static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
  token_ = text_of(member_of(ready, "token_file"));
  while (!token_.empty() && token_.back() == '\n') token_.pop_back();
  if (::clock_getcpuclockid(pid_, &cpu_clock_) != 0) die("clock_getcpuclockid");
}

ServerProcess::~ServerProcess() {
  ::kill(pid_, SIGTERM);
  ::kill(pid_, SIGINT);  // insists: no turn is waited for
  for (int tenths = 0; ::waitpid(pid_, nullptr, WNOHANG) == 0; ++tenths) {
    if (tenths == kEndSeconds * 10) ::kill(pid_, SIGKILL);
    ::usleep(100'000);
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::int64_t ServerProcess::cpu_ns() const {
  timespec time = {};
  if (::clock_gettime(cpu_clock_, &time) != 0) die("the server has ended");
  return time.tv_sec * std::int64_t{1'000'000'000} + time.tv_nsec;
}

std::int64_t ServerProcess::rss_bytes() const {
  const std::string rollup = text_of("/proc/" + std::to_string(pid_) + "/smaps_rollup");
  const std::size_t at = rollup.find("\nRss:");
  if (at == std::string::npos) die("smaps_rollup");
  return std::strtoll(rollup.c_str() + at + 5, nullptr, 10) * 1024;
}

bool ServerProcess::log_contains(const std::string& text) const {
  return text_of(folder_ + "/log").find(text) != std::string::npos;
}

}  // namespace berth::bench
