#include <berth/server/sessions/multi_stream.h>

#include <berth/core/json_writer.h>

#include <algorithm>
#include <utility>

namespace berth::server {

MultiStream::MultiStream(SessionContext& context, io::Outlet& outlet, StreamOptions options,
                         StreamStats& stats, std::string project, bool join_new, SessionNo known)
    : SseWriter(context, outlet, options.heartbeat_events, stats),
      options_(std::move(options)),
      project_(std::move(project)),
      join_new_(join_new) {
  cursor_.known = known;
}

MultiStream::~MultiStream() = default;

bool MultiStream::Member::has_all() const {
  return !owner.writing() && !owner.loading() && cursor >= session->visible_seq();
}

std::string MultiStream::place() const {
  return std::to_string(members_.size()) + " sessions";
}

void MultiStream::add(StreamMember member) {
  cursor_.places[member.session->session_no()] = member.after;
  members_.push_back(std::make_unique<Member>(*this, std::move(member)));
}

void MultiStream::begin() {
  for (const auto& member : members_) member->session->add_reader(*member);
  if (!join_new_) return;
  context_.feed.add(*this);
  on_feed_grew();  // those that were opened since `known` was
}

void MultiStream::leave() {
  FeedWatcher::unlink();
  for (const auto& member : members_) member->LogReader::unlink();
}

void MultiStream::release() {
  text_.clear();
}

/// A session that is new was opened a moment ago: it is in memory.
void MultiStream::on_feed_grew() {
  context_.feed.for_each_after(seen, [this](Session& session) {
    if (session.session_no() <= cursor_.known || session.row().project != project_) return;
    cursor_.known = session.session_no();
    if (members_.size() >= context_.limits.stream_sessions_max) {
      resets_.push_back({session.row().id, "stream_sessions_max", 0});
      return;
    }
    add({SessionUse(session), 0});
    session.add_reader(*members_.back());
  });
  seen = context_.feed.version();
}

/// So that a client has a place to come back to before anything has happened.
void MultiStream::write_opened() {
  text_ += "id: " + cursor_.text() + "\nevent: stream.opened\ndata: ";
  JsonWriter writer(text_);
  writer.begin_object().key("sessions").begin_array();
  for (const auto& member : members_) {
    writer.begin_object()
        .member("session", member->session->row().id)
        .member_uint64("after", member->cursor)
        .end_object();
  }
  writer.end_array().end_object();
  text_ += "\n\n";
}

void MultiStream::write_resets() {
  for (const StreamReset& reset : std::exchange(resets_, {})) {
    append_reset(text_, cursor_.text(), reset);
  }
}

/// What the member's client wants next is not kept any more.
void MultiStream::reset_to(Member& member, std::uint64_t first_seq) {
  const SessionRow& row = member.session->row();
  member.cursor = cursor_.places[row.no] = first_seq - 1;
  resets_.push_back({row.id, "retention", member.cursor});
}

void MultiStream::take(Member& member, std::string_view frames) {
  const SessionRow& row = member.session->row();
  std::uint64_t& place = cursor_.places[row.no];
  for (Frame frame; next_frame(frames, frame);) {
    member.cursor = place = frame.seq;
    if (!options_.wants(frame.type)) continue;
    text_ += "id: " + cursor_.text() + "\nevent: ";
    text_ += frame.type;
    text_ += "\ndata: {\"session\":\"" + row.id + "\",";  // an id needs no escaping
    text_ += frame.data.substr(1);
    text_ += "\n\n";
  }
}

/// One run of the member; false when what follows its cursor is in the store only.
bool MultiStream::gather_from_tail(Member& member) {
  const auto tail = member.session->tail();
  if (tail.empty() || tail.front()->first_seq > member.cursor + 1) return false;
  const auto run = std::lower_bound(
      tail.begin(), tail.end(), member.cursor + 1,
      [](const auto& entry, std::uint64_t seq) { return entry->last_seq() < seq; });
  take(member, frames_after((*run)->frames, (*run)->first_seq, member.cursor));
  return true;
}

void MultiStream::pump() {
  if (!ready()) return;
  if (!std::exchange(greeted_, true)) write_opened();
  write_resets();
  // Each in its turn, so that one that talks much does not keep the others waiting.
  std::size_t quiet = 0;
  while (quiet < members_.size() && text_.size() < context_.limits.reader_burst_bytes) {
    Member& member = *members_[next_];
    if (member.cursor + 1 < member.session->first_seq()) {
      reset_to(member, member.session->first_seq());
      write_resets();
    }
    if (member.cursor >= member.session->visible_seq()) {
      ++quiet;
    } else if (gather_from_tail(member)) {
      quiet = 0;
    } else if (text_.empty()) {
      load(load_page(&member));
      return;
    } else {
      break;  // what is there goes out first
    }
    next_ = (next_ + 1) % members_.size();
  }
  if (text_.empty()) return;
  add_part(text_);
  send();
}

Task<void> MultiStream::load_page(Member* member) {
  const SessionNo no = member->session->session_no();
  const std::uint64_t after = member->cursor;
  const std::size_t bytes_max = context_.limits.page_bytes;
  Result<EventPage> page = co_await context_.read(
      [no, after, bytes_max](Store& store) { return store.read_events(no, after, bytes_max); });
  loaded();
  if (ended()) co_return;
  if (!page.has_value()) {
    context_.log.write(LogLevel::error, "stream",
                       "session " + member->session->row().id + ": " + page.error().message);
    finish(End::failed);
    co_return;
  }
  if (page->first_seq == 0) {
    // Its log was erased.
    member->cursor = cursor_.places[no] = member->session->visible_seq();
    resets_.push_back({member->session->row().id, "session_not_found", 0});
  } else if (page->first_seq > after + 1) {
    reset_to(*member, page->first_seq);
  } else {
    take(*member, frames_after(page->frames, page->first_seq, after));
  }
  pump();
}

}  // namespace berth::server
