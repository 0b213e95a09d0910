#include <berth/server/cli/terminal.h>

#include <unistd.h>
#include <array>
#include <cstdio>
#include <cstdlib>

namespace berth::server {

namespace {

std::string_view code_of(Style style) {
  switch (style) {
    case Style::plain:
      return "";
    case Style::bold:
      return "\033[1m";
    case Style::dim:
      return "\033[2m";
    case Style::red:
      return "\033[31m";
    case Style::green:
      return "\033[32m";
    case Style::yellow:
      return "\033[33m";
    case Style::blue:
      return "\033[34m";
    case Style::cyan:
      return "\033[36m";
  }
  return "";
}

void put(std::FILE* file, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), file);
}

}  // namespace

Terminal::Terminal(bool no_color) : tty_(::isatty(STDOUT_FILENO) == 1), color_(tty_ && !no_color) {}

void Terminal::write(std::string_view text) {
  put(stdout, text);
}

void Terminal::write(Style style, std::string_view text) {
  if (!color_ || style == Style::plain) return put(stdout, text);
  put(stdout, code_of(style));
  put(stdout, text);
  put(stdout, "\033[0m");
}

void Terminal::line(Style style, std::string_view text) {
  write(style, text);
  put(stdout, "\n");
}

void Terminal::flush() {
  std::fflush(stdout);
}

void Terminal::complain(std::string_view text) {
  std::fflush(stdout);
  put(stderr, "berth: ");
  note(text);
}

void Terminal::note(std::string_view text) {
  put(stderr, text);
  put(stderr, "\n");
}

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == '\n' || byte == '\t') {
      out += text[i];
    } else if (byte < 0x20 || byte == 0x7F) {
      continue;
    } else if (byte == 0xC2 && i + 1 < text.size() &&
               static_cast<unsigned char>(text[i + 1]) >= 0x80 &&
               static_cast<unsigned char>(text[i + 1]) < 0xA0) {
      ++i;  // U+0080 to U+009F: control characters too
    } else {
      out += text[i];
    }
  }
  return out;
}

bool read_stdin(std::string& out, std::size_t bytes_max) {
  std::array<char, 64 * 1024> piece;
  for (;;) {
    const std::size_t got = std::fread(piece.data(), 1, piece.size(), stdin);
    out.append(piece.data(), got);
    if (out.size() > bytes_max || std::ferror(stdin) != 0) return false;
    if (got < piece.size()) return true;
  }
}

bool stdin_is_tty() {
  return ::isatty(STDIN_FILENO) == 1;
}

}  // namespace berth::server
