#include <berth/git/files.h>
#include <berth/git/overlay_layer.h>

#include <array>
#include <string_view>
#include <utility>

namespace berth::git::detail {
namespace {

using Field = std::pair<std::string_view, std::string AboutLayer::*>;
constexpr std::array<Field, 4> kFields{{{"lower ", &AboutLayer::lower},
                                        {"commit ", &AboutLayer::commit},
                                        {"repository ", &AboutLayer::repository},
                                        {"path ", &AboutLayer::path}}};

}  // namespace

Layer layer_of(const std::string& store, const std::string& key) {
  return {store + "/layers/" + key};
}

Result<void> write_about(const Layer& layer, const AboutLayer& about) {
  std::string text;
  for (const auto& [name, member] : kFields) {
    if ((about.*member).find('\n') != std::string::npos) {
      return fail(ErrorKind::invalid, "bad_path", about.*member + ": has a line end in it");
    }
    text.append(name).append(about.*member).append("\n");
  }
  return write_file(layer.about(), text);
}

Result<AboutLayer> read_about(const Layer& layer) {
  Result<std::string> text = read_line_file(layer.about(), 65536);
  if (!text && text.error().kind != ErrorKind::not_found) return fail(std::move(text).error());
  AboutLayer about;
  std::size_t found = 0;
  std::string_view rest = text ? std::string_view(*text) : std::string_view();
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    for (const auto& [name, member] : kFields) {
      if (!line.starts_with(name)) continue;
      about.*member = line.substr(name.size());
      ++found;
    }
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  if (found == kFields.size()) return about;
  return fail(ErrorKind::not_found, "worktree_missing", layer.folder + ": no such layer");
}

OverlayFolders folders_of(const std::string& store, const Layer& layer, const std::string& lower) {
  return {store + "/lowers/" + lower + "/tree", layer.upper(), layer.work()};
}

Result<FileLock> lock_layer(const std::string& store, const std::string& key,
                            const Patience& patience) {
  const std::string folder = store + "/locks";
  if (Result<void> made = make_folders(folder); !made) return fail(std::move(made).error());
  // A fixed number of lock files, which are never removed; the end of a key is its random part.
  return FileLock::take(folder + "/layer-" + key.substr(key.size() - 2), patience);
}

}  // namespace berth::git::detail
