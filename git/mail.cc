#include <berth/core/text.h>
#include <berth/git/mail.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cstdio>

namespace berth::git {
namespace {

bool is_plain(std::string_view text) {
  for (const char c : text) {
    if (c < 0x20 || c > 0x7e) return false;
  }
  return text.find("=?") == std::string_view::npos;
}

/// RFC 2047, "Q"; an encoded word has at most 75 characters and never splits a UTF-8 sequence.
std::string header_text(std::string_view text) {
  if (is_plain(text)) return std::string(text);
  constexpr std::string_view kOpen = "=?UTF-8?q?";
  std::string out;
  std::string word;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t length = 1;
    while (length < 4 && i + length < text.size() && (text[i + length] & 0xC0) == 0x80) ++length;
    std::string piece;
    for (const char c : text.substr(i, length)) {
      const bool safe = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
      std::array<char, 4> hex = {c, '\0'};
      if (!safe) {
        std::snprintf(hex.data(), hex.size(), "=%02X", static_cast<unsigned char>(c));
      }
      piece += hex.data();
    }
    if (kOpen.size() + word.size() + piece.size() + 2 > 75) {
      out.append(kOpen).append(word).append("?=\n ");
      word.clear();
    }
    word += piece;
    i += length;
  }
  return out.append(kOpen).append(word).append("?=");
}

/// Without what would end the name; git takes the same out of it.
std::string author_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != '<' && c != '>' && c != '\n' && c != '\r' && c != '\0') out += c;
  }
  return out;
}

/// Up to what would end the address, or the header.
std::string_view address_text(std::string_view text) {
  constexpr std::string_view kEnds("<> \t\r\n\0", 7);
  text.remove_prefix(std::min(text.find_first_not_of(kEnds), text.size()));
  return text.substr(0, text.find_first_of(kEnds));
}

/// A name as git prints it: in quotes when it holds what would end the line, or a quote.
std::string path_text(std::string_view path) {
  std::string out;
  bool quoted = false;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    std::array<char, 5> text = {c, '\0'};
    if (byte < 0x20 || byte == 0x7f) {
      std::snprintf(text.data(), text.size(), "\\%03o", byte);
    } else if (c == '"' || c == '\\') {
      text = {'\\', c, '\0'};
    }
    quoted = quoted || text[1] != '\0';
    out += text.data();
  }
  return quoted ? '"' + out + '"' : out;
}

/// Where `git am` ends the message and looks for patches: its patchbreak().
bool ends_the_message(std::string_view line) {
  if (line.starts_with("diff -") || line.starts_with("Index: ")) return true;
  if (!line.starts_with("---")) return false;
  const std::size_t next = line.find_first_not_of(" \t\r\v\f", 3);
  return next == std::string_view::npos || (next == 4 && line[3] == ' ');
}

/// At the top of a body `git am` takes these for headers that replace the mail's own.
bool is_header_in_body(std::string_view line) {
  for (const std::string_view name : {"from:", "date:", "subject:", ">from", "[patch]"}) {
    if (line.size() >= name.size() &&
        std::equal(name.begin(), name.end(), line.begin(), [](char wanted, char c) {
          return wanted == std::tolower(static_cast<unsigned char>(c));
        })) {
      return true;
    }
  }
  return false;
}

/// Puts a space before lines that are no text to who reads the mail: mbox's "From ", and the above.
void append_body(std::string& out, std::string_view body) {
  bool top = true;
  while (!body.empty()) {
    const std::string_view line = take_line(body);
    const bool guarded =
        line.starts_with("From ") || ends_the_message(line) || (top && is_header_in_body(line));
    top = top && line.find_first_not_of('\r') == std::string_view::npos;
    if (guarded) out += ' ';
    out.append(line).append("\n");
  }
}

}  // namespace

std::string mail_date(std::int64_t time_s) {
  namespace chrono = std::chrono;
  const chrono::sys_seconds time{chrono::seconds(time_s)};
  const auto day = chrono::floor<chrono::days>(time);
  const chrono::year_month_day date(day);
  const chrono::hh_mm_ss clock(time - day);
  constexpr std::array<const char*, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array<const char*, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::array<char, 64> text = {};
  std::snprintf(text.data(), text.size(), "%s, %u %s %d %02d:%02d:%02d +0000",
                kDays[chrono::weekday(day).c_encoding()], static_cast<unsigned>(date.day()),
                kMonths[static_cast<unsigned>(date.month()) - 1], static_cast<int>(date.year()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  return text.data();
}

std::string as_mail(const CommitText& text, const Change& change) {
  std::string_view message = text.message;
  const std::size_t start = message.find_first_not_of(" \t\r\n");
  message.remove_prefix(start == std::string_view::npos ? message.size() : start);
  const std::string_view subject = take_line(message);
  while (!message.empty() && message.front() == '\n') message.remove_prefix(1);
  while (!message.empty() && message.back() == '\n') message.remove_suffix(1);

  // The time in the first line is git's own constant: it tells readers what kind of mbox this is.
  std::string mail = "From " + std::string(40, '0') + " Mon Sep 17 00:00:00 2001\n";
  mail += "From: " + header_text(author_text(text.author_name)) + " <";
  mail.append(address_text(text.author_email)).append(">\n");
  mail += "Date: " + mail_date(text.time_s) + "\n";
  mail += "Subject: [PATCH] " + header_text(subject) + "\n";
  mail +=
      "MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n"
      "Content-Transfer-Encoding: 8bit\n\n";
  std::string body(message);
  if (!message.empty()) body += text.trailers.empty() ? "\n" : "\n\n";
  for (const auto& [name, value] : text.trailers) {
    std::string line = name + ": " + value;
    std::replace(line.begin(), line.end(), '\n', ' ');
    body += line + "\n";
  }
  append_body(mail, body);
  mail += "---\n";
  for (const FileChange& file : change.files) {
    mail += " " + path_text(file.path) + " | +" + std::to_string(file.additions) + " -" +
            std::to_string(file.deletions) + "\n";
  }
  mail += "\n" + patch_text(change) + "-- \nberth\n\n";
  return mail;
}

}  // namespace berth::git
