#include <berth/server/agents/reports.h>

#include <berth/core/json_writer.h>

namespace berth::server {

std::string text_update(std::string_view kind, std::string_view text, std::string_view message_id,
                        std::string_view meta) {
  std::string update;
  JsonWriter writer(update);
  writer.begin_object().member("sessionUpdate", kind);
  if (!message_id.empty()) writer.member("messageId", message_id);
  writer.key("content").begin_object().member("type", "text").member("text", text).end_object();
  if (!meta.empty()) writer.member_raw("_meta", meta);
  writer.end_object();
  return update;
}

std::string config_refused(std::string_view what, std::string_view error_json) {
  std::string report;
  JsonWriter(report)
      .begin_object()
      .member("what", what)
      .member_raw("error", error_json)
      .end_object();
  return report;
}

std::string config_refused_because(std::string_view what, std::string_view why) {
  std::string error;
  JsonWriter(error).begin_object().member("message", why).end_object();
  return config_refused(what, error);
}

}  // namespace berth::server
