// What every engine promises about steps with files.
#include "reactor_conformance.h"

#include <fcntl.h>
#include <algorithm>
#include <cerrno>

namespace berth::inline v0::io {

namespace {

class Step final : public FileOp {
 public:
  void on_file(std::int64_t result_value) override {
    EXPECT_FALSE(started());
    result = result_value;
    ++calls;
  }
  std::int64_t result = -1;
  int calls = 0;
};

/// Runs one step at a time to its end.
class Disk {
 public:
  explicit Disk(Reactor& reactor, std::function<bool(std::function<bool()>)> run_until)
      : reactor_(reactor), run_until_(std::move(run_until)) {}

  std::int64_t run(Step& step) {
    reactor_.start(step);
    EXPECT_EQ(step.calls, 0) << "called back inside start()";
    EXPECT_TRUE(run_until_([&] { return step.calls == 1; }));
    return step.result;
  }
  std::int64_t open(const std::string& path, int flags) {
    Step step;
    step.kind = FileOp::Kind::open;
    step.path = path.c_str();
    step.flags = flags;
    return run(step);
  }
  std::int64_t on(FileOp::Kind kind, Handle file) {
    Step step;
    step.kind = kind;
    step.file = file;
    return run(step);
  }
  std::int64_t rename(const std::string& path, const std::string& new_path) {
    Step step;
    step.kind = FileOp::Kind::rename;
    step.path = path.c_str();
    step.new_path = new_path.c_str();
    return run(step);
  }
  std::int64_t unlink(const std::string& path) {
    Step step;
    step.kind = FileOp::Kind::unlink;
    step.path = path.c_str();
    return run(step);
  }
  /// All of `bytes`, a step at a time as the kernel takes them; 0 or minus an errno.
  std::int64_t write(Handle file, std::string_view bytes, std::uint64_t offset = 0) {
    while (!bytes.empty()) {
      Step step;
      step.kind = FileOp::Kind::write;
      step.file = file;
      step.from = bytes;
      step.offset = offset;
      const std::int64_t written = run(step);
      if (written <= 0) return written;
      bytes.remove_prefix(static_cast<std::size_t>(written));
      offset += static_cast<std::uint64_t>(written);
    }
    return 0;
  }
  /// To the end of the file.
  std::string read(Handle file, std::uint64_t offset = 0) {
    std::string text;
    for (;;) {
      std::string buffer(10'000, '?');
      Step step;
      step.kind = FileOp::Kind::read;
      step.file = file;
      step.into = buffer;
      step.offset = offset;
      const std::int64_t got = run(step);
      EXPECT_GE(got, 0);
      if (got <= 0) return text;
      text.append(buffer, 0, static_cast<std::size_t>(got));
      offset += static_cast<std::uint64_t>(got);
    }
  }
  Handle opened(const std::string& path, int flags) {
    const std::int64_t file = open(path, flags);
    EXPECT_GE(file, 0) << path;
    return static_cast<Handle>(file);
  }
  void close(Handle file) { EXPECT_EQ(on(FileOp::Kind::close, file), 0); }

 private:
  Reactor& reactor_;
  std::function<bool(std::function<bool()>)> run_until_;
};

}  // namespace

#define BERTH_DISK(name) \
  Disk name(reactor(), [this](std::function<bool()> done) { return run_until(std::move(done)); })

TEST_P(ReactorConformance, KeepsWhatWasWrittenUnderItsNewName) {
  BERTH_DISK(disk);
  const std::string draft = rig_->folder() + "/draft";
  const std::string final_name = rig_->folder() + "/final";
  const std::string bytes = pattern(200'000);
  Handle file = disk.opened(draft, O_RDWR | O_CREAT | O_EXCL);
  EXPECT_EQ(disk.write(file, bytes), 0);
  EXPECT_EQ(disk.on(FileOp::Kind::fdatasync, file), 0);
  EXPECT_TRUE(disk.read(file) == bytes);
  EXPECT_TRUE(disk.read(file, 150'000) == bytes.substr(150'000));
  EXPECT_EQ(disk.on(FileOp::Kind::fsync, file), 0);
  disk.close(file);
  EXPECT_EQ(disk.rename(draft, final_name), 0);
  EXPECT_EQ(disk.open(draft, O_RDONLY), -ENOENT);
  const Handle folder = disk.opened(rig_->folder(), O_RDONLY | O_DIRECTORY);
  EXPECT_EQ(disk.on(FileOp::Kind::fsync, folder), 0);
  disk.close(folder);
  file = disk.opened(final_name, O_RDONLY);
  EXPECT_TRUE(disk.read(file) == bytes);
  disk.close(file);
  EXPECT_EQ(disk.unlink(final_name), 0);
  EXPECT_EQ(disk.unlink(final_name), -ENOENT);
}

TEST_P(ReactorConformance, ReplacesByRenameAndKeepsWhatIsOpen) {
  BERTH_DISK(disk);
  const std::string name = rig_->folder() + "/name";
  const std::string next = rig_->folder() + "/next";
  const Handle old_file = disk.opened(name, O_RDWR | O_CREAT);
  const Handle new_file = disk.opened(next, O_RDWR | O_CREAT);
  EXPECT_EQ(disk.write(old_file, "old"), 0);
  EXPECT_EQ(disk.write(new_file, "new"), 0);
  EXPECT_EQ(disk.rename(next, name), 0);
  EXPECT_EQ(disk.read(old_file), "old") << "a file lives on without its name";
  const Handle again = disk.opened(name, O_RDONLY);
  EXPECT_EQ(disk.read(again), "new");
  EXPECT_EQ(disk.unlink(name), 0);
  EXPECT_EQ(disk.read(again), "new");
  for (const Handle file : {old_file, new_file, again}) reactor().close(file);
}

TEST_P(ReactorConformance, TellsWhatAStepWithAFileCannotDo) {
  BERTH_DISK(disk);
  const std::string name = rig_->folder() + "/name";
  EXPECT_EQ(disk.open(rig_->folder() + "/none/name", O_RDWR | O_CREAT), -ENOENT);
  EXPECT_EQ(disk.open(rig_->folder(), O_RDWR), -EISDIR);
  const Handle file = disk.opened(name, O_WRONLY | O_CREAT);
  EXPECT_EQ(disk.open(name, O_RDWR | O_CREAT | O_EXCL), -EEXIST);
  EXPECT_EQ(disk.open(name, O_RDONLY | O_DIRECTORY), -ENOTDIR);
  std::string buffer(10, '?');
  Step read;
  read.kind = FileOp::Kind::read;
  read.file = file;
  read.into = buffer;
  EXPECT_EQ(disk.run(read), -EBADF) << "it is open for writing only";
  disk.close(file);
  EXPECT_EQ(disk.rename(name + "-none", name), -ENOENT);
  EXPECT_EQ(disk.unlink(name), 0);
}

TEST_P(ReactorConformance, LeavesAHoleWhereNothingWasWritten) {
  BERTH_DISK(disk);
  const Handle file = disk.opened(rig_->folder() + "/holes", O_RDWR | O_CREAT);
  EXPECT_EQ(disk.write(file, "end", 1'000), 0);
  EXPECT_EQ(disk.write(file, "begin"), 0);
  EXPECT_EQ(disk.read(file), "begin" + std::string(995, '\0') + "end");
  EXPECT_EQ(disk.read(file, 5'000), "") << "behind the end there is nothing";
  disk.close(file);
}

TEST_P(ReactorConformance, RunsManyStepsWithOneFileAtOnceAndGoesOnMeanwhile) {
  BERTH_DISK(disk);
  constexpr std::size_t kSteps = 64;
  constexpr std::size_t kBytes = 1'000;
  const Handle file = disk.opened(rig_->folder() + "/many", O_RDWR | O_CREAT);
  std::vector<std::string> bytes;
  for (std::size_t i = 0; i < kSteps; ++i) bytes.push_back(pattern(kBytes, i));
  std::deque<Step> steps(kSteps);
  for (std::size_t i = 0; i < kSteps; ++i) {
    steps[i].kind = FileOp::Kind::write;
    steps[i].file = file;
    steps[i].from = bytes[i];
    steps[i].offset = i * kBytes;
    reactor().start(steps[i]);
  }
  bool timer_fired = false;
  Alarm alarm([&] { timer_fired = true; });
  reactor().arm(alarm, reactor().clock().now());
  ASSERT_TRUE(run_until([&] {
    return timer_fired && std::all_of(steps.begin(), steps.end(),
                                      [](const Step& step) { return step.calls == 1; });
  }));
  std::string expected;
  for (std::size_t i = 0; i < kSteps; ++i) {
    ASSERT_GT(steps[i].result, 0);
    const std::size_t written = static_cast<std::size_t>(steps[i].result);
    const std::string_view rest = std::string_view(bytes[i]).substr(written);
    EXPECT_EQ(disk.write(file, rest, i * kBytes + written), 0);
    expected += bytes[i];
  }
  EXPECT_TRUE(disk.read(file) == expected);
  disk.close(file);
}

// Cancellation is terminal: never begun, or the whole step; the callback says which, once.
TEST_P(ReactorConformance, ACancelledStepWithAFileWasNeverBegunOrEndsAsItEnds) {
  BERTH_DISK(disk);
  constexpr std::string_view kMiddle = "middle";
  const Handle file = disk.opened(rig_->folder() + "/name", O_RDWR | O_CREAT);
  for (int turns_before = 0; turns_before < 4; ++turns_before) {
    EXPECT_EQ(disk.write(file, "before"), 0);
    Step step;
    step.kind = FileOp::Kind::write;
    step.file = file;
    step.from = kMiddle;
    reactor().start(step);
    for (int i = 0; i < turns_before; ++i) reactor().poll();
    reactor().cancel(step);
    reactor().cancel(step);
    ASSERT_TRUE(run_until([&] { return step.calls == 1; }));
    settle();
    EXPECT_EQ(step.calls, 1);
    if (step.result == -ECANCELED) {
      EXPECT_EQ(disk.read(file), "before");
    } else {
      ASSERT_GT(step.result, 0);
      const std::size_t written = static_cast<std::size_t>(step.result);
      EXPECT_EQ(disk.read(file),
                std::string(kMiddle.substr(0, written)) + std::string("before").substr(written));
    }
  }
  disk.close(file);
}

TEST_P(ReactorConformance, OpensOrDoesNotOpenWhenAnOpenIsCancelledAndLosesNoHandle) {
  BERTH_DISK(disk);
  const std::string name = rig_->folder() + "/name";
  for (int turns_before = 0; turns_before < 4; ++turns_before) {
    Step step;
    step.kind = FileOp::Kind::open;
    step.path = name.c_str();
    step.flags = O_RDWR | O_CREAT;
    reactor().start(step);
    for (int i = 0; i < turns_before; ++i) reactor().poll();
    reactor().cancel(step);
    ASSERT_TRUE(run_until([&] { return step.calls == 1; }));
    if (step.result >= 0) {
      reactor().close(static_cast<Handle>(step.result));
    } else {
      EXPECT_EQ(step.result, -ECANCELED);
    }
  }
}

}  // namespace berth::inline v0::io
