#include <berth/server/cli/batch_tasks.h>

#include <berth/io/files_linux.h>

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace berth::server {
namespace {

/// A folder that is gone afterwards.
class BatchRecords : public testing::Test {
 protected:
  BatchRecords() {
    char name[] = "/tmp/berth-batch-XXXXXX";
    folder_ = ::mkdtemp(name);
  }
  ~BatchRecords() override { static_cast<void>(files_.remove_all(folder_)); }

  std::string output() const { return folder_ + "/out.jsonl"; }
  std::string read(const std::string& path) { return files_.read(path, 1 << 20).value(); }

  std::string folder_;
  io::LinuxFiles files_;
};

BatchTask task_of(std::string id) {
  BatchTask task;
  task.instance_id = std::move(id);
  task.model_name = "m";
  return task;
}

TEST(BatchTasks, TakesWhatALineSaysAndTheRestFromTheCommandLine) {
  BatchTask fallback;
  fallback.repository = "/repo";
  fallback.agent = "pi";
  fallback.timeout_s = 60;
  const auto tasks = parse_batch_tasks(
      "{\"instance_id\":\"a\",\"problem_statement\":\"fix\",\"version\":\"4.0\"}\n\n"
      "{\"instance_id\":\"b\",\"prompt\":\"do\",\"agent\":\"qwen\",\"repository\":\"/other\","
      "\"base_commit\":\"abc\",\"timeout\":5}",
      fallback);
  ASSERT_TRUE(tasks.has_value()) << tasks.error().message;
  ASSERT_EQ(tasks->size(), 2U);
  EXPECT_EQ((*tasks)[0].prompt, "fix");
  EXPECT_EQ((*tasks)[0].repository, "/repo");
  EXPECT_EQ((*tasks)[0].model_name, "pi");
  EXPECT_EQ((*tasks)[0].timeout_s, 60);
  EXPECT_EQ((*tasks)[1].repository, "/other");
  EXPECT_EQ((*tasks)[1].base_commit, "abc");
  EXPECT_EQ((*tasks)[1].model_name, "qwen");
  EXPECT_EQ((*tasks)[1].timeout_s, 5);
}

TEST(BatchTasks, RefusesASecondTaskOfTheSameName) {
  const std::string line = R"({"instance_id":"a","repository":"/r","prompt":"p"})";
  const auto tasks = parse_batch_tasks(line + "\n" + line + "\n", {});
  ASSERT_FALSE(tasks.has_value());
  EXPECT_EQ(tasks.error().message, "tasks:2: a second task with the instance_id a");
}

TEST(BatchTasks, NamesASessionForEachAttemptWhateverTheInstanceIsCalled) {
  EXPECT_EQ(batch_session_id("r", "django__django-1", 2), "batch-r-django__django-1.2");
  const std::string odd = batch_session_id("r", "a b", 1);
  EXPECT_NE(odd, batch_session_id("r", "a/b", 1));
  const std::string longest = batch_session_id(std::string(32, 'r'), std::string(500, 'x'), 99999);
  EXPECT_LE(longest.size(), 128U);
}

TEST_F(BatchRecords, KnowsAfterARestartWhatIsDoneAndWhatFailed) {
  {
    auto record = BatchRecord::open(output(), "", "fresh");
    ASSERT_TRUE(record.has_value()) << record.error().message;
    EXPECT_EQ(record->run(), "fresh");
    ASSERT_TRUE(record->add_prediction(task_of("a"), "diff\n\"x\"").has_value());
    ASSERT_TRUE(record->add_failure({"b", 1, "s", "refused", "why"}).has_value());
    EXPECT_EQ(std::string_view(BatchRecord::open(output(), "", "y").error().code), "in_use");
  }
  auto again = BatchRecord::open(output(), "", "another");
  ASSERT_TRUE(again.has_value()) << again.error().message;
  EXPECT_EQ(again->run(), "fresh");
  EXPECT_TRUE(again->has_prediction("a"));
  EXPECT_FALSE(again->has_prediction("b"));
  ASSERT_NE(again->last_failure("b"), nullptr);
  EXPECT_EQ(again->last_failure("b")->state, "refused");
  EXPECT_EQ(again->last_failure("a"), nullptr);
  EXPECT_EQ(read(output()),
            "{\"instance_id\":\"a\",\"model_name_or_path\":\"m\",\"model_patch\":"
            "\"diff\\n\\\"x\\\"\"}\n");
}

TEST_F(BatchRecords, CutsOffTheLineInWhichItsWriterWasKilled) {
  const std::string whole = "{\"instance_id\":\"a\"}\n";
  ASSERT_TRUE(files_.write_atomic(output(), whole + "{\"instance_id\":\"b", 0644).has_value());
  auto record = BatchRecord::open(output(), "", "r");
  ASSERT_TRUE(record.has_value()) << record.error().message;
  EXPECT_FALSE(record->has_prediction("b"));
  EXPECT_EQ(read(output()), whole);
}

TEST_F(BatchRecords, RefusesAFileThatIsSomethingElse) {
  ASSERT_TRUE(files_.write_atomic(output(), "# a page\n", 0644).has_value());
  const auto record = BatchRecord::open(output(), "", "r");
  ASSERT_FALSE(record.has_value());
  EXPECT_EQ(record.error().message, output() + ":1: is no JSON");
  EXPECT_EQ(read(output()), "# a page\n");
}

}  // namespace
}  // namespace berth::server
