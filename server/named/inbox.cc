#include <berth/server/named/inbox.h>

#include <berth/io/awaitables.h>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kFileMax = std::size_t{256} << 20;
constexpr std::uint64_t kTakenAtOnce = std::uint64_t{1} << 20;
constexpr std::uint64_t kReadyMax = std::uint64_t{8} << 20;  // bytes that wait in memory
/// A file is let go of above this size: what must be looked at again after a crash stays small.
constexpr std::uint64_t kTurnedOverAt = std::uint64_t{64} << 10;
/// The same in the middle of a prompt that will be refused: behind that its size is not known.
constexpr std::uint64_t kCutOverAt = std::uint64_t{64} << 20;
constexpr Duration kDrain = std::chrono::seconds(1);
constexpr Duration kDrainPause = std::chrono::milliseconds(10);
constexpr std::string_view kPrefix = "inbox-";
constexpr std::string_view kCutSuffix = "-cut";
constexpr const char* kClean = "/inbox.clean";  // the last life ended in order

}  // namespace

/// `co_await Readable(reactor, handle, stop)`: true when there is something to read.
class Inbox::Readable final : private io::PollOp, private StopListener {
 public:
  Readable(io::Reactor& reactor, io::Handle fifo, StopToken stop) : reactor_(reactor), stop_(stop) {
    handle = fifo;
  }
  bool await_ready() const { return stop_.stop_requested(); }
  void await_suspend(std::coroutine_handle<> waiting) {
    waiting_ = waiting;
    reactor_.start(*this);
    stop_.listen(*this);
  }
  bool await_resume() const { return ready_; }

 private:
  void on_ready(int error) override {
    StopListener::unlink();
    ready_ = error == 0;
    resume_.arm(reactor_, waiting_);
  }
  void on_stop() override { reactor_.cancel(*this); }

  io::Reactor& reactor_;
  StopToken stop_;
  std::coroutine_handle<> waiting_;
  ResumeLater resume_;
  bool ready_ = false;
};

std::string Inbox::File::name() const {
  return fmt::format("{}{}{}", kPrefix, number, begins_cut ? kCutSuffix : "");
}

Inbox::Inbox(io::Platform& platform, std::string folder, std::size_t prompt_max)
    : platform_(platform),
      folder_(std::move(folder)),
      prompt_max_(prompt_max),
      changed_(platform.reactor()),
      scope_(platform.reactor()) {}

Inbox::~Inbox() {
  BERTH_ASSERT(fifo_ == nullptr);
}

// --- start ---

/// Oldest first.
Task<Result<std::vector<Inbox::File>>> Inbox::list_files() {
  io::Files* files = &platform_.files();
  Result<std::vector<io::FolderEntry>> entries =
      co_await platform_.offload().run(io::Lane::files, platform_.reactor(),
                                       [files, folder = folder_] { return files->list(folder); });
  if (!entries.has_value()) co_return fail(std::move(entries.error()));
  std::vector<File> found;
  for (const io::FolderEntry& entry : *entries) {
    std::string_view name = entry.name;
    if (!name.starts_with(kPrefix)) continue;
    File file;
    file.begins_cut = name.ends_with(kCutSuffix);
    if (file.begins_cut) name.remove_suffix(kCutSuffix.size());
    name.remove_prefix(kPrefix.size());
    const auto [end, error] = std::from_chars(name.begin(), name.end(), file.number);
    if (error == std::errc() && end == name.end()) found.push_back(file);
  }
  std::sort(found.begin(), found.end(),
            [](const File& a, const File& b) { return a.number < b.number; });
  co_return found;
}

Task<Result<void>> Inbox::start() {
  BERTH_ASSERT(fifo_ == nullptr);
  failure_.reset();
  io::Files* files = &platform_.files();
  Result<bool> clean = co_await platform_.offload().run(
      io::Lane::files, platform_.reactor(), [files, folder = folder_]() -> Result<bool> {
        Result<void> done = files->make_directories(folder, 0700);
        const bool marked = files->exists(folder + kClean);
        if (done.has_value()) done = files->remove_if_exists(folder + kClean);
        if (!done.has_value()) return fail(std::move(done.error()));
        return marked;
      });
  if (!clean.has_value()) co_return fail(std::move(clean.error()));
  Result<std::vector<File>> found = co_await list_files();
  if (!found.has_value()) co_return fail(std::move(found.error()));
  if (found->empty()) found->push_back({platform_.reactor().clock().wall().count(), false});
  Result<std::unique_ptr<io::Fifo>> fifo = io::Fifo::open(platform_.reactor(), path());
  if (!fifo.has_value()) co_return fail(std::move(fifo.error()));
  fifo_ = std::move(*fifo);
  Result<void> ready;
  for (std::size_t i = 0; ready.has_value() && i < found->size(); ++i) {
    ready = co_await take_up((*found)[i], i + 1 == found->size(), *clean);
  }
  if (ready.has_value()) ready = fifo_->hold();
  if (!ready.has_value()) {
    let_go();
    co_return ready;
  }
  stop_ = std::make_unique<StopSource>();
  scope_.spawn(fill(stop_->token()));
  co_return ready;
}

/// Reads a file that an earlier life left. What the last one ends with may go on in the pipe: it
/// does if that life ended in order; else something may be missing between the two.
Task<Result<void>> Inbox::take_up(File file, bool last, bool clean) {
  io::Files* files = &platform_.files();
  Result<std::string> text = co_await platform_.offload().run(
      io::Lane::files, platform_.reactor(), [files, path = path_of(file)]() -> Result<std::string> {
        if (!files->exists(path)) return std::string();
        return files->read(path, kFileMax);
      });
  if (!text.has_value()) co_return fail(std::move(text.error()));
  begin_file(file, text->size());
  again_ = size_;
  cutter_->feed(*text);
  const bool torn = cutter_->unfinished() && !(last && clean);
  if (torn) cutter_->cut_off();
  pass_on();
  if (!last || torn) old_.push_back(file_);
  if (!last || !torn) co_return Result<void>();
  begin_file({next_number(), true}, 0);
  Result<io::Fifo::Taken> taken = co_await take();
  if (!taken.has_value()) co_return fail(std::move(taken.error()));
  if (!taken->over || !taken->text.empty()) co_return Result<void>();
  // Nobody had the pipe open, so nobody is in the middle of a prompt.
  Result<void> removed = co_await remove({file_});
  begin_file({file_.number, false}, 0);
  co_return removed;
}

void Inbox::begin_file(File file, std::uint64_t size) {
  file_ = file;
  size_ = size;
  again_ = 0;
  cutter_ = std::make_unique<PromptCutter>(prompt_max_, file.begins_cut);
}

/// Higher than all before it, those that are forgotten included: keys are made of it.
std::int64_t Inbox::next_number() const {
  return std::max(file_.number + 1, platform_.reactor().clock().wall().count());
}

// --- from the pipe to the reader ---

Task<Result<io::Fifo::Taken>> Inbox::take() {
  io::Fifo* fifo = fifo_.get();
  Result<io::Fifo::Taken> taken = co_await platform_.offload().run(
      io::Lane::files, platform_.reactor(), [fifo, path = path_of(file_), offset = size_] {
        return fifo->take(path, offset, kTakenAtOnce);
      });
  if (taken.has_value()) {
    size_ += taken->text.size();
    cutter_->feed(taken->text);
    pass_on();
  }
  co_return taken;
}

void Inbox::pass_on() {
  while (std::optional<CutPrompt> prompt = cutter_->next()) {
    const bool again = prompt->offset < again_;
    std::string key = fmt::format("fifo-{}-{}", file_.number, prompt->offset);
    ready_bytes_ += prompt->text.size();
    ready_.push_back({std::move(*prompt), std::move(key), again});
  }
  changed_.set();
}

Task<void> Inbox::fill(StopToken stop) {
  while (!stop.stop_requested()) {
    if (ready_bytes_ > kReadyMax) {
      changed_.reset();
      co_await changed_.wait(stop);
      continue;
    }
    Result<void> done;
    const std::uint64_t full = cutter_->doomed() ? kCutOverAt : kTurnedOverAt;
    if (all_settled_ && ready_.empty() && (size_ >= full || !old_.empty())) {
      done = co_await turn_over();
    }
    const bool readable = co_await Readable(platform_.reactor(), fifo_->handle(), stop);
    if (!readable) break;
    if (done.has_value()) {
      Result<io::Fifo::Taken> taken = co_await take();
      if (!taken.has_value()) done = fail(std::move(taken.error()));
    }
    if (done.has_value()) continue;
    failure_ = std::move(done.error());
    changed_.set();
    co_return;
  }
}

Task<Result<void>> Inbox::remove(std::vector<File> gone) {
  io::Files* files = &platform_.files();
  std::vector<std::string> paths;
  for (const File& file : gone) paths.push_back(path_of(file));
  co_return co_await platform_.offload().run(io::Lane::files, platform_.reactor(),
                                             [files, paths]() -> Result<void> {
                                               Result<void> done;
                                               for (const std::string& path : paths) {
                                                 if (!done.has_value()) break;
                                                 done = files->remove_if_exists(path);
                                               }
                                               return done;
                                             });
}

/// What was settled goes; what is unfinished begins the next file.
Task<Result<void>> Inbox::turn_over() {
  std::vector<File> gone = std::exchange(old_, {});
  gone.push_back(file_);
  const File fresh{next_number(), cutter_->doomed()};
  const std::string begun = fresh.begins_cut ? std::string() : cutter_->unfinished_text();
  io::Files* files = &platform_.files();
  Result<void> done = co_await platform_.offload().run(
      io::Lane::files, platform_.reactor(),
      [files, path = path_of(fresh), begun] { return files->write_atomic(path, begun, 0600); });
  if (!done.has_value()) co_return done;
  begin_file(fresh, begun.size());
  cutter_->feed(begun);
  co_return co_await remove(std::move(gone));
}

Task<std::optional<Inbox::Prompt>> Inbox::next(StopToken stop) {
  while (ready_.empty() && !failure_ && !stop.stop_requested()) {
    changed_.reset();
    co_await changed_.wait(stop);
  }
  if (ready_.empty() || stop.stop_requested()) co_return std::nullopt;
  Prompt prompt = std::move(ready_.front());
  ready_.pop_front();
  ready_bytes_ -= prompt.what.text.size();
  all_settled_ = false;
  changed_.set();
  co_return prompt;
}

void Inbox::settled() {
  all_settled_ = true;
}

// --- the end ---

Task<void> Inbox::close() {
  if (fifo_ == nullptr) co_return;
  stop_->request_stop();
  co_await scope_.join();
  io::Files* files = &platform_.files();
  // Who comes now meets another FIFO, where nobody reads; who came before can be waited for.
  Result<void> done = co_await platform_.offload().run(
      io::Lane::files, platform_.reactor(), [path = path()] { return io::Fifo::renew(path); });
  fifo_->let_writers_end();
  io::Reactor& reactor = platform_.reactor();
  const TimePoint deadline = reactor.clock().now() + kDrain;
  bool over = false;
  while (done.has_value() && !over && reactor.clock().now() < deadline) {
    Result<io::Fifo::Taken> taken = co_await take();
    if (!taken.has_value()) {
      done = fail(std::move(taken.error()));
    } else if (taken->over) {
      over = true;
    } else if (taken->text.empty()) {
      co_await io::Sleep(reactor, reactor.clock().now() + kDrainPause);
    }
  }
  if (over) {
    done = co_await platform_.offload().run(
        io::Lane::files, reactor,
        [files, path = folder_ + kClean] { return files->write_atomic(path, {}, 0600); });
  }
  if (!done.has_value()) failure_ = std::move(done.error());
  stop_.reset();
  let_go();
}

/// What is in memory is in the files, too.
void Inbox::let_go() {
  fifo_.reset();
  cutter_.reset();
  old_.clear();
  ready_.clear();
  ready_bytes_ = 0;
  all_settled_ = true;
}

}  // namespace berth::server
