#include <berth/git/failure.h>
#include <berth/git/files.h>
#include <berth/git/hardened.h>

#include <fcntl.h>
#include <git2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

namespace berth::git::detail {
namespace {

constexpr std::size_t kRuleFileMax = std::size_t{1} << 20;

struct Match {
  std::string_view text;
  ErrorKind kind;
  const char* code;
};

// git says what went wrong in words only; LC_ALL=C makes them these (2.39).
constexpr Match kMatches[] = {
    {".lock': File exists", ErrorKind::busy, "git_locked"},
    {"cannot lock ref", ErrorKind::busy, "git_locked"},
    {"No space left on device", ErrorKind::unavailable, "git_write_failed"},
    {"Disk quota exceeded", ErrorKind::unavailable, "git_write_failed"},
    {"Read-only file system", ErrorKind::unavailable, "git_write_failed"},
    {"unknown repository extension", ErrorKind::unsupported, "git_extension"},
    {"Expected git repo version", ErrorKind::unsupported, "git_format_version"},
    {"unknown index extension", ErrorKind::unsupported, "git_index_unsupported"},
    // A promisor remote is not asked: its address is the agent's to write.
    {"transport '", ErrorKind::unavailable, "git_objects_missing"},
    {"could not fetch", ErrorKind::unavailable, "git_objects_missing"},
    {"unable to read", ErrorKind::unavailable, "git_objects_missing"},
    {"missing blob", ErrorKind::unavailable, "git_objects_missing"},
    {"Permission denied", ErrorKind::unavailable, "git_unreadable"},
};

std::vector<std::pair<std::string, std::string>> environment(const std::string& transport) {
  return {{"HOME", "/nonexistent"},
          {"LC_ALL", "C"},
          {"TZ", "UTC"},
          {"GIT_CONFIG_NOSYSTEM", "1"},
          {"GIT_CONFIG_GLOBAL", "/dev/null"},
          {"GIT_ATTR_NOSYSTEM", "1"},
          {"GIT_OPTIONAL_LOCKS", "0"},
          {"GIT_NO_REPLACE_OBJECTS", "1"},
          {"GIT_GRAFT_FILE", "/dev/null"},
          {"GIT_TERMINAL_PROMPT", "0"},
          {"GIT_ASKPASS", "false"},
          {"SSH_ASKPASS", "false"},
          {"GIT_EDITOR", "false"},
          {"GIT_PAGER", "cat"},
          {"GIT_ALLOW_PROTOCOL", transport}};
}

/// Also the writer of a ref's log has a name.
void sign(GitRun& run, const Author& author) {
  for (const char* who : {"GIT_AUTHOR_", "GIT_COMMITTER_"}) {
    run.environment.emplace_back(std::string(who) + "NAME", author.name);
    run.environment.emplace_back(std::string(who) + "EMAIL", author.email);
  }
}

std::vector<std::string> hardened(std::vector<std::string> arguments) {
  std::vector<std::string> all = {"--no-pager"};
  for (const char* setting :
       {"core.fsmonitor=false", "core.hooksPath=/dev/null", "core.untrackedCache=false",
        "core.sshCommand=false", "core.alternateRefsCommand=false",
        "credential.helper=", "diff.external=", "gc.auto=0", "maintenance.auto=false",
        "commit.gpgSign=false", "submodule.recurse=false", "core.quotePath=false",
        "safe.directory=*", "advice.addEmbeddedRepo=false"}) {
    all.emplace_back("-c");
    all.emplace_back(setting);
  }
  for (std::string& argument : arguments) all.push_back(std::move(argument));
  return all;
}

Error failed_run(const std::vector<std::string>& arguments, const GitOutput& output,
                 const std::string& where) {
  std::string message = where + ": git " + (arguments.empty() ? "" : arguments.front()) + ": ";
  message += output.error.empty() ? "exit code " + std::to_string(output.exit_code)
                                  : without_newline(output.error);
  for (const Match& match : kMatches) {
    if (output.error.find(match.text) != std::string::npos) {
      return make_error(match.kind, match.code, std::move(message));
    }
  }
  return make_error(ErrorKind::internal, "git_failed", std::move(message));
}

/// The settings of `config` that say how files are read and written, as a configuration file.
std::string taken_over(const std::string& config) {
  std::string core = "\tbare = false\n\tlogAllRefUpdates = false\n";
  std::string format = "0";
  std::string extensions;
  Handle<git_config> opened;
  Handle<git_config> frozen;
  if (git_config_open_ondisk(out(opened), config.c_str()) == 0 &&
      git_config_snapshot(out(frozen), opened.get()) == 0) {
    const char* text = nullptr;
    for (const char* name : {"filemode", "symlinks", "ignorecase", "autocrlf", "eol"}) {
      if (git_config_get_string(&text, frozen.get(), (std::string("core.") + name).c_str()) != 0) {
        continue;
      }
      const std::string_view value = text;
      // The words that these settings know; anything else is not written into a file of ours.
      for (const char* word : {"true", "false", "input", "lf", "crlf", "native"}) {
        if (value == word) core += std::string("\t") + name + " = " + word + "\n";
      }
    }
    if (git_config_get_string(&text, frozen.get(), "extensions.objectformat") == 0 &&
        std::string_view(text) == "sha256") {
      format = "1";
      extensions = "[extensions]\n\tobjectFormat = sha256\n";
    }
  }
  return "[core]\n\trepositoryformatversion = " + format + "\n" + core + extensions;
}

Result<void> take_rule_file(const std::string& from, const std::string& to) {
  Result<std::string> rules = read_line_file(from, kRuleFileMax);
  if (!rules) return {};  // mostly there is none; what is no plain file is no rule
  return write_file(to, *rules + "\n");
}

}  // namespace

std::vector<std::string> split_at_zero(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = text.find('\0');
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}

std::string without_newline(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

HardenedGit::HardenedGit(GitCommand& command, Location location, Patience patience)
    : command_(&command), location_(std::move(location)), patience_(std::move(patience)) {}

Result<std::string> HardenedGit::run(std::vector<std::string> arguments, std::string input,
                                     const std::optional<Author>& author) const {
  GitRun run{.arguments = hardened(arguments),
             .environment = environment(transport_),
             .directory = "/",
             .input = std::move(input),
             .patience = patience_};
  run.environment.emplace_back("GIT_DIR", location_.git_dir);
  sign(run, author.value_or(Author()));
  if (author) {
    const std::string date = "@" + std::to_string(author->time_s) + " +0000";
    run.environment.emplace_back("GIT_AUTHOR_DATE", date);
    run.environment.emplace_back("GIT_COMMITTER_DATE", date);
  }
  Result<GitOutput> output = command_->run(run);
  if (!output) return fail(std::move(output).error());
  if (output->exit_code != 0) return fail(failed_run(arguments, *output, location_.git_dir));
  return std::move(output->output);
}

Result<BorrowedObjects> BorrowedObjects::make(const HardenedGit& git, std::string folder,
                                              std::string index) {
  BorrowedObjects made(git.command(), git.patience());
  std::string pattern = git.command().scratch_folder() + "/git-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) return fail(errno_error(errno, "mkdtemp " + pattern));
  made.git_dir_ = pattern;
  made.common_dir_ = git.location().common_dir;
  made.folder_ = std::move(folder);
  made.index_ = std::move(index);
  const std::string info = made.git_dir_ + "/info";
  Result<void> done = make_folders(made.git_dir_ + "/objects");
  if (done) done = make_folders(made.git_dir_ + "/refs");
  if (done) done = make_folders(info);
  if (done) done = write_file(made.git_dir_ + "/HEAD", "ref: refs/heads/none\n");
  if (done) done = write_file(made.git_dir_ + "/config", taken_over(made.common_dir_ + "/config"));
  if (done) done = take_rule_file(made.common_dir_ + "/info/exclude", info + "/exclude");
  if (done) done = take_rule_file(made.common_dir_ + "/info/attributes", info + "/attributes");
  if (!done) return fail(std::move(done).error());
  return made;
}

BorrowedObjects::BorrowedObjects(BorrowedObjects&& other) noexcept
    : command_(other.command_),
      patience_(std::move(other.patience_)),
      git_dir_(std::exchange(other.git_dir_, {})),
      common_dir_(std::move(other.common_dir_)),
      folder_(std::move(other.folder_)),
      index_(std::move(other.index_)) {}

BorrowedObjects::~BorrowedObjects() {
  if (!git_dir_.empty()) static_cast<void>(delete_tree(git_dir_, {}));
}

Result<void> BorrowedObjects::use_no_files() {
  folder_ = git_dir_ + "/no-files";
  return make_folders(folder_);
}

Result<void> BorrowedObjects::take_index(const std::string& from) {
  use_own_index();
  std::error_code error;
  for (std::filesystem::directory_iterator it(from, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name != "index" && !name.starts_with("sharedindex.")) continue;
    if (kind_of(it->path().string()) != PathKind::file) continue;
    const std::string from_file = it->path().string();
    struct stat before{};
    if (::stat(from_file.c_str(), &before) != 0) continue;
    Result<void> copied = copy_file(from_file, git_dir_ + "/" + name);
    if (!copied) return copied;
    // Git takes a file that is as old as the index for possibly changed: the copy must not be
    // younger.
    const timespec times[2] = {before.st_mtim, before.st_mtim};
    if (::utimensat(AT_FDCWD, (git_dir_ + "/" + name).c_str(), times, 0) != 0) {
      return fail(errno_error(errno, "utimensat " + git_dir_ + "/" + name));
    }
  }
  return {};
}

Result<void> BorrowedObjects::set_head(const std::string& commit) {
  return write_file(git_dir_ + "/HEAD", commit + "\n");
}

Result<GitOutput> BorrowedObjects::try_run(std::vector<std::string> arguments,
                                           std::string input) const {
  GitRun run{.arguments = hardened(std::move(arguments)),
             .environment = environment("none"),
             .directory = kind_of(folder_) == PathKind::directory ? folder_ : git_dir_,
             .input = std::move(input),
             .patience = patience_};
  sign(run, {});
  run.environment.emplace_back("GIT_DIR", git_dir_);
  run.environment.emplace_back("GIT_OBJECT_DIRECTORY", common_dir_ + "/objects");
  run.environment.emplace_back("GIT_WORK_TREE", folder_);
  run.environment.emplace_back("GIT_INDEX_FILE", index_);
  return command_->run(run);
}

Result<std::string> BorrowedObjects::run(std::vector<std::string> arguments,
                                         std::string input) const {
  Result<GitOutput> output = try_run(arguments, std::move(input));
  if (!output) return fail(std::move(output).error());
  if (output->exit_code != 0) return fail(failed_run(arguments, *output, folder_));
  return std::move(output->output);
}

}  // namespace berth::git::detail
