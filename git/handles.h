// git/handles.h — owners of libgit2's objects. Private to this folder; libgit2's own headers stay
// in the .cc files.
#pragma once

#include <utility>

extern "C" {
typedef struct git_blob git_blob;
typedef struct git_commit git_commit;
typedef struct git_config git_config;
typedef struct git_diff git_diff;
typedef struct git_index git_index;
typedef struct git_object git_object;
typedef struct git_odb git_odb;
typedef struct git_odb_object git_odb_object;
typedef struct git_patch git_patch;
typedef struct git_reference git_reference;
typedef struct git_reference_iterator git_reference_iterator;
typedef struct git_repository git_repository;
typedef struct git_revwalk git_revwalk;
typedef struct git_signature git_signature;
typedef struct git_status_list git_status_list;
typedef struct git_tree git_tree;
}

namespace berth::git::detail {

/// Frees whichever libgit2 object it is given.
struct Free {
  void operator()(git_blob* object) const;
  void operator()(git_commit* object) const;
  void operator()(git_config* object) const;
  void operator()(git_diff* object) const;
  void operator()(git_index* object) const;
  void operator()(git_object* object) const;
  void operator()(git_odb* object) const;
  void operator()(git_odb_object* object) const;
  void operator()(git_patch* object) const;
  void operator()(git_reference* object) const;
  void operator()(git_reference_iterator* object) const;
  void operator()(git_repository* object) const;
  void operator()(git_revwalk* object) const;
  void operator()(git_signature* object) const;
  void operator()(git_status_list* object) const;
  void operator()(git_tree* object) const;
};

/// Owns one object.
template <typename T>
class Handle {
 public:
  Handle() = default;
  explicit Handle(T* object) : object_(object) {}
  ~Handle() { reset(); }
  Handle(Handle&& other) noexcept : object_(other.release()) {}
  Handle& operator=(Handle&& other) noexcept {
    if (this != &other) {
      reset();
      object_ = other.release();
    }
    return *this;
  }

  T* get() const { return object_; }
  T* release() { return std::exchange(object_, nullptr); }
  explicit operator bool() const { return object_ != nullptr; }
  void reset() {
    if (object_ != nullptr) Free()(std::exchange(object_, nullptr));
  }
  /// For libgit2's out parameters: frees what is held, then lets the call fill it in at once.
  T** out() {
    reset();
    return &object_;
  }

 private:
  T* object_ = nullptr;
};

/// `git_x_new(out(handle), ...)`
template <typename T>
T** out(Handle<T>& handle) {
  return handle.out();
}

}  // namespace berth::git::detail
