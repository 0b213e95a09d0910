// Source of the format of loose objects: gitformat-loose (git 2.39, object-file.c).
#include <berth/git/failure.h>
#include <berth/git/object_writer.h>
#include <berth/git/tree_update.h>

#include <fcntl.h>
#include <git2.h>
#include <git2/sys/mempack.h>
#include <git2/sys/odb_backend.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <array>
#include <cerrno>
#include <cstdlib>

namespace berth::git::detail {
namespace {

constexpr int kBeforeAllOthers = 999;
constexpr std::size_t kPieceMax = std::size_t{1} << 30;

tl::unexpected<Error> write_failed(const std::string& path) {
  const int code = errno;
  Error error = errno_error(code, "write " + path);
  if (code == ENOSPC || code == EDQUOT || code == EROFS || code == EFBIG) {
    error = make_error(ErrorKind::unavailable, "git_write_failed", error.message);
  }
  return tl::unexpected<Error>(std::move(error));
}

/// The file under its temporary name; deleted unless it was kept.
class NewFile {
 public:
  /// The folder is made when it is missing.
  explicit NewFile(const std::string& folder) : path_(folder + "/tmp_obj_XXXXXX") {
    fd_ = ::mkostemp(path_.data(), O_CLOEXEC);
    if (fd_ < 0 && errno == ENOENT && (::mkdir(folder.c_str(), 0777) == 0 || errno == EEXIST)) {
      path_ = folder + "/tmp_obj_XXXXXX";
      fd_ = ::mkostemp(path_.data(), O_CLOEXEC);
    }
  }
  ~NewFile() {
    if (fd_ < 0) return;
    ::close(fd_);
    if (!kept_) ::unlink(path_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  bool is_open() const { return fd_ >= 0; }
  const std::string& path() const { return path_; }
  bool write(const char* bytes, std::size_t size) const {
    while (size > 0) {
      const ssize_t n = ::write(fd_, bytes, size);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return false;
      bytes += n;
      size -= static_cast<std::size_t>(n);
    }
    return true;
  }
  bool keep_as(const std::string& path) {
    kept_ = ::fchmod(fd_, 0444) == 0 && ::rename(path_.c_str(), path.c_str()) == 0;
    return kept_;
  }

 private:
  std::string path_;
  int fd_ = -1;
  bool kept_ = false;
};

}  // namespace

/// zlib's state, which is larger than most objects and used again for each.
class ObjectWriter::Deflater {
 public:
  Deflater() { ready_ = ::deflateInit(&stream_, Z_BEST_SPEED) == Z_OK; }
  ~Deflater() { ::deflateEnd(&stream_); }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;

  bool write(std::string_view header, std::string_view bytes, const NewFile& file) {
    if (!ready_ || ::deflateReset(&stream_) != Z_OK) {
      errno = ENOMEM;
      return false;
    }
    if (!feed(header, Z_NO_FLUSH, file)) return false;
    // zlib counts in 32 bits.
    for (; bytes.size() > kPieceMax; bytes.remove_prefix(kPieceMax)) {
      if (!feed(bytes.substr(0, kPieceMax), Z_NO_FLUSH, file)) return false;
    }
    return feed(bytes, Z_FINISH, file);
  }

 private:
  bool feed(std::string_view bytes, int flush, const NewFile& file) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());
    do {
      stream_.next_out = out_.data();
      stream_.avail_out = static_cast<uInt>(out_.size());
      ::deflate(&stream_, flush);
      const std::size_t made = out_.size() - stream_.avail_out;
      if (!file.write(reinterpret_cast<const char*>(out_.data()), made)) return false;
    } while (stream_.avail_out == 0);
    return true;
  }

  z_stream stream_{};
  std::array<Bytef, 16384> out_{};
  bool ready_ = false;
};

ObjectWriter::ObjectWriter(git_repository* repository) : repository_(repository) {}
ObjectWriter::~ObjectWriter() = default;

Result<void> ObjectWriter::open(bool in_memory) {
  int rc = git_repository_odb(out(odb_), repository_);
  if (rc == 0 && in_memory) {
    rc = git_mempack_new(&memory_);
    if (rc == 0) rc = git_odb_add_backend(odb_.get(), memory_, kBeforeAllOthers);
  }
  if (rc != 0) return libgit2_fail(rc, "objects");
  folder_ = std::string(git_repository_commondir(repository_)) + "objects/";
  return {};
}

Result<ObjectId> ObjectWriter::put(ObjectKind kind, std::string_view bytes) {
  const bool blob = kind == ObjectKind::blob;
  const git_object_t type = blob ? GIT_OBJECT_BLOB : GIT_OBJECT_TREE;
  git_oid oid;
  int rc = git_odb_hash(&oid, bytes.data(), bytes.size(), type);
  if (rc != 0) return libgit2_fail(rc, "hashing an object");
  const ObjectId id = to_id(oid);
  if (memory_ != nullptr) {
    if (git_odb_exists_ext(odb_.get(), &oid, GIT_ODB_LOOKUP_NO_REFRESH) == 1) return id;
    rc = memory_->write(memory_, &oid, bytes.data(), bytes.size(), type);
    if (rc != 0) return libgit2_fail(rc, "an object in memory");
    return id;
  }
  if (make_young(id)) return id;
  std::string header = (blob ? "blob " : "tree ") + std::to_string(bytes.size());
  header += '\0';
  Result<void> written = put_loose(id, header, bytes);
  if (!written) return fail(std::move(written).error());
  return id;
}

/// True when the object was there: git and libgit2 renew the times of what is written again.
bool ObjectWriter::make_young(const ObjectId& id) const {
  const git_oid oid = to_oid(id);
  for (std::size_t i = 0; i < git_odb_num_backends(odb_.get()); ++i) {
    git_odb_backend* backend = nullptr;
    if (git_odb_get_backend(&backend, odb_.get(), i) != 0) continue;
    if (backend->freshen != nullptr && backend->freshen(backend, &oid) == 0) return true;
  }
  return false;
}

Result<void> ObjectWriter::put_loose(const ObjectId& id, std::string_view header,
                                     std::string_view bytes) {
  const std::string name = hex(id);
  const std::string folder = folder_ + name.substr(0, 2);
  if (!deflater_) deflater_ = std::make_unique<Deflater>();
  NewFile file(folder);
  if (!file.is_open()) return write_failed(folder);
  if (!deflater_->write(header, bytes, file)) return write_failed(file.path());
  const std::string path = folder + "/" + name.substr(2);
  if (!file.keep_as(path)) return write_failed(path);
  return {};
}

}  // namespace berth::git::detail
