#include <berth/git/handles.h>

#include <git2.h>

namespace berth::git::detail {

void Free::operator()(git_blob* object) const {
  git_blob_free(object);
}
void Free::operator()(git_commit* object) const {
  git_commit_free(object);
}
void Free::operator()(git_config* object) const {
  git_config_free(object);
}
void Free::operator()(git_diff* object) const {
  git_diff_free(object);
}
void Free::operator()(git_index* object) const {
  git_index_free(object);
}
void Free::operator()(git_object* object) const {
  git_object_free(object);
}
void Free::operator()(git_odb* object) const {
  git_odb_free(object);
}
void Free::operator()(git_odb_object* object) const {
  git_odb_object_free(object);
}
void Free::operator()(git_patch* object) const {
  git_patch_free(object);
}
void Free::operator()(git_reference* object) const {
  git_reference_free(object);
}
void Free::operator()(git_reference_iterator* object) const {
  git_reference_iterator_free(object);
}
void Free::operator()(git_repository* object) const {
  git_repository_free(object);
}
void Free::operator()(git_revwalk* object) const {
  git_revwalk_free(object);
}
void Free::operator()(git_signature* object) const {
  git_signature_free(object);
}
void Free::operator()(git_status_list* object) const {
  git_status_list_free(object);
}
void Free::operator()(git_tree* object) const {
  git_tree_free(object);
}

}  // namespace berth::git::detail
