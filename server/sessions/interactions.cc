#include <berth/server/sessions/interactions.h>

#include <berth/core/json_doc.h>

namespace berth::server {

namespace {

/// The id of the first option of `kind`; with an empty kind, of the option that is called `id`.
std::string find_option(std::string_view request, std::string_view id, std::string_view kind) {
  const Result<JsonDoc> doc = JsonDoc::parse(request);
  if (!doc.has_value()) return {};
  for (const JsonView& option : doc->root().elements("options")) {
    const std::string_view option_id = option.get_string("optionId").value_or("");
    if (option_id.empty()) continue;
    if (kind.empty() ? option_id == id : option.get_string("kind").value_or("") == kind) {
      return std::string(option_id);
    }
  }
  return {};
}

}  // namespace

std::string choose_by_policy(std::string_view policy, std::string_view request) {
  if (policy != "allow" && policy != "reject") return {};
  const std::string prefix(policy);
  std::string option = find_option(request, {}, prefix + "_once");
  return option.empty() ? find_option(request, {}, prefix + "_always") : option;
}

Result<std::string> choose_option(std::string_view request, std::string_view option_id,
                                  std::string_view kind) {
  std::string option = find_option(request, option_id, kind);
  if (!option.empty()) return option;
  return fail(ErrorKind::invalid, "unknown_option",
              kind.empty()
                  ? "option_id: the agent offers no option \"" + std::string(option_id) + "\""
                  : "kind: the agent offers no option of kind \"" + std::string(kind) + "\"");
}

}  // namespace berth::server
