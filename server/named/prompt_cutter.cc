#include <berth/server/named/prompt_cutter.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>

#include <algorithm>
#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kHeadMax = 256;

}  // namespace

/// The writer replaces what is no UTF-8, so only UTF-8 comes back as it was.
bool is_utf8(std::string_view text) {
  std::string json = "[";
  append_json_string(json, text);
  json += ']';
  const Result<JsonDoc> doc = JsonDoc::parse(json);
  return doc.has_value() && doc->root().elements().front().as_string() == text;
}

void PromptCutter::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t end = std::min(bytes.find('\0'), bytes.size());
    text_ += bytes.substr(0, std::min<std::size_t>(end, prompt_max_ - text_.size()));
    size_ += end;
    at_ += end;
    bytes.remove_prefix(end);
    if (bytes.empty()) return;
    ++at_;
    bytes.remove_prefix(1);
    finish();
  }
}

void PromptCutter::finish() {
  CutPrompt prompt;
  prompt.bytes = std::exchange(size_, 0);
  prompt.offset = at_ - 1 - prompt.bytes;
  prompt.text = std::exchange(text_, {});
  const bool cut = std::exchange(cut_, false);
  if (prompt.bytes == 0) return;
  if (cut) {
    prompt.refused = "cut";
  } else if (prompt.bytes > prompt_max_) {
    prompt.refused = "too_long";
  } else if (!is_utf8(prompt.text)) {
    prompt.refused = "not_utf8";
  }
  if (prompt.refused != nullptr) prompt.text.resize(std::min(prompt.text.size(), kHeadMax));
  waiting_bytes_ += prompt.text.size();
  whole_.push_back(std::move(prompt));
}

void PromptCutter::cut_off() {
  if (!unfinished()) return;
  cut_ = true;
  ++at_;  // as if a NUL had come
  finish();
}

std::optional<CutPrompt> PromptCutter::next() {
  if (whole_.empty()) return {};
  CutPrompt prompt = std::move(whole_.front());
  whole_.pop_front();
  waiting_bytes_ -= prompt.text.size();
  return prompt;
}

}  // namespace berth::server
