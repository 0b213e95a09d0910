// The store as a whole: its backup.
#include <berth/server/api/api.h>

#include <berth/core/json_writer.h>
#include <berth/io/awaitables.h>
#include <berth/server/api/body.h>
#include <berth/server/api/problem.h>

#include <memory>
#include <utility>

namespace berth::server {

namespace {

/// Commits wait no longer than for so much of a copy.
constexpr std::size_t kCopyBytes = std::size_t{1} << 20;
constexpr unsigned kOwnerOnly = 0600;
constexpr Duration kPause = std::chrono::milliseconds(10);

}  // namespace

Api::Answer Api::backup(ApiCall* call) {
  const Result<Body> body = Body::parse(call->request->body, {"file"});
  if (!body.has_value()) co_return problem(body.error());
  Result<std::string> file = body->text("file");
  if (!file.has_value()) co_return problem(file.error());
  if (!file->starts_with('/')) {
    co_return problem(make_error(ErrorKind::invalid, "bad_field",
                                 "file: an absolute path on the server's machine is wanted"));
  }
  if (backing_up_) {
    co_return problem(make_error(ErrorKind::busy, "backup_runs", "another backup is being made"));
  }
  const TimePoint began = context_.reactor().clock().now();
  backing_up_ = true;
  const Result<void> copied = co_await copy_store(*file, call->exchange->gone());
  backing_up_ = false;
  if (!copied.has_value()) co_return problem(copied.error());
  const Duration took = context_.reactor().clock().now() - began;
  std::string out;
  JsonWriter(out)
      .begin_object()
      .member("file", *file)
      .member_int64("ms", std::chrono::duration_cast<std::chrono::milliseconds>(took).count())
      .end_object();
  co_return json_response(201, std::move(out));
}

// Piece by piece, so that commits find the lane free in between.
Task<Result<void>> Api::copy_store(std::string file, StopToken gone) {
  io::Files* const files = &context_.platform.files();
  Result<std::unique_ptr<StoreBackup>> backup = co_await context_.read([files, file](Store& store) {
    Result<void> ready;
    if (files->exists(file)) {
      ready = fail(ErrorKind::conflict, "backup_exists", file + ": there is something already");
    } else {
      ready = files->append(file, "", kOwnerOnly);
    }
    if (ready.has_value()) return store.begin_backup(file);
    return Result<std::unique_ptr<StoreBackup>>(fail(std::move(ready.error())));
  });
  if (!backup.has_value()) co_return fail(std::move(backup.error()));
  Result<bool> more = true;
  while (more.has_value() && *more) {
    StoreBackup* const copy = backup->get();
    more = co_await context_.read([copy](Store&) { return copy->copy(kCopyBytes); });
    if (draining_ || gone.stop_requested()) {
      more = fail(ErrorKind::cancelled, "cancelled", "nobody waits for the backup any more");
    }
  }
  const bool whole = more.has_value();
  Result<void> closed;
  // It ends on the lane, too; one that is full has room again.
  while (*backup != nullptr) {
    closed = co_await context_.read([files, file, whole, &backup](Store&) {
      backup->reset();
      return whole ? Result<void>() : files->remove_if_exists(file);
    });
    if (*backup != nullptr)
      co_await io::Sleep(context_.reactor(), context_.reactor().clock().now() + kPause);
  }
  if (!whole) co_return fail(std::move(more.error()));
  co_return closed;
}

}  // namespace berth::server
