#include <berth/server/agents/update_filter.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/server/agents/reports.h>

#include <utility>

namespace berth::server {

namespace {

/// `update` with another text, and the one it had in `_meta`.
std::string with_text(const JsonView& update, std::string_view text, std::string_view raw) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object();
  for (const auto& [name, value] : update.members()) {
    if (name != "content" && name != "_meta") writer.member_raw(name, value.raw());
  }
  writer.key("content").begin_object();
  for (const auto& [name, value] : update.find("content").members()) {
    if (name != "text") writer.member_raw(name, value.raw());
  }
  writer.member("text", text).end_object();
  writer.key("_meta").begin_object();
  for (const auto& [name, value] : update.find("_meta").members()) {
    writer.member_raw(name, value.raw());
  }
  writer.member("berth/raw", raw).end_object().end_object();
  return out;
}

}  // namespace

UpdateFilter::UpdateFilter(OutputMarkers markers) : markers_(std::move(markers)) {}

void UpdateFilter::flush(std::vector<Update>& out) {
  const std::string rest = filter_.finish();
  if (!rest.empty()) out.push_back({text_update(kind_, rest, {}, R"({"berth/raw":""})"), kind_});
  kind_.clear();
}

std::vector<UpdateFilter::Update> UpdateFilter::finish() {
  std::vector<Update> out;
  flush(out);
  return out;
}

std::vector<UpdateFilter::Update> UpdateFilter::pass(std::string_view update,
                                                     std::string_view kind) {
  std::vector<Update> out;
  const bool text_kind = kind == "agent_message_chunk" || kind == "agent_thought_chunk";
  if (!kind_.empty() && kind != kind_) flush(out);
  const Result<JsonDoc> doc =
      text_kind ? JsonDoc::parse(update) : fail(ErrorKind::invalid, "no_text", "no text");
  const auto text =
      doc.has_value() ? doc->root().get_string("content.text") : std::optional<std::string_view>();
  if (!text.has_value()) {
    out.push_back({{}, std::string(kind)});
    return out;
  }
  kind_ = kind;
  const std::string shown = filter_.feed(*text);
  const bool same = shown == *text;
  out.push_back({same ? std::string() : with_text(doc->root(), shown, *text), std::string(kind)});
  return out;
}

}  // namespace berth::server
