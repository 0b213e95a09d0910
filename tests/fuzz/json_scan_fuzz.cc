// The scanner takes exactly what the DOM parser of simdjson takes, its slices are valid JSON, and
// it agrees with the DOM on what the keys hold.
#include <berth/core/json_scan.h>
#include <simdjson.h>

#include <string>

#include "fuzz.h"

namespace {

using namespace berth;
using simdjson::SUCCESS;
using simdjson::dom::element;

/// The text of a string member, or empty.
std::string text_at(const element& object, std::string_view key) {
  std::string_view text;
  if (!object.is_object() || object.at_key(key).get(text) != SUCCESS) return {};
  return std::string(text);
}

/// How often a key stands in an object.
int count_of(const element& object, std::string_view key) {
  int count = 0;
  for (const auto member : simdjson::dom::object(object)) count += member.key == key ? 1 : 0;
  return count;
}

std::string minified(const element& parent, const char* key) {
  element value;
  if (!parent.is_object() || parent.at_key(key).get(value) != SUCCESS) return {};
  return simdjson::minify(value);
}

void check_slice(std::string_view raw, const std::string& expected) {
  if (raw.empty()) return;
  simdjson::dom::parser parser;
  element value;
  FUZZ_CHECK(parser.parse(raw.data(), raw.size()).get(value) == SUCCESS);
  FUZZ_CHECK(simdjson::minify(value) == expected);
}

void check_routes(const RoutedLine& routed, const element& root) {
  for (const char* key : {"id", "method", "params", "result", "error"}) {
    FUZZ_CHECK(count_of(root, key) <= 1);
  }
  FUZZ_CHECK(routed.method == text_at(root, "method"));
  check_slice(routed.id.json, minified(root, "id"));
  check_slice(routed.params, minified(root, "params"));
  check_slice(routed.result, minified(root, "result"));
  check_slice(routed.error, minified(root, "error"));
  element params;
  if (root.at_key("params").get(params) != SUCCESS || !params.is_object()) {
    FUZZ_CHECK(routed.session_id.empty() && routed.update.empty());
    return;
  }
  FUZZ_CHECK(count_of(params, "sessionId") <= 1 && count_of(params, "update") <= 1);
  FUZZ_CHECK(routed.session_id == text_at(params, "sessionId"));
  check_slice(routed.update, minified(params, "update"));
  element update;
  if (params.at_key("update").get(update) != SUCCESS || !update.is_object()) {
    FUZZ_CHECK(routed.update.empty() && routed.update_kind.empty());
    return;
  }
  FUZZ_CHECK(!routed.update.empty());
  FUZZ_CHECK(routed.update_kind == text_at(update, "sessionUpdate"));
  FUZZ_CHECK(routed.message_id == text_at(update, "messageId"));
  FUZZ_CHECK(routed.tool_call_id == text_at(update, "toolCallId"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static JsonScanner scanner;
  static simdjson::dom::parser dom;
  fuzz::Input input(data, size);
  constexpr std::string_view kPaddings = "}],:\"1 {[a\\\n";
  const fuzz::Padded line(input.rest(), kPaddings[input.byte() % kPaddings.size()]);
  const ScanResult result = scanner.scan_line(line.text());
  element root;
  const auto error = dom.parse(line.text().data(), line.text().size(), true).get(root);
  if (result.has_value()) {
    FUZZ_CHECK(error == SUCCESS && root.is_object());
    FUZZ_CHECK(result->has_raw_cr == (line.text().find('\r') != std::string_view::npos));
    check_routes(*result, root);
    return 0;
  }
  const LineBuffer repaired = replace_lone_surrogates(line.text());
  if (!repaired.empty()) {
    FUZZ_CHECK(error != SUCCESS && repaired.text().size() == line.text().size());
    FUZZ_CHECK(replace_lone_surrogates(repaired.text()).empty());
    const ScanResult again = scanner.scan_line(repaired.text());
    FUZZ_CHECK(again.has_value() || std::string_view(again.error().message) != "a bad escape");
  }
  switch (result.error().kind) {
    case ScanErrorKind::not_an_object:
      FUZZ_CHECK(error == SUCCESS && !root.is_object());
      break;
    case ScanErrorKind::not_json_rpc:
      FUZZ_CHECK(error == SUCCESS && root.is_object());
      break;
    case ScanErrorKind::duplicate_key:
      break;  // found before the rest is looked at
    case ScanErrorKind::bad_utf8:
      FUZZ_CHECK(error != SUCCESS);
      break;
    case ScanErrorKind::bad_json:
      FUZZ_CHECK(error != SUCCESS);
      break;
    case ScanErrorKind::too_deep:
      FUZZ_CHECK(error != SUCCESS);
      break;
  }
  FUZZ_CHECK(result.error().offset == ScanError::kNoOffset ||
             result.error().offset <= line.text().size());
  return 0;
}
