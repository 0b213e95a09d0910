#include <berth/server/sessions/interactions.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/server/sessions/json_members.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

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

std::string choose_by_policy(PolicyAction action, std::string_view request) {
  if (action == PolicyAction::ask) return {};
  const std::string prefix(to_string(action));
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

// --- forms ---

namespace {

/// The values that a schema of strings allows; empty = any.
std::vector<std::string_view> choices_of(const JsonView& schema) {
  std::vector<std::string_view> choices;
  for (const JsonView& value : schema.elements("enum")) {
    choices.push_back(value.as_string().value_or(""));
  }
  for (const char* list : {"oneOf", "anyOf"}) {
    for (const JsonView& value : schema.elements(list)) {
      choices.push_back(value.get_string("const").value_or(""));
    }
  }
  return choices;
}

bool is_choice(const JsonView& schema, std::string_view text) {
  const std::vector<std::string_view> choices = choices_of(schema);
  return choices.empty() || std::find(choices.begin(), choices.end(), text) != choices.end();
}

std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

bool within(const JsonView& schema, const char* least, const char* most, double value) {
  const std::optional<double> low = number_in(schema.find(least));
  const std::optional<double> high = number_in(schema.find(most));
  return (!low.has_value() || value >= *low) && (!high.has_value() || value <= *high);
}

/// What is wrong with a value; empty if nothing is.
std::string problem_with(const JsonView& schema, const JsonView& value) {
  const std::string_view type = schema.get_string("type").value_or("");
  if (type == "string") {
    const auto text = value.as_string();
    if (!text.has_value()) return "must be a string";
    if (!is_choice(schema, *text)) return "is none of the choices";
    if (!within(schema, "minLength", "maxLength", static_cast<double>(characters(*text)))) {
      return "is too short or too long";
    }
  } else if (type == "boolean") {
    if (!value.as_bool().has_value()) return "must be true or false";
  } else if (type == "integer" || type == "number") {
    const std::optional<double> number = number_in(value);
    if (!number.has_value()) return "must be a number";
    if (type == "integer" && !value.as_int64().has_value()) return "must be an integer";
    if (!within(schema, "minimum", "maximum", *number)) return "is out of range";
  } else if (type == "array") {
    if (!value.is_array()) return "must be an array of strings";
    const std::vector<JsonView> items = value.elements();
    for (const JsonView& item : items) {
      const auto text = item.as_string();
      if (!text.has_value()) return "must be an array of strings";
      if (!is_choice(schema.find("items"), *text)) return "holds what is none of the choices";
    }
    if (!within(schema, "minItems", "maxItems", static_cast<double>(items.size()))) {
      return "holds too few or too many";
    }
  }
  return {};
}

/// Member names may hold dots, which JsonView::find() would take for a path.
JsonView member_of(const JsonView& object, std::string_view name) {
  for (const auto& member : object.members()) {
    if (member.first == name) return member.second;
  }
  return {};
}

}  // namespace

Result<void> check_form(std::string_view schema_text, std::string_view content_text) {
  const Result<JsonDoc> schema = JsonDoc::parse(schema_text.empty() ? "{}" : schema_text);
  const Result<JsonDoc> content = JsonDoc::parse(content_text.empty() ? "{}" : content_text);
  if (!schema.has_value()) return {};  // a form that nobody can read cannot be checked
  if (!content.has_value() || !content->root().is_object()) {
    return fail(ErrorKind::invalid, "bad_field", "content: must be an object");
  }
  const JsonView properties = schema->root().find("properties");
  for (const JsonView& required : schema->root().elements("required")) {
    const std::string_view name = required.as_string().value_or("");
    if (!member_of(content->root(), name).present()) {
      return fail(ErrorKind::invalid, "bad_field", "content." + std::string(name) + ": is missing");
    }
  }
  for (const auto& member : content->root().members()) {
    const JsonView property = member_of(properties, member.first);
    const std::string at = "content." + std::string(member.first);
    if (!property.present()) {
      return fail(ErrorKind::invalid, "bad_field", at + ": the form has no such field");
    }
    const std::string problem = problem_with(property, member.second);
    if (!problem.empty()) return fail(ErrorKind::invalid, "bad_field", at + ": " + problem);
  }
  return {};
}

// --- answers ---

namespace {

Result<Decided> decide_permission(const InteractionRow& question, const AnswerRequest& request) {
  if (request.action != AnswerRequest::Action::choose) {
    return fail(ErrorKind::invalid, "bad_field",
                "option_id: a permission is answered by it, kind or outcome");
  }
  Result<std::string> option = choose_option(question.payload, request.option_id, request.kind);
  if (!option.has_value()) return fail(std::move(option.error()));
  Decided decided;
  JsonWriter(decided.json).begin_object().member("option_id", *option).end_object();
  decided.answer.outcome = AgentAnswer::Outcome::selected;
  decided.answer.option_id = std::move(*option);
  return decided;
}

}  // namespace

Result<Decided> decide_answer(const InteractionRow& question, const AnswerRequest& request) {
  if (request.action == AnswerRequest::Action::cancel) {
    return Decided{{}, InteractionState::cancelled, {}};
  }
  if (question.kind == to_string(QuestionKind::permission)) {
    return decide_permission(question, request);
  }
  Decided decided;
  if (request.action == AnswerRequest::Action::decline) {
    decided.answer.outcome = AgentAnswer::Outcome::declined;
    decided.json = R"({"action":"decline"})";
    return decided;
  }
  if (request.action != AnswerRequest::Action::accept) {
    return fail(ErrorKind::invalid, "bad_field", "action: accept, decline or cancel is needed");
  }
  const Result<JsonDoc> asked = JsonDoc::parse(question.payload);
  if (question.kind == to_string(QuestionKind::elicitation) && asked.has_value() &&
      asked->root().get_string("mode").value_or("form") == "form") {
    Result<void> fits = check_form(asked->root().raw("requestedSchema"), request.content);
    if (!fits.has_value()) return fail(std::move(fits.error()));
  }
  decided.answer.outcome = AgentAnswer::Outcome::accepted;
  decided.answer.content = request.content;
  JsonWriter writer(decided.json);
  writer.begin_object().member("action", "accept");
  if (!request.content.empty()) writer.member_raw("content", request.content);
  writer.end_object();
  return decided;
}

}  // namespace berth::server
