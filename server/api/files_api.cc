// Files of a session's workspace: list, read, write, remove, and all of a folder as one archive.
#include <berth/server/api/api.h>

#include <berth/core/json_writer.h>
#include <berth/server/api/body.h>
#include <berth/server/api/conditional.h>
#include <berth/server/api/problem.h>
#include <berth/server/api/tar.h>
#include <berth/server/sessions/json_members.h>

#include <algorithm>
#include <charconv>
#include <deque>
#include <stdexcept>
#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kPieceBytes = std::size_t{256} << 10;  // of a file, in memory at a time
constexpr std::size_t kListMax = 1000;
constexpr std::size_t kArchiveDepthMax = 64;

std::string_view name_of(io::TreeType type) {
  switch (type) {
    case io::TreeType::file:
      return "file";
    case io::TreeType::folder:
      return "folder";
    case io::TreeType::link:
      return "link";
    case io::TreeType::other:
      return "other";
  }
  return "other";
}

std::string etag_of_file(const io::TreeEntry& entry) {
  return '"' + entry.version + '"';
}

void put_entry(JsonWriter& writer, const io::TreeEntry& entry) {
  writer.begin_object()
      .member("name", entry.name)
      .member("type", name_of(entry.type))
      .member_uint64("size", entry.bytes);
  put_time(writer, "modified_at", entry.modified_ms);
  std::string mode = "0000";
  for (std::size_t i = 0; i < mode.size(); ++i) {
    mode[mode.size() - 1 - i] = static_cast<char>('0' + ((entry.mode >> (3 * i)) & 7));
  }
  writer.member("mode", mode);
  put_text(writer, "link", entry.link);
  put_text(writer, "etag", entry.version.empty() ? std::string() : etag_of_file(entry));
  writer.end_object();
}

/// Nothing that a browser would run: it comes from the same origin as the page and its token.
std::string_view content_type_of(std::string_view path) {
  struct Type {
    std::string_view ending;
    std::string_view type;
  };
  static constexpr Type kTypes[] = {{".png", "image/png"},         {".jpg", "image/jpeg"},
                                    {".jpeg", "image/jpeg"},       {".gif", "image/gif"},
                                    {".webp", "image/webp"},       {".pdf", "application/pdf"},
                                    {".json", "application/json"}, {".zip", "application/zip"},
                                    {".gz", "application/gzip"},   {".tar", "application/x-tar"}};
  for (const Type& known : kTypes) {
    if (path.ends_with(known.ending)) return known.type;
  }
  static constexpr std::string_view kTexts[] = {
      ".txt", ".md",  ".c",    ".cc",   ".cpp", ".h",   ".hpp",  ".rs",  ".go",   ".py",   ".js",
      ".ts",  ".tsx", ".jsx",  ".java", ".kt",  ".rb",  ".sh",   ".css", ".csv",  ".log",  ".xml",
      ".svg", ".yml", ".yaml", ".toml", ".ini", ".sql", ".html", ".htm", ".diff", ".patch"};
  for (const std::string_view ending : kTexts) {
    if (path.ends_with(ending)) return "text/plain; charset=utf-8";
  }
  return "application/octet-stream";
}

struct ByteRange {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};

/// `bytes=A-B`, `bytes=A-`, `bytes=-N`: one range of a file of `size`; nothing for what is none
/// (RFC 9110: then it is ignored), a count of 0 for one outside of the file.
std::optional<ByteRange> parse_range(std::string_view header, std::uint64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  if (!header.starts_with(kUnit)) return std::nullopt;
  header.remove_prefix(kUnit.size());
  const std::size_t dash = header.find('-');
  if (dash == std::string_view::npos || header.find(',') != std::string_view::npos) {
    return std::nullopt;
  }
  const auto number = [](std::string_view text) -> std::optional<std::uint64_t> {
    std::uint64_t value = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
    return value;
  };
  const std::string_view from = header.substr(0, dash);
  const std::string_view to = header.substr(dash + 1);
  const std::optional<std::uint64_t> last = number(to);
  if (from.empty()) {
    if (!last) return std::nullopt;
    const std::uint64_t count = std::min(*last, size);
    return ByteRange{size - count, count};
  }
  const std::optional<std::uint64_t> first = number(from);
  if (!first || (!to.empty() && (!last || *last < *first))) return std::nullopt;
  if (*first >= size) return ByteRange{};
  return ByteRange{*first, std::min(last.value_or(size - 1), size - 1) - *first + 1};
}

Result<io::TreeCondition> condition_of(const io::HttpRequest& request) {
  io::TreeCondition condition;
  const std::string_view match = request.header("if-match");
  const std::string_view none_match = request.header("if-none-match");
  if (match == "*") {
    condition.exists = true;
  } else if (!match.empty()) {
    const bool one = match.size() > 2 && match.front() == '"' && match.back() == '"' &&
                     match.find(',') == std::string_view::npos;
    if (!one) return fail(ErrorKind::invalid, "bad_field", "If-Match: must be * or one tag");
    condition.version = match.substr(1, match.size() - 2);
  }
  if (none_match == "*") {
    condition.absent = true;
  } else if (!none_match.empty()) {
    return fail(ErrorKind::invalid, "bad_field", "If-None-Match: must be *");
  }
  return condition;
}

}  // namespace

/// The session's workspace, as it is now. Error `not_found` ("no_workspace") when it has none.
Task<Result<Api::OpenTree>> Api::open_tree(ApiCall* call) {
  Result<SessionUse> found = co_await find_session(call);
  if (!found.has_value()) co_return fail(std::move(found.error()));
  const SessionRow& row = (*found)->row();
  if (!row.workspace_ready) {
    co_return fail(ErrorKind::not_found, "no_workspace", "the session has no workspace any more");
  }
  if (row.workspace_mode == "overlay") {
    Result<void> there = co_await context_.workspaces.ensure_ready(workspace_of(row));
    if (!there.has_value()) co_return fail(std::move(there.error()));
  }
  io::Files* files = &context_.platform.files();
  const std::string folder = row.directory;
  Result<std::unique_ptr<io::FolderTree>> tree = co_await context_.platform.offload().run(
      io::Lane::files, context_.reactor(), [files, folder] { return files->open_tree(folder); });
  if (!tree.has_value()) {
    co_return fail(ErrorKind::not_found, "no_workspace", tree.error().message);
  }
  OpenTree open = {std::move(*found), std::move(*tree)};
  co_return open;
}

Api::Answer Api::list_files(ApiCall* call) {
  Result<std::uint64_t> limit = number_of("limit", call->query("limit"), kListMax, kListMax);
  if (!limit.has_value()) co_return problem(limit.error());
  Result<OpenTree> open = co_await open_tree(call);
  if (!open.has_value()) co_return problem(open.error());
  const std::shared_ptr<io::FolderTree> tree = open->tree;
  const std::string path(call->query("path"));
  const std::string after(call->query("after"));
  const std::size_t count = std::max<std::size_t>(static_cast<std::size_t>(*limit), 1);
  bool more = false;
  bool* const more_there = &more;
  Result<std::vector<io::TreeEntry>> entries = co_await context_.platform.offload().run(
      io::Lane::files, context_.reactor(), [tree, path, after, count, more_there] {
        return tree->list(path, after, count, more_there);
      });
  if (!entries.has_value()) co_return problem(entries.error());
  std::string body;
  JsonWriter writer(body);
  writer.begin_object().member("path", path).key("entries").begin_array();
  for (const io::TreeEntry& entry : *entries) put_entry(writer, entry);
  writer.end_array();
  put_text(writer, "next", more && !entries->empty() ? entries->back().name : std::string());
  writer.end_object();
  co_return json_response(200, std::move(body));
}

Task<void> Api::get_file(ApiCall* call) {
  io::HttpResponse refusal;
  Result<OpenTree> open = co_await open_tree(call);
  if (!open.has_value()) {
    refusal = problem(open.error());
  } else {
    const std::shared_ptr<io::FolderTree> tree = open->tree;
    const std::string path(call->query("path"));
    Result<std::unique_ptr<io::TreeFile>> file = co_await context_.platform.offload().run(
        io::Lane::files, context_.reactor(), [tree, path] { return tree->open(path); });
    if (file.has_value()) {
      co_await send_file(call, file->get());
      co_return;
    }
    refusal = problem(file.error());
  }
  Result<void> sent = co_await call->exchange->respond(std::move(refusal));
  static_cast<void>(sent);
}

Task<void> Api::send_file(ApiCall* call, io::TreeFile* file) {
  const io::HttpRequest& request = *call->request;
  const std::uint64_t size = file->entry().bytes;
  const std::string etag = etag_of_file(file->entry());
  io::HttpResponse head;
  head.content_type = content_type_of(file->entry().name);
  head.headers.emplace_back("ETag", etag);
  head.headers.emplace_back("Accept-Ranges", "bytes");
  head.headers.emplace_back("X-Content-Type-Options", "nosniff");
  head.headers.emplace_back("Content-Security-Policy", "default-src 'none'; sandbox");
  ByteRange range = {0, size};
  const std::string_view if_range = request.header("if-range");
  std::optional<ByteRange> wanted;
  if (if_range.empty() || if_range == etag) wanted = parse_range(request.header("range"), size);
  if (names_etag(request.header("if-none-match"), etag)) {
    head.status = 304;
    range.count = 0;
  } else if (wanted && wanted->count == 0) {
    head = problem(make_error(ErrorKind::invalid, "range_not_satisfiable",
                              "Range: the file has " + std::to_string(size) + " bytes"));
    head.headers.emplace_back("Content-Range", "bytes */" + std::to_string(size));
    Result<void> sent = co_await call->exchange->respond(std::move(head));
    static_cast<void>(sent);
    co_return;
  } else if (wanted) {
    range = *wanted;
    head.status = 206;
    head.headers.emplace_back("Content-Range", "bytes " + std::to_string(range.first) + "-" +
                                                   std::to_string(range.first + range.count - 1) +
                                                   "/" + std::to_string(size));
  }
  const bool whole = range.count <= kPieceBytes;
  if (!whole) {
    Result<void> begun = co_await call->exchange->begin_body(head);
    if (!begun.has_value() || request.method == "HEAD") co_return;
  }
  const std::uint64_t end = range.first + range.count;
  for (std::uint64_t at = range.first; at < end;) {
    const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(kPieceBytes, end - at));
    Result<std::string> piece = co_await context_.platform.offload().run(
        io::Lane::files, context_.reactor(), [file, at, bytes] { return file->read(at, bytes); });
    if (whole && !piece.has_value()) {
      head = problem(piece.error());
      break;
    }
    if (whole) {
      head.body = std::move(*piece);
      break;
    }
    // Its head is out, so the client can only be told by a body that is cut off.
    if (!piece.has_value() || piece->empty()) throw std::runtime_error("the file shrank");
    Result<void> written = co_await call->exchange->write_body(*piece);
    if (!written.has_value()) co_return;
    at += piece->size();
  }
  if (!whole) co_return;
  Result<void> sent = co_await call->exchange->respond(std::move(head));
  static_cast<void>(sent);
}

/// The same for a change to one file, under the conditions of the request.
Task<Result<Api::WriteTree>> Api::open_tree_to_write(ApiCall* call) {
  Result<io::TreeCondition> condition = condition_of(*call->request);
  if (!condition.has_value()) co_return fail(std::move(condition.error()));
  Result<OpenTree> open = co_await open_tree(call);
  if (!open.has_value()) co_return fail(std::move(open.error()));
  // One at a time, so that of two with the same If-Match one loses; and never under a snapshot.
  Semaphore::Permits turn = co_await open->session->changes().files().acquire();
  WriteTree write = {std::move(*open), std::move(*condition), std::move(turn)};
  co_return write;
}

Api::Answer Api::put_file(ApiCall* call) {
  Result<WriteTree> open = co_await open_tree_to_write(call);
  if (!open.has_value()) co_return problem(open.error());
  const io::TreeCondition condition = open->condition;
  const std::shared_ptr<io::FolderTree> tree = open->tree;
  const std::string path(call->query("path"));
  const std::string* const content = &call->request->body;
  bool existed = false;
  bool* const existed_there = &existed;
  Result<io::TreeEntry> written = co_await context_.platform.offload().run(
      io::Lane::files, context_.reactor(), [tree, path, content, condition, existed_there] {
        *existed_there = tree->stat(path).has_value();
        return tree->write(path, *content, condition);
      });
  if (!written.has_value()) co_return problem(written.error());
  std::string body;
  JsonWriter writer(body);
  put_entry(writer, *written);
  io::HttpResponse response = json_response(existed ? 200 : 201, std::move(body));
  response.headers.emplace_back("ETag", etag_of_file(*written));
  co_return response;
}

Api::Answer Api::delete_file(ApiCall* call) {
  Result<WriteTree> open = co_await open_tree_to_write(call);
  if (!open.has_value()) co_return problem(open.error());
  const io::TreeCondition condition = open->condition;
  const std::shared_ptr<io::FolderTree> tree = open->tree;
  const std::string path(call->query("path"));
  Result<void> removed = co_await context_.platform.offload().run(
      io::Lane::files, context_.reactor(),
      [tree, path, condition] { return tree->remove(path, condition); });
  if (!removed.has_value()) co_return problem(removed.error());
  io::HttpResponse response;
  response.status = 204;
  co_return response;
}

Api::Answer Api::make_folder(ApiCall* call) {
  const Result<Body> body = Body::parse(call->request->body, {"path", "type"});
  if (!body.has_value()) co_return problem(body.error());
  Result<std::string> path = body->text("path");
  if (!path.has_value()) co_return problem(path.error());
  Result<std::string> type = body->text("type", "folder");
  if (!type.has_value()) co_return problem(type.error());
  if (*type != "folder" || path->empty()) {
    co_return problem(make_error(ErrorKind::invalid, "bad_field",
                                 path->empty() ? "path: is missing" : "type: must be folder"));
  }
  Result<OpenTree> open = co_await open_tree(call);
  if (!open.has_value()) co_return problem(open.error());
  const std::shared_ptr<io::FolderTree> tree = open->tree;
  const std::string folder = *path;
  Result<io::TreeEntry> made = co_await context_.platform.offload().run(
      io::Lane::files, context_.reactor(), [tree, folder]() -> Result<io::TreeEntry> {
        if (Result<void> done = tree->make_folder(folder); !done.has_value()) {
          return fail(std::move(done.error()));
        }
        return tree->stat(folder);
      });
  if (!made.has_value()) co_return problem(made.error());
  made->name = folder.substr(folder.rfind('/') + 1);
  std::string out;
  JsonWriter writer(out);
  put_entry(writer, *made);
  co_return json_response(201, std::move(out));
}

// --- a folder as an archive ---

namespace {

/// A folder that is being written: how far its names have come.
struct OpenFolder {
  std::string path;
  std::deque<io::TreeEntry> entries;
  std::string last;
  bool more = true;
};

std::string path_below(const std::string& folder, const std::string& name) {
  return folder.empty() ? name : folder + "/" + name;
}

/// The next names of the folder, so that never all of them are in memory.
Result<void> read_on(io::FolderTree& tree, OpenFolder& folder) {
  bool more = false;
  Result<std::vector<io::TreeEntry>> entries = tree.list(folder.path, folder.last, kListMax, &more);
  if (!entries.has_value()) return fail(std::move(entries.error()));
  folder.more = more;
  for (io::TreeEntry& entry : *entries) folder.entries.push_back(std::move(entry));
  if (!folder.entries.empty()) folder.last = folder.entries.back().name;
  return {};
}

/// Writes the archive piece by piece: each next() is the next piece, an empty one the end. What
/// goes or changes meanwhile is left out, or is as it was when its head was written.
class ArchiveReader {
 public:
  ArchiveReader(std::shared_ptr<io::FolderTree> tree, std::string path)
      : tree_(std::move(tree)), root_(std::move(path)) {}

  /// Before next(): an error is the answer to the request.
  Result<void> begin() {
    folders_.push_back({root_, {}, {}, true});
    return read_on(*tree_, folders_.back());
  }

  std::string next() {
    std::string piece;
    while (piece.size() < kPieceBytes && !(folders_.empty() && file_ == nullptr)) {
      if (file_ != nullptr) {
        add_file_part(piece);
      } else {
        add_entry(piece);
      }
    }
    if (piece.empty() && !std::exchange(ended_, true)) piece = tar_end();
    return piece;
  }

 private:
  void add_file_part(std::string& piece) {
    const std::uint64_t size = file_->entry().bytes;
    const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(kPieceBytes, size - at_));
    if (bytes > 0) {
      Result<std::string> part = file_->read(at_, bytes);
      // It shrank: the size is told already.
      if (!part.has_value() || part->empty()) part = std::string(bytes, '\0');
      at_ += part->size();
      piece += *part;
    }
    if (at_ < size) return;
    piece += tar_padding(size);
    file_.reset();
  }

  void add_entry(std::string& piece) {
    OpenFolder& folder = folders_.back();
    if (folder.entries.empty() && folder.more && !read_on(*tree_, folder).has_value()) {
      folder.more = false;
    }
    if (folder.entries.empty()) {
      if (!folder.more) folders_.pop_back();
      return;
    }
    const io::TreeEntry entry = std::move(folder.entries.front());
    folder.entries.pop_front();
    const std::string path = path_below(folder.path, entry.name);
    const std::string name = root_.empty() ? path : path.substr(root_.size() + 1);
    if (entry.type == io::TreeType::file) {
      Result<std::unique_ptr<io::TreeFile>> file = tree_->open(path);
      if (!file.has_value()) return;
      file_ = std::move(*file);
      at_ = 0;
      piece += tar_head(name, file_->entry());
    } else if (entry.type == io::TreeType::link) {
      piece += tar_head(name, entry);
    } else if (entry.type == io::TreeType::folder && folders_.size() < kArchiveDepthMax) {
      piece += tar_head(name, entry);
      folders_.push_back({path, {}, {}, true});
    }
  }

  std::shared_ptr<io::FolderTree> tree_;
  std::string root_;
  std::vector<OpenFolder> folders_;
  std::unique_ptr<io::TreeFile> file_;
  std::uint64_t at_ = 0;  // of file_
  bool ended_ = false;
};

}  // namespace

Task<void> Api::get_archive(ApiCall* call) {
  Result<OpenTree> open = co_await open_tree(call);
  Result<void> begun;
  std::unique_ptr<ArchiveReader> reader;
  if (!open.has_value()) {
    begun = fail(open.error());
  } else {
    reader = std::make_unique<ArchiveReader>(open->tree, std::string(call->query("path")));
    ArchiveReader* const begins = reader.get();
    begun = co_await context_.platform.offload().run(io::Lane::files, context_.reactor(),
                                                     [begins] { return begins->begin(); });
  }
  if (!begun.has_value()) {
    Result<void> sent = co_await call->exchange->respond(problem(begun.error()));
    static_cast<void>(sent);
    co_return;
  }
  io::HttpResponse head;
  head.content_type = "application/x-tar";
  head.headers.emplace_back("Content-Disposition",
                            "attachment; filename=\"" + open->session->row().id + ".tar\"");
  Result<void> sent = co_await call->exchange->begin_body(std::move(head));
  ArchiveReader* const reads = reader.get();
  while (sent.has_value() && call->request->method != "HEAD") {
    const Result<std::string> piece = co_await context_.platform.offload().run(
        io::Lane::files, context_.reactor(),
        [reads]() -> Result<std::string> { return reads->next(); });
    if (piece.has_value() && piece->empty()) break;
    if (!piece.has_value()) throw std::runtime_error("the lane is full");  // as above
    sent = co_await call->exchange->write_body(*piece);
  }
}

}  // namespace berth::server
