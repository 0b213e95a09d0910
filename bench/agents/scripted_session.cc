#include "scripted_session.h"

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>

#include <utility>

namespace berth::bench {

namespace {
constexpr std::size_t kFileMax = std::size_t{64} << 20;
}

ScriptedSession::ScriptedSession(io::Files& files, std::string folder, std::string id,
                                 std::string directory)
    : files_(files),
      folder_(std::move(folder)),
      id_(std::move(id)),
      directory_(std::move(directory)) {}

void ScriptedSession::add(std::string prompt, std::string answer) {
  history_.push_back({std::move(prompt), std::move(answer)});
}

std::string ScriptedSession::recall() const {
  std::string text = std::to_string(history_.size()) + " prompts, remembered:";
  for (const std::string& word : words_) text += " " + word;
  return text;
}

bool ScriptedSession::load() {
  if (folder_.empty() || id_.find('/') != std::string::npos) return false;
  Result<std::string> text = files_.read(path(), kFileMax);
  if (!text.has_value()) return false;
  const Result<JsonDoc> doc = JsonDoc::parse(*text);
  if (!doc.has_value()) return false;
  for (const JsonView& entry : doc->root().elements("history")) {
    add(std::string(entry.get_string("prompt").value_or("")),
        std::string(entry.get_string("answer").value_or("")));
  }
  for (const JsonView& word : doc->root().elements("words")) {
    remember(word.as_string().value_or(""));
  }
  return true;
}

void ScriptedSession::save() {
  if (folder_.empty()) return;
  if (forgotten_) {
    Result<void> removed = files_.remove_if_exists(path());
    static_cast<void>(removed);
    return;
  }
  std::string text;
  JsonWriter writer(text);
  writer.begin_object().key("history").begin_array();
  for (const Entry& entry : history_) {
    writer.begin_object()
        .member("prompt", entry.prompt)
        .member("answer", entry.answer)
        .end_object();
  }
  writer.end_array().key("words").begin_array();
  for (const std::string& word : words_) writer.string(word);
  writer.end_array().end_object();
  if (Result<void> made = files_.make_directories(folder_, 0700); !made.has_value()) return;
  Result<void> written = files_.write_atomic(path(), text, 0600);
  static_cast<void>(written);  // a full disk costs this double its memory, as it would a real agent
}

}  // namespace berth::bench
