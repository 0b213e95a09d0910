// bench/agents/flood_agent.cc — the cheapest ACP agent that can stream: one write(2) per update, so
// that a load run measures the server and not its agents.
//
// A prompt whose text holds "flood COUNT [RATE [BURST]]" is answered with COUNT updates of about
// 485 bytes (300 of text), RATE a second (0 or nothing: as fast as the pipe takes them), BURST
// lines per write. Each text begins with "@NANOSECONDS:NUMBER@": CLOCK_MONOTONIC before its write,
// and which one of the turn it is. "line BYTES" is answered with one update whose text has so many
// bytes and no such header. "touch COUNT WORD" writes d0/f0, d1/f0 and so on in its folder. Any
// other prompt is answered at once. Knows no cancel: the end of stdin or a signal ends it.
#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace {

constexpr long kSecond = 1'000'000'000;
constexpr std::size_t kTextBytes = 300;
constexpr std::size_t kHeaderBytes = 40;  // of the text: "@time:number@", blanks behind it
constexpr std::size_t kBurstMax = 64;

char input[64 * 1024];
char line[1024];  // one update, its header to be filled in
std::size_t line_bytes = 0;
char* header = nullptr;  // in line
char burst[kBurstMax * sizeof line];
char session[64];

void write_all(const char* bytes, std::size_t count) {
  while (count > 0) {
    const ssize_t written = ::write(STDOUT_FILENO, bytes, count);
    if (written < 0) std::exit(0);  // nobody reads any more
    bytes += written;
    count -= static_cast<std::size_t>(written);
  }
}

long now_ns() {
  timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

void make_line() {
  std::snprintf(session, sizeof session, "flood-%d", static_cast<int>(::getpid()));
  const int begun = std::snprintf(
      line, sizeof line,
      R"({"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"%s","update":)"
      R"({"sessionUpdate":"agent_message_chunk","messageId":"msg_00000000000000000001",)"
      R"("content":{"type":"text","text":")",
      session);
  header = line + begun;
  std::memset(header, ' ', kHeaderBytes);
  for (std::size_t i = kHeaderBytes; i < kTextBytes; ++i)
    header[i] = "the quick brown fox "[i % 20];
  std::strcpy(header + kTextBytes, "\"}}}}\n");
  line_bytes = std::strlen(line);
}

/// Puts time and number into the line, without a terminating zero.
void stamp(long number) {
  char text[kHeaderBytes + 1];
  const int size = std::snprintf(text, sizeof text, "@%ld:%ld@", now_ns(), number);
  std::memcpy(header, text, static_cast<std::size_t>(size));
}

void sleep_until(long when) {
  const timespec time = {when / kSecond, when % kSecond};
  ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr);
}

void flood(long count, long rate, long per_write) {
  const long period = rate > 0 ? kSecond / rate : 0;
  // Agents do not all speak in the same moment.
  long next = now_ns() + (period > 0 ? (::getpid() * 7919L) % 1000 * (period / 1000) : 0);
  for (long number = 0; number < count;) {
    if (period > 0) sleep_until(next);
    next += period * per_write;
    std::size_t used = 0;
    for (long i = 0; i < per_write && number < count; ++i) {
      stamp(number++);
      std::memcpy(burst + used, line, line_bytes);
      used += line_bytes;
    }
    write_all(burst, used);
  }
}

/// One update with a text of `bytes`.
void long_line(long bytes) {
  const auto begun = static_cast<std::size_t>(header - line);
  const auto text = static_cast<std::size_t>(bytes < 0 ? 0 : bytes);
  const char* end = header + kTextBytes;
  const std::size_t size = begun + text + std::strlen(end);
  char* made = static_cast<char*>(std::malloc(size + 1));
  if (made == nullptr) std::exit(1);
  std::memcpy(made, line, begun);
  std::memset(made + begun, 'x', text);
  std::strcpy(made + begun + text, end);
  write_all(made, size);
  std::free(made);
}

/// Gives `count` files a new content, which holds `salt`.
void touch(long count, long salt) {
  for (long i = 0; i < count; ++i) {
    char name[64];
    std::snprintf(name, sizeof name, "d%ld/f0", i);
    std::FILE* file = std::fopen(name, "w");
    if (file == nullptr) std::exit(1);
    std::fprintf(file, "touched %ld\n", salt);
    std::fclose(file);
  }
}

/// The number behind `key`, or -1. Good for what berth and the load program write, not for all
/// JSON.
long number_after(const char* text, const char* key) {
  const char* found = std::strstr(text, key);
  return found == nullptr ? -1 : std::strtol(found + std::strlen(key), nullptr, 10);
}

void answer(long id, const char* result) {
  char text[512];
  const int size = std::snprintf(text, sizeof text,
                                 R"({"jsonrpc":"2.0","id":%ld,"result":%s})"
                                 "\n",
                                 id, result);
  write_all(text, static_cast<std::size_t>(size));
}

void serve(const char* request) {
  const long id = number_after(request, "\"id\":");
  if (id < 0) return;  // a notification
  if (std::strstr(request, "\"initialize\"") != nullptr) {
    answer(id, R"({"protocolVersion":1,"agentCapabilities":{"loadSession":false}})");
  } else if (std::strstr(request, "\"session/new\"") != nullptr) {
    char result[128];
    std::snprintf(result, sizeof result, R"({"sessionId":"%s"})", session);
    answer(id, result);
  } else {
    if (const char* order = std::strstr(request, "flood "); order != nullptr) {
      char* rest = nullptr;
      const long count = std::strtol(order + 6, &rest, 10);
      const long rate = std::strtol(rest, &rest, 10);
      const long per_write = std::strtol(rest, &rest, 10);
      flood(count, rate,
            per_write < 1                              ? 1
            : per_write > static_cast<long>(kBurstMax) ? kBurstMax
                                                       : per_write);
    }
    if (const char* order = std::strstr(request, "line "); order != nullptr) {
      long_line(std::strtol(order + 5, nullptr, 10));
    }
    if (const char* order = std::strstr(request, "touch "); order != nullptr) {
      char* rest = nullptr;
      const long count = std::strtol(order + 6, &rest, 10);
      touch(count, std::strtol(rest, nullptr, 10));
    }
    answer(id, R"({"stopReason":"end_turn"})");
  }
}

}  // namespace

int main() {
  make_line();
  std::size_t used = 0;
  for (;;) {
    const ssize_t got = ::read(STDIN_FILENO, input + used, sizeof input - 1 - used);
    if (got <= 0) return 0;
    used += static_cast<std::size_t>(got);
    input[used] = '\0';
    char* begin = input;
    while (char* end = std::strchr(begin, '\n')) {
      *end = '\0';
      serve(begin);
      begin = end + 1;
    }
    used = static_cast<std::size_t>(input + used - begin);
    std::memmove(input, begin, used);
    if (used == sizeof input - 1) return 1;  // longer than anything it understands
  }
}
