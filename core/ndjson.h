// core/ndjson.h — cuts a stream of bytes into lines, in place where a line lies in one chunk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

namespace berth::inline v0 {

/// Readable bytes behind every delivered line; the JSON scanner reads (and ignores) up to so many
/// past the end.
inline constexpr std::size_t kLinePadding = 64;

/// Bytes of one line in memory of its own, with kLinePadding readable bytes behind them. Move-only.
class LineBuffer {
 public:
  LineBuffer() = default;
  LineBuffer(LineBuffer&& other) noexcept;
  LineBuffer& operator=(LineBuffer&& other) noexcept;

  /// An owned copy of `text`.
  static LineBuffer copy_of(std::string_view text);

  std::string_view text() const { return {data_.get(), size_}; }
  bool empty() const { return size_ == 0; }
  /// Bytes allocated, the padding included; 0 when nothing is.
  std::size_t capacity() const { return capacity_; }

 private:
  friend class ByteBuffer;
  friend class LineFramer;
  friend class Line;
  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };

  void append(std::string_view bytes);  // keeps the padding readable
  void set_capacity(std::size_t capacity);
  void release();

  std::unique_ptr<char, Free> data_;  // malloc, so that a huge line can grow by moving pages
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

/// A line while it is being delivered, without its line end. Its text is valid during `on_line`
/// only.
class Line {
 public:
  std::string_view text() const { return text_; }

  /// True when `take` moves memory that exists already, instead of copying the text.
  bool owned() const { return carry_ != nullptr; }

  /// The line as an owned buffer for keeping. `text` stays valid as long as the buffer lives. Call
  /// it once.
  LineBuffer take();

 private:
  friend class LineFramer;
  Line(std::string_view text, LineBuffer* carry) : text_(text), carry_(carry) {}

  std::string_view text_;
  LineBuffer* carry_;
};

/// Receives lines. Must not call back into the framer or destroy it.
class LineSink {
 public:
  virtual ~LineSink() = default;

  /// One line, never blank, with kLinePadding readable bytes behind it.
  virtual void on_line(Line& line) = 0;

  /// A line above the limit was dropped: its size without the LF, and up to its first 256 bytes.
  virtual void on_overlong(std::uint64_t total_bytes, std::string_view head) = 0;
};

/// Cuts lines at LF; one CR before the LF is dropped; lines of nothing but blanks are skipped.
///
/// The sequence of calls depends on the bytes alone, not on how they are cut into chunks. A line
/// within one chunk is delivered in place; one that began in an earlier chunk is joined once in a
/// carry buffer. Between two calls of `feed` the framer holds memory only while a line is
/// unfinished. Not thread-safe.
class LineFramer {
 public:
  struct Limits {
    /// Largest line in bytes, a CR at its end included, the LF not.
    std::size_t line_max = std::size_t{64} << 20;
  };
  static constexpr std::size_t kHeadMax = 256;
  /// A carry that grew above this is given back right after its line.
  static constexpr std::size_t kKeepMax = std::size_t{64} << 10;

  explicit LineFramer(LineSink& sink) : LineFramer(sink, Limits{}) {}
  LineFramer(LineSink& sink, Limits limits) : sink_(sink), limits_(limits) {}

  /// Takes the next bytes. The caller guarantees kLinePadding readable bytes behind `chunk`,
  /// whatever they are.
  void feed(std::string_view chunk);

  /// End of stream: delivers (or reports) an unterminated last line. The framer can be fed anew
  /// afterwards.
  void finish();

  /// Bytes of the unfinished line that are held in memory.
  std::size_t pending() const { return carry_.size_; }
  /// Memory held for the unfinished line, in bytes.
  std::size_t capacity() const { return carry_.capacity_ + dropped_head_.capacity_; }

 private:
  void keep(std::string_view part);
  void end_line(std::string_view last_part);
  void deliver(std::string_view text, LineBuffer* carry);
  void start_dropping(std::string_view part);
  void drop(std::string_view part);

  LineSink& sink_;
  Limits limits_;
  LineBuffer carry_;
  LineBuffer dropped_head_;
  std::uint64_t dropped_bytes_ = 0;  // not 0: inside an over-long line
};

}  // namespace berth::inline v0
