#include <berth/server/sessions/rows_json.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/core/trace.h>
#include <berth/server/sessions/json_members.h>
#include <berth/server/sessions/repository_url.h>

namespace berth::server {

std::string_view to_string(SessionState state) {
  switch (state) {
    case SessionState::open:
      return "open";
    case SessionState::archived:
      return "archived";
    case SessionState::closed:
      return "closed";
    case SessionState::deleted:
      return "deleted";
    case SessionState::closing:
      return "closing";
    case SessionState::deleting:
    case SessionState::discarding:
    case SessionState::purging:
      return "deleting";
  }
  return "open";
}

std::string_view to_string(TurnState state) {
  switch (state) {
    case TurnState::queued:
      return "queued";
    case TurnState::starting:
      return "starting";
    case TurnState::running:
      return "running";
    case TurnState::waiting:
      return "waiting";
    case TurnState::stopping:
      return "stopping";
    case TurnState::completed:
      return "completed";
    case TurnState::refused:
      return "refused";
    case TurnState::cancelled:
      return "cancelled";
    case TurnState::failed:
      return "failed";
    case TurnState::interrupted:
      return "interrupted";
    case TurnState::expired:
      return "expired";
  }
  return "queued";
}

std::string_view to_string(BindingState state) {
  switch (state) {
    case BindingState::sleeping:
      return "sleeping";
    case BindingState::live:
      return "live";
    case BindingState::crashed:
      return "crashed";
    case BindingState::needs_decision:
      return "needs_decision";
  }
  return "sleeping";
}

std::string_view to_string(InteractionState state) {
  switch (state) {
    case InteractionState::open:
      return "open";
    case InteractionState::answered:
      return "answered";
    case InteractionState::cancelled:
      return "cancelled";
    case InteractionState::expired:
      return "expired";
  }
  return "open";
}

namespace {

void put_workspace(JsonWriter& writer, const SessionRow& row, std::string_view kept = {}) {
  writer.key("workspace").begin_object().member("mode", row.workspace_mode);
  put_text(writer, "repository", row.repository);
  put_text(writer, "url", repository_url_of(row));
  put_text(writer, "directory", row.directory);
  put_text(writer, "branch", row.branch);
  put_text(writer, "base_commit", row.base_commit);
  writer.member_bool("ready", row.workspace_ready);
  put_text(writer, "kept", kept);
  writer.end_object();
}

/// Names only: the rest holds secrets.
void put_mcp_servers(JsonWriter& writer, const SessionRow& row) {
  writer.key("mcp_servers").begin_array();
  const Result<JsonDoc> servers = JsonDoc::parse(row.mcp_servers.empty() ? "[]" : row.mcp_servers);
  if (servers.has_value()) {
    for (const JsonView& server : servers->root().elements()) {
      writer.string(server.get_string("name").value_or(""));
    }
  }
  writer.end_array();
}

void put_turn_members(JsonWriter& writer, const TurnRow& turn, std::string_view session_id) {
  writer.member("id", turn.id)
      .member_int64("number", turn.number)
      .member("session", session_id)
      .member("agent", turn.agent)
      .member("state", to_string(turn.state));
  put_text(writer, "reason", turn.reason);
  put_json(writer, "usage", turn.usage);
  put_text(writer, "snapshot", turn.snapshot);
  writer.key("started_seq");
  if (turn.started_seq == 0) {
    writer.null();
  } else {
    writer.uint64(turn.started_seq);
  }
  writer.key("timeout");
  if (turn.timeout_ms == 0) {
    writer.null();
  } else {
    writer.number(static_cast<double>(turn.timeout_ms) / 1000);
  }
  put_time(writer, "created_at", turn.created_ms);
  put_time(writer, "started_at", turn.started_ms);
  put_time(writer, "ended_at", turn.ended_ms);
  put_text(writer, "trace_id", trace_id_of(turn.traceparent));
}

void put_turn(JsonWriter& writer, const TurnRow& turn, std::string_view session_id) {
  writer.begin_object();
  put_turn_members(writer, turn, session_id);
  writer.end_object();
}

}  // namespace

std::string session_json(const SessionRow& row, const SessionView& view) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object()
      .member("id", row.id)
      .member("key", row.key)
      .member("project", row.project)
      .member("state", to_string(row.state))
      .member("title", row.title)
      .member("agent", row.agent)
      .member("permission", row.permission)
      .member_raw("rules", row.rules.empty() ? "[]" : row.rules);
  put_mcp_servers(writer, row);
  writer.member_raw("additional_directories",
                    row.additional_directories.empty() ? "[]" : row.additional_directories);
  put_workspace(writer, row, view.kept);
  writer.member_uint64("first_seq", view.first_seq)
      .member_uint64("last_seq", view.last_seq)
      .key("turn");
  if (view.turn == nullptr) {
    writer.null();
  } else {
    put_turn(writer, *view.turn, row.id);
  }
  writer.member_uint64("queued", view.queued)
      .member_bool("held", row.held)
      .member_bool("stalled", view.stalled);
  put_time(writer, "created_at", row.created_ms);
  put_time(writer, "updated_at", row.updated_ms);
  writer.end_object();
  return out;
}

std::string session_summary_json(const SessionRow& row, const SessionView& view) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object()
      .member("id", row.id)
      .member("state", to_string(row.state))
      .member("title", row.title)
      .member("agent", row.agent);
  writer.key("workspace").begin_object().member("mode", row.workspace_mode);
  put_text(writer, "repository", row.repository);
  put_text(writer, "url", repository_url_of(row));
  writer.end_object().key("turn");
  if (view.turn == nullptr) {
    writer.null();
  } else {
    writer.begin_object()
        .member("id", view.turn->id)
        .member_int64("number", view.turn->number)
        .member("agent", view.turn->agent)
        .member("state", to_string(view.turn->state))
        .end_object();
  }
  writer.member_uint64("queued", view.queued)
      .member_uint64("interactions_open", view.questions)
      .member_bool("held", row.held)
      .member_bool("stalled", view.stalled);
  put_time(writer, "created_at", row.created_ms);
  put_time(writer, "updated_at", row.updated_ms);
  writer.end_object();
  return out;
}

std::string turn_json(const TurnRow& turn, std::string_view session_id) {
  std::string out;
  JsonWriter writer(out);
  put_turn(writer, turn, session_id);
  return out;
}

std::string prompt_meta_json(const TurnRow& turn) {
  std::string out;
  if (turn.traceparent.empty()) return out;
  JsonWriter writer(out);
  writer.begin_object().member("traceparent", turn.traceparent);
  if (!turn.tracestate.empty()) writer.member("tracestate", turn.tracestate);
  writer.end_object();
  return out;
}

std::string turn_started_json(const TurnRow& turn) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().member_int64("number", turn.number);
  put_text(writer, "trace_id", trace_id_of(turn.traceparent));
  writer.end_object();
  return out;
}

std::string input_json(const TurnRow& turn, std::string_view session_id) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object();
  put_turn_members(writer, turn, session_id);
  put_json(writer, "prompt", turn.prompt);
  writer.end_object();
  return out;
}

std::string interaction_json(const InteractionRow& row) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object()
      .member("id", row.id)
      .member("turn", row.turn)
      .member("agent", row.agent)
      .member("kind", row.kind)
      .member("state", to_string(row.state));
  put_text(writer, "child", row.child);
  put_json(writer, "request", row.payload);
  put_json(writer, "answer", row.answer);
  put_text(writer, "answered_by", row.answered_by);
  put_time(writer, "opened_at", row.opened_ms);
  put_time(writer, "closed_at", row.closed_ms);
  put_time(writer, "expires_at", row.expires_ms);
  writer.end_object();
  return out;
}

std::string session_opened_json(const SessionRow& row, std::string_view fallback) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object();
  put_workspace(writer, row);
  put_text(writer, "fallback", fallback);
  writer.member("agent", row.agent).end_object();
  return out;
}

std::string turn_queued_json(const TurnRow& turn) {
  std::string out;
  JsonWriter(out)
      .begin_object()
      .member_int64("number", turn.number)
      .member_raw("prompt", turn.prompt)
      .end_object();
  return out;
}

std::string turn_edited_json(const TurnRow& turn, bool new_prompt) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().member_int64("number", turn.number);
  if (new_prompt) writer.member_raw("prompt", turn.prompt);
  writer.end_object();
  return out;
}

std::string turn_ended_json(const TurnRow& turn, const std::vector<std::string>& open_tool_calls) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().member_int64("number", turn.number).member("state", to_string(turn.state));
  put_text(writer, "reason", turn.reason);
  put_json(writer, "usage", turn.usage);
  writer.key("open_tool_calls").begin_array();
  for (const std::string& id : open_tool_calls) writer.string(id);
  writer.end_array().end_object();
  return out;
}

std::string turn_steered_json(const TurnRow& turn) {
  std::string out;
  JsonWriter(out)
      .begin_object()
      .member("turn", turn.id)
      .member_int64("number", turn.number)
      .member_raw("prompt", turn.prompt)
      .end_object();
  return out;
}

std::string agent_told_json(const Story& story, std::string_view what) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object()
      .member("what", what)
      .member_int64("from_turn", story.from_turn)
      .member_int64("to_turn", story.to_turn)
      .member_int64("whole", story.whole)
      .member_int64("digested", story.digested)
      .member_int64("left_out", story.left_out)
      .member_uint64("bytes", story.text.size());
  put_text(writer, "transcript", story.transcript);
  writer.end_object();
  return out;
}

std::string policy_json(const SessionRow& row) {
  std::string out;
  JsonWriter(out)
      .begin_object()
      .member("permission", row.permission)
      .member_raw("rules", row.rules.empty() ? "[]" : row.rules)
      .end_object();
  return out;
}

std::string interaction_opened_json(const InteractionRow& row) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object()
      .member("id", row.id)
      .member("kind", row.kind)
      .member_raw("request", row.payload);
  put_text(writer, "child", row.child);
  put_time(writer, "expires_at", row.expires_ms);
  writer.end_object();
  return out;
}

std::string interaction_closed_json(const InteractionRow& row) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().member("id", row.id).member("state", to_string(row.state));
  put_json(writer, "answer", row.answer);
  put_text(writer, "by", row.answered_by);
  writer.end_object();
  return out;
}

}  // namespace berth::server
