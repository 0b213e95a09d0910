// berth store backup | export | import | check.
#include <berth/core/json_writer.h>
#include <berth/io/files_linux.h>
#include <berth/server/cli/commands.h>
#include <berth/server/cli/environment.h>
#include <berth/server/config.h>
#include <berth/server/store/sqlite_store.h>
#include <berth/server/store/store_dump.h>

#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kCopyBytes = std::size_t{16} << 20;

std::string state_of(const GlobalOptions& global) {
  return state_directory_of(ProgramEnvironment(), global.state);
}

std::string store_of(const std::string& state) {
  return state + "/berth.db";
}

/// The store in `from`, or that of the state folder, which `files` then keeps a server from.
/// Error `conflict` when one runs.
Result<std::unique_ptr<SqliteStore>> open_store(io::LinuxFiles& files, const std::string& state,
                                                const std::string& from) {
  const std::string path = from.empty() ? store_of(state) : from;
  if (!files.exists(path)) return fail(ErrorKind::not_found, "no_store", path + ": no such file");
  if (from.empty()) {
    Result<void> locked = files.lock_exclusively(state + "/lock");
    if (!locked.has_value()) return fail(std::move(locked.error()));
  }
  SqliteOptions options;
  options.path = path;
  auto store = std::make_unique<SqliteStore>(options);
  Result<OwnerEpoch> epoch = store->open();
  if (!epoch.has_value()) return fail(std::move(epoch.error()));
  return store;
}

int complain(Terminal& terminal, const Error& error) {
  terminal.complain(error.message);
  if (error.kind == ErrorKind::conflict && std::string_view(error.code) != "backup_exists") {
    terminal.note("berth: while a server runs: berth store backup FILE, then --from FILE");
  }
  return 1;
}

Result<void> copy_all(SqliteStore& store, const std::string& file) {
  Result<std::unique_ptr<StoreBackup>> backup = store.begin_backup(file);
  if (!backup.has_value()) return fail(std::move(backup.error()));
  for (;;) {
    const Result<bool> more = (*backup)->copy(kCopyBytes);
    if (!more.has_value()) return fail(more.error());
    if (!*more) return {};
  }
}

class ToStdout final : public DumpSink {
 public:
  Result<void> on_line(std::string_view line) override {
    const bool written = std::fwrite(line.data(), 1, line.size(), stdout) == line.size() &&
                         std::fputc('\n', stdout) != EOF;
    return written ? Result<void>() : failed();
  }
  Result<void> end() { return std::fflush(stdout) == 0 ? Result<void>() : failed(); }

 private:
  static Result<void> failed() { return fail(errno_error(errno, "stdout")); }
};

/// An import goes to a file beside the store and takes its place when it is whole.
Result<DumpCounts> import_lines(const std::string& path) {
  SqliteOptions options;
  options.path = path;
  SqliteStore store(options);
  Result<OwnerEpoch> epoch = store.open();
  if (!epoch.has_value()) return fail(std::move(epoch.error()));
  StoreImport import(store, *epoch);
  std::string line;
  while (std::getline(std::cin, line)) {
    Result<void> taken = import.line(line);
    if (!taken.has_value()) return fail(std::move(taken.error()));
  }
  return import.finish();
}

Result<void> require_empty(io::LinuxFiles& files, const std::string& path) {
  if (!files.exists(path)) return {};
  SqliteOptions options;
  options.path = path;
  SqliteStore store(options);
  Result<OwnerEpoch> epoch = store.open();
  if (!epoch.has_value()) return fail(std::move(epoch.error()));
  Result<SessionNo> last = store.last_session_no();
  if (!last.has_value()) return fail(std::move(last.error()));
  if (*last == 0) return {};
  return fail(ErrorKind::invalid, "store_not_empty",
              path + " holds sessions already: import into another --state folder");
}

Result<DumpCounts> import_into(io::LinuxFiles& files, const std::string& state) {
  const std::string path = store_of(state);
  const std::string fresh = path + ".import";
  Result<void> ready = files.make_directories(state, 0700);
  if (ready.has_value()) ready = files.lock_exclusively(state + "/lock");
  if (ready.has_value()) ready = require_empty(files, path);
  for (const char* rest : {"", "-wal", "-log"}) {
    if (ready.has_value()) ready = files.remove_if_exists(fresh + rest);
  }
  if (!ready.has_value()) return fail(std::move(ready.error()));
  Result<DumpCounts> counts = import_lines(fresh);
  Result<void> placed;
  if (counts.has_value()) placed = files.rename(fresh, path);
  if (!placed.has_value()) counts = fail(std::move(placed.error()));
  for (const char* rest : {"", "-wal", "-log"}) {
    if (!counts.has_value()) static_cast<void>(files.remove_if_exists(fresh + rest));
  }
  return counts;
}

std::string words(const DumpCounts& counts) {
  return fmt::format("{} sessions, {} rows, {} events", counts.sessions, counts.rows,
                     counts.events);
}

}  // namespace

int store_backup_command(const GlobalOptions& global, const std::string& file) {
  Terminal terminal(global.no_color);
  io::LinuxFiles files;
  std::string path = file;
  if (!path.starts_with('/')) path = files.canonical(".").value_or("") + "/" + path;
  const bool elsewhere = !global.url.empty() || ProgramEnvironment().get("BERTH_URL").has_value();
  if (!elsewhere) {
    Result<std::unique_ptr<SqliteStore>> store = open_store(files, state_of(global), "");
    if (store.has_value()) {
      if (files.exists(path)) {
        terminal.complain(path + ": there is something already");
        return 1;
      }
      Result<void> copied = files.append(path, "", 0600);
      if (copied.has_value()) copied = copy_all(**store, path);
      return copied.has_value() ? 0 : complain(terminal, copied.error());
    }
    if (store.error().kind != ErrorKind::conflict) return complain(terminal, store.error());
  }
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  std::string body;
  JsonWriter(body).begin_object().member("file", path).end_object();
  const std::optional<RemoteAnswer> answer = remote->call("POST", "/v1/backup", body);
  if (!answer) return remote->exit_code();
  if (global.json) terminal.line(answer->response.body);
  return 0;
}

int store_export_command(const GlobalOptions& global, const std::string& from) {
  Terminal terminal(global.no_color);
  io::LinuxFiles files;
  Result<std::unique_ptr<SqliteStore>> store = open_store(files, state_of(global), from);
  if (!store.has_value()) return complain(terminal, store.error());
  ToStdout out;
  Result<DumpCounts> counts = export_store(**store, out);
  Result<void> ended = out.end();
  if (counts.has_value() && !ended.has_value()) counts = fail(std::move(ended.error()));
  if (!counts.has_value()) return complain(terminal, counts.error());
  terminal.note(words(*counts));
  return 0;
}

int store_import_command(const GlobalOptions& global) {
  Terminal terminal(global.no_color);
  std::ios::sync_with_stdio(false);
  io::LinuxFiles files;
  const Result<DumpCounts> counts = import_into(files, state_of(global));
  if (!counts.has_value()) return complain(terminal, counts.error());
  terminal.note(words(*counts));
  return 0;
}

int store_check_command(const GlobalOptions& global, const std::string& from) {
  Terminal terminal(global.no_color);
  io::LinuxFiles files;
  Result<std::unique_ptr<SqliteStore>> store = open_store(files, state_of(global), from);
  if (!store.has_value()) return complain(terminal, store.error());
  const Result<std::vector<std::string>> problems = (*store)->check();
  if (!problems.has_value()) return complain(terminal, problems.error());
  for (const std::string& problem : *problems) terminal.line(printable(problem));
  if (problems->empty()) terminal.line("nothing is damaged");
  return problems->empty() ? 0 : 1;
}

}  // namespace berth::server
