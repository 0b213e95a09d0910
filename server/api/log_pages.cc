#include <berth/server/api/log_pages.h>

#include <berth/server/sessions/frames.h>

#include <utility>

namespace berth::server {

Task<Result<std::string_view>> LogPages::next() {
  if (done()) co_return std::string_view();
  const SessionNo no = session_;
  const std::uint64_t after = after_;
  const std::size_t bytes_max = context_.limits.page_bytes;
  Result<EventPage> page = co_await context_.read(
      [no, after, bytes_max](Store& store) { return store.read_events(no, after, bytes_max); });
  if (!page.has_value()) co_return fail(std::move(page.error()));
  if (page->first_seq == 0) {
    co_return fail(ErrorKind::not_found, "session_not_found", "its log was erased");
  }
  // A log that begins later than at 1 is one thing, a hole within one answer another.
  if (begun_ && page->first_seq > after + 1) {
    co_return fail(ErrorKind::not_found, "log_cut", "what comes next was erased meanwhile");
  }
  begun_ = true;
  page_ = std::move(*page);
  after_ = page_.last_seq;
  co_return frames_after(page_.frames, page_.first_seq, after);
}

}  // namespace berth::server
