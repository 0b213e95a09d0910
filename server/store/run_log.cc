#include <berth/server/store/run_log.h>

#include <berth/core/assert.h>
#include <berth/server/store/vfs_file.h>

#include <array>
#include <cstring>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kHalfBytes = std::size_t{2} << 20U;
/// Runs are joined up to so much: what the store merges small rows into.
constexpr std::size_t kJoinedBytes = std::size_t{64} << 10U;

/// Both lie in the file as they lie in memory: it never leaves the machine that wrote it.
struct FrameHead {
  std::int64_t salt;
  std::int64_t generation;
  std::uint64_t before;  ///< Sum of the frame before; 0 = this one follows the database.
  std::uint32_t runs;
  std::uint32_t bytes;  ///< Of what follows: each run's head and frames.
  std::uint64_t sum;    ///< Of all the above and of what follows; never 0.
};
struct RunHead {
  std::int64_t session;
  std::uint64_t first_seq;
  std::uint32_t count;
  std::uint32_t bytes;
};
static_assert(sizeof(FrameHead) == 40 && sizeof(RunHead) == 24);

std::size_t half_of(std::int64_t generation) {
  return generation % 2 == 1 ? 0 : kHalfBytes;
}

/// Against torn and lost writes, not against people. Eight bytes a step.
std::uint64_t add_to_sum(std::uint64_t sum, std::string_view bytes) {
  const auto mix = [&sum](std::uint64_t word) {
    sum = (sum ^ word) * 0x9e37'79b9'7f4a'7c15U;
    sum ^= sum >> 32U;
  };
  for (; bytes.size() >= sizeof(std::uint64_t); bytes.remove_prefix(sizeof(std::uint64_t))) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof word);
    mix(word);
  }
  std::uint64_t rest = bytes.size();
  for (const char c : bytes) rest = rest << 8U | static_cast<unsigned char>(c);
  mix(rest);
  return sum;
}

std::uint64_t sum_of(const FrameHead& head, std::string_view payload) {
  std::array<char, offsetof(FrameHead, sum)> fields{};
  std::memcpy(fields.data(), &head, fields.size());
  const std::uint64_t sum =
      add_to_sum(add_to_sum(0x6265'7274'68U, {fields.data(), fields.size()}), payload);
  return sum == 0 ? 1 : sum;
}

template <typename Head>
void append_head(std::string& out, const Head& head) {
  out.append(reinterpret_cast<const char*>(&head), sizeof head);
}

template <typename Head>
bool take_head(std::string_view& bytes, Head& head) {
  if (bytes.size() < sizeof head) return false;
  std::memcpy(&head, bytes.data(), sizeof head);
  bytes.remove_prefix(sizeof head);
  return true;
}

/// Gathers runs by session, so that many small ones become few rows.
class Joiner {
 public:
  void add(const RunHead& head, std::string_view frames) {
    const auto [place, fresh] = last_.try_emplace(head.session, runs_.size());
    if (!fresh) {
      EventRun& run = runs_[place->second];
      if (run.last_seq() + 1 == head.first_seq &&
          run.frames.size() + frames.size() <= kJoinedBytes) {
        run.frames += frames;
        run.count += head.count;
        return;
      }
      place->second = runs_.size();
    }
    runs_.push_back({head.session, head.first_seq, head.count, ByteBuffer(frames)});
  }
  std::vector<EventRun> take() { return std::move(runs_); }

 private:
  std::vector<EventRun> runs_;
  std::unordered_map<SessionNo, std::size_t> last_;  // the place of a session's latest run
};

/// The whole frames at the front of a half, as far as they belong to `generation` and follow one
/// another.
struct Scanned {
  std::size_t bytes = 0;
  std::uint64_t sum = 0;  ///< Of the last one; 0 = there are none.
};

Scanned scan(std::string_view half, std::int64_t salt, std::int64_t generation, Joiner& joiner,
             std::optional<std::uint64_t> first_before) {
  Scanned scanned;
  std::string_view rest = half;
  for (FrameHead head; take_head(rest, head);) {
    const bool ours = head.salt == salt && head.generation == generation;
    const bool first = scanned.sum == 0;
    const bool follows =
        first ? !first_before || head.before == *first_before : head.before == scanned.sum;
    if (!ours || !follows || head.bytes > rest.size()) return scanned;
    std::string_view payload = rest.substr(0, head.bytes);
    if (sum_of(head, payload) != head.sum) return scanned;
    rest.remove_prefix(head.bytes);
    for (RunHead run; take_head(payload, run); payload.remove_prefix(run.bytes)) {
      BERTH_ASSERT(run.bytes <= payload.size());
      joiner.add(run, payload.substr(0, run.bytes));
    }
    scanned.sum = head.sum;
    scanned.bytes = half.size() - rest.size();
  }
  return scanned;
}

}  // namespace

RunLog::RunLog(std::string path, std::string vfs) : path_(std::move(path)), vfs_(std::move(vfs)) {}

RunLog::~RunLog() = default;

Result<void> RunLog::open_reader() {
  if (reader_ != nullptr) return {};
  Result<std::unique_ptr<VfsFile>> opened = VfsFile::open(path_, vfs_, false);
  if (!opened) return fail(std::move(opened.error()));
  reader_ = std::move(*opened);
  return {};
}

Result<std::vector<EventRun>> RunLog::recover(const LogMark& mark) {
  Joiner joiner;
  if (mark.salt == 0 || !VfsFile::exists(path_, vfs_)) return joiner.take();
  if (Result<void> ready = open_reader(); !ready) return fail(std::move(ready.error()));
  // The first is behind the database whatever it says; the next one must be behind the first.
  std::optional<std::uint64_t> before;
  for (std::int64_t generation = mark.folded + 1; generation <= mark.folded + 2; ++generation) {
    Result<std::string> half = reader_->read(half_of(generation), kHalfBytes);
    if (!half) return fail(std::move(half.error()));
    const Scanned found = scan(*half, mark.salt, generation, joiner, before);
    if (found.sum == 0) break;
    before = found.sum;
  }
  return joiner.take();
}

void RunLog::start(std::int64_t salt) {
  const std::lock_guard lock(mutex_);
  BERTH_ASSERT(salt_ == 0 && salt != 0);
  salt_ = salt;
}

Taken RunLog::append(const CommitBatch& batch) {
  BERTH_ASSERT(batch.records.empty() && !batch.runs.empty());
  if (batch.event_bytes > kBatchBytesMax) return Taken::no;
  buffer_.assign(sizeof(FrameHead), '\0');
  for (const auto& run : batch.runs) {
    append_head(buffer_, RunHead{run->session, run->first_seq, run->count,
                                 static_cast<std::uint32_t>(run->frames.size())});
    buffer_ += run->frames;
  }
  const std::lock_guard lock(mutex_);
  if (salt_ == 0 || broken_) return Taken::no;
  const bool turns = end_ + buffer_.size() > kHalfBytes;
  if (turns) {
    if (sealed_) return Taken::no;
    sealed_ = Part{generation_++, end_};
    end_ = 0;
  }
  const std::string_view payload = std::string_view(buffer_).substr(sizeof(FrameHead));
  FrameHead head{salt_,
                 generation_,
                 sum_,
                 static_cast<std::uint32_t>(batch.runs.size()),
                 static_cast<std::uint32_t>(payload.size()),
                 0};
  head.sum = sum_of(head, payload);
  std::memcpy(buffer_.data(), &head, sizeof head);
  if (writer_ == nullptr) {
    Result<std::unique_ptr<VfsFile>> opened = VfsFile::open(path_, vfs_, true);
    if (opened) writer_ = std::move(*opened);
  }
  // A write that failed may be there or not: nothing can follow it but a commit of the database.
  broken_ = writer_ == nullptr || !writer_->write(half_of(generation_) + end_, buffer_);
  if (broken_) return Taken::no;
  end_ += buffer_.size();
  sum_ = head.sum;
  return turns ? Taken::yes_fold : Taken::yes;
}

void RunLog::seal() {
  const std::lock_guard lock(mutex_);
  if (sealed_ || end_ == 0) return;
  sealed_ = Part{generation_++, end_};
  end_ = 0;
}

std::optional<RunLog::Part> RunLog::sealed() {
  const std::lock_guard lock(mutex_);
  return sealed_;
}

std::vector<RunLog::Part> RunLog::pending() {
  const std::lock_guard lock(mutex_);
  std::vector<Part> parts;
  if (sealed_) parts.push_back(*sealed_);
  if (end_ > 0) parts.push_back({generation_, end_});
  return parts;
}

Result<std::vector<EventRun>> RunLog::read(const std::vector<Part>& parts) {
  Joiner joiner;
  for (const Part& part : parts) {
    if (Result<void> ready = open_reader(); !ready) return fail(std::move(ready.error()));
    Result<std::string> half = reader_->read(half_of(part.generation), part.bytes);
    if (!half) return fail(std::move(half.error()));
    if (scan(*half, salt_, part.generation, joiner, std::nullopt).bytes != part.bytes) {
      return fail(ErrorKind::internal, "store_corrupt",
                  path_ + ": generation " + std::to_string(part.generation) + " is damaged");
    }
  }
  return joiner.take();
}

void RunLog::folded() {
  const std::lock_guard lock(mutex_);
  sealed_.reset();
}

std::int64_t RunLog::generation() {
  const std::lock_guard lock(mutex_);
  return generation_;
}

void RunLog::restart() {
  const std::lock_guard lock(mutex_);
  sealed_.reset();
  ++generation_;
  end_ = 0;
  sum_ = 0;
  broken_ = false;
}

void RunLog::remove() {
  writer_.reset();
  reader_.reset();
  VfsFile::remove(path_, vfs_);
}

}  // namespace berth::server
