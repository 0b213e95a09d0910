#include <berth/core/json_doc.h>

#include <simdjson.h>

#include <cstring>

namespace berth::inline v0 {

using simdjson::dom::element;

/// A view is simdjson's element by another name, so that its header stays in here.
struct JsonViewAccess {
  static_assert(sizeof(element) == sizeof(JsonView) && std::is_trivially_copyable_v<element>);

  static JsonView wrap(const element& value) {
    JsonView view;
    std::memcpy(static_cast<void*>(&view), &value, sizeof view);
    return view;
  }
  static element unwrap(const JsonView& view) {
    element value;
    std::memcpy(static_cast<void*>(&value), &view, sizeof value);
    return value;
  }
};

struct JsonDoc::Impl {
  simdjson::dom::document document;
};

JsonDoc::JsonDoc(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
JsonDoc::JsonDoc(JsonDoc&&) noexcept = default;
JsonDoc& JsonDoc::operator=(JsonDoc&&) noexcept = default;
JsonDoc::~JsonDoc() = default;

Result<JsonDoc> JsonDoc::parse(std::string_view text) {
  auto impl = std::make_unique<Impl>();
  simdjson::dom::parser parser;
  element root;
  const auto error = parser.parse_into_document(impl->document, text.data(), text.size()).get(root);
  if (error != simdjson::SUCCESS) {
    return fail(ErrorKind::invalid, "bad_json", simdjson::error_message(error));
  }
  return JsonDoc(std::move(impl));
}

JsonView JsonDoc::root() const {
  return JsonViewAccess::wrap(impl_->document.root());
}

bool JsonView::is_null() const {
  return present() && JsonViewAccess::unwrap(*this).is_null();
}
bool JsonView::is_object() const {
  return present() && JsonViewAccess::unwrap(*this).is_object();
}
bool JsonView::is_array() const {
  return present() && JsonViewAccess::unwrap(*this).is_array();
}

std::optional<std::string_view> JsonView::as_string() const {
  std::string_view value;
  if (!present() || JsonViewAccess::unwrap(*this).get(value) != simdjson::SUCCESS) return {};
  return value;
}

std::optional<bool> JsonView::as_bool() const {
  bool value = false;
  if (!present() || JsonViewAccess::unwrap(*this).get(value) != simdjson::SUCCESS) return {};
  return value;
}

std::optional<std::int64_t> JsonView::as_int64() const {
  std::int64_t value = 0;
  if (!present() || JsonViewAccess::unwrap(*this).get(value) != simdjson::SUCCESS) return {};
  return value;
}

std::optional<double> JsonView::as_double() const {
  double value = 0;
  if (!present() || JsonViewAccess::unwrap(*this).get(value) != simdjson::SUCCESS) return {};
  return value;
}

JsonView JsonView::find(std::string_view path) const {
  JsonView at = *this;
  while (at.present() && !path.empty()) {
    const std::string_view key = path.substr(0, path.find('.'));
    path.remove_prefix(key.size() == path.size() ? key.size() : key.size() + 1);
    element child;
    if (!at.is_object() || JsonViewAccess::unwrap(at).at_key(key).get(child) != simdjson::SUCCESS) {
      return {};
    }
    at = JsonViewAccess::wrap(child);
  }
  return at;
}

std::vector<JsonView> JsonView::elements() const {
  std::vector<JsonView> found;
  simdjson::dom::array array;
  if (!present() || JsonViewAccess::unwrap(*this).get(array) != simdjson::SUCCESS) return found;
  for (const element value : array) found.push_back(JsonViewAccess::wrap(value));
  return found;
}

std::vector<std::pair<std::string_view, JsonView>> JsonView::members() const {
  std::vector<std::pair<std::string_view, JsonView>> found;
  simdjson::dom::object object;
  if (!present() || JsonViewAccess::unwrap(*this).get(object) != simdjson::SUCCESS) return found;
  for (const auto member : object)
    found.emplace_back(member.key, JsonViewAccess::wrap(member.value));
  return found;
}

std::string JsonView::raw() const {
  return present() ? simdjson::minify(JsonViewAccess::unwrap(*this)) : std::string();
}

}  // namespace berth::inline v0
