// server/cli/terminal.h — what the commands print: colours only where a person looks, and no escape
// sequences of others.
#pragma once

#include <string>
#include <string_view>

namespace berth::server {

enum class Style : unsigned char { plain, bold, dim, red, green, yellow, blue, cyan };

/// The standard streams of this program. Colours only if stdout is a terminal and NO_COLOR is not
/// set.
class Terminal {
 public:
  explicit Terminal(bool no_color);

  bool is_tty() const { return tty_; }
  /// Writes to stdout; `text` may hold anything that printable() leaves.
  void write(std::string_view text);
  void write(Style style, std::string_view text);
  void line(std::string_view text) { line(Style::plain, text); }
  void line(Style style, std::string_view text);
  /// Shows what was written so far.
  void flush();
  /// One line `berth: TEXT` on stderr.
  void complain(std::string_view text);
  /// One line on stderr, for people only.
  void note(std::string_view text);

 private:
  bool tty_;
  bool color_;
};

/// `text` without control characters other than line feed and tab, so that what an agent says
/// cannot steer the terminal.
std::string printable(std::string_view text);

/// All of stdin; false when a read fails or it is larger than `bytes_max`.
bool read_stdin(std::string& out, std::size_t bytes_max);
bool stdin_is_tty();

}  // namespace berth::server
