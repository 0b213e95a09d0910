// A command-line agent in the dialect of server/agents/command/output.h, driven by the prompt's
// text: NUL-ended prompts on stdin, JSON lines on stdout, a checkpoint after every turn, INT
// cancels the turn, TERM ends after it, HUP means nothing. Plain system calls, as such agents have.
//
//   say TEXT | think TEXT | remember WORD | recall | count | tool NAME | slow MS | usage IN OUT
//   fail WHY | budget | junk | die | tear (writes half a checkpoint and dies)
//   linger TEXT (says it when the turn has ended) | env NAME (says its value)
//   trace (says what the file says that BERTH_TRACE_FILE names)
//
// stderr gets a line at the start.
#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

volatile sig_atomic_t interrupted = 0;
volatile sig_atomic_t terminated = 0;

void on_interrupt(int) {
  interrupted = 1;
}
void on_terminate(int) {
  terminated = 1;
}

void write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(file, bytes.data(), bytes.size());
    if (wrote > 0) bytes.remove_prefix(static_cast<std::size_t>(wrote));
    if (wrote < 0 && errno != EINTR) ::_exit(1);
  }
}

class Agent {
 public:
  Agent(std::string checkpoint_folder, std::string run_id)
      : folder_(std::move(checkpoint_folder)), run_id_(std::move(run_id)) {}

  bool resume(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    std::string text(1 << 20, '\0');
    const ssize_t got = file < 0 ? -1 : ::read(file, text.data(), text.size());
    if (file >= 0) ::close(file);
    const berth::Result<berth::JsonDoc> doc =
        berth::JsonDoc::parse(std::string_view(text).substr(0, got < 0 ? 0 : std::size_t(got)));
    if (!doc.has_value()) return false;
    turns_ = doc->root().get_int64("turns").value_or(0);
    for (const berth::JsonView& word : doc->root().elements("memory")) {
      memory_.emplace_back(word.as_string().value_or(""));
    }
    return true;
  }

  void run_turn(std::string_view prompt) {
    interrupted = 0;
    ++turns_;
    custom("agent_start", "{}");
    const std::size_t space = prompt.find(' ');
    // What it is told of earlier turns may stand before a `recall`.
    const std::string_view verb = prompt.ends_with("\nrecall") ? "recall" : prompt.substr(0, space);
    const std::string_view rest =
        space == std::string_view::npos ? std::string_view() : prompt.substr(space + 1);
    std::string_view stop = "end_turn";
    std::string failure;
    if (verb == "think") {
      line("thought", "text", rest);
    } else if (verb == "remember") {
      memory_.emplace_back(rest);
      line("text", "text", "remembered");
    } else if (verb == "recall") {
      std::string words;
      for (const std::string& word : memory_) words += (words.empty() ? "" : " ") + word;
      line("text", "text", words);
    } else if (verb == "env") {
      const char* const value = std::getenv(std::string(rest).c_str());
      line("text", "text", value == nullptr ? "" : value);
    } else if (verb == "trace") {
      line("text", "text", trace());
    } else if (verb == "count") {
      line("text", "text", std::to_string(turns_));
    } else if (verb == "tool") {
      print(R"({"type":"tool_call","id":"call_1","name":"tool","input":{"x":1}})");
      print(R"({"type":"tool_result","id":"call_1","output":"done"})");
    } else if (verb == "usage") {
      print(R"({"type":"usage","input_tokens":10,"output_tokens":4,"cost":0.25})");
      print(R"({"type":"usage","input_tokens":5,"output_tokens":1})");
    } else if (verb == "slow") {
      if (!tick(std::atol(std::string(rest).c_str()))) stop = "cancelled";
    } else if (verb == "fail") {
      failure = rest;
    } else if (verb == "budget") {
      stop = "budget";
    } else if (verb == "junk") {
      write_all(1, "this is no JSON\n");
    } else if (verb == "die") {
      line("text", "text", "last words");
      ::_exit(3);
    } else if (verb == "tear") {
      save(true);
      ::_exit(4);
    } else if (verb == "linger") {
      line("text", "text", "done");
    } else {
      line("text", "text", verb == "say" ? rest : prompt);
    }
    save(false);
    end_turn(stop, failure);
    if (verb == "linger") line("text", "text", rest);
  }

 private:
  void end_turn(std::string_view stop, std::string_view failure) {
    std::string data;
    if (failure.empty()) {
      berth::JsonWriter(data).begin_object().member("stop_reason", stop).end_object();
      custom("agent_complete", data);
    } else {
      berth::JsonWriter(data).begin_object().member("message", failure).end_object();
      custom("agent_error", data);
    }
  }
  static std::string trace() {
    const char* const path = std::getenv("BERTH_TRACE_FILE");
    const int file = path == nullptr ? -1 : ::open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return "none";
    std::string text(1 << 10, '\0');
    const ssize_t got = ::read(file, text.data(), text.size());
    ::close(file);
    return text.substr(0, got < 0 ? 0 : std::size_t(got));
  }
  static void print(std::string_view json) {
    std::string text(json);
    write_all(1, text += '\n');
  }
  static void line(std::string_view type, std::string_view key, std::string_view value) {
    std::string json;
    berth::JsonWriter(json).begin_object().member("type", type).member(key, value).end_object();
    print(json);
  }
  void custom(std::string_view custom_type, std::string_view data) {
    std::string json;
    berth::JsonWriter(json)
        .begin_object()
        .member("type", "custom")
        .member("custom_type", custom_type)
        .member_raw("data", data)
        .end_object();
    print(json);
  }
  /// False when it was interrupted.
  static bool tick(long ms) {
    for (long gone = 0; gone < ms; gone += 20) {
      ::poll(nullptr, 0, 20);
      if (interrupted != 0) return false;
      line("text", "text", ".");
    }
    return true;
  }
  /// In place, as the agents do that this one stands for.
  void save(bool torn) {
    if (folder_.empty()) return;
    std::string json;
    berth::JsonWriter writer(json);
    writer.begin_object().member("run_id", run_id_).member_int64("turns", turns_);
    writer.key("memory").begin_array();
    for (const std::string& word : memory_) writer.string(word);
    writer.end_array().end_object();
    if (torn) json.resize(json.size() / 2);
    const int file = ::open((folder_ + "/session-latest.json").c_str(),
                            O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0) ::_exit(5);
    write_all(file, json);
    ::close(file);
  }

  std::string folder_;
  std::string run_id_;
  std::int64_t turns_ = 0;
  std::vector<std::string> memory_;
};

void handle(int number, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  ::sigaction(number, &action, nullptr);
}

}  // namespace

int main(int count, char** words) {
  std::string folder;
  std::string run_id;
  std::string resume;
  for (int i = 1; i + 1 < count; ++i) {
    const std::string_view option = words[i];
    if (option == "--checkpoint-dir") folder = words[i + 1];
    if (option == "--run-id") run_id = words[i + 1];
    if (option == "--resume") resume = words[i + 1];
  }
  handle(SIGINT, on_interrupt);
  handle(SIGTERM, on_terminate);
  handle(SIGHUP, SIG_IGN);
  Agent agent(folder, run_id);
  if (!resume.empty() && !agent.resume(resume)) {
    write_all(2, "cannot resume from " + resume + "\n");
    return 2;
  }
  write_all(2, "scripted agent is here\n");
  std::string pending;
  std::array<char, 4096> bytes;
  while (terminated == 0) {
    const std::size_t end = pending.find('\0');
    if (end != std::string::npos) {
      const std::string prompt = pending.substr(0, end);
      pending.erase(0, end + 1);
      agent.run_turn(prompt);
      continue;
    }
    const ssize_t got = ::read(0, bytes.data(), bytes.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    pending.append(bytes.data(), static_cast<std::size_t>(got));
  }
  if (terminated == 0 && !pending.empty()) agent.run_turn(pending);
  return 0;
}
